"""Two processes that write one embedded chain, with one key, make one chain of it and lose no transaction."""

from __future__ import annotations

import threading
from pathlib import Path

from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.system import SystemClock
from fedchain.core.digest import ZERO
from fedchain.core.record import LinkKind, RoundLink
from fedchain.ports.ledger import LinkEvent
from tests.doubles.evm import AGGREGATOR, deployed

RUNS = (b"\x01" * 32, b"\x02" * 32)
ROUNDS = 5


def links(run: bytes) -> list[RoundLink]:
    return [
        RoundLink(run, number, LinkKind.ABORTED, ZERO, ZERO, b"m" * 32, b"m" * 32, bytes([number]) * 32, 0, 0)
        for number in range(1, ROUNDS + 1)
    ]


def test_two_runs_seal_at_once_with_one_key(tmp_path: Path) -> None:
    path, failures = tmp_path / "chain.sqlite", list[BaseException]()

    def seal(ledger: EvmLedger, run: bytes) -> None:
        previous = ZERO
        try:
            for link in links(run):
                previous = ledger.seal(link, previous).round_hash
        except BaseException as error:
            failures.append(error)
            raise

    # Each has the chain open for itself, as processes do: they share the file and its locks, and nothing else.
    with deployed(path, SystemClock()) as one, deployed(path, SystemClock()) as other:
        ledgers = [EvmLedger(each.node, each.identity, AGGREGATOR) for each in (one, other)]
        threads = [threading.Thread(target=seal, args=pair) for pair in zip(ledgers, RUNS, strict=True)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert failures == []
        events = [event for event in ledgers[0].events() if isinstance(event, LinkEvent)]
        assert events == [event for event in ledgers[1].events() if isinstance(event, LinkEvent)]
        assert one.chain.head().block_number == 2 + 2 * ROUNDS
    for run in RUNS:
        assert [event.link for event in events if event.link.run == run] == links(run)
