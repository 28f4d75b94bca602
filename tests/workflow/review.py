"""A run in memory whose model is in review, with a clinical and a quality reviewer of two other members."""

from __future__ import annotations

from dataclasses import dataclass

from fedchain.core.digest import ZERO
from fedchain.core.releases import LinkRecord, Version, VersionState, datasets_tree, version_id
from fedchain.ports.models import ReleaseIdentity, ReleaseTerms
from fedchain.workflow.ballots import Ballots, Voter
from fedchain.workflow.releases import Origin, Releases
from fedchain.workflow.signing import Signing
from tests.doubles.models import MemoryModels
from tests.doubles.signer import NamedSigner
from tests.scenarios.federation import IDENTITY, Federation, Setup, federation

ROLES = {1: "clinical", 2: "quality"}
CLARA, QUINN = NamedSigner("clara"), NamedSigner("quinn")
"""The clinical reviewer of the second member, and the quality reviewer of the third."""
MINUTE = 60
"""Two transactions never have one time, so the ledger may be some seconds ahead of the clock."""


@dataclass(slots=True)
class Desk:
    """A finished run whose model is in review."""

    new: Federation
    models: MemoryModels
    name: bytes
    origin: Origin
    said: list[Signing]

    @property
    def ballots(self) -> Ballots:
        return Ballots(self.models, ROLES, self.new.clock, self.said.append)

    @property
    def releases(self) -> Releases:
        return Releases(self.models, ROLES, self.new.clock, self.said.append)

    def open_review(self) -> None:
        admin = self.new.members[0].admin
        Releases(self.models, ROLES, self.new.clock, self.said.append).register(self.origin, admin)
        self.new.clock.forward(MINUTE)

    @property
    def state(self) -> VersionState:
        return self.models.status(self.name).state


def reviewed() -> Desk:
    """Finish a run, submit its model and bring it into review."""
    new = federation(Setup(rounds=1))
    new.run()
    link = new.links()[0]
    models = MemoryModels(
        ReleaseIdentity(IDENTITY.chain_id, b"\x03" * 20, ReleaseTerms(IDENTITY.rounds_contract, 1, 2, 0b110)),
        new.record,
    )
    said: list[Signing] = []
    releases = Releases(models, ROLES, new.clock, said.append)
    organisations = [each.applicant.organisation for each in new.members]
    for member, reviewer, role in ((1, CLARA, 1), (2, QUINN, 2)):
        admin = new.members[member].admin
        assert len(releases.name_reviewer(organisations[member], admin, reviewer.address, role)) == 1
        assert releases.name_reviewer(organisations[member], admin, reviewer.address, role) == ()
    datasets = frozenset(each.applicant.dataset for each in new.members)
    version = Version(
        organisations[0], link.link.model_digest, link.link.manifest_digest, link.round_hash,
        datasets_tree(datasets).root, (),
    )  # fmt: skip
    head = new.record.state.head
    origin = Origin(version, datasets, (LinkRecord(link.link, link.previous_hash, head),))
    releases.register(origin, new.members[0].admin)
    new.clock.forward(MINUTE)
    return Desk(new, models, version_id(models.identity().domain, version), origin, said)


def voter(key: NamedSigner, name: str = "somebody") -> Voter:
    return Voter(name, key, ZERO)
