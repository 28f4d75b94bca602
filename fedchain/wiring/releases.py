"""Releasing the models of a home: versions are submitted, voted for, deployed and taken back, reviewers come and go.

Each act is told before it is signed, and does only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fedchain.adapters.files import explained
from fedchain.adapters.home import Home, locked, open_home, plain_name
from fedchain.adapters.keys import FileSigner, key_path, make_signer, read_signer
from fedchain.adapters.system import SystemEntropy
from fedchain.core.digest import ZERO, hex32
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.releases import Decision, Edge, EdgeKind, LinkRecord, Version, VersionState, Vote, datasets_tree
from fedchain.ports.models import ModelRegistry
from fedchain.wiring.ballot_box import BallotBox, boxes_of
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.home_chain import require_chain
from fedchain.wiring.models import NEEDS, ROLES, OpenModels, read_models, written_models
from fedchain.wiring.parties import parties_of, read_ledger, site_names
from fedchain.wiring.release_desk import (
    REVIEWERS,
    Desk,
    Sound,
    admins_of,
    open_desk,
    organisation_of,
    round_of,
    verified,
)
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.ballots import Ballots, Voter
from fedchain.workflow.releases import Origin, Releases
from fedchain.workflow.signing import Acted, Announce, Tally
from fedchain.workflow.taint import datasets_behind


def register(home: Path, announce: Announce, model: str) -> tuple[Acted, ...]:
    """Submit the model of a run, or of a CID or digest, as the first hospital, and bring it into review.

    Its reviewers are named first, where they are not. The first time the registry of models is put on the chain.

    Raises:
        InputError: if there is no such model, or the home has too few sites or no chain.
        IntegrityError: if the record has findings.
    """
    opened = open_home(home)
    require_chain(opened, NEEDS)
    with locked(opened):
        sound = verified(opened)
        submitter, *others = admins_of(opened)
        chosen = round_of(sound.rounds, model)
        with written_models(opened, sound.identity, parties_of(opened).operator) as models:
            releases = Releases(models.registry, ROLES, models.clock, announce)
            done: list[Acted] = []
            for (name, role), admin in zip(REVIEWERS.items(), others, strict=False):
                reviewer = make_signer(opened.keys, "reviewer", name, SystemEntropy()).address
                done += releases.name_reviewer(organisation_of(admin), admin, reviewer, role)
            done += releases.register(_origin(sound, chosen, models.registry, organisation_of(submitter)), submitter)
    return tuple(done)


def vote(home: Path, announce: Announce, model: str, decision: Decision, ballot: tuple[str, Path | None]) -> Tally:
    """Sign a reviewer's vote, resting on a report if there is one, and send the votes once they are enough.

    Raises:
        PolicyError: if the version, the reviewer or a withdrawn dataset stands against it.
        InputError: if there is no such version, reviewer or report.
        IntegrityError: if the record has findings.
    """
    with open_desk(open_home(home), model) as desk:
        box, voter = BallotBox(desk.home, desk.name, decision.name.lower()), _voter(desk.home, *ballot)
        found = _ballots(desk.opened, announce).vote(desk.name, decision, voter, box.votes(), desk.taints())
        box.keep(found.votes)
    return Tally(found.done, found.missing)


def dispose(home: Path, announce: Announce, model: str, dataset: str, ballot: tuple[str, Path | None]) -> Tally:
    """Sign that a version may be reviewed again although a dataset was withdrawn; send the votes once they are enough.

    Raises:
        PolicyError: if the reviewer may not vote.
        InputError: if the dataset taints no such version.
        IntegrityError: if the record has findings.
    """
    with open_desk(open_home(home), model) as desk:
        wanted = dataset.removeprefix("0x").lower()
        taint = next((each for each in desk.taints() if each.dataset == wanted), None)
        if taint is None:
            known = ", ".join("0x" + each.dataset for each in desk.taints()) or "none"
            raise InputError("--dataset", expected=f"a withdrawn dataset behind the version: {known}", got=dataset[:80])
        name = bytes.fromhex(wanted)
        descent = next(each for each in desk.ancestry.descents(desk.name) if name in each.datasets)
        box, voter = BallotBox(desk.home, desk.name, wanted), _voter(desk.home, *ballot)
        found = _ballots(desk.opened, announce).dispose(desk.name, name, voter, box.votes(), descent)
        box.keep(found.votes)
    return Tally(found.done, found.missing)


def bring(home: Path, announce: Announce, model: str, state: VersionState) -> tuple[Acted, ...]:
    """Deploy, supersede or revoke a version as the organisation that submitted it.

    Raises:
        PolicyError: if the version may not get there, its approvals have ended, or it is tainted.
        InputError: if there is no such version, or its organisation's key is not here.
        IntegrityError: if the record has findings.
    """
    with open_desk(open_home(home), model) as desk:
        taints = _ballots(desk.opened, announce).open_taints(desk.name, desk.taints())
        return _releases(desk.opened, announce).bring(desk.name, state, _admin_of(desk), taints)


def roll_back(home: Path, announce: Announce, model: str) -> tuple[Acted, ...]:
    """Submit the model of a superseded version anew, as a rollback to it, and bring it into review.

    Raises:
        PolicyError: if the version is not superseded.
        InputError: if there is no such version, or its organisation's key is not here.
        IntegrityError: if the record has findings.
    """
    with open_desk(open_home(home), model) as desk:
        version, status = desk.ancestry.versions[desk.name], desk.registry.status(desk.name)
        is_begun = any(each.kind is EdgeKind.ROLLBACK for each in version.parents)
        if status.state is VersionState.SUPERSEDED:
            version = replace(version, parents=(Edge(desk.name, EdgeKind.ROLLBACK),))
        elif not is_begun:
            raise PolicyError(
                "to roll back to a version", expected=VersionState.SUPERSEDED.words, got=status.state.words,
                remedy="one that is approved is deployed; one that was revoked stays so",
            )  # fmt: skip
        chosen = round_of(desk.sound.rounds, version.model.hex())
        origin = Origin(version, desk.ancestry.datasets[desk.name], _records(desk.sound.rounds, chosen))
        return _releases(desk.opened, announce).register(origin, _admin_of(desk))


def cancel(home: Path, announce: Announce, reviewer: str) -> tuple[Acted, ...]:
    """Take back all votes of a reviewer that wait in this home, and forget them.

    Raises:
        PolicyError: if the key is no reviewer's.
        InputError: if there is no such key, or no registry of models.
    """
    opened = open_home(home)
    with _known_models(opened) as models:
        ballots, waiting = _ballots(models, announce), list[Vote]()
        for box in boxes_of(opened):
            decision = Decision.__members__.get(box.question.upper())
            waiting += ballots.waiting(box.version, decision, box.votes())
        return ballots.cancel(_voter(opened, reviewer, None), waiting)


def dismiss(home: Path, announce: Announce, reviewer: str) -> tuple[Acted, ...]:
    """End a reviewer's time, as its organisation.

    Raises:
        InputError: if there is no such reviewer, or its organisation's key is not here.
    """
    opened = open_home(home)
    with _known_models(opened) as models:
        address = _voter(opened, reviewer, None).key.address
        found = models.registry.reviewer(address)
        if found is None:
            raise InputError("no such reviewer", got=hex32(address), remedy="`fedchain model register` names reviewers")
        return _releases(models, announce).dismiss(address, _admin(opened, found.organisation))


def name_reviewer(home: Path, announce: Announce, reviewer: str, role: str, site: str) -> tuple[Acted, ...]:
    """Have the organisation of a site name a reviewer, whose key is made where it is missing.

    Raises:
        InputError: if there is no such role or site, or the reviewer is another organisation's.
    """
    opened = open_home(home)
    roles = {name: number for number, name in ROLES.items()}
    if role not in roles:
        raise InputError("--role", expected=" or ".join(roles), got=role[:80])
    if site not in site_names(opened):
        raise InputError("--site", expected=" or ".join(site_names(opened)), got=site[:80])
    with _known_models(opened) as models:
        admin = read_signer(key_path(opened.keys, "site", site))
        address = make_signer(opened.keys, "reviewer", plain_name(reviewer), SystemEntropy()).address
        return _releases(models, announce).name_reviewer(organisation_of(admin), admin, address, roles[role])


@contextmanager
def _known_models(home: Home) -> Iterator[OpenModels]:
    """Open the registry of models for writing; what is only taken away needs no verified record."""
    require_chain(home, NEEDS)
    with locked(home):
        with read_models(home) as known:
            if known is None:
                raise InputError("no registry of models yet", remedy="`fedchain model register` makes it")
        with read_ledger(home) as ledger:
            identity = ledger.identity()
        with written_models(home, identity, parties_of(home).operator) as models:
            yield models


def _releases(models: OpenModels, announce: Announce) -> Releases:
    return Releases(models.registry, ROLES, models.clock, announce)


def _ballots(models: OpenModels, announce: Announce) -> Ballots:
    return Ballots(models.registry, ROLES, models.clock, announce)


def _admin_of(desk: Desk) -> FileSigner:
    return _admin(desk.home, desk.registry.status(desk.name).organisation)


def _admin(home: Home, organisation: bytes) -> FileSigner:
    found = next((each for each in admins_of(home) if organisation_of(each) == organisation), None)
    if found is None:
        raise InputError("the organisation's key is not in this home", got=hex32(organisation))
    return found


def _origin(sound: Sound, chosen: AuditedRound, registry: ModelRegistry, organisation: bytes) -> Origin:
    """Return the version of a sealed round; its parent is the newest version of an earlier round of its run.

    Without one, and where the run began with an imported model, that model's digest is its parent.
    """
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
    imported = [Edge(chosen.run_manifest.initial_model.digest, EdgeKind.IMPORT)] if chosen.initial_file else []
    version = Version(
        organisation=organisation,
        model=link.model_digest,
        bundle=link.manifest_digest,
        round_hash=chosen.chained.round_hash,
        datasets_root=datasets_tree(behind).root,
        parents=tuple([Edge(name, EdgeKind.ROUND) for _, name in parents[-1:]] or imported),
    )
    known = next(
        (each.version for each in reversed(registry.versions()) if each.version.round_hash == version.round_hash), None
    )
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


def _voter(home: Home, name: str, evidence: Path | None) -> Voter:
    path = key_path(home.keys, "reviewer", name)
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*"))) or "none yet"
        raise InputError("--as", expected=f"a reviewer whose key lies under keys/reviewer: {known}", got=name[:80])
    if evidence is None:
        return Voter(name, read_signer(path), ZERO)
    with explained(evidence):
        report = evidence.read_bytes()
    return Voter(name, read_signer(path), open_artifacts(home, "reviewers").put(report).digest)
