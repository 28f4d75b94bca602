"""A node that lies, fails, or is asked by many at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak
from web3 import Web3
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from fedchain.adapters.evm.deployment import deploy, embedded_node
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.events import REGISTRY, ROUNDS
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.node import Node, Reading
from fedchain.adapters.evm.opening import read_chain
from fedchain.adapters.evm.provider import EmbeddedProvider
from fedchain.adapters.evm.sending import Rules, Sender
from fedchain.core.digest import ZERO
from fedchain.core.errors import FedchainError, FormatError, InputError, RejectedTransactionError, UnreachableError
from fedchain.core.record import LinkKind, RoundLink
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, OPERATOR, RELAYER, SITE, STRANGER, TERMS, Deployed, deployed
from tests.doubles.signer import NamedSigner

LINK = RoundLink(b"\x77" * 32, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0)


@pytest.fixture
def contracts(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as opened:
        yield opened


class Altered(BaseProvider):
    """The embedded chain, with some answers replaced."""

    def __init__(self, contracts: Deployed, **answers: Callable[[RPCResponse], RPCResponse]) -> None:
        super().__init__()
        self._true = EmbeddedProvider(contracts.chain)
        self._answers = answers

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer = self._true.make_request(method, params)
        change = self._answers.get(method)
        return answer if change is None else change(answer)


def _raises(error: Exception) -> Callable[[RPCResponse], RPCResponse]:
    def fail(_: RPCResponse) -> RPCResponse:
        raise error

    return fail


def _result(value: object) -> Callable[[RPCResponse], RPCResponse]:
    return lambda answer: {"jsonrpc": "2.0", "id": answer["id"], "result": value}


def _error(code: int, message: str) -> Callable[[RPCResponse], RPCResponse]:
    return lambda answer: {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": code, "message": message}}


def _ledger(contracts: Deployed, **answers: Callable[[RPCResponse], RPCResponse]) -> EvmLedger:
    web3 = Web3(Altered(contracts, **answers))
    return EvmLedger(Node(web3, sender=Sender(web3, Rules(timeout_s=0.2))), contracts.identity, AGGREGATOR)


def test_threads_that_send_with_one_key_lose_nothing(contracts: Deployed) -> None:
    registry = EvmRegistry(contracts.node, contracts.identity, OPERATOR)
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(lambda n: registry.add_organisation(bytes([n]) * 32, SITE.address), range(1, 33)))
    assert len(set(hashes)) == 32
    assert len(EvmLedger(contracts.node, contracts.identity).events()) == 32


def test_runs_that_are_sealed_by_threads_stay_apart(contracts: Deployed) -> None:
    ledger = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)

    def seal_run(name: int) -> bytes:
        previous = ZERO
        for round_ in (1, 2, 3):
            previous = ledger.seal(replace(LINK, run=bytes([name]) * 32, round=round_), previous).round_hash
        return previous

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(seal_run, range(1, 6)))
    for name, end in enumerate(ends, 1):
        found = ledger.find(bytes([name]) * 32, 3)
        assert found is not None
        assert found.round_hash == end


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), TimeoutError("late"), OSError("broken pipe")])
@pytest.mark.parametrize("method", ["eth_getLogs", "eth_call", "eth_estimateGas", "eth_sendRawTransaction"])
def test_a_connection_that_fails_is_unreachable_and_retrying_later_works(
    contracts: Deployed, method: str, error: OSError
) -> None:
    with pytest.raises(UnreachableError):  # eth_call already when the fence is read
        _ledger(contracts, **{method: _raises(error)}).seal(LINK, ZERO)
    whole = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    whole.seal(LINK, ZERO)
    assert len(whole.events()) == 1


def test_a_seal_whose_answer_was_lost_is_found_and_not_repeated(contracts: Deployed) -> None:
    deaf = _ledger(contracts, eth_sendRawTransaction=_raises(TimeoutError("the answer was lost")))
    with pytest.raises(UnreachableError):
        deaf.seal(LINK, ZERO)
    seal = EvmLedger(contracts.node, contracts.identity, AGGREGATOR).seal(LINK, ZERO)
    (event,) = EvmLedger(contracts.node, contracts.identity).events()
    assert event.transaction == seal.transaction


def test_a_seal_that_is_confirmed_while_it_is_sent_again_is_taken_as_the_first(contracts: Deployed) -> None:
    whole = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    first = whole.seal(LINK, ZERO)
    answers = iter([_result([])])

    def empty_once(answer: RPCResponse) -> RPCResponse:
        change = next(answers, None)
        return answer if change is None else change(answer)

    late = _ledger(contracts, eth_getLogs=empty_once)
    assert late.seal(LINK, ZERO) == first
    assert len(whole.events()) == 1


def test_a_transaction_that_is_never_confirmed_is_unreachable(contracts: Deployed) -> None:
    lost = _ledger(contracts, eth_getTransactionReceipt=_result(None))
    with pytest.raises(UnreachableError):
        lost.seal(LINK, ZERO)


def test_a_transaction_that_fails_in_its_block_says_why(contracts: Deployed) -> None:
    whole = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    whole.seal(LINK, ZERO)
    blind = Node(Web3(Altered(contracts, eth_estimateGas=_result("0x30d40"))))
    content = ROUNDS.call("seal", (LINK.run, 1, 1, *[ZERO] * 6, 1, 0), 1)
    with pytest.raises(RejectedTransactionError, match="WrongHead"):
        blind.send(AGGREGATOR, ROUNDS, content, contracts.identity.rounds_contract)


def test_a_key_without_funds_is_refused_in_one_line(contracts: Deployed) -> None:
    poor = EvmRegistry(contracts.node, contracts.identity, NamedSigner("poor"))
    with pytest.raises(RejectedTransactionError):
        poor.add_organisation(b"\x01" * 32, SITE.address)


def test_an_error_of_the_node_is_one_of_ours(contracts: Deployed) -> None:
    class Refusing(EmbeddedProvider):
        def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
            if method == "eth_sendRawTransaction":
                return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "transaction underpriced"}}
            return super().make_request(method, params)

    node = Node(Web3(Refusing(contracts.chain)))
    with pytest.raises(RejectedTransactionError, match="underpriced"):
        EvmRegistry(node, contracts.identity, OPERATOR).add_organisation(b"\x01" * 32, SITE.address)


def test_a_node_that_refuses_to_read_is_unreachable(contracts: Deployed) -> None:
    limited = _ledger(contracts, eth_getLogs=_error(-32005, "limit exceeded"))
    with pytest.raises(UnreachableError, match="limit exceeded"):
        limited.events()


def test_a_seal_that_was_taken_though_the_node_said_no_is_found(contracts: Deployed) -> None:
    known = _error(-32000, "already known")
    seal = _ledger(contracts, eth_sendRawTransaction=known).seal(LINK, ZERO)
    (event,) = EvmLedger(contracts.node, contracts.identity).events()
    assert event.transaction == seal.transaction


class Limited(BaseProvider):
    """The embedded chain, as a node that takes ranges of `most` blocks only; `ranges` is what it was asked."""

    def __init__(self, contracts: Deployed, most: int) -> None:
        super().__init__()
        self._true = EmbeddedProvider(contracts.chain)
        self._most = most
        self.ranges: list[tuple[int, int]] = []

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer = self._true.make_request(method, params)
        if method == "eth_getLogs":
            self.ranges.append((int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)))
            if self.ranges[-1][1] - self.ranges[-1][0] >= self._most:
                return _error(-32005, "query returned more than 10000 results")(answer)
        return answer


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_a_node_that_refuses_long_ranges_is_read_in_short_ones(contracts: Deployed, most: int) -> None:
    whole = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    for name in range(1, 16):
        whole.seal(replace(LINK, run=bytes([name]) * 32), ZERO)
    provider = Limited(contracts, most)
    node = Node(Web3(provider), Reading(first_block=2, blocks_a_query=12))
    assert EvmLedger(node, contracts.identity).events() == whole.events()
    taken = [number for first, last in provider.ranges if last - first < most for number in range(first, last + 1)]
    assert taken == list(range(2, contracts.chain.head().block_number + 1))


def test_a_range_grows_again_after_it_was_cut(contracts: Deployed) -> None:
    whole = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    for name in range(1, 16):
        whole.seal(replace(LINK, run=bytes([name]) * 32), ZERO)
    provider = Limited(contracts, 4)
    EvmLedger(Node(Web3(provider), Reading(blocks_a_query=8)), contracts.identity).events()
    sizes = [last - first + 1 for first, last in provider.ranges]
    assert sizes[:4] == [8, 4, 8, 4]


def test_logs_come_in_the_order_of_the_chain_whatever_the_node_does(contracts: Deployed) -> None:
    whole = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    for name in (1, 2, 3):
        whole.seal(replace(LINK, run=bytes([name]) * 32), ZERO)

    def reversed_(answer: RPCResponse) -> RPCResponse:
        logs: Any = answer["result"]
        return _result(logs[::-1])(answer)

    assert _ledger(contracts, eth_getLogs=reversed_).events() == whole.events()


@pytest.mark.parametrize("alter", ["twice", "elsewhere", "removed"])
def test_a_log_that_cannot_stand_there_is_a_format_error(contracts: Deployed, alter: str) -> None:
    EvmLedger(contracts.node, contracts.identity, AGGREGATOR).seal(LINK, ZERO)

    def altered(answer: RPCResponse) -> RPCResponse:
        logs: Any = answer["result"]
        changes: dict[str, list[Any]] = {
            "twice": [*logs, *logs],
            "elsewhere": [log | {"blockNumber": "0xffff"} for log in logs],
            "removed": [log | {"removed": True} for log in logs],
        }
        return _result(changes[alter])(answer)

    with pytest.raises(FormatError, match="logs of the ledger node"):
        _ledger(contracts, eth_getLogs=altered).events()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [{}],
        [{"address": 5, "topics": [], "data": "0x", "transactionHash": "0x00", "blockHash": "0x00"}],
        [{"address": "0x" + "00" * 20, "topics": "nonsense"}],
        "nonsense",
        5,
    ],
)
def test_logs_without_sense_are_one_of_our_errors(contracts: Deployed, answer: object) -> None:
    lying = _ledger(contracts, eth_getLogs=_result(answer))
    with pytest.raises(FedchainError):
        lying.events()


def test_a_contract_that_answers_something_else_is_a_format_error(contracts: Deployed) -> None:
    node = Node(Web3(Altered(contracts, eth_call=_result("0x0102"))))
    with pytest.raises(FormatError):
        EvmLedger(node, contracts.identity).registry_head()
    with pytest.raises(FormatError):
        EvmLedger(node, contracts.identity, AGGREGATOR)


def test_a_ledger_without_a_key_reads_and_does_not_seal(contracts: Deployed) -> None:
    reader = EvmLedger(contracts.node, contracts.identity)
    assert list(reader.events()) == []
    with pytest.raises(InputError, match="no key to seal with"):
        reader.seal(LINK, ZERO)


def test_a_reader_of_the_file_reads_and_does_not_send(contracts: Deployed, tmp_path: Path) -> None:
    EvmLedger(contracts.node, contracts.identity, AGGREGATOR).seal(LINK, ZERO)
    chain = read_chain(tmp_path / "chain.sqlite", ManualClock())
    reader = EvmLedger(embedded_node(chain), contracts.identity, AGGREGATOR)
    assert len(reader.events()) == 1
    with pytest.raises(InputError, match="open for reading"):
        reader.seal(replace(LINK, run=b"\x01" * 32), ZERO)
    chain.close()


def test_a_contract_cannot_make_us_call_its_urls(contracts: Deployed) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.3)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{{sender}}/{{data}}"
    echo = bytes.fromhex("365f5f37365ffd")  # calldatacopy(0, 0, size); revert(0, size)
    creation = bytes([0x60, len(echo), 0x60, 10, 0x5F, 0x39, 0x60, len(echo), 0x5F, 0xF3]) + echo
    address = contract_address(RELAYER.address, contracts.node.nonce(RELAYER.address))
    contracts.node.send(RELAYER, REGISTRY, creation, None)
    types = ("address", "string[]", "bytes", "bytes4", "bytes")
    lookup = replace(REGISTRY, functions={"OffchainLookup": types}, outputs={"OffchainLookup": ()})
    assert lookup.call("OffchainLookup", address, [url], b"", b"\0" * 4, b"")[:4].hex() == "556f1830"
    with pytest.raises(RejectedTransactionError, match="unknown error 0x556f1830"):
        contracts.node.call(address, lookup, "OffchainLookup", address, [url], b"data", b"\0" * 4, b"")
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()


def test_times_come_from_the_block_where_logs_have_none(contracts: Deployed) -> None:
    def without_times(answer: RPCResponse) -> RPCResponse:
        logs: Any = answer["result"]
        return _result([{k: v for k, v in log.items() if k != "blockTimestamp"} for log in logs])(answer)

    EvmLedger(contracts.node, contracts.identity, AGGREGATOR).seal(LINK, ZERO)
    old = _ledger(contracts, eth_getLogs=without_times)
    new = EvmLedger(contracts.node, contracts.identity)
    assert [event.at for event in old.events()] == [event.at for event in new.events()]


def test_two_senders_do_not_wait_for_each_other_for_ever(contracts: Deployed) -> None:
    failures: list[Exception] = []

    def refuse() -> None:
        try:
            EvmRegistry(contracts.node, contracts.identity, STRANGER).add_organisation(b"\x01" * 32, SITE.address)
        except RejectedTransactionError as error:
            failures.append(error)

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(failures) == 4
    assert not any(thread.is_alive() for thread in threads)


def test_a_deployment_is_announced_by_its_roles_only(contracts: Deployed) -> None:
    other = deploy(contracts.node, RELAYER, replace(TERMS, federation=b"\x05" * 32))
    logs = contracts.node.logs([other.registry_contract, other.rounds_contract])
    assert {log.topics[0] for log in logs} == {
        keccak(b"RoleGranted(bytes32,address,address)"),
        keccak(b"OwnershipTransferred(address,address)"),
        keccak(b"AggregatorSet(address,uint32)"),
    }
    assert list(EvmLedger(contracts.node, other).events()) == []
