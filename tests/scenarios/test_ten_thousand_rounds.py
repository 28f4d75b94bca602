"""Ten thousand rounds on a chain: their events are read back and every hash is computed anew within a minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from fedchain.adapters.evm.events import ROUNDS
from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.core.digest import ZERO
from fedchain.core.record import LinkContext, LinkKind, RoundLink, round_hash
from fedchain.workflow.audit_chain import audit_chain
from fedchain.workflow.audit_report import Report
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, deployed

ROUNDS_OF_A_RUN: Final = 10_000
AT_ONCE: Final = 200
"""Links in one transaction: some two million gas."""
RUN, MODEL = b"\x04" * 32, b"\x14" * 32


def content(round_: int) -> RoundLink:
    return RoundLink(RUN, round_, LinkKind.SEALED, b"\x11" * 32, ZERO, MODEL, MODEL, b"\x15" * 32, 4, 0)


@pytest.mark.slow
def test_ten_thousand_rounds_are_read_back_and_verified_in_a_minute(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        identity, head = contracts.identity, ZERO
        ledger, registry_head = EvmLedger(contracts.node, identity, AGGREGATOR), ZERO
        for first in range(1, ROUNDS_OF_A_RUN, AT_ONCE):
            batch = []
            for round_ in range(first, first + AT_ONCE):
                link = content(round_)
                batch.append(
                    (
                        link.run,
                        link.round,
                        int(link.kind),
                        head,
                        link.updates_root,
                        link.rejected_root,
                        link.base_model,
                        link.model_digest,
                        link.manifest_digest,
                        link.accepted,
                        link.rejected,
                    )
                )
                head = round_hash(link, LinkContext(identity.rounds, identity.federation, head, registry_head))
            data = ROUNDS.call("sealMany", batch, 1)
            contracts.node.send(AGGREGATOR, ROUNDS, data, identity.rounds_contract)
        started, report = time.process_time(), Report()
        links = audit_chain(ledger, report)
        assert time.process_time() - started < 60
    assert (len(links), report.findings, links[-1].round_hash) == (ROUNDS_OF_A_RUN, [], head)
    assert report.counts["chain"] == ROUNDS_OF_A_RUN
