"""Whole experiments on a real node that is killed, silent, reorganised, dear or lying: every round is sealed once."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from fedchain.adapters.home import create_home, open_home
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import ExperimentConfig, LedgerConfig, NodeConfig
from fedchain.core.errors import InputError, RejectedTransactionError
from fedchain.core.record import LinkKind
from fedchain.ports.ledger import LinkEvent
from fedchain.ports.watcher import Event, RoundOpened, RoundSealed, RunStarted
from fedchain.wiring.parties import parties_of, read_ledger, written_ledger
from tests.doubles.anvil import FUNDS, Anvil, anvil
from tests.doubles.evm import CHAIN_ID
from tests.doubles.rpc_proxy import RpcProxy, result, rpc_proxy
from tests.scenarios.genuine import SMALL, ignore, run_quietly

pytestmark = pytest.mark.slow
GWEI: Final = 10**9
Moment = Callable[[Event], bool]


@dataclass(slots=True)
class World:
    """A node, a proxy before it, and a home whose operators have coins there."""

    chain: Anvil
    proxy: RpcProxy
    home: Path

    def config(self, *urls: str, **changed: Any) -> ExperimentConfig:
        node = NodeConfig(
            endpoints=urls or (self.proxy.url,),
            quorum=1,
            confirmations=1,
            buried_after=64,
            first_block=0,
            patience_s=120,
            send_timeout_s=120,
            poll_ms=50,
            resend_after_s=1,
            stuck_after_s=3,
            max_fee_gwei=500,
            max_tip_gwei=50,
        )
        return replace(SMALL, ledger=LedgerConfig("rpc", CHAIN_ID, replace(node, **changed)))

    def run(self, config: ExperimentConfig | None = None, *faults: tuple[Moment, Callable[[], object]]) -> bytes:
        """Run the experiment; each fault happens once, when its moment comes."""
        left = list(faults)

        def watch(event: Event) -> None:
            for fault in [each for each in left if each[0](event)]:
                left.remove(fault)
                fault[1]()

        run = run_quietly(config or self.config(), self.home, watch)
        assert not left, "a fault did not happen"
        return run

    def mines_again(self) -> None:
        self.chain.mines_at_once(True)
        self.chain.mine()

    def is_whole(self, *runs: bytes) -> None:
        """Every round of the runs stands once on the chain, and the record verifies."""
        with read_ledger(open_home(self.home)) as ledger:
            links = [event for event in ledger.events() if isinstance(event, LinkEvent)]
        kinds = [LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
        for run in runs:
            its = [event.link for event in links if event.link.run == run]
            assert [(link.round, link.kind) for link in its] == list(enumerate(kinds, 1))
        assert len(links) == len(kinds) * len(runs)
        where = ["--home", str(self.home)]
        assert main(["verify", *where, "--trust", str(open_home(self.home).trust)]) == Exit.DONE
        assert main(["verify", *where]) == Exit.UNPINNED


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "node"
    folder.mkdir()
    with ExitStack() as stack:
        chain = stack.enter_context(anvil(folder))
        proxy = stack.enter_context(rpc_proxy(chain.url))
        yield World(chain, proxy, _home(tmp_path / "home", chain))


def _home(path: Path, chain: Anvil) -> Path:
    parties = parties_of(create_home(path))
    for each in (parties.deployer, parties.operator, parties.aggregator):
        chain.ask("anvil_setBalance", "0x" + each.address.hex(), FUNDS)
    return path


def started(event: Event) -> bool:
    """The sites are enrolled, nothing is sealed yet."""
    return isinstance(event, RunStarted)


def opened(number: int) -> Moment:
    """The round before is on its way to the chain."""
    return lambda event: isinstance(event, RoundOpened) and event.round == number


def sealed(number: int) -> Moment:
    return lambda event: isinstance(event, RoundSealed) and event.round == number


def later(seconds: float, act: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


# without faults


def test_a_run_is_sealed_on_a_node_and_says_nothing_of_how_it_was_reached(world: World) -> None:
    first = world.run()
    second = world.run(replace(world.config(), seed=2))
    world.is_whole(first, second)
    address = f"127.0.0.1:{world.proxy.port}".encode()
    kept = [path for path in world.home.rglob("*") if path.is_file() and address in path.read_bytes()]
    assert kept == [open_home(world.home).node]
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_a_home_keeps_its_kind_and_its_chain(world: World, tmp_path: Path) -> None:
    run = world.run()
    with pytest.raises(InputError, match="another kind: expected ledger=rpc, got ledger=embedded"):
        run_quietly(SMALL, world.home)
    with pytest.raises(InputError, match=r"expected ledger.chain_id=31337, got 5"):
        run_quietly(replace(SMALL, ledger=replace(world.config().ledger, chain_id=5)), world.home)
    folder = tmp_path / "namesake"
    folder.mkdir()
    with anvil(folder) as namesake, pytest.raises(InputError, match="another chain with id 31337: expected first"):
        world.run(world.config(namesake.url))
    world.is_whole(run)


def test_rewards_are_paid_on_the_node_and_its_head_is_proved_there(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run = world.run(replace(world.config(), rewards=replace(SMALL.rewards, dispute_window_s=1)))
    where = ["--home", str(world.home)]
    assert main(["rewards", "propose", *where]) == Exit.DONE
    world.chain.ask("evm_increaseTime", 10)
    world.chain.mine()
    assert main(["rewards", "finalize", *where]) == Exit.DONE
    assert main(["rewards", "claim", *where]) == Exit.DONE
    capsys.readouterr()
    assert main(["rewards", *where, "--json"]) == Exit.UNPINNED
    paid = json.loads(capsys.readouterr().out)["rewards"].values()
    assert sum(each["claimed"] for each in paid) == sum(each["earned"] for each in paid) > 0
    newest = world.chain.ask("eth_getBlockByNumber", "latest", False)["hash"]
    assert main(["ledger", "prove", run.hex(), "--block", newest, *where]) == Exit.DONE
    assert main(["ledger", "status", *where]) == Exit.DONE
    world.is_whole(run)


# faults of the node


def test_the_node_is_killed_and_restarted(world: World) -> None:
    world.is_whole(world.run(None, (opened(1), world.chain.restart), (opened(2), world.chain.restart)))


def test_the_node_is_unreachable_for_thirty_seconds(world: World) -> None:
    def cut() -> None:
        world.proxy.is_down = True
        later(30, lambda: setattr(world.proxy, "is_down", False))

    world.is_whole(world.run(None, (opened(2), cut)))


def test_three_blocks_are_reorganised_after_a_seal_and_after_the_last_one(world: World) -> None:
    """The registry's blocks lie deeper."""
    world.is_whole(
        world.run(
            None,
            (started, lambda: world.chain.mine(3)),
            (sealed(2), lambda: world.chain.reorganise(3)),
            (sealed(3), lambda: world.chain.reorganise(3)),
        )
    )


def test_what_falls_out_after_the_end_of_a_run_comes_back_with_the_next_command(world: World) -> None:
    first = world.run()
    world.chain.reorganise(3)
    with read_ledger(open_home(world.home)) as ledger:
        assert not any(isinstance(event, LinkEvent) for event in ledger.events())
    second = world.run(replace(world.config(), seed=2))
    world.is_whole(first, second)


def test_a_seal_is_dropped_from_the_pool(world: World) -> None:
    def stall() -> None:
        world.chain.mines_at_once(False)
        later(2, world.chain.drop)
        later(4, world.mines_again)

    world.is_whole(world.run(None, (opened(1), stall)))


def test_a_seal_is_stuck_until_more_is_offered(world: World) -> None:
    def stall() -> None:
        world.chain.mines_at_once(False)
        later(8, world.mines_again)

    world.is_whole(world.run(None, (opened(1), stall)))
    assert world.proxy.asked.count("eth_sendRawTransaction") > world.chain.block()


def test_fees_rise_above_the_cap_for_a_while(world: World) -> None:
    def rise() -> None:
        world.chain.set_base_fee(600 * GWEI)
        world.chain.mine()
        later(3, lambda: world.chain.mine(20))

    world.is_whole(world.run(None, (opened(1), rise)))


def test_one_of_three_endpoints_lies(world: World) -> None:
    def lie() -> None:
        world.proxy.changes |= {"eth_getLogs": result([]), "eth_call": result("0x" + "99" * 32)}

    with rpc_proxy(world.chain.url) as honest:
        config = world.config(world.proxy.url, honest.url, world.chain.url, quorum=2)
        world.is_whole(world.run(config, (started, lie)))


# releases


def test_a_model_is_released_on_a_node(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run = world.run().hex()
    home = ["--home", str(world.home)]
    assert main(["model", "register", run, *home]) == Exit.DONE
    assert main(["model", "approve", run, "--as", "clinical", *home]) == Exit.POLICY
    world.chain.restart()  # a new block, and whatever was kept is kept in the home
    world.chain.mine()
    assert main(["model", "approve", run, "--as", "quality", *home]) == Exit.DONE
    assert main(["model", "deploy", run, *home]) == Exit.DONE
    sent = world.chain.block()
    assert main(["model", "deploy", run, *home]) == Exit.DONE
    assert main(["model", "register", run, *home]) == Exit.DONE
    assert world.chain.block() == sent, "what is done is not sent again"
    capsys.readouterr()
    assert main(["model", "status", run, *home, "--json"]) == Exit.DONE
    (shown,) = json.loads(capsys.readouterr().out)["versions"]
    assert (shown["state"], shown["released"]) == ("deployed", True)
    world.is_whole(bytes.fromhex(run))


# two aggregators


def test_of_two_aggregators_with_one_key_the_older_is_refused(world: World, tmp_path: Path) -> None:
    config = world.config()

    def rival() -> None:
        other = open_home(shutil.copytree(world.home, tmp_path / "rival"))
        with written_ledger(other, parties_of(other), config.ledger):
            pass

    with pytest.raises(RejectedTransactionError, match="another aggregator with this key has taken over"):
        world.run(config, (opened(1), rival))
    world.is_whole(run_quietly(config, world.home, ignore))


# what a user gets wrong


def test_a_foreign_chain_id_is_wrong_input(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_command(world, f"ledger.node.endpoints=[{world.chain.url}]", "ledger.chain_id=5")) == Exit.INPUT
    assert "expected chain id 5, got" in _only_line(capsys)


def test_a_dead_endpoint_is_unreachable(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.proxy.is_down = True
    command = _command(world, f"ledger.node.endpoints=[{world.proxy.url}]", "ledger.node.patience_s=1")
    assert main(command) == Exit.UNREACHABLE
    assert "ledger endpoints do not answer" in _only_line(capsys)


def test_addresses_without_coins_are_named_with_what_they_need(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.home = tmp_path / "poor"
    assert main(_command(world, f"ledger.node.endpoints=[{world.chain.url}]")) == Exit.INPUT
    line = _only_line(capsys)
    assert all(role in line for role in ("(deployer)", "(operator)", "(aggregator)"))
    assert "got 0 coins, 0 coins, 0 coins" in line


def _command(world: World, *overrides: str) -> list[str]:
    return ["run", "privacy=off", "rounds=2", "ledger=rpc", *overrides, "--home", str(world.home)]


def _only_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("fedchain: ")]
    return line
