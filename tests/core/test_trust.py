from __future__ import annotations

from hypothesis import given

from fedchain.core import document
from fedchain.core.trust import SIMULATED, TRUST_FORMAT, Pin, SignedReceipt, TrustFile
from tests.core.samples import FEW, documents

FILE = TrustFile(
    format=TRUST_FORMAT,
    note=SIMULATED,
    chain_id=31337,
    registry_contract=b"\x01" * 20,
    rounds_contract=b"\x02" * 20,
    federation=b"\x03" * 32,
    keys=(b"\x04" * 20,),
    pins=(Pin(b"\x05" * 32, 7, b"\x06" * 32, (SignedReceipt(b"\x04" * 20, b"\x07" * 65),)),),
)


def test_a_trust_file_is_one_document_that_says_how_far_it_reaches() -> None:
    encoded = document.to_bytes(FILE)
    assert encoded.startswith(b'{"chain_id":31337,"federation":"0x0303')
    assert b'"format":"fedchain/trust/1"' in encoded
    assert b"simulated independence: every key of this file was made on one machine" in encoded
    assert document.from_bytes(TrustFile, encoded) == FILE


@FEW
@given(documents(TrustFile))
def test_a_chain_id_of_any_size_is_kept(file: TrustFile) -> None:
    assert document.from_bytes(TrustFile, document.to_bytes(file)).chain_id == file.chain_id
