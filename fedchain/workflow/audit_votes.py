"""Signatures about releases: those of organisations, and the votes of reviewers with what makes them count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fedchain.core.digest import hex32
from fedchain.core.eip712 import Domain, TypedMessage, signing_digest
from fedchain.core.errors import FormatError
from fedchain.core.lineage import CountedVote
from fedchain.core.messages import Approval, Disposition
from fedchain.core.releases import Decision, Vote, approval_words, disposition_words, meaning_of, vote_sentence
from fedchain.core.signatures import recover
from fedchain.ports.models import ReleaseTerms, Reviewer, VersionStatus
from fedchain.workflow.audit_report import Fault
from fedchain.workflow.registry_history import RegistryHistory


@dataclass(frozen=True, slots=True)
class Admins:
    """Who spoke for an organisation, by the ledger's own registry."""

    registry: RegistryHistory

    def at(self, organisation: bytes, time: int) -> Collection[bytes]:
        """Return the admins of an organisation in a second: two where it changed hands then.

        Raises:
            Fault: if there is no such organisation.
        """
        sizes = {self.registry.recorded_before(time), self.registry.recorded_before(time + 1)}
        found = [self.registry.state(size).organisations.get(organisation) for size in sizes]
        admins = {each for each in found if each is not None}
        refuse(not admins, "an organisation of the registry", hex32(organisation))
        return admins


@dataclass(frozen=True, slots=True)
class Election:
    """A question about a version at a second: a decision, or the digest of a withdrawn dataset."""

    domain: Domain
    name: bytes
    about: Decision | bytes
    status: VersionStatus
    reviewers: Mapping[bytes, Reviewer]
    terms: ReleaseTerms
    roles: Mapping[int, str]
    at: int

    @property
    def takes_one(self) -> bool:
        """Whether one reviewer of any organisation is enough."""
        return self.about is Decision.SUSPEND

    def check_quorum(self, votes: Sequence[Vote]) -> None:
        """Check that these votes are enough, from as many organisations and with every required role.

        Raises:
            Fault: if they are not.
        """
        if self.takes_one:
            refuse(len(votes) != 1, "one vote", len(votes), claim="approval")
            return
        organisations = {self.reviewers[each.signer].organisation for each in votes}
        held = sum(1 << role for role in {each.role for each in votes})
        is_enough = len(organisations) == len(votes) >= self.terms.quorum
        refuse(not is_enough, f"{self.terms.quorum} organisations, each once", len(organisations), claim="approval")
        missing = self.terms.required_roles & ~held
        refuse(bool(missing), f"the roles {self.terms.required_roles:#b}", f"{held:#b}", claim="approval")

    def message(self, vote: Vote) -> TypedMessage:
        """Return what was signed with a vote."""
        rest = (vote.role, vote.meaning, vote.evidence, vote.signed_at, vote.valid_until, vote.nonce)
        if isinstance(self.about, bytes):
            return Disposition(self.name, self.about, *rest)
        return Approval(self.name, int(self.about), *rest)

    def sentence(self, vote: Vote) -> str:
        """Return the sentence that a signer saw, empty if it was another than ours."""
        about = self.about
        words = disposition_words(self.name, about) if isinstance(about, bytes) else approval_words(self.name, about)
        sentence = vote_sentence(words, self.role(vote), vote.evidence)
        return sentence if meaning_of(sentence) == vote.meaning else ""

    def role(self, vote: Vote) -> str:
        """Return the name of a vote's role."""
        return self.roles.get(vote.role, str(vote.role))


def checked_vote(election: Election, vote: Vote) -> CountedVote:
    """Return a vote that counts.

    Raises:
        Fault: if its signer is no reviewer in this role then, it came at the wrong time, or is not signed.
    """
    reviewer, at = election.reviewers.get(vote.signer), election.at
    if reviewer is None or reviewer.role != vote.role or at >= reviewer.valid_until:
        raise Fault("approval", f"a reviewer with role {election.role(vote)}", hex32(vote.signer))
    is_timely = election.status.review_since <= vote.signed_at <= at < vote.valid_until
    refuse(not is_timely, f"a vote of this review that holds at {at}", vote.signed_at, claim="approval")
    refuse(vote.nonce < reviewer.least_nonce, f"a nonce from {reviewer.least_nonce} on", vote.nonce, claim="approval")
    is_own = reviewer.organisation == election.status.organisation and not election.takes_one
    refuse(is_own, "a reviewer of another organisation", hex32(vote.signer), claim="approval")
    refuse(not vote.signature, "a signature", "none", claim="approval")
    check_signature(election.domain, election.message(vote), vote.signature, {vote.signer}, claim="approval")
    return CountedVote(
        reviewer=vote.signer.hex(),
        organisation=reviewer.organisation.hex(),
        role=election.role(vote),
        signed_at=vote.signed_at,
        valid_until=vote.valid_until,
        evidence=vote.evidence.hex() if any(vote.evidence) else "",
        sentence=election.sentence(vote),
    )


def check_signature(
    domain: Domain, message: TypedMessage, signature: bytes, signers: Collection[bytes], claim: str = "release"
) -> None:
    """Check that one of the signers signed; without a signature it sent the transaction, which is the chain's word.

    Raises:
        Fault: if another key signed, or none.
    """
    if not signature:
        return
    expected = "a signature of " + " or ".join(hex32(each) for each in signers)
    try:
        signer = recover(signing_digest(domain, message), signature)
    except FormatError as error:
        raise Fault(claim, expected, error) from error
    refuse(signer not in signers, expected, hex32(signer), claim=claim)


def refuse(is_wrong: bool, expected: str, got: object, *, claim: str = "release") -> None:
    """Raise a fault of a claim where something is wrong."""
    if is_wrong:
        raise Fault(claim, expected, got)
