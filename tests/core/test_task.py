from __future__ import annotations

import hashlib

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.messages import ClientUpdate
from fedchain.core.privacy import DpParams
from fedchain.core.signatures import address_of, recover, sign
from fedchain.core.task import LocalTraining, UpdateHeader, leaf_of
from tests.core.samples import FEW, documents, domains, messages, secrets


@FEW
@given(documents(LocalTraining))
def test_a_training_is_digested_as_its_canonical_document(training: LocalTraining) -> None:
    expected = hashlib.sha256(b"fedchain/local-training/1\x00" + document.to_bytes(training)).digest()
    assert training.digest() == expected


@FEW
@given(domains, messages(ClientUpdate), documents(DpParams), secrets, st.sampled_from([0x55, 0x70]))
def test_a_leaf_binds_signer_statement_signature_and_codec(
    domain: Domain, message: ClientUpdate, dp: DpParams, secret: bytes, codec: int
) -> None:
    signature = sign(secret, signing_digest(domain, message))
    header = UpdateHeader(domain.chain_id, domain.contract, message, signature, dp)
    values = [1, address_of(secret), signing_digest(domain, message), keccak(signature), codec]
    expected = keccak(keccak(encode(["uint8", "address", "bytes32", "bytes32", "uint64"], values)))
    assert leaf_of(domain, header, address_of(secret), codec) == expected


@FEW
@given(domains, messages(ClientUpdate), documents(DpParams), secrets)
def test_a_header_that_travelled_still_names_its_signer(
    domain: Domain, message: ClientUpdate, dp: DpParams, secret: bytes
) -> None:
    sent = UpdateHeader(domain.chain_id, domain.contract, message, sign(secret, signing_digest(domain, message)), dp)
    header = document.from_bytes(UpdateHeader, document.to_bytes(sent))
    assert header == sent
    assert recover(signing_digest(domain, header.message), header.signature) == address_of(secret)
