"""A storage proof holds for the block, the contract, the slot and the value that it is about, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from eth.db.trie import make_trie_root_and_nodes
from hypothesis import given
from hypothesis import strategies as st
from rlp import encode

from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.evm.proof import (
    StorageProof,
    head_key,
    header_fields,
    trie_path,
    trie_value,
    verify_storage_proof,
)
from fedchain.core.digest import ZERO
from fedchain.core.errors import FedchainError, FormatError, IntegrityError
from fedchain.core.record import LinkKind, RoundLink
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, STRANGER, Deployed, deployed

RUN, OTHER_RUN = b"\x77" * 32, b"\x78" * 32
LINK = RoundLink(RUN, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A chain on which seven runs have a link."""

    contracts: Deployed
    ledger: EvmLedger

    @property
    def contract(self) -> bytes:
        return self.contracts.identity.rounds_contract

    def head(self) -> bytes:
        return self.contracts.chain.head().hash

    def proof(self, run: bytes = RUN) -> StorageProof:
        return self.contracts.node.storage_proof(self.contract, head_key(run))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    with deployed(tmp_path_factory.mktemp("proof") / "chain.sqlite", ManualClock()) as contracts:
        ledger = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
        for run in (RUN, *(bytes([n]) * 32 for n in range(1, 7))):
            ledger.seal(replace(LINK, run=run), ZERO)
        yield Sealed(contracts, ledger)


def test_the_proved_slot_is_the_one_that_the_contract_answers(sealed: Sealed) -> None:
    found = verify_storage_proof(sealed.proof(), sealed.head(), sealed.contract, head_key(RUN))
    assert found == sealed.ledger.head_slot(RUN) != ZERO


def test_a_run_without_links_is_proved_to_have_none(sealed: Sealed) -> None:
    assert verify_storage_proof(sealed.proof(OTHER_RUN), sealed.head(), sealed.contract, head_key(OTHER_RUN)) == ZERO


def test_an_account_that_is_not_there_is_proved_to_hold_nothing(sealed: Sealed) -> None:
    nobody = b"\x99" * 20
    proof = sealed.contracts.node.storage_proof(nobody, head_key(RUN))
    assert verify_storage_proof(proof, sealed.head(), nobody, head_key(RUN)) == ZERO


def test_an_account_without_storage_is_proved_to_hold_nothing(sealed: Sealed) -> None:
    proof = sealed.contracts.node.storage_proof(STRANGER.address, head_key(RUN))
    assert verify_storage_proof(proof, sealed.head(), STRANGER.address, head_key(RUN)) == ZERO


def test_a_proof_says_its_block_and_time(sealed: Sealed) -> None:
    header = sealed.contracts.chain.head()
    assert (sealed.proof().block, sealed.proof().at) == (header.block_number, header.timestamp)


def test_the_proof_of_an_earlier_block_shows_the_slot_as_it_was(sealed: Sealed) -> None:
    chain, last = sealed.contracts.chain, bytes([6]) * 32
    number = chain.head().block_number - 1
    account, (storage,) = chain.proof(sealed.contract, [head_key(last)], number)
    block = sealed.contracts.node._plain("eth_getBlockByNumber", hex(number), False)
    proof = StorageProof(header_fields(block), tuple(account), tuple(storage))
    assert verify_storage_proof(proof, chain.block(number).hash, sealed.contract, head_key(last)) == ZERO


def test_a_proof_is_of_one_block(sealed: Sealed) -> None:
    with pytest.raises(IntegrityError, match="storage proof of another block"):
        verify_storage_proof(sealed.proof(), b"\x01" * 32, sealed.contract, head_key(RUN))


def test_a_proof_is_of_one_slot_and_one_contract(sealed: Sealed) -> None:
    proof = sealed.proof()
    for contract, run in ((sealed.contract, bytes([1]) * 32), (sealed.contracts.identity.registry_contract, RUN)):
        with pytest.raises(IntegrityError, match="storage proof is broken"):
            verify_storage_proof(proof, sealed.head(), contract, head_key(run))


def test_a_node_that_is_kept_back_is_missed(sealed: Sealed) -> None:
    proof = sealed.proof()
    assert len(proof.account_nodes) > 1
    assert len(proof.storage_nodes) > 1
    for part in ("account_nodes", "storage_nodes"):
        nodes: tuple[bytes, ...] = getattr(proof, part)
        for index in range(len(nodes)):
            shorter = replace(proof, **{part: nodes[:index] + nodes[index + 1 :]})
            with pytest.raises(IntegrityError):
                verify_storage_proof(shorter, sealed.head(), sealed.contract, head_key(RUN))


@given(data=st.data())
def test_a_flipped_byte_anywhere_is_found(sealed: Sealed, data: st.DataObject) -> None:
    proof = sealed.proof()
    part = data.draw(st.sampled_from(["header", "account_nodes", "storage_nodes"]))
    items: tuple[bytes, ...] = getattr(proof, part)
    index = data.draw(st.sampled_from([i for i, item in enumerate(items) if item]))
    item = bytearray(items[index])
    item[data.draw(st.integers(0, len(item) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    altered = replace(proof, **{part: (*items[:index], bytes(item), *items[index + 1 :])})
    with pytest.raises(FedchainError):
        verify_storage_proof(altered, sealed.head(), sealed.contract, head_key(RUN))


@pytest.mark.parametrize(
    "node", [b"", b"\x80", encode([b""]), encode([b"\x40", b"x"]), encode([b"", b"x"]), b"\xff" * 9]
)
def test_a_node_that_is_none_is_a_format_error(node: bytes) -> None:
    with pytest.raises(FormatError):
        trie_value(b"\x01" * 32, b"\x12", lambda _: node)


@pytest.mark.parametrize("block", [{}, {"parentHash": 5}, {"parentHash": "0xzz"}])
def test_a_block_without_its_fields_is_a_format_error(block: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        header_fields(block)


@dataclass(frozen=True, slots=True)
class Item:
    """What py-evm puts in a trie under the RLP of its index."""

    value: bytes

    def encode(self) -> bytes:
        return self.value


@given(values=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=300))
def test_every_key_of_a_trie_that_another_library_built_is_found_by_its_path(values: list[bytes]) -> None:
    root, built = make_trie_root_and_nodes([Item(value) for value in values])  # type: ignore[arg-type]
    nodes: dict[bytes, bytes] = {bytes(hash_): node for hash_, node in built.items()}
    for index, value in enumerate(values):
        path = trie_path(root, encode(index), nodes.__getitem__)
        assert set(path) <= set(nodes.values())
        assert trie_value(root, encode(index), nodes.__getitem__) == value
    assert trie_value(root, encode(len(values)), nodes.__getitem__) is None
