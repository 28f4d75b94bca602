"""A home's registry of models beside its verified record: the versions, the datasets behind them, and whose keys act.

All keys of a simulation lie in the home, so it can do every act. In a federation each is for whoever holds its key. The
record is verified before anything is told or signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fedchain.adapters.home import Home, locked
from fedchain.adapters.keys import FileSigner, key_path, read_signer
from fedchain.core.digest import tagged
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.lineage import Taint, Verdict
from fedchain.core.record import LinkKind
from fedchain.core.releases import Ancestry
from fedchain.ports.clock import Clock
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.models import ModelRegistry, RecordedVersion
from fedchain.wiring.home_chain import require_chain
from fedchain.wiring.models import NEEDS, OpenModels, read_models, written_models
from fedchain.wiring.parties import parties_of, read_ledger, site_names
from fedchain.wiring.record import audit
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.taint import datasets_behind, taints_of, withdrawals

REVIEWERS: Final = {"clinical": 1, "quality": 2}
"""The simulated reviewers by name, and their roles."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A verified record: its rounds, the datasets behind each, and what is withdrawn."""

    identity: LedgerIdentity
    rounds: tuple[AuditedRound, ...]

    def ancestry(self, recorded: Sequence[RecordedVersion]) -> Ancestry:
        """Return all versions with the datasets behind each, as the record has them."""
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
        """Return the withdrawn datasets behind a version or any of its ancestors."""
        datasets = frozenset[bytes]().union(*(each.datasets for each in ancestry.descents(name)))
        return taints_of(datasets, withdrawals(self.rounds[0].chained.registry.present))


@dataclass(frozen=True, slots=True)
class Desk:
    """A home whose registry of models is open, with one version in it."""

    home: Home
    sound: Sound
    opened: OpenModels
    ancestry: Ancestry
    name: bytes

    @property
    def registry(self) -> ModelRegistry:
        """The registry of models."""
        return self.opened.registry

    @property
    def clock(self) -> Clock:
        """The clock that its chain goes by."""
        return self.opened.clock

    def taints(self) -> tuple[Taint, ...]:
        """Return what taints the version."""
        return self.sound.taints(self.ancestry, self.name)


@contextmanager
def open_desk(home: Home, model: str) -> Iterator[Desk]:
    """Open the registry of models for writing, at the version of a model.

    Raises:
        InputError: if the model has no version, or the home no chain.
        IntegrityError: if the record has findings.
    """
    require_chain(home, NEEDS)
    with locked(home):
        sound = verified(home)
        with read_models(home) as known:
            if known is None:
                raise no_version(model)
        with written_models(home, sound.identity, parties_of(home).operator) as opened:
            recorded = opened.registry.versions()
            name = version_of(sound, recorded, model).version_id
            yield Desk(home, sound, opened, sound.ancestry(recorded), name)


def verified(home: Home) -> Sound:
    """Verify the record.

    Raises:
        IntegrityError: if it has findings.
        InputError: if it has no round.
    """
    audited = audit(home, run=None, heads=(), trust=None, scrub=False)
    if audited.lineage.verdict is Verdict.FINDINGS:
        raise IntegrityError(
            "the record does not hold, so nothing is released from it",
            got=f"{len(audited.lineage.findings)} findings", remedy="`fedchain verify` tells them",
        )  # fmt: skip
    if not audited.rounds:
        raise InputError("no round in this record", remedy="run an experiment first")
    with read_ledger(home) as ledger:
        return Sound(ledger.identity(), audited.rounds)


def admins_of(home: Home) -> list[FileSigner]:
    """Return the admins of the home's sites, in the order of the sites' names: the first one submits.

    Raises:
        InputError: if there are too few for every role.
    """
    paths = [key_path(home.keys, "site", name) for name in site_names(home)]
    found = [read_signer(path) for path in paths if path.exists()]
    if len(found) <= len(REVIEWERS):
        raise InputError(
            "a model needs a submitter and reviewers of other organisations",
            expected=f"the keys of {len(REVIEWERS) + 1} sites", got=len(found),
        )  # fmt: skip
    return found


def organisation_of(admin: FileSigner) -> bytes:
    """Return the organisation of an admin."""
    return tagged("organisation", admin.address)


def round_of(rounds: Sequence[AuditedRound], model: str) -> AuditedRound:
    """Return the newest sealed round of a run, or the sealed round whose model has this CID or digest.

    Raises:
        InputError: if there is none.
    """
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


def version_of(sound: Sound, recorded: Sequence[RecordedVersion], model: str) -> RecordedVersion:
    """Return a version by its own id, or the one of a model that is named as for `register`: the newest one.

    Raises:
        InputError: if there is none.
    """
    wanted = model.removeprefix("0x")
    for each in recorded:
        if each.version_id.hex() == wanted:
            return each
    round_hash = round_of(sound.rounds, model).chained.round_hash
    found = next((each for each in reversed(recorded) if each.version.round_hash == round_hash), None)
    if found is None:
        raise no_version(model)
    return found


def no_version(model: str) -> InputError:
    """Return what is said of a model that was never submitted."""
    return InputError("MODEL has no version", got=model[:100], remedy="`fedchain model register` submits one")
