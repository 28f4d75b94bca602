"""The embedded chain: what it takes and refuses, and what it still knows after reopening."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from eth.abc import BlockHeaderAPI
from eth_hash.auto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlp import encode

from fedchain.adapters.evm.chain import FUNDS, GAS_LIMIT, Call, EmbeddedChain, RefusedError, RevertedError
from fedchain.adapters.evm.database import LogQuery
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.events import REGISTRY
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.core.errors import InputError
from tests.doubles.clock import ManualClock
from tests.doubles.evm import CHAIN_ID, GENESIS, RELAYER, STRANGER, deployed
from tests.doubles.signer import NamedSigner

POOR = NamedSigner("poor")


def transfer(signer: NamedSigner, nonce: int, *, chain_id: int = CHAIN_ID, value: int = 1, gas: int = 21_000) -> bytes:
    fields: list[object] = [chain_id, nonce, 0, 100, gas, POOR.address, value, b"", []]
    signature = signer.sign(keccak(b"\x02" + encode(fields)))
    rest = [signature[64] - 27, int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])]
    return b"\x02" + bytes(encode([*fields, *rest]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain.sqlite"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def chain(path: Path, clock: ManualClock) -> Iterator[EmbeddedChain]:
    opened = open_chain(path, GENESIS, clock)
    yield opened
    opened.close()


# genesis and reopening


def test_a_new_chain_has_its_genesis_only(chain: EmbeddedChain) -> None:
    head = chain.head()
    assert (head.block_number, head.timestamp) == (0, GENESIS.timestamp)
    assert chain.balance(STRANGER.address, None) == FUNDS
    assert chain.balance(POOR.address, None) == 0


def test_one_genesis_gives_one_block_hash(path: Path, tmp_path: Path, clock: ManualClock) -> None:
    hashes = []
    for each in (path, tmp_path / "other.sqlite"):
        opened = open_chain(each, GENESIS, clock)
        hashes.append(opened.head().hash)
        opened.close()
    assert hashes[0] == hashes[1]


def test_reopening_changes_nothing(path: Path, clock: ManualClock) -> None:
    chain = open_chain(path, GENESIS, clock)
    chain.send(transfer(STRANGER, 0))
    head = chain.head()
    chain.close()
    again = open_chain(path, replace(GENESIS, funded=[], timestamp=1), clock)
    assert again.head() == head
    assert again.balance(POOR.address, None) == 1
    again.close()


def test_a_foreign_chain_id_is_refused_by_writer_and_reader(path: Path, clock: ManualClock) -> None:
    open_chain(path, GENESIS, clock).close()
    with pytest.raises(InputError, match=f"foreign chain id: expected 1, got {CHAIN_ID}"):
        open_chain(path, replace(GENESIS, chain_id=1), clock)
    with pytest.raises(InputError, match=f"foreign chain id: expected 1, got {CHAIN_ID}"):
        read_chain(path, clock, chain_id=1)
    reader = read_chain(path, clock)
    assert reader.chain_id == CHAIN_ID
    reader.close()


def test_a_file_without_a_genesis_is_no_chain_to_read(path: Path, clock: ManualClock) -> None:
    path.write_bytes(b"")
    with pytest.raises(InputError):
        read_chain(path, clock)


# sending


def test_each_transaction_is_a_block_of_its_own(chain: EmbeddedChain, clock: ManualClock) -> None:
    for nonce in range(3):
        mined = chain.send(transfer(STRANGER, nonce, value=5))
        assert mined.block.block_number == nonce + 1
        assert mined.receipt.gas_used == 21_000
    assert chain.balance(POOR.address, None) == 15
    assert chain.nonce(STRANGER.address, None) == 3


def test_block_times_follow_the_clock_and_always_grow(chain: EmbeddedChain, clock: ManualClock) -> None:
    start = clock.now()
    times = [chain.send(transfer(STRANGER, nonce)).block.timestamp for nonce in range(3)]
    clock.forward(100)
    times.append(chain.send(transfer(STRANGER, 3)).block.timestamp)
    clock.forward(-1000)
    times.append(chain.send(transfer(STRANGER, 4)).block.timestamp)
    assert times == [start, start + 1, start + 2, start + 100, start + 101]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (transfer(STRANGER, 1), "nonce"),
        (transfer(STRANGER, 0, chain_id=1), "another chain"),
        (transfer(POOR, 0), "afford"),
        (transfer(STRANGER, 0, value=FUNDS), "balance"),
        (transfer(STRANGER, 0, gas=20_999), "gas"),
        (transfer(STRANGER, 0, gas=GAS_LIMIT + 1), "gas"),
        (b"", "not a signed transaction"),
        (b"\x02", "not a signed transaction"),
        (b"\x7f" + bytes(100), "not a signed transaction"),
    ],
)
def test_an_invalid_transaction_is_refused_and_leaves_no_trace(chain: EmbeddedChain, raw: bytes, why: str) -> None:
    before = chain.head()
    with pytest.raises(RefusedError, match=why):
        chain.send(raw)
    assert chain.head() == before
    chain.send(transfer(STRANGER, 0))


def test_a_transaction_is_mined_once(chain: EmbeddedChain) -> None:
    raw = transfer(STRANGER, 0)
    chain.send(raw)
    with pytest.raises(RefusedError, match="nonce"):
        chain.send(raw)
    assert chain.balance(POOR.address, None) == 1


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_never_spends_the_senders_money(chain: EmbeddedChain, position: int, bit: int) -> None:
    raw = bytearray(transfer(STRANGER, 0))
    raw[position % len(raw)] ^= 1 << bit
    with pytest.raises(RefusedError):
        chain.send(bytes(raw))


def test_a_full_disk_refuses_the_block_and_the_chain_goes_on_after(chain: EmbeddedChain) -> None:
    connection = chain._database._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    head = _sent_until_full(chain)
    with pytest.raises(InputError, match="no space left for the chain"):
        chain.send(transfer(STRANGER, head.block_number))
    assert chain.head() == head
    connection.execute("PRAGMA max_page_count = 100000")
    chain.send(transfer(STRANGER, head.block_number))


# reading


def test_the_state_after_every_block_stays_readable(chain: EmbeddedChain) -> None:
    for nonce in range(5):
        chain.send(transfer(STRANGER, nonce))
    assert [chain.balance(POOR.address, number) for number in range(6)] == [0, 1, 2, 3, 4, 5]
    assert [chain.nonce(STRANGER.address, number) for number in range(6)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", [-1, 1, 10**9])
def test_a_block_that_is_not_there_is_refused(chain: EmbeddedChain, number: int) -> None:
    with pytest.raises(RefusedError, match="no block"):
        chain.block(number)


def test_a_call_changes_nothing(chain: EmbeddedChain) -> None:
    head = chain.head()
    creation = bytes.fromhex("6001600055") + bytes.fromhex("5f5ff3")
    assert chain.call(Call(STRANGER.address, None, creation), None) == b""
    assert chain.estimate(Call(STRANGER.address, None, creation), None) > 53_000
    assert chain.head() == head
    assert chain.nonce(STRANGER.address, None) == 0


def test_a_call_that_fails_says_so_with_its_data(chain: EmbeddedChain) -> None:
    with pytest.raises(RevertedError) as failure:
        chain.call(Call(STRANGER.address, None, bytes.fromhex("61abcd5f526002601efd")), None)
    assert failure.value.data == bytes.fromhex("abcd")
    with pytest.raises(RevertedError) as failure:
        chain.call(Call(STRANGER.address, None, b"\xfe"), None)
    assert failure.value.data == b""


def test_the_address_of_a_new_contract_is_known_in_advance(path: Path, clock: ManualClock) -> None:
    with deployed(path, clock) as contracts:
        expected = contract_address(RELAYER.address, 0)
        assert not contracts.chain.code(expected, None)
        contracts.node.send(RELAYER, REGISTRY, bytes.fromhex("60fe5f5360015ff3"), None)
        assert contracts.chain.code(expected, None) == b"\xfe"


def test_a_reader_sees_each_block_that_the_writer_mines(path: Path, clock: ManualClock, chain: EmbeddedChain) -> None:
    reader = read_chain(path, clock)
    for nonce in range(3):
        assert reader.head() == chain.head()
        chain.send(transfer(STRANGER, nonce))
    assert reader.balance(POOR.address, None) == 3
    assert reader.balance(POOR.address, 1) == 1
    reader.close()


def test_a_reader_cannot_send(path: Path, clock: ManualClock, chain: EmbeddedChain) -> None:
    reader = read_chain(path, clock)
    with pytest.raises(InputError, match="open for reading"):
        reader.send(transfer(STRANGER, 0))
    reader.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM pairs WHERE length(key) = 32",
        "DELETE FROM pairs WHERE key = CAST('v1:canonical_head_hash' AS BLOB)",
        "UPDATE pairs SET value = 5 WHERE key = CAST('v1:canonical_head_hash' AS BLOB)",
    ],
)
def test_a_chain_with_missing_parts_is_damaged_not_a_crash(path: Path, clock: ManualClock, damage: str) -> None:
    open_chain(path, GENESIS, clock).close()
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    reader = read_chain(path, clock)
    with pytest.raises(InputError, match="damaged"):
        reader.balance(STRANGER.address, None)
    reader.close()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_in_the_file_is_harmless_or_one_clear_line(
    tmp_path: Path, clock: ManualClock, seed: int
) -> None:
    path = tmp_path / "flipped.sqlite"
    path.unlink(missing_ok=True)
    chain = open_chain(path, GENESIS, clock)
    chain.send(transfer(STRANGER, 0))
    head = chain.head()
    chain.close()
    data = bytearray(path.read_bytes())
    data[seed % len(data)] ^= 0xFF
    path.write_bytes(data)
    try:
        reader = read_chain(path, clock)
    except InputError:
        return
    try:
        assert reader.head() == head
        assert reader.balance(POOR.address, None) == 1
        assert reader.logs(LogQuery(0, 9)) == []
    except InputError:
        pass
    finally:
        reader.close()


def _sent_until_full(chain: EmbeddedChain) -> BlockHeaderAPI:
    for nonce in range(1000):
        head = chain.head()
        try:
            chain.send(transfer(STRANGER, nonce))
        except InputError:
            return head
    pytest.fail("a disk of a few pages took a thousand blocks")
