"""A record rebuilt as a whole by the aggregator: plain `verify` cannot know, `verify --trust` names the round.

Each forgery is told with the aggregator's, operator's and deployer's own keys; see `tests.scenarios.forge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core.cid import Cid
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import ArtifactRef, RoundManifest, RunManifest
from fedchain.core.messages import ConsentGrant, ConsentWithdraw
from fedchain.core.policy import DataPolicy
from fedchain.core.tensors import decode, encode, model_digest
from fedchain.ports.ledger import LedgerEvent, LinkEvent, RegistryEvent
from fedchain.ports.store import ArtifactStore
from tests.scenarios.forge import Forgery, forged_home
from tests.scenarios.genuine import Genuine, check

pytestmark = pytest.mark.slow

LAST = 3
"""The last round of the first run; its closing link is one more."""
YEARS = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Lie:
    """A forgery and where the pinned record must contradict it: from a round of a run on (0 the first run)."""

    forgery: Callable[[Genuine], Forgery]
    contradicted: Sequence[tuple[int, int]]


def drop_last_update(genuine: Genuine) -> Forgery:
    def without_one(manifest: RoundManifest) -> RoundManifest:
        is_it = (manifest.run, manifest.round) == (genuine.runs[0], LAST)
        return replace(manifest, accepted=manifest.accepted[1:]) if is_it else manifest

    return Forgery(round=without_one)


def extend_a_consent(genuine: Genuine) -> Forgery:
    def longer(consent: ConsentGrant) -> ConsentGrant:
        return replace(consent, until=consent.until + YEARS)

    return Forgery(consent=longer, plays_admins=True)


def enlarge_a_grant(genuine: Genuine) -> Forgery:
    def larger(policy: DataPolicy) -> DataPolicy:
        return replace(policy, micro_epsilon_grant=1000 * policy.micro_epsilon_grant)

    def granted(consent: ConsentGrant) -> ConsentGrant:
        return replace(consent, micro_epsilon_grant=1000 * consent.micro_epsilon_grant)

    return Forgery(policy=larger, consent=granted, plays_admins=True, plays_devices=True)


def hide_a_withdrawal(genuine: Genuine) -> Forgery:
    def not_withdrawn(event: LedgerEvent) -> bool:
        return not (isinstance(event, RegistryEvent) and isinstance(event.message, ConsentWithdraw))

    return Forgery(events=lambda events: list(filter(not_withdrawn, events)))


def cut_off(last_links: int) -> Callable[[Genuine], Forgery]:
    def shortened(genuine: Genuine) -> Forgery:
        return Forgery(events=lambda events: events[:-last_links])

    return shortened


def hide_a_run(genuine: Genuine) -> Forgery:
    def is_other(event: LedgerEvent) -> bool:
        return not (isinstance(event, LinkEvent) and event.link.run == genuine.runs[0])

    return Forgery(events=lambda events: list(filter(is_other, events)))


def start_elsewhere(genuine: Genuine) -> Forgery:
    def with_other_model(run: RunManifest, store: ArtifactStore) -> RunManifest:
        if run.run != genuine.runs[1]:
            return run
        before = decode(store.get(Cid.parse(run.initial_model.cid)))
        other = encode({name: (array + 1).astype(np.int32) for name, array in before.items()})
        return replace(run, initial_model=ArtifactRef(store.put(other).text, model_digest(other)))

    return Forgery(run=with_other_model, plays_admins=True, plays_devices=True)


LIES = {
    "an update of the last round is dropped": Lie(drop_last_update, [(0, LAST)]),
    "consents last longer, by keys that the forger made admins": Lie(extend_a_consent, [(0, 1), (1, 1)]),
    "grants are larger, and the forger plays every hospital": Lie(enlarge_a_grant, [(0, 1), (1, 1)]),
    "a withdrawal of consent is left out": Lie(hide_a_withdrawal, [(1, 1)]),
    "the last link is cut off": Lie(cut_off(1), [(1, 3)]),
    "the last round and its closing link are cut off": Lie(cut_off(2), [(1, 2)]),
    "the newer run is cut off": Lie(cut_off(3), [(1, 1)]),
    "the older run is left out": Lie(hide_a_run, [(0, 1)]),
    "the initial model is another": Lie(start_elsewhere, [(0, 1), (1, 1)]),
}


@pytest.fixture(params=LIES)
def lie(request: pytest.FixtureRequest) -> Lie:
    return LIES[request.param]


@pytest.fixture
def forged(lie: Lie, genuine: Genuine, tmp_path: Path) -> Path:
    home = tmp_path / "forged"
    forged_home(genuine.home, home, lie.forgery(genuine))
    return home


def places(lineage: Lineage) -> set[tuple[str, int]]:
    return {(finding.run, finding.round) for finding in lineage.findings}


def test_a_rebuilt_record_is_self_consistent_at_most_and_the_trust_file_contradicts_it_from_the_forged_round_on(
    forged: Path, lie: Lie, genuine: Genuine, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, pinned = check(forged, trusted=False), check(forged, trusted=True)

    assert (alone.verdict, alone.findings) == (Verdict.SELF_CONSISTENT, ())
    assert pinned.verdict is Verdict.FINDINGS
    expected = [genuine.pinned(run=genuine.runs[run], since=round_) for run, round_ in lie.contradicted]
    assert all(expected)
    assert places(pinned) == set().union(*expected)
    assert {finding.claim for finding in pinned.findings} == {"receipt"}

    assert main(["verify", "--home", str(forged)]) == Exit.UNPINNED
    assert main(["verify", "--home", str(forged), "--trust", str(forged / "trust.json")]) == Exit.FINDINGS
    run, round_ = lie.contradicted[0]
    assert f"round {round_} of run 0x{genuine.runs[run].hex()}: claim 'receipt'" in capsys.readouterr().out
