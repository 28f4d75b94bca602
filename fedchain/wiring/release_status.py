"""Where the versions of a home stand: their states, what their reviews lack, and what taints them."""

from __future__ import annotations

from pathlib import Path

from fedchain.adapters.home import open_home
from fedchain.core.releases import Decision, VersionState
from fedchain.ports.models import RecordedVersion
from fedchain.wiring.ballot_box import BallotBox
from fedchain.wiring.home_chain import require_chain
from fedchain.wiring.models import NEEDS, ROLES, read_models
from fedchain.wiring.release_desk import Desk, no_version, verified, version_of
from fedchain.workflow.ballots import Ballots
from fedchain.workflow.signing import Signing
from fedchain.workflow.summary import ModelSummary


def status(home: Path, model: str) -> tuple[ModelSummary, ...]:
    """Return where the versions of a home stand, oldest first, or the version of one model.

    Raises:
        InputError: if the model has no version, or the home no chain.
        IntegrityError: if the record has findings.
    """
    opened = open_home(home)
    require_chain(opened, NEEDS)
    sound = verified(opened)
    with read_models(opened) as models:
        recorded = [] if models is None else models.registry.versions()
        if models is None or (not recorded and not model):
            if model:
                raise no_version(model)
            return ()
        ancestry = sound.ancestry(recorded)
        wanted = [version_of(sound, recorded, model)] if model else recorded
        return tuple(_summary(Desk(opened, sound, models, ancestry, each.version_id), each) for each in wanted)


def _summary(desk: Desk, recorded: RecordedVersion) -> ModelSummary:
    found = desk.registry.status(desk.name)
    ballots = Ballots(desk.registry, ROLES, desk.clock, _say_nothing)
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


def _say_nothing(_: Signing) -> None:
    """Nothing is signed where nothing is written."""
