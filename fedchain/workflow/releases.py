"""A version in the hands of its organisation: submitted, brought into review, deployed, superseded or revoked.

Organisations also name and dismiss their reviewers here.

Nothing is journaled, because the registry of models remembers: each act first reads what is already done and does only
what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fedchain.core.digest import hex32
from fedchain.core.eip712 import TypedMessage, signing_digest
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import Taint
from fedchain.core.messages import MoveVersion, RegisterReviewer, RevokeReviewer, SubmitVersion
from fedchain.core.releases import MOVED_FROM, LinkRecord, Version, VersionState, version_id
from fedchain.ports.clock import Clock
from fedchain.ports.models import ModelRegistry, VersionStatus
from fedchain.ports.signer import Signer
from fedchain.workflow.signing import Acted, Announce, Signing

YEAR_S: Final = 365 * 24 * 3600
_REVIEW: Final[Mapping[VersionState, tuple[VersionState, ...]]] = {
    VersionState.DRAFT: (VersionState.CANDIDATE, VersionState.IN_REVIEW),
    VersionState.CANDIDATE: (VersionState.IN_REVIEW,),
}
"""The moves that lead to review."""
_SAYS: Final[Mapping[VersionState, str]] = {
    VersionState.DEPLOYED: "mark version {} as deployed: it is in use from now on",
    VersionState.SUPERSEDED: "take version {} out of use: another one has taken its place",
    VersionState.REVOKED: "revoke version {} for good: it can never be released again",
}
"""The moves that an organisation makes after the review of its version."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a version of this organisation is made from."""

    version: Version
    datasets: frozenset[bytes]
    records: tuple[LinkRecord, ...]


@dataclass(frozen=True, slots=True)
class Releases:
    """A registry of models, the names of its roles, and whom to tell before anything is signed."""

    registry: ModelRegistry
    roles: Mapping[int, str]
    clock: Clock
    announce: Announce

    def name_reviewer(self, organisation: bytes, admin: Signer, reviewer: bytes, role: int) -> tuple[Acted, ...]:
        """Let an organisation name a reviewer for a year; nothing where it has done so.

        Raises:
            InputError: if the registry holds the reviewer otherwise.
        """
        found = self.registry.reviewer(reviewer)
        if found is not None:
            if (found.organisation, found.role) != (organisation, role):
                raise InputError("a reviewer has one role, in one organisation, for ever", got=hex32(reviewer))
            return ()
        nonce = self.registry.reviewer_nonce(organisation)
        message = RegisterReviewer(organisation, reviewer, role, self.clock.now() + YEAR_S, nonce)
        signing = Signing(
            f"admin {hex32(admin.address)}",
            f"name {hex32(reviewer)} the {self.roles[role]} reviewer of organisation {hex32(organisation)} for a year",
        )
        return (self._sent(signing, admin, message, lambda signed: self.registry.register_reviewer(message, signed)),)

    def register(self, origin: Origin, admin: Signer) -> tuple[Acted, ...]:
        """Submit a version and bring it into review; only what is missing."""
        name = version_id(self.registry.identity().domain, origin.version)
        done: list[Acted] = []
        who = f"admin {hex32(admin.address)}"
        if self.registry.status(name).state is VersionState.UNKNOWN:
            message = SubmitVersion(name)
            signing = Signing(
                who,
                f"submit model {hex32(origin.version.model)} of round hash {hex32(origin.version.round_hash)}, trained "
                f"on {len(origin.datasets)} datasets, as version {hex32(name)}",
            )
            submit = self.registry.submit
            done.append(
                self._sent(signing, admin, message, lambda signed: submit(origin.version, origin.records, signed))
            )
        for state in _REVIEW.get(self.registry.status(name).state, ()):
            move = MoveVersion(name, int(state), self.registry.status(name).moves + 1)
            done.append(self._moved(Signing(who, f"move version {hex32(name)} to {state.words}"), admin, move))
        return tuple(done)

    def bring(self, name: bytes, state: VersionState, admin: Signer, taints: Sequence[Taint]) -> tuple[Acted, ...]:
        """Deploy, supersede or revoke a version of this organisation; nothing where that is done.

        `taints` are those without a disposition: they stand against deploying.

        Raises:
            PolicyError: if the version may not get there, its approvals have ended, or it is tainted.
        """
        status = self.registry.status(name)
        if status.state is state:
            return ()
        if status.state not in MOVED_FROM[state]:
            wanted = " or ".join(each.words for each in MOVED_FROM[state])
            raise PolicyError(f"to get to {state.words} a version", expected=wanted, got=status.state.words)
        if state is VersionState.DEPLOYED:
            self._refuse_to_deploy(status, taints)
        move = MoveVersion(name, int(state), status.moves + 1)
        signing = Signing(f"admin {hex32(admin.address)}", _SAYS[state].format(hex32(name)))
        return (self._moved(signing, admin, move),)

    def dismiss(self, reviewer: bytes, admin: Signer) -> tuple[Acted, ...]:
        """End a reviewer's time now; nothing where it is over. Votes of it that were not counted count no more.

        Raises:
            InputError: if there is no such reviewer.
        """
        found = self.registry.reviewer(reviewer)
        if found is None:
            raise InputError(
                "no such reviewer", got=hex32(reviewer), remedy="`fedchain model register` names reviewers"
            )
        if self.clock.now() >= found.valid_until:
            return ()
        message = RevokeReviewer(reviewer, self.registry.reviewer_nonce(found.organisation))
        signing = Signing(
            f"admin {hex32(admin.address)}",
            f"end the time of {hex32(reviewer)}, {self.roles[found.role]} reviewer of organisation "
            f"{hex32(found.organisation)}: it never votes again",
        )
        return (self._sent(signing, admin, message, lambda signed: self.registry.revoke_reviewer(message, signed)),)

    def _refuse_to_deploy(self, status: VersionStatus, taints: Sequence[Taint]) -> None:
        if self.clock.now() >= status.approved_until:
            raise PolicyError(
                "the approvals of the version have ended", expected=f"now before {status.approved_until}",
                got=self.clock.now(), remedy="`fedchain model suspend` it, then have it approved again",
            )  # fmt: skip
        if taints:
            raise PolicyError(
                "the version is tainted: consent was withdrawn", got=", ".join("0x" + each.dataset for each in taints),
                remedy="`fedchain model dispose` has its reviewers decide about it",
            )  # fmt: skip

    def _moved(self, signing: Signing, admin: Signer, message: MoveVersion) -> Acted:
        return self._sent(signing, admin, message, lambda signed: self.registry.move(message, signed))

    def _sent(self, signing: Signing, signer: Signer, message: TypedMessage, send: Callable[[bytes], bytes]) -> Acted:
        self.announce(signing)
        return Acted(signing, send(signer.sign(self._digest(message))))

    def _digest(self, message: TypedMessage) -> bytes:
        return signing_digest(self.registry.identity().domain, message)
