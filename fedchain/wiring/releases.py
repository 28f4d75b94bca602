"""Releasing the models of a home: which versions there are, who votes for them, and what taints them.

All keys of a simulation lie here, so this home can do every act. In a federation each is for whoever holds its key. The
record is verified before anything is told or signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.files import explained
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.keys import FileSigner, key_path, make_signer, read_signer
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.core.digest import ZERO, tagged
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.lineage import Taint, Verdict
from fedchain.core.record import LinkKind
from fedchain.core.releases import Ancestry, Decision, Edge, EdgeKind, LinkRecord, Version, VersionState, datasets_tree
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.models import ModelRegistry, RecordedVersion
from fedchain.wiring.ballot_box import BallotBox
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.models import ROLES, read_models, written_models
from fedchain.wiring.parties import parties_of, read_ledger, site_names
from fedchain.wiring.record import audit
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.ballots import Ballots, Voter
from fedchain.workflow.releases import Origin, Releases
from fedchain.workflow.signing import Acted, Announce, Signing, Tally
from fedchain.workflow.summary import ModelSummary
from fedchain.workflow.taint import datasets_behind, taints_of, withdrawals

_REVIEWERS: Final = {"clinical": 1, "quality": 2}
"""The simulated reviewers by name, and their roles."""


@dataclass(frozen=True, slots=True)
class _Sound:
    """A verified record: its rounds, the datasets behind each, and what is withdrawn."""

    identity: LedgerIdentity
    rounds: tuple[AuditedRound, ...]

    def ancestry(self, recorded: Sequence[RecordedVersion]) -> Ancestry:
        behind = datasets_behind(self.rounds)
        of_round = {
            each.chained.round_hash: behind[each.chained.event.link.run, each.chained.event.link.round]
            for each in self.rounds
        }
        return Ancestry(
            {each.version_id: each.version for each in recorded},
            {each.version_id: of_round.get(each.version.round_hash, frozenset()) for each in recorded},
        )

    def taints(self, ancestry: Ancestry, name: bytes) -> tuple[Taint, ...]:
        datasets = frozenset[bytes]().union(*(each.datasets for each in ancestry.descents(name)))
        return taints_of(datasets, withdrawals(self.rounds[0].chained.registry.present))


@dataclass(frozen=True, slots=True)
class _Desk:
    """A home whose registry of models is open, with one version in it."""

    home: Home
    sound: _Sound
    registry: ModelRegistry
    ancestry: Ancestry
    name: bytes

    def taints(self) -> tuple[Taint, ...]:
        return self.sound.taints(self.ancestry, self.name)


def register(home: Path, announce: Announce, model: str) -> tuple[Acted, ...]:
    """Submit the model of a run, or of a CID or digest, as the first hospital, and bring it into review.

    Its reviewers are named first, where they are not. The first time the registry of models is put on the chain.

    Raises:
        InputError: if there is no such model, or the home has too few sites.
        IntegrityError: if the record has findings.
    """
    opened = open_home(home)
    with locked(opened):
        sound = _verified(opened)
        submitter, *others = _admins(opened)
        chosen = _round_of(sound.rounds, model)
        with written_models(opened, sound.identity, parties_of(opened).operator) as registry:
            releases = Releases(registry, ROLES, SystemClock(), announce)
            done: list[Acted] = []
            for (name, role), admin in zip(_REVIEWERS.items(), others, strict=False):
                reviewer = make_signer(opened.keys, "reviewer", name, SystemEntropy()).address
                done += releases.name_reviewer(_organisation(admin), admin, reviewer, role)
            done += releases.register(_origin(sound, chosen, registry, _organisation(submitter)), submitter)
    return tuple(done)


def vote(home: Path, announce: Announce, model: str, decision: Decision, ballot: tuple[str, Path | None]) -> Tally:
    """Sign a reviewer's vote, resting on a report if there is one, and send the votes once they are enough.

    Raises:
        PolicyError: if the version, the reviewer or a withdrawn dataset stands against it.
        InputError: if there is no such version, reviewer or report.
        IntegrityError: if the record has findings.
    """
    with _desk(open_home(home), model) as desk:
        box, voter = BallotBox(desk.home, desk.name, decision.name.lower()), _voter(desk.home, *ballot)
        found = _ballots(desk, announce).vote(desk.name, decision, voter, box.votes(), desk.taints())
        box.keep(found.votes)
    return Tally(found.done, found.missing)


def dispose(home: Path, announce: Announce, model: str, dataset: str, ballot: tuple[str, Path | None]) -> Tally:
    """Sign that a version may be reviewed again although a dataset was withdrawn; send the votes once they are enough.

    Raises:
        PolicyError: if the reviewer may not vote.
        InputError: if the dataset taints no such version.
        IntegrityError: if the record has findings.
    """
    with _desk(open_home(home), model) as desk:
        wanted = dataset.removeprefix("0x").lower()
        taint = next((each for each in desk.taints() if each.dataset == wanted), None)
        if taint is None:
            known = ", ".join("0x" + each.dataset for each in desk.taints()) or "none"
            raise InputError("--dataset", expected=f"a withdrawn dataset behind the version: {known}", got=dataset[:80])
        name = bytes.fromhex(wanted)
        descent = next(each for each in desk.ancestry.descents(desk.name) if name in each.datasets)
        box, voter = BallotBox(desk.home, desk.name, wanted), _voter(desk.home, *ballot)
        found = _ballots(desk, announce).dispose(desk.name, name, voter, box.votes(), descent)
        box.keep(found.votes)
    return Tally(found.done, found.missing)


def status(home: Path, model: str) -> tuple[ModelSummary, ...]:
    """Return where the versions of a home stand, oldest first, or the version of one model.

    Raises:
        InputError: if the model has no version.
        IntegrityError: if the record has findings.
    """
    opened = open_home(home)
    sound = _verified(opened)
    with read_models(opened) as registry:
        recorded = [] if registry is None else registry.versions()
        if registry is None or (not recorded and not model):
            if model:
                raise _no_version(model)
            return ()
        ancestry = sound.ancestry(recorded)
        wanted = [_found(sound, recorded, model)] if model else recorded
        return tuple(_summary(_Desk(opened, sound, registry, ancestry, each.version_id), each) for each in wanted)


def _summary(desk: _Desk, recorded: RecordedVersion) -> ModelSummary:
    found = desk.registry.status(desk.name)
    ballots = _ballots(desk, _say_nothing)
    votes = ballots.counting(desk.name, BallotBox(desk.home, desk.name, Decision.APPROVE.name.lower()).votes())
    is_open = found.state in (VersionState.IN_REVIEW, VersionState.SUSPENDED)
    return ModelSummary(
        version=desk.name.hex(),
        model=recorded.version.model.hex(),
        round_hash=recorded.version.round_hash.hex(),
        organisation=recorded.version.organisation.hex(),
        parents=tuple(each.parent.hex() for each in recorded.version.parents),
        state=found.state.words,
        is_released=desk.registry.is_released(desk.name),
        approved_until=found.approved_until,
        missing=ballots.missing(votes) if is_open else "",
        taints=desk.taints(),
        open_taints=ballots.open_taints(desk.name, desk.taints()),
    )


@contextmanager
def _desk(home: Home, model: str) -> Iterator[_Desk]:
    with locked(home):
        sound = _verified(home)
        with read_models(home) as known:
            if known is None:
                raise _no_version(model)
        with written_models(home, sound.identity, parties_of(home).operator) as registry:
            recorded = registry.versions()
            name = _found(sound, recorded, model).version_id
            yield _Desk(home, sound, registry, sound.ancestry(recorded), name)


def _say_nothing(_: Signing) -> None:
    """Nothing is signed where nothing is written."""


def _ballots(desk: _Desk, announce: Announce) -> Ballots:
    return Ballots(desk.registry, ROLES, SystemClock(), announce)


def _verified(home: Home) -> _Sound:
    audited = audit(home, run=None, heads=(), trust=None, scrub=False)
    if audited.lineage.verdict is Verdict.FINDINGS:
        raise IntegrityError(
            "the record does not hold, so nothing is released from it",
            got=f"{len(audited.lineage.findings)} findings", remedy="`fedchain verify` tells them",
        )  # fmt: skip
    if not audited.rounds:
        raise InputError("no round in this record", remedy="run an experiment first")
    with read_ledger(home) as ledger:
        return _Sound(ledger.identity(), audited.rounds)


def _admins(home: Home) -> list[FileSigner]:
    paths = [key_path(home.keys, "site", name) for name in site_names(home)]
    found = [read_signer(path) for path in paths if path.exists()]
    if len(found) <= len(_REVIEWERS):
        raise InputError(
            "a model needs a submitter and reviewers of other organisations",
            expected=f"the keys of {len(_REVIEWERS) + 1} sites", got=len(found),
        )  # fmt: skip
    return found


def _organisation(admin: FileSigner) -> bytes:
    return tagged("organisation", admin.address)


def _round_of(rounds: Sequence[AuditedRound], model: str) -> AuditedRound:
    """Return the newest sealed round of a run, or the sealed round whose model has this CID or digest."""
    wanted = model.removeprefix("0x")
    sealed = [each for each in rounds if each.chained.event.link.kind is LinkKind.SEALED]
    found = [each for each in sealed if wanted == each.chained.event.link.run.hex()] or [
        each for each in sealed if wanted in (each.manifest.model.cid, each.chained.event.link.model_digest.hex())
    ]
    if not found:
        raise InputError(
            "MODEL", expected="a run, or the CID or digest of a model of this record", got=model[:100],
            remedy="`fedchain runs` has them",
        )  # fmt: skip
    return found[-1]


def _origin(sound: _Sound, chosen: AuditedRound, registry: ModelRegistry, organisation: bytes) -> Origin:
    """Return the version of a sealed round; its parent is the newest version of an earlier round of its run."""
    link = chosen.chained.event.link
    earlier = {
        each.chained.round_hash: each.chained.event.link.round
        for each in sound.rounds
        if each.chained.event.link.run == link.run and each.chained.event.link.round < link.round
    }
    behind = datasets_behind(sound.rounds)[link.run, link.round]
    parents = sorted(
        (earlier[each.version.round_hash], each.version_id)
        for each in registry.versions()
        if each.version.round_hash in earlier
    )
    version = Version(
        organisation=organisation,
        model=link.model_digest,
        bundle=link.manifest_digest,
        round_hash=chosen.chained.round_hash,
        datasets_root=datasets_tree(behind).root,
        parents=tuple(Edge(name, EdgeKind.ROUND) for _, name in parents[-1:]),
    )
    known = next((each.version for each in registry.versions() if each.version.round_hash == version.round_hash), None)
    return Origin(known or version, behind, _records(sound.rounds, chosen))


def _records(rounds: Sequence[AuditedRound], chosen: AuditedRound) -> tuple[LinkRecord, ...]:
    """Return the links from the chosen one to the head of its run, oldest first."""
    link = chosen.chained.event.link
    later = [
        each.chained
        for each in rounds
        if each.chained.event.link.run == link.run and each.chained.event.link.round >= link.round
    ]
    return tuple(
        LinkRecord(each.event.link, each.event.previous_hash, each.registry.state(each.actions).head) for each in later
    )


def _found(sound: _Sound, recorded: Sequence[RecordedVersion], model: str) -> RecordedVersion:
    """Return a version by its own id, or the one of a model that is named as for `register`."""
    wanted = model.removeprefix("0x")
    for each in recorded:
        if each.version_id.hex() == wanted:
            return each
    round_hash = _round_of(sound.rounds, model).chained.round_hash
    found = next((each for each in recorded if each.version.round_hash == round_hash), None)
    if found is None:
        raise _no_version(model)
    return found


def _no_version(model: str) -> InputError:
    return InputError("MODEL has no version", got=model[:100], remedy="`fedchain model register` submits one")


def _voter(home: Home, name: str, evidence: Path | None) -> Voter:
    path = key_path(home.keys, "reviewer", name)
    if not path.exists():
        known = ", ".join(_REVIEWERS)
        raise InputError("--as", expected=f"a reviewer whose key lies under keys/reviewer: {known}", got=name[:80])
    if evidence is None:
        return Voter(name, read_signer(path), ZERO)
    with explained(evidence):
        report = evidence.read_bytes()
    return Voter(name, read_signer(path), open_artifacts(home, "reviewers").put(report).digest)
