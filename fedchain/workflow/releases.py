"""Bringing a sealed model into review: its version is submitted and moved, and organisations name their reviewers.

Nothing is journaled, because the registry of models remembers: each act first reads what is already done and does only
what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fedchain.core.digest import hex32
from fedchain.core.eip712 import TypedMessage, signing_digest
from fedchain.core.errors import InputError
from fedchain.core.messages import MoveVersion, RegisterReviewer, SubmitVersion
from fedchain.core.releases import LinkRecord, Version, VersionState, version_id
from fedchain.ports.clock import Clock
from fedchain.ports.models import ModelRegistry
from fedchain.ports.signer import Signer
from fedchain.workflow.signing import Acted, Announce, Signing

YEAR_S: Final = 365 * 24 * 3600
_REVIEW: Final[Mapping[VersionState, tuple[VersionState, ...]]] = {
    VersionState.DRAFT: (VersionState.CANDIDATE, VersionState.IN_REVIEW),
    VersionState.CANDIDATE: (VersionState.IN_REVIEW,),
}
"""The moves that lead to review."""


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

    def _moved(self, signing: Signing, admin: Signer, message: MoveVersion) -> Acted:
        return self._sent(signing, admin, message, lambda signed: self.registry.move(message, signed))

    def _sent(self, signing: Signing, signer: Signer, message: TypedMessage, send: Callable[[bytes], bytes]) -> Acted:
        self.announce(signing)
        return Acted(signing, send(signer.sign(self._digest(message))))

    def _digest(self, message: TypedMessage) -> bytes:
        return signing_digest(self.registry.identity().domain, message)
