"""Manifests with something altered in them and the chain resealed over it, by the aggregator alone or by everybody.

The aggregator alone cannot alter what sites sign or what follows from it. Where everybody is in it together anything
can be told that is consistent; still the verifier ends with findings and never with a crash, whatever it reads, and
the real receipts contradict it all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from fedchain.core.errors import FormatError, RejectedTransactionError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import AcceptedUpdate, RoundManifest, RunManifest
from fedchain.core.trust import TrustFile
from fedchain.ports.store import ArtifactStore
from tests.scenarios.forge import Forgery, History, judged, read_history, told_in_memory
from tests.scenarios.genuine import Genuine

pytestmark = pytest.mark.slow

T = TypeVar("T")
Path = tuple[str | int, ...]

OWN_WORD: Final = {"closed_at", "created_at", "inputs", "mode"}
"""What a manifest says on the aggregator's word alone: times, a label, and what the model's tensors say better."""
NUMBERS: Final = (0, 1, -1, 2, 255, 2**16, 2**31, 2**32, 2**53, 2**63, 2**64 - 1, 2**64, 2**80, -(2**70))
TEXTS: Final = ("", "nan", "inf", "-1", "0", "1e999", "1e-30", "off", "none", "x" * 300, "../../etc", "bafk", "\u202e")
BYTES: Final = (b"", b"\0", bytes(32), bytes(20), b"\xff" * 32, b"\xff" * 31)


@pytest.fixture(scope="module")
def private_history(private: Genuine) -> History:
    return read_history(private.home)


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, int | str | bytes]]:
    """Every leaf of a document with the way to it."""
    match value:
        case tuple():
            for index, item in enumerate(cast("tuple[object, ...]", value)):
                yield from leaves(item, (*path, index))
        case dict():
            for key, item in cast("dict[str, object]", value).items():
                yield from leaves(item, (*path, key))
        case int() | str() | bytes():
            yield path, value
        case None:
            return
        case _:
            for each in dataclasses.fields(cast("Any", value)):
                yield from leaves(getattr(value, each.name), (*path, each.name))


def with_leaf(value: T, path: Path, leaf: object) -> T:
    """The document with one leaf changed."""
    if not path:
        return cast("T", leaf)
    (step, *rest), document = path, cast("Any", value)
    if isinstance(value, tuple):
        items = [with_leaf(item, tuple(rest), leaf) if index == step else item for index, item in enumerate(document)]
        return cast("T", tuple(items))
    if isinstance(value, dict):
        return cast("T", {**document, step: with_leaf(document[step], tuple(rest), leaf)})
    return cast("T", replace(document, **{str(step): with_leaf(getattr(document, str(step)), tuple(rest), leaf)}))


def hostile(value: int | str | bytes) -> tuple[int, ...] | tuple[str, ...] | tuple[bytes, ...]:
    match value:
        case int():
            return NUMBERS
        case str():
            return TEXTS
        case bytes():
            return BYTES


@dataclasses.dataclass(slots=True)
class Vandal:
    """Alters one leaf of one document, chosen by name first, so that long lists weigh no more than short ones."""

    draw: st.DataObject
    path: Path = ()

    def alter(self, value: T) -> T:
        found = list(leaves(value))
        name = self.draw.draw(st.sampled_from(sorted({name_of(path) for path, _ in found})), label="name")
        self.path, old = self.draw.draw(st.sampled_from([each for each in found if name_of(each[0]) == name]))
        new = self.draw.draw(st.sampled_from(hostile(old)), label="value")
        assume(new != old)
        return with_leaf(value, self.path, new)


def name_of(path: Path) -> str:
    return next(step for step in reversed(path) if isinstance(step, str))


def told(history: History, forgery: Forgery, trust: TrustFile | None = None) -> Lineage:
    try:
        stage = told_in_memory(history, forgery)
    except (FormatError, RejectedTransactionError, ValueError):
        reject()  # no link can be made of it, or no contract takes it
    return judged(stage.ledger, stage.store, trust)


def altered_run(genuine: Genuine, vandal: Vandal, *, everybody: bool) -> Forgery:
    def alter(run: RunManifest, _store: ArtifactStore) -> RunManifest:
        return vandal.alter(run) if run.run == genuine.runs[0] else run

    return Forgery(run=alter, plays_admins=everybody, plays_devices=everybody)


def altered_round(genuine: Genuine, vandal: Vandal, *, everybody: bool) -> Forgery:
    def alter(manifest: RoundManifest) -> RoundManifest:
        is_it = (manifest.run, manifest.round) == (genuine.runs[0], 2)
        return vandal.alter(manifest) if is_it else manifest

    if everybody:
        return Forgery(round=alter, plays_admins=True, plays_devices=True)
    return Forgery(manifest=alter)


@pytest.mark.parametrize("forgery", [altered_run, altered_round])
@settings(max_examples=40)
@given(data=st.data())
def test_an_aggregator_alone_alters_nothing_but_its_own_word_without_a_finding(
    forgery: Any, history: History, genuine: Genuine, data: st.DataObject
) -> None:
    vandal = Vandal(data)
    lineage = told(history, forgery(genuine, vandal, everybody=False))

    if lineage.verdict is not Verdict.FINDINGS:
        assert forgery is altered_round, "every update is signed for the whole manifest of the run"
        assert name_of(vandal.path) in OWN_WORD
    assert {finding.run for finding in lineage.findings} <= {genuine.runs[0].hex()}


@pytest.mark.parametrize("forgery", [altered_run, altered_round])
@settings(max_examples=40)
@given(data=st.data())
def test_whatever_everybody_together_tells_is_judged_and_contradicted_by_the_real_receipts(
    forgery: Any, private_history: History, private: Genuine, data: st.DataObject
) -> None:
    lineage = told(private_history, forgery(private, Vandal(data), everybody=True), private.trust)

    assert lineage.verdict is Verdict.FINDINGS
    assert "receipt" in {finding.claim for finding in lineage.findings}


@settings(max_examples=20)
@given(position=st.integers(0, 64), bit=st.integers(0, 7), place=st.integers(0, 3))
def test_a_resealed_update_with_a_flipped_signature_is_named(
    history: History, genuine: Genuine, position: int, bit: int, place: int
) -> None:
    def flipped(update: AcceptedUpdate) -> AcceptedUpdate:
        signature = bytearray(update.header.signature)
        signature[position] ^= 1 << bit
        return replace(update, header=replace(update.header, signature=bytes(signature)))

    def alter(manifest: RoundManifest) -> RoundManifest:
        if (manifest.run, manifest.round) != (genuine.runs[0], 2):
            return manifest
        accepted = tuple(flipped(each) if index == place else each for index, each in enumerate(manifest.accepted))
        return replace(manifest, accepted=accepted)

    lineage = told(history, Forgery(manifest=alter))

    assert [(each.run, each.round, each.claim) for each in lineage.findings] == [(genuine.runs[0].hex(), 2, "update")]
