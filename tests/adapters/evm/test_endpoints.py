"""A quorum of endpoints: what one of them says alone decides nothing, and what it fails at holds nobody up."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.evm.agreement import agreed
from fedchain.adapters.evm.endpoints import QuorumProvider, QuorumRules
from fedchain.adapters.evm.http_endpoint import EndpointError
from fedchain.core.errors import InputError, IntegrityError, UnreachableError
from tests.doubles.stopwatch import ManualStopwatch

CHAIN: Final = 7
LOG: Final = {"address": "0xAb", "topics": ["0x01"], "data": "0x", "blockNumber": "0x5", "blockHash": "0x02",
              "transactionHash": "0x03", "logIndex": "0x0", "removed": False}  # fmt: skip


@dataclass(slots=True)
class Scripted:
    """An endpoint in memory: `results` by method, an exception to fail with, everything that it was asked."""

    name: str
    results: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    chain: int = CHAIN
    head: int = 20
    is_silent: bool = False
    waits_for: threading.Event | None = None

    def ask(self, body: bytes, timeout_s: float) -> Any:
        request = json.loads(body)
        method = request["method"]
        self.asked.append((method, request["params"]))
        if self.waits_for is not None:
            self.waits_for.wait(5)
        if self.is_silent:
            raise EndpointError(f"no answer within {timeout_s:g} s")
        own = {
            "eth_chainId": hex(self.chain),
            "eth_blockNumber": hex(self.head),
            "eth_getBlockByNumber": {"hash": "0x0a"},
        }
        found = (own | self.results)[method]
        return {
            "jsonrpc": "2.0",
            "id": 1,
            **(found if isinstance(found, dict) and "error" in found else {"result": found}),
        }

    def methods(self) -> list[str]:
        return [method for method, _ in self.asked if method not in {"eth_chainId", "eth_blockNumber"}]


@dataclass(slots=True)
class World:
    """Three endpoints that agree, until a test changes one."""

    nodes: tuple[Scripted, ...]
    stopwatch: ManualStopwatch = field(default_factory=ManualStopwatch)
    said: list[str] = field(default_factory=list)

    def provider(self, quorum: int = 2) -> QuorumProvider:
        rules = QuorumRules(CHAIN, quorum, request_timeout_s=1.0)
        return QuorumProvider(self.nodes, rules, stopwatch=self.stopwatch, say=self.said.append)

    def ask(self, method: str, *params: Any, quorum: int = 2) -> Any:
        return self.provider(quorum).make_request(method, list(params))["result"]  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World(tuple(Scripted(name, {"eth_call": "0x01", "eth_getLogs": [LOG]}) for name in "abc"))


def test_what_two_of_three_say_is_taken_and_the_third_is_named_once(world: World) -> None:
    world.nodes[0].results["eth_call"] = "0x99"
    provider = world.provider()
    for _ in range(3):
        assert provider.make_request("eth_call", [{}, "latest"])["result"] == "0x01"  # type: ignore[arg-type]
    assert world.said == ['ledger endpoint a disagrees with the others on eth_call: "0x99"']


def test_the_latest_block_is_one_that_a_quorum_has(world: World) -> None:
    for node, head in zip(world.nodes, (999, 20, 18), strict=True):
        node.head = head
    world.ask("eth_call", {}, "latest")
    assert ("eth_call", [{}, hex(20)]) in world.nodes[1].asked
    assert "eth_call" not in world.nodes[2].methods()
    assert world.said == ["ledger endpoint a is not where the others are: block 999 instead of 20"]


def test_endpoints_on_different_chains_behind_one_id_are_found_at_the_block_hash(world: World) -> None:
    for number, node in enumerate(world.nodes):
        node.results["eth_getBlockByNumber"] = {"hash": f"0x0{number}"}
    with pytest.raises(IntegrityError, match="contradict each other on eth_getBlockByNumber") as raised:
        world.ask("eth_call", {}, "latest")
    assert all(f'{name} says {{"hash": "0x0{number}"}}' in str(raised.value) for number, name in enumerate("abc"))


def test_nodes_that_learn_of_a_block_late_are_given_time(world: World) -> None:
    for node in world.nodes[:2]:
        node.results["eth_call"] = "0x" + node.name
    world.stopwatch.plan(2, lambda: world.nodes[0].results.update(eth_call="0x01"))
    assert world.ask("eth_call", {}, "0x5") == "0x01"
    assert world.stopwatch.time >= 2


def test_additions_of_a_maker_and_dates_of_logs_are_no_contradiction(world: World) -> None:
    world.nodes[0].results["eth_getLogs"] = [LOG | {"blockTimestamp": "0x1", "address": "0xaB"}]
    world.nodes[1].results["eth_getLogs"] = [LOG | {"own": 1}]
    world.nodes[2].is_silent = True
    (log,) = world.ask("eth_getLogs", {"toBlock": "0x5"})
    assert "blockTimestamp" not in log
    assert "own" not in log
    assert not any("disagrees" in line for line in world.said)


def test_a_refusal_is_believed_to_a_quorum_only(world: World) -> None:
    refusal = {"error": {"code": 3, "message": "reverted", "data": "0x1234"}}
    world.nodes[0].results["eth_estimateGas"] = refusal
    for node in world.nodes[1:]:
        node.results["eth_estimateGas"] = hex(90 + len(node.asked))
    assert world.ask("eth_estimateGas", {}) == hex(90)
    world.nodes[1].results["eth_estimateGas"] = refusal | {"error": refusal["error"] | {"message": "in other words"}}
    answer = world.provider().make_request("eth_estimateGas", [{}])  # type: ignore[arg-type]
    assert answer["error"]["code"] == 3


def test_a_receipt_that_not_all_have_yet_is_not_there_yet(world: World) -> None:
    for node in world.nodes:
        node.results["eth_getTransactionReceipt"] = None
    world.nodes[0].results["eth_getTransactionReceipt"] = {"status": "0x1", "logs": [LOG]}
    assert world.ask("eth_getTransactionReceipt", "0x01") is None
    world.nodes[1].results["eth_getTransactionReceipt"] = {"status": "0x1", "logs": [LOG]}
    assert world.ask("eth_getTransactionReceipt", "0x01") == {"status": "0x1", "logs": [LOG]}


def test_a_transaction_goes_to_all_and_one_that_takes_it_is_enough(world: World) -> None:
    for node in world.nodes:
        node.results["eth_sendRawTransaction"] = {"error": {"code": -32000, "message": "already known"}}
    world.nodes[2].results["eth_sendRawTransaction"] = "0x05"
    assert world.ask("eth_sendRawTransaction", "0x02", quorum=1) == "0x05"
    assert all(node.methods() == ["eth_sendRawTransaction"] for node in world.nodes)


def test_a_transaction_that_all_refuse_is_refused(world: World) -> None:
    for node in world.nodes:
        node.results["eth_sendRawTransaction"] = {"error": {"code": -32000, "message": "insufficient funds"}}
    answer = world.provider().make_request("eth_sendRawTransaction", ["0x02"])  # type: ignore[arg-type]
    assert answer["error"]["message"] == "insufficient funds"


def test_a_slow_endpoint_is_not_waited_for_nor_asked_again_at_once(world: World) -> None:
    world.nodes[0].waits_for = threading.Event()
    provider = world.provider()
    for _ in range(5):
        provider.make_request("eth_call", [{}, "0x5"])  # type: ignore[arg-type]
    assert len(world.nodes[0].asked) <= 2
    assert len(world.nodes[1].methods()) == 5
    world.nodes[0].waits_for.set()


def test_with_a_quorum_of_one_the_next_is_asked_where_the_first_fails(world: World) -> None:
    world.nodes[0].is_silent = True
    assert world.ask("eth_call", {}, "latest", quorum=1) == "0x01"
    assert world.nodes[1].methods() == ["eth_call"]
    assert world.nodes[2].asked == []


def test_when_too_few_answer_all_are_named_after_the_patience(world: World) -> None:
    for node in world.nodes[:2]:
        node.is_silent = True
    expected = "expected 2 of 3 within 120 s, got a: no answer within 1 s; b: no answer within 1 s"
    with pytest.raises(UnreachableError, match=expected):
        world.ask("eth_call", {}, "0x5")
    assert world.stopwatch.time >= 120
    assert len(world.nodes[0].asked) < 60


def test_an_endpoint_of_another_chain_is_asked_for_nothing_else(world: World) -> None:
    world.nodes[0].chain = 8
    assert world.ask("eth_call", {}, "0x5") == "0x01"
    assert world.nodes[0].methods() == []
    assert any("ledger endpoint a is of another chain" in line for line in world.said)
    world.nodes[1].chain = 9
    with pytest.raises(InputError, match="expected chain id 7, got a serves 8; b serves 9"):
        world.ask("eth_call", {}, "0x5")


def test_an_endpoint_that_comes_back_as_another_chain_is_noticed(world: World) -> None:
    provider = world.provider()
    provider.make_request("eth_call", [{}, "0x5"])  # type: ignore[arg-type]
    world.nodes[0].is_silent = True
    provider.make_request("eth_call", [{}, "0x5"])  # type: ignore[arg-type]
    world.nodes[0].is_silent, world.nodes[0].chain = False, 8
    world.stopwatch.time += 100
    assert provider.make_request("eth_call", [{}, "0x5"])["result"] == "0x01"  # type: ignore[arg-type]
    assert any("serves chain 8 instead of 7" in line for line in world.said)


@pytest.mark.parametrize(("names", "quorum"), [("", 1), ("a", 2), ("aa", 1), ("ab", 0), ("abcd", 2), ("abc", 4)])
def test_a_quorum_is_one_or_a_majority_of_different_endpoints(names: str, quorum: int) -> None:
    with pytest.raises(InputError, match="ledger endpoints"):
        QuorumProvider([Scripted(name) for name in names], QuorumRules(CHAIN, quorum))


NUMBERS: Final = st.integers(0, 2**64)


@given(honest=st.lists(NUMBERS, min_size=2, max_size=4), lies=st.lists(NUMBERS | st.none(), max_size=1))
@pytest.mark.parametrize("method", ["eth_blockNumber", "eth_getTransactionCount", "eth_estimateGas", "eth_gasPrice"])
def test_one_liar_moves_no_number_out_of_the_range_of_the_honest(
    method: str, honest: list[int], lies: list[int | None]
) -> None:
    values = [*lies, *honest]
    quorum = len(values) // 2 + 1
    answers: Mapping[str, Any] = {
        str(index): {"result": "nonsense" if value is None else hex(value)} for index, value in enumerate(values)
    }
    found = agreed(method, answers, quorum)
    assert found is not None
    assert min(honest) <= int(found[0]["result"], 16) <= max(honest)


@pytest.mark.parametrize(
    "member", ["address", "topics", "data", "blockNumber", "blockHash", "transactionHash", "logIndex"]
)
def test_every_member_of_a_log_that_consensus_fixes_is_compared(world: World, member: str) -> None:
    for node in world.nodes:
        node.results["eth_getLogs"] = [LOG | {member: "0x" + node.name}]
    with pytest.raises(IntegrityError, match="contradict each other on eth_getLogs"):
        world.ask("eth_getLogs", {"toBlock": "0x5"})
