"""A strategy of one's own in a run: who has its code re-derives its models, who has not says so and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from fedchain.core.aggregation import serially
from fedchain.core.errors import InputError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import ArtifactRef
from fedchain.core.optimiser import state_digest
from fedchain.core.own_rule import Arrays, OwnStrategy, Rule
from fedchain.core.tensors import decode, encode, model_digest
from fedchain.workflow.verify import Verifier
from tests.doubles.training import AddingAccountant
from tests.scenarios.federation import SOURCES, Federation, Setup, federation
from tests.workflow.forgery import damage, rewrite, rewrite_plan

OWN: Final = Setup(strategy="custom")
Act = Callable[[Federation], None]


def halved(base: Arrays, mean: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
    """Half the mean; the state counts rounds."""
    rounds = state.get("rounds", np.zeros(1, np.int32)) + np.int32(1)
    return {name: base[name] + each // 2 for name, each in mean.items()}, {"rounds": rounds}


def known(own: OwnStrategy) -> Rule | None:
    return halved if (own.target, own.sources) == ("mine:halved", SOURCES) else None


def run() -> Federation:
    new = federation(OWN)
    new.rules = known
    new.run()
    return new


def counts(lineage: Lineage) -> dict[str, int]:
    return {claim.name: claim.instances for claim in lineage.claims}


def test_whoever_has_the_code_re_derives_each_model_and_state() -> None:
    new = run()
    lineage = new.verify(rules=known, scrub=True, trust=new.trust())
    assert lineage.verdict is Verdict.VERIFIED
    held = counts(lineage)
    assert (held["model"], held["state"], held.get("own model", 0)) == (2, 2, 0)
    base, after = (decode(next(d for c, d in new.store.artifacts.items() if c.text == ref.cid)) for ref in (
        new.manifest(2).base_model, new.manifest(2).model,
    ))  # fmt: skip
    assert any((after[name] != base[name]).any() for name in base)


def test_whoever_has_not_says_that_the_models_are_anchored_and_checks_all_else() -> None:
    new = run()
    lineage = new.verify(trust=new.trust())
    assert (lineage.verdict, lineage.findings) == (Verdict.ANCHORED, ())
    held = counts(lineage)
    assert (held["own model"], held["payload"], held["update"]) == (2, 6, 6)
    assert {"model", "state"}.isdisjoint(held)
    assert new.verify().verdict is Verdict.SELF_CONSISTENT


def test_a_machine_without_the_code_does_not_end_a_round() -> None:
    new = federation(OWN)
    with pytest.raises(InputError, match="the strategy mine:halved is not loaded here"):
        new.run()
    new.rules = known
    new.run()
    assert new.verify(rules=known).findings == ()


def test_the_code_of_another_strategy_is_not_used_for_it() -> None:
    new = run()
    assert counts(new.verify(rules=lambda own: None if own.target == "mine:halved" else halved))["own model"] == 2


def other_model(new: Federation) -> None:
    data = next(d for c, d in new.store.artifacts.items() if c.text == new.manifest(2).model.cid)
    tensors = {name: np.array(each) for name, each in decode(data).items()}
    tensors["bias"][0] += 1
    forged = encode(tensors)
    reference = ArtifactRef(new.store.put(forged).text, model_digest(forged))
    for round_ in (2, 3):
        changes = {"model": reference} if round_ == 2 else {"model": reference, "base_model": reference}
        rewrite(new, round_, lambda manifest, changes=changes: replace(manifest, **changes))  # type: ignore[misc]


def other_state(new: Federation) -> None:
    data = encode({"i/rounds": np.array([7], "<i4")})
    reference = ArtifactRef(new.store.put(data).text, state_digest(data))
    rewrite(new, 1, lambda manifest: replace(manifest, state=reference))


def lost_state(new: Federation) -> None:
    rewrite(new, 1, lambda manifest: replace(manifest, state=None))


@pytest.mark.parametrize(
    ("claim", "round_", "act"), [("model", 2, other_model), ("state", 1, other_state), ("state", 1, lost_state)]
)
def test_a_forged_outcome_is_a_finding_of_whoever_has_the_code(claim: str, round_: int, act: Act) -> None:
    new = run()
    act(new)
    findings = new.verify(rules=known).findings
    assert (claim, round_) in {(each.claim, each.round) for each in findings}


def test_a_model_of_other_tensors_is_a_finding_without_the_code_too() -> None:
    new = run()
    forged = encode({"bias": np.zeros(2, "<i4")})
    reference = ArtifactRef(new.store.put(forged).text, model_digest(forged))
    rewrite(new, 2, lambda manifest: replace(manifest, model=reference))
    assert ("model", 2) in {(each.claim, each.round) for each in new.verify().findings}


def damaged_payload(new: Federation) -> None:
    damage(new, new.manifest(1).accepted[0].payload_cid)


def other_target(new: Federation) -> None:
    own = OwnStrategy("theirs:halved", {}, SOURCES)
    rewrite_plan(new, lambda each: replace(each, own_strategy=own))


def none_at_all(new: Federation) -> None:
    rewrite_plan(new, lambda each: replace(each, own_strategy=None))


@pytest.mark.parametrize(
    ("claim", "act"), [("payload", damaged_payload), ("configuration", other_target), ("configuration", none_at_all)]
)
def test_what_needs_no_code_is_a_finding_without_it(claim: str, act: Act) -> None:
    new = run()
    act(new)
    assert claim in {each.claim for each in new.verify().findings}


def test_a_strategy_of_ones_own_cannot_be_smuggled_into_another_run() -> None:
    new = federation()
    new.run()
    rewrite_plan(new, lambda each: replace(each, own_strategy=OwnStrategy("mine:halved", {}, SOURCES)))
    assert "configuration" in {each.claim for each in new.verify().findings}


def test_a_verifier_that_cannot_open_the_updates_still_meets_the_strategy() -> None:
    """Or it would tell whoever gave its code that no run has it."""
    new = run()
    met: list[str] = []

    def noting(own: OwnStrategy) -> Rule | None:
        met.append(own.target)
        return known(own)

    cids = {each.payload_cid for number in (1, 2) for each in new.manifest(number).accepted}
    new.store.artifacts = {cid: data for cid, data in new.store.artifacts.items() if cid.text not in cids}
    verifier = Verifier(new.ledger, new.store, AddingAccountant(), serially, retired=cids, rules=noting)
    assert counts(verifier.verify())["unopened model"] == 2
    assert set(met) == {"mine:halved"}
