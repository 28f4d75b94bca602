"""Strategies with a state at the server: verifiers re-derive it, and a forged one is a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedchain.core.lineage import Verdict
from fedchain.core.manifest import ArtifactRef
from fedchain.core.optimiser import state_digest
from fedchain.core.tensors import decode, encode
from tests.scenarios.federation import Federation, Setup, Strategy
from tests.workflow.forgery import damage, finished, lose, rewrite, rewrite_plan

ADAM = Setup(strategy="fedadam")
Act = Callable[[Federation], None]


@pytest.mark.parametrize("strategy", ["fedadam", "fedavgm", "scaffold"])
def test_each_model_and_each_state_is_re_derived(strategy: Strategy) -> None:
    new = finished(Setup(strategy=strategy))
    lineage = new.verify(scrub=True)
    assert lineage.verdict in (Verdict.VERIFIED, Verdict.SELF_CONSISTENT)
    counts = {claim.name: claim.instances for claim in lineage.claims}
    assert (counts["model"], counts["state"], counts.get("artifact", 0)) == (2, 2, 0)
    first, second, closing = (new.manifest(number).state for number in (1, 2, 3))
    assert first != second == closing


def test_another_strategy_makes_another_model_of_the_same_updates() -> None:
    models = {strategy: finished(Setup(strategy=strategy)).manifest(2).model.digest for strategy in STRATEGIES}
    assert len(set(models.values())) == 3
    assert models["fedavg"] == models["fedprox"]  # the pull is the clients', and these clients have none


STRATEGIES: tuple[Strategy, ...] = ("fedavg", "fedprox", "fedavgm", "fedadam")


def stored(new: Federation, data: bytes) -> ArtifactRef:
    return ArtifactRef(new.store.put(data).text, state_digest(data))


def state_of(new: Federation, round_: int) -> tuple[ArtifactRef, bytes]:
    reference = new.manifest(round_).state
    assert reference is not None
    return reference, next(data for cid, data in new.store.artifacts.items() if cid.text == reference.cid)


def altered(new: Federation, round_: int) -> ArtifactRef:
    """Store a state in which one bit of one value is another, with its right digest."""
    tensors = {name: np.array(each) for name, each in decode(state_of(new, round_)[1]).items()}
    tensors["m/bias"].reshape(-1)[0] ^= 1
    return stored(new, encode(tensors))


def another_state(new: Federation) -> None:
    state = altered(new, 1)
    rewrite(new, 1, lambda manifest: replace(manifest, state=state))


def no_state(new: Federation) -> None:
    rewrite(new, 1, lambda manifest: replace(manifest, state=None))


def wrong_digest(new: Federation) -> None:
    reference, _ = state_of(new, 1)
    rewrite(new, 1, lambda manifest: replace(manifest, state=replace(reference, digest=b"\x0f" * 32)))


def other_rule(new: Federation) -> None:
    optimiser = new.plan.manifest.optimiser
    assert optimiser is not None
    rewrite_plan(new, lambda each: replace(each, optimiser=replace(optimiser, learning_rate="2")))


CASES: list[tuple[str, int, str, Act]] = [
    ("state", 1, "is another one", another_state),
    ("state", 1, "is missing from the manifest", no_state),
    ("state", 1, "has another digest", wrong_digest),
    ("state", 1, "is lost", lambda new: lose(new, state_of(new, 1)[0].cid)),
    ("state", 1, "is damaged", lambda new: damage(new, state_of(new, 1)[0].cid)),
    ("state", 3, "changes while the run is closed",
     lambda new: rewrite(new, 3, lambda each: replace(each, state=new.manifest(1).state))),
    ("configuration", 1, "is stepped by another rate", other_rule),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "round_", "act"), [(c, r, a) for c, r, _, a in CASES], ids=[c[2] for c in CASES])
def test_a_forged_state_is_a_finding(claim: str, round_: int, act: Act) -> None:
    new = finished(ADAM)
    act(new)
    lineage = new.verify()
    assert lineage.verdict is Verdict.FINDINGS
    assert (claim, round_) in {(each.claim, each.round) for each in lineage.findings}


def test_a_state_where_the_strategy_has_none_is_a_finding() -> None:
    new = finished()
    state = stored(new, encode({"m/bias": np.zeros((2, 2), "<i4")}))
    rewrite(new, 2, lambda manifest: replace(manifest, state=state))
    assert ("state", 2) in {(each.claim, each.round) for each in new.verify().findings}
