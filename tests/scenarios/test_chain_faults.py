"""Rounds are sealed on a real node while it is killed, unreachable, reorganised, dear, lying: each ends sealed once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from fedchain.adapters.evm.deployment import deploy
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.events import REGISTRY
from fedchain.adapters.evm.fees import Fees
from fedchain.adapters.evm.funding import Payer, check_funds
from fedchain.adapters.evm.intents import account_of, open_intents
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.proof import head_key, verify_storage_proof
from fedchain.adapters.evm.remote import GWEI, RpcSettings, rpc_node
from fedchain.adapters.evm.transactions import Request, signed
from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError, IntegrityError, RejectedTransactionError, UnreachableError
from fedchain.core.record import LinkKind, RoundLink, head_slot
from fedchain.ports.ledger import LedgerIdentity, LinkEvent
from tests.doubles.anvil import Anvil, anvil
from tests.doubles.evm import AGGREGATOR, CHAIN_ID, DEPLOYER, OPERATOR, SITE, STRANGER, TERMS
from tests.doubles.rpc_proxy import RpcProxy, error, result, rpc_proxy
from tests.doubles.signer import NamedSigner
from tests.doubles.stopwatch import ManualStopwatch

pytestmark = pytest.mark.slow

RUN: Final = b"\x77" * 32
LINK: Final = RoundLink(RUN, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0)
ACCOUNT: Final = account_of(CHAIN_ID, AGGREGATOR.address)


@dataclass(slots=True)
class World:
    """A chain with the contracts, a proxy before it, and everything that is needed to open it as a ledger."""

    chain: Anvil
    proxy: RpcProxy
    folder: Path
    identity: LedgerIdentity
    stack: ExitStack
    stopwatch: ManualStopwatch = field(default_factory=ManualStopwatch)
    said: list[str] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "intents.sqlite"

    def settings(self, *urls: str, **changed: Any) -> RpcSettings:
        given: dict[str, Any] = {"poll_s": 0.25, "request_timeout_s": 2.0} | changed
        return RpcSettings(urls or (self.proxy.url,), CHAIN_ID, **given)

    def node(self, *urls: str, **changed: Any) -> Node:
        settings = self.settings(*urls, **changed)
        opened = rpc_node(settings, self.journal, stopwatch=self.stopwatch, say=self.said.append)
        return self.stack.enter_context(opened)

    def ledger(self, *urls: str, **changed: Any) -> EvmLedger:
        return EvmLedger(self.node(*urls, **changed), self.identity, AGGREGATOR)

    def seal(self, ledger: EvmLedger, *rounds: int) -> None:
        for number in rounds:
            previous = ZERO
            if number > 1:
                before = ledger.find(RUN, number - 1)
                assert before is not None
                previous = before.round_hash
            ledger.seal(replace(LINK, round=number), previous)

    def links(self) -> list[LinkEvent]:
        """Return what the node itself has, after checking that it is one chain and that the slot is its end."""
        ledger = self.ledger(self.chain.url)
        links = [event for event in ledger.events() if isinstance(event, LinkEvent)]
        previous = ZERO
        for number, event in enumerate(links, 1):
            assert (event.link.round, event.previous_hash) == (number, previous)
            previous = event.round_hash
        assert ledger.head_slot(RUN) == (head_slot(len(links), previous, closed=False) if links else ZERO)
        return links

    def has_said(self, words: str) -> bool:
        return any(words in line for line in self.said)


@pytest.fixture(scope="module")
def deployed_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a chain with both contracts, made once."""
    folder = tmp_path_factory.mktemp("deployed")
    with anvil(folder) as chain, rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.02), folder / "journal") as node:
        deploy(node, DEPLOYER, TERMS)
        return chain.saved()


@pytest.fixture
def world(tmp_path: Path, deployed_state: Path) -> Iterator[World]:
    with ExitStack() as stack:
        chain = stack.enter_context(anvil(tmp_path, deployed_state))
        proxy = stack.enter_context(rpc_proxy(chain.url))
        node = stack.enter_context(rpc_node(RpcSettings((chain.url,), CHAIN_ID), tmp_path / "deployer.sqlite"))
        yield World(chain, proxy, tmp_path, deploy(node, DEPLOYER, TERMS), stack)


# the node dies, is silent, or forgets


def test_a_node_that_is_killed_and_restarted_loses_no_round(world: World) -> None:
    ledger = world.ledger()
    for number in (1, 2, 3):
        world.seal(ledger, number)
        world.chain.restart()
    assert len(world.links()) == 3


def test_a_node_that_is_killed_with_a_seal_in_its_pool_gets_it_again(world: World) -> None:
    world.chain.mines_at_once(False)
    world.stopwatch.plan(3, world.chain.restart, lambda: world.chain.mines_at_once(False))
    world.stopwatch.plan(30, world.chain.mine)
    world.seal(world.ledger(), 1)
    assert len(world.links()) == 1
    assert world.proxy.asked.count("eth_sendRawTransaction") == 2


@pytest.mark.parametrize(
    "method",
    [
        "eth_sendRawTransaction",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("eth_getLogs", "eth_estimateGas", "eth_getTransactionReceipt")
        ),
    ],
)
def test_an_outage_of_thirty_seconds_delays_a_seal(world: World, method: str) -> None:
    """It begins at each step of a seal."""
    world.proxy.withholds = {method}
    world.stopwatch.meanwhile = lambda: setattr(world.proxy, "is_down", world.stopwatch.time < 30)
    world.stopwatch.plan(30, world.proxy.withholds.clear)
    world.seal(world.ledger(), 1)
    assert world.stopwatch.time >= 30
    assert len(world.links()) == 1


def test_an_outage_longer_than_the_patience_ends_in_an_error_and_the_next_command_goes_on(world: World) -> None:
    world.proxy.withholds = {"eth_sendRawTransaction"}
    with pytest.raises(UnreachableError, match="ledger endpoints do not answer"):
        world.seal(world.ledger(patience_s=20), 1)
    journaled = _attempts(world)
    assert world.links() == []
    world.proxy.withholds.clear()
    world.seal(world.ledger(), 1)
    (link,) = world.links()
    assert [link.transaction] == journaled


def test_a_seal_that_was_taken_though_the_answer_was_lost_is_not_repeated(world: World) -> None:
    world.proxy.loses = {"eth_sendRawTransaction"}
    with pytest.raises(UnreachableError):
        world.seal(world.ledger(patience_s=5), 1)
    world.proxy.loses.clear()
    world.seal(world.ledger(), 1)
    assert len(world.links()) == 1
    assert world.chain.ask("eth_getTransactionCount", "0x" + AGGREGATOR.address.hex(), "latest") == "0x1"


def test_a_dropped_transaction_is_sent_again(world: World) -> None:
    world.chain.mines_at_once(False)
    world.stopwatch.plan(2, world.chain.drop)
    world.stopwatch.plan(40, world.chain.mine)
    world.seal(world.ledger(), 1)
    (link,) = world.links()
    assert [link.transaction] == _attempts(world)


# the chain changes


def test_three_blocks_that_fall_out_come_back_before_the_next_round(world: World) -> None:
    ledger = world.ledger()
    world.seal(ledger, 1, 2, 3)
    before = world.links()
    world.chain.reorganise(3)
    assert world.links() == []
    ledger.seal(replace(LINK, round=4), before[-1].round_hash)
    after = world.links()
    assert [link.transaction for link in after[:3]] == [link.transaction for link in before]
    assert len(after) == 4
    assert world.has_said("fell out of the chain and is sent again")


def test_a_command_after_a_reorganisation_sends_again_what_an_earlier_one_had_sealed(world: World) -> None:
    world.seal(world.ledger(), 1, 2)
    before = world.links()
    world.chain.mine(2)
    world.chain.reorganise(4)
    world.ledger().seal(replace(LINK, round=3), before[-1].round_hash)
    assert len(world.links()) == 3


def test_a_seal_counts_when_it_is_deep_enough(world: World) -> None:
    world.chain.mine(3)  # the contracts are four blocks deep
    world.stopwatch.plan(5, lambda: world.chain.reorganise(1))
    for second in range(10, 17):
        world.stopwatch.plan(second, world.chain.mine)
    ledger = world.ledger(confirmations=4)
    seal = ledger.seal(LINK, ZERO)
    assert world.stopwatch.time >= 12
    assert world.has_said("fell out")
    found = ledger.find(RUN, 1)
    assert found is not None
    assert found.transaction == seal.transaction
    assert len(world.links()) == 1


def test_a_command_that_ends_before_a_seal_is_deep_enough_is_continued_and_sends_nothing_new(world: World) -> None:
    world.chain.mine(3)  # the contracts are four blocks deep
    with pytest.raises(UnreachableError, match="transaction is not confirmed: expected 4 blocks within 5 s, got some"):
        world.ledger(confirmations=4, send_timeout_s=5).seal(LINK, ZERO)
    world.stopwatch.plan(5, lambda: world.chain.mine(3))
    seal = world.ledger(confirmations=4).seal(LINK, ZERO)
    (link,) = world.links()
    assert link.transaction == seal.transaction
    assert world.proxy.asked.count("eth_sendRawTransaction") == 1


def test_a_nonce_that_is_taken_before_ours_is_sent_is_left_to_the_other(world: World) -> None:
    """The node's count lags behind: it names a nonce that was used."""
    foreign = signed(AGGREGATOR, CHAIN_ID, 0, Request(SITE.address, b""), (21_000, Fees(5 * GWEI, GWEI)))
    world.chain.ask("eth_sendRawTransaction", "0x" + foreign.raw.hex())
    answers = iter(["0x0"])

    def lagging(answer: Any) -> Any:
        return answer | {"result": next(answers, answer["result"])}

    world.proxy.changes["eth_getTransactionCount"] = lagging
    world.seal(world.ledger(), 1)
    assert world.has_said("nonce 0 was taken by another transaction")
    assert len(world.links()) == 1


def test_what_too_few_blocks_hold_is_not_read(world: World) -> None:
    world.chain.mine(3)
    world.seal(world.ledger(), 1)
    careful = world.ledger(confirmations=3)
    assert list(careful.events()) == []
    assert careful.head_slot(RUN) == ZERO
    world.chain.mine(2)
    assert len(careful.events()) == 1
    assert careful.head_slot(RUN) != ZERO


# fees and nonces


def test_a_stuck_transaction_is_replaced_at_its_nonce_once_more_is_paid(world: World) -> None:
    world.chain.mines_at_once(False)
    world.stopwatch.plan(2, lambda: world.chain.set_base_fee(20 * GWEI))
    world.stopwatch.plan(3, world.chain.mine)
    world.stopwatch.plan(70, world.chain.mine)
    world.seal(world.ledger(), 1)
    (link,) = world.links()
    first, second = _offers(world)
    assert second.max_fee * 10 >= first.max_fee * 11
    assert second.tip * 10 >= first.tip * 11
    assert _attempts(world)[-1] == link.transaction
    assert world.has_said("is stuck: offering")


def test_a_fee_spike_is_waited_for_and_the_cap_is_never_passed(world: World) -> None:
    world.chain.set_base_fee(600 * GWEI)
    world.chain.mine()
    world.stopwatch.plan(45, lambda: world.chain.set_base_fee(GWEI), world.chain.mine)
    world.seal(world.ledger(max_fee_gwei=500), 1)
    assert world.stopwatch.time >= 45
    assert len(world.links()) == 1
    assert all(offer.max_fee <= 500 * GWEI for offer in _offers(world))
    assert sum("fees are above the cap, waiting" in line for line in world.said) == 1


def test_fees_that_stay_high_end_in_an_error_before_anything_is_sent(world: World) -> None:
    world.chain.set_base_fee(600 * GWEI)
    world.chain.mine()
    with pytest.raises(UnreachableError, match="fees stay above the cap: expected at most 500000000000 wei per gas"):
        world.seal(world.ledger(send_timeout_s=30), 1)
    assert "eth_sendRawTransaction" not in world.proxy.asked
    assert _attempts(world) == []


@pytest.mark.slow
def test_a_stuck_transaction_waits_when_a_replacement_would_pass_the_cap(world: World) -> None:
    world.chain.mines_at_once(False)
    world.stopwatch.plan(2, lambda: world.chain.set_base_fee(20 * GWEI))
    world.stopwatch.plan(3, world.chain.mine)
    world.stopwatch.plan(100, lambda: world.chain.set_base_fee(GWEI), world.chain.mine)
    world.stopwatch.plan(118, world.chain.mine)
    world.seal(world.ledger(max_fee_gwei=4, max_tip_gwei=1), 1)
    assert len(_offers(world)) == 1
    assert world.has_said("a higher fee would pass the cap")
    assert len(world.links()) == 1


def test_a_missing_nonce_is_filled_so_that_the_seal_behind_it_is_mined(world: World) -> None:
    """Another program sent with this key, and its transaction was dropped after ours was numbered."""
    world.chain.mines_at_once(False)
    foreign = signed(AGGREGATOR, CHAIN_ID, 0, Request(SITE.address, b""), (21_000, Fees(5 * GWEI, GWEI)))
    world.chain.ask("eth_sendRawTransaction", "0x" + foreign.raw.hex())
    world.stopwatch.plan(1, lambda: world.chain.ask("anvil_dropTransaction", "0x" + foreign.hash.hex()))
    world.stopwatch.plan(90, world.chain.mine)
    world.seal(world.ledger(), 1)
    assert world.has_said("nonce 0 is missing")
    assert len(world.links()) == 1


def test_a_nonce_that_another_transaction_took_is_left_to_it(world: World) -> None:
    world.chain.mines_at_once(False)
    foreign = signed(AGGREGATOR, CHAIN_ID, 0, Request(SITE.address, b""), (21_000, Fees(50 * GWEI, 9 * GWEI)))
    world.stopwatch.plan(1, lambda: world.chain.ask("eth_sendRawTransaction", "0x" + foreign.raw.hex()))
    world.stopwatch.plan(2, world.chain.mine, lambda: world.chain.mines_at_once(True))
    world.seal(world.ledger(), 1)
    assert len(world.links()) == 1
    assert world.chain.ask("eth_getTransactionCount", "0x" + AGGREGATOR.address.hex(), "latest") == "0x2"


# endpoints that fail or lie


@pytest.mark.parametrize(
    "fault",
    ["503", "slow", pytest.param("down", marks=pytest.mark.slow), pytest.param("foreign", marks=pytest.mark.slow)],
)
def test_one_endpoint_that_fails_is_passed_over(world: World, fault: str) -> None:
    _break(world.proxy, fault)
    world.seal(world.ledger(world.proxy.url, world.chain.url, request_timeout_s=0.2), 1, 2)
    assert len(world.links()) == 2


def test_errors_of_a_server_are_waited_out(world: World) -> None:
    world.proxy.status = 503
    world.stopwatch.plan(20, lambda: setattr(world.proxy, "status", 200))
    world.seal(world.ledger(), 1)
    assert len(world.links()) == 1


def test_a_node_of_another_chain_is_named_and_gets_nothing(world: World) -> None:
    _break(world.proxy, "foreign")
    with pytest.raises(InputError, match=rf"expected chain id 31337, got {world.proxy.url} serves 5"):
        world.seal(world.ledger(), 1)
    assert set(world.proxy.asked) == {"eth_chainId"}


LIES: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "no logs": ("eth_getLogs", result([])),
    "a head that is not there": ("eth_blockNumber", result("0xffffff")),
    "an old head": ("eth_blockNumber", result("0x0")),
    "a refusal": ("eth_estimateGas", error(3, "execution reverted")),
    "too much gas": ("eth_estimateGas", result("0x1c9c380")),
    "another state": ("eth_call", result("0x" + "99" * 32)),
    "no receipt": ("eth_getTransactionReceipt", result(None)),
    "dear blocks": ("eth_maxPriorityFeePerGas", result("0xffffffffffff")),
    "many transactions": ("eth_getTransactionCount", result("0xffff")),
    "another block": (
        "eth_getBlockByNumber",
        lambda answer: answer | {"result": answer["result"] | {"hash": "0x" + "99" * 32, "baseFeePerGas": "0x1"}},
    ),
}


QUICK_LIES: Final = ("a head that is not there", "another block", "no logs")


@pytest.mark.parametrize(
    "lie", [*QUICK_LIES, *(pytest.param(lie, marks=pytest.mark.slow) for lie in LIES if lie not in QUICK_LIES)]
)
def test_one_of_three_endpoints_that_lies_changes_nothing(world: World, lie: str) -> None:
    method, change = LIES[lie]
    world.proxy.changes[method] = change
    with rpc_proxy(world.chain.url) as honest:
        ledger = world.ledger(world.proxy.url, honest.url, world.chain.url, quorum=2)
        world.seal(ledger, 1, 2)
        assert ledger.head_slot(RUN) != b"\x99" * 32
    assert len(world.links()) == 2
    if change in (LIES["no logs"][1], LIES["another state"][1], LIES["another block"][1]):
        assert world.has_said(f"{world.proxy.url} disagrees with the others on {method}")


def test_of_two_endpoints_that_contradict_each_other_both_are_named(world: World) -> None:
    world.seal(world.ledger(), 1)
    world.proxy.changes["eth_getLogs"] = result([])
    with pytest.raises(IntegrityError, match="contradict each other on eth_getLogs") as raised:
        world.ledger(world.proxy.url, world.chain.url, quorum=2).events()
    assert world.proxy.url in str(raised.value)
    assert world.chain.url in str(raised.value)


def test_a_stale_node_is_named_and_not_believed(world: World, deployed_state: Path, tmp_path: Path) -> None:
    world.seal(world.ledger(), 1, 2)
    world.chain.mine(5)
    folder = tmp_path / "stale"
    folder.mkdir()
    with anvil(folder, deployed_state) as stale:
        ledger = world.ledger(stale.url, world.proxy.url, world.chain.url, quorum=2)
        assert len(ledger.events()) == 2
        world.seal(ledger, 3)
        assert world.has_said(f"{stale.url} is not where the others are")
    assert len(world.links()) == 3


def test_a_contract_on_a_node_cannot_make_us_call_its_urls(world: World) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.3)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{{sender}}/{{data}}"
    echo = bytes.fromhex("365f5f37365ffd")  # calldatacopy(0, 0, size); revert(0, size)
    creation = bytes([0x60, len(echo), 0x60, 10, 0x5F, 0x39, 0x60, len(echo), 0x5F, 0xF3]) + echo
    for urls in ((world.proxy.url,), (world.proxy.url, world.chain.url)):
        node = world.node(*urls, quorum=len(urls))
        address = contract_address(STRANGER.address, node.nonce(STRANGER.address))
        node.send(STRANGER, REGISTRY, creation, None)
        types = ("address", "string[]", "bytes", "bytes4", "bytes")
        lookup = replace(REGISTRY, functions={"OffchainLookup": types}, outputs={"OffchainLookup": ()})
        with pytest.raises(RejectedTransactionError, match="unknown error 0x556f1830"):
            node.call(address, lookup, "OffchainLookup", address, [url], b"data", b"\0" * 4, b"")
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()


def test_the_head_of_a_run_is_proved_against_a_block_hash_from_elsewhere(world: World) -> None:
    ledger = world.ledger()
    world.seal(ledger, 1, 2)
    contract, slot = world.identity.rounds_contract, head_key(RUN)
    for urls in ((world.proxy.url,), (world.proxy.url, world.chain.url)):
        proof = world.node(*urls, quorum=len(urls)).storage_proof(contract, slot)
        pinned = bytes.fromhex(world.chain.ask("eth_getBlockByNumber", hex(proof.block), False)["hash"][2:])
        assert verify_storage_proof(proof, pinned, contract, slot) == ledger.head_slot(RUN) != ZERO
        absent = world.node(*urls).storage_proof(contract, head_key(b"\x78" * 32))
        assert verify_storage_proof(absent, pinned, contract, head_key(b"\x78" * 32)) == ZERO
        with pytest.raises(IntegrityError):
            verify_storage_proof(replace(proof, storage_nodes=absent.storage_nodes[:1]), pinned, contract, slot)


def test_a_node_that_keeps_a_round_back_cannot_prove_an_earlier_head(world: World) -> None:
    ledger = world.ledger()
    world.seal(ledger, 1)
    contract, slot = world.identity.rounds_contract, head_key(RUN)
    old = world.node().storage_proof(contract, slot)
    world.seal(ledger, 2)
    pinned = bytes.fromhex(world.chain.ask("eth_getBlockByNumber", "latest", False)["hash"][2:])
    with pytest.raises(IntegrityError, match="storage proof of another block"):
        verify_storage_proof(old, pinned, contract, slot)


# several at once


def test_what_fell_out_after_the_last_send_comes_back_when_its_key_is_settled(world: World) -> None:
    world.seal(world.ledger(), 1, 2)
    world.chain.reorganise(2)
    assert world.links() == []
    for _ in range(2):
        world.node().settle([AGGREGATOR])
        assert len(world.links()) == 2
    assert world.has_said("fell out of the chain and is sent again")


def test_what_waits_when_its_key_is_settled_is_waited_for(world: World) -> None:
    world.chain.mines_at_once(False)
    with pytest.raises(UnreachableError, match="transaction is not confirmed"):
        world.seal(world.ledger(send_timeout_s=5), 1)
    world.chain.drop()
    with pytest.raises(UnreachableError, match="transaction is not confirmed"):
        world.node(send_timeout_s=5).settle([AGGREGATOR])
    world.stopwatch.plan(world.stopwatch.time + 3, world.chain.mine)
    world.node().settle([AGGREGATOR])
    assert len(world.links()) == 1


def test_whoever_takes_over_last_seals(world: World) -> None:
    older, newer = world.ledger(), world.ledger()
    older.take_over()
    world.seal(older, 1)
    newer.take_over()
    assert newer.lead()[0] == AGGREGATOR.address
    before = world.links()
    newer.check_lead()
    for act in (older.check_lead, lambda: world.seal(older, 2)):
        with pytest.raises(
            RejectedTransactionError, match="another aggregator with this key has taken over: expected fence"
        ):
            act()
    assert world.links() == before
    world.seal(newer, 2)
    older.take_over()
    world.seal(older, 3)
    assert len(world.links()) == 3


def test_who_cannot_pay_is_named_before_anything_is_sent(world: World) -> None:
    node, poor = world.node(), NamedSigner("poor").address
    with pytest.raises(
        InputError, match=r"without money for gas: expected 0\.0\d+ coins at 0x\w+ \(poor\), got 0 coins"
    ):
        check_funds(node, [Payer("aggregator", AGGREGATOR.address, 300_000), Payer("poor", poor, 1_000_000)])
    world.proxy.changes["eth_maxPriorityFeePerGas"] = result("0x0")
    world.proxy.changes["eth_getBlockByNumber"] = lambda answer: (
        answer | {"result": answer["result"] | {"baseFeePerGas": "0x0"}}
    )
    check_funds(node, [Payer("poor", poor, 1_000_000)])


def test_two_ledgers_on_one_key_and_journal_take_different_nonces(world: World) -> None:
    registries = [EvmRegistry(world.node(), world.identity, OPERATOR) for _ in range(2)]
    for number in range(1, 7):
        registries[number % 2].add_organisation(bytes([number]) * 32, SITE.address)
    assert world.chain.ask("eth_getTransactionCount", "0x" + OPERATOR.address.hex(), "latest") == "0x6"


def _break(proxy: RpcProxy, fault: str) -> None:
    match fault:
        case "down":
            proxy.is_down = True
        case "503":
            proxy.status = 503
        case "slow":
            proxy.is_slow = True
        case _:
            proxy.changes["eth_chainId"] = result("0x5")


def _journaled(world: World) -> list[Any]:
    intents = open_intents(world.journal)
    try:
        return [attempt for intent in intents.of(ACCOUNT) for attempt in intent.attempts]
    finally:
        intents.close()


def _attempts(world: World) -> list[bytes]:
    return [attempt.hash for attempt in _journaled(world)]


def _offers(world: World) -> list[Fees]:
    return [attempt.fees for attempt in _journaled(world)]
