"""Votes about a version: each reviewer signs its own, and what is enough is sent in one transaction.

Votes are kept by the caller until a quorum of them is there. What was decided already is not signed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fedchain.core.digest import hex32
from fedchain.core.eip712 import TypedMessage, signing_digest
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import Taint
from fedchain.core.messages import Approval, CancelApprovals, Disposition
from fedchain.core.releases import (
    DECIDED_FROM,
    DECIDED_TO,
    DOES,
    Decision,
    Descent,
    VersionState,
    Vote,
    approval_words,
    disposition_words,
    meaning_of,
    vote_sentence,
)
from fedchain.ports.clock import Clock
from fedchain.ports.models import ModelRegistry, Reviewer, VersionStatus
from fedchain.ports.signer import Signer
from fedchain.workflow.releases import YEAR_S
from fedchain.workflow.signing import Acted, Announce, Signing

_DONE: Final[Mapping[Decision, tuple[VersionState, ...]]] = {
    decision: (state, VersionState.DEPLOYED) if decision is Decision.APPROVE else (state,)
    for decision, state in DECIDED_TO.items()
}
"""Where nothing is left to decide."""


@dataclass(frozen=True, slots=True)
class Voter:
    """A reviewer who votes: its key, how it is shown, and the digest of the report's CID, zero for none."""

    name: str
    key: Signer
    evidence: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act did, all votes that count so far, and what is missing to a quorum (empty where nothing is)."""

    done: tuple[Acted, ...]
    votes: tuple[Vote, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Ballots:
    """A registry of models, the names of its roles, and whom to tell before anything is signed."""

    registry: ModelRegistry
    roles: Mapping[int, str]
    clock: Clock
    announce: Announce

    def vote(
        self, name: bytes, decision: Decision, voter: Voter, earlier: Sequence[Vote], taints: Sequence[Taint]
    ) -> Outcome:
        """Sign a vote for a decision, and send all that count once they are enough; nothing where it is decided.

        Raises:
            PolicyError: if the version or the reviewer may not, or an approval meets a withdrawn dataset.
        """
        status = self._status(name)
        if status.state in _DONE[decision]:
            return Outcome(())
        if decision is Decision.APPROVE:
            self._refuse_tainted(name, status, taints)
        if status.state not in DECIDED_FROM[decision]:
            wanted = " or ".join(each.words for each in DECIDED_FROM[decision])
            raise PolicyError(f"to {DOES[decision]} a version", expected=wanted, got=status.state.words)
        reviewer = self._reviewer(voter, status, is_neutral=decision is Decision.SUSPEND)
        vote, signing = self._approval(name, decision, voter, (status, reviewer))
        votes = self._counting([*earlier, vote], status)
        if decision is Decision.SUSPEND:  # takes one reviewer of any organisation
            votes = (vote,)
        missing = "" if decision is Decision.SUSPEND else self.missing(votes)
        done = [Acted(signing, b"")]
        if not missing:
            send = Signing("anyone", f"{DOES[decision]} version {hex32(name)} with {len(votes)} votes")
            self.announce(send)
            done.append(Acted(send, self.registry.decide(name, decision, votes)))
        return Outcome(tuple(done), votes, missing)

    def dispose(self, name: bytes, dataset: bytes, voter: Voter, earlier: Sequence[Vote], descent: Descent) -> Outcome:
        """Record the taint where it is missing, sign a Disposition, and send all that count once they are enough.

        Raises:
            PolicyError: if the reviewer may not vote.
        """
        if self.registry.is_disposed(name, dataset):
            return Outcome(())
        done: list[Acted] = []
        if self._status(name).state is not VersionState.TAINTED:
            done.append(self._tainted(name, dataset, descent))
        status = self._status(name)
        reviewer = self._reviewer(voter, status, is_neutral=False)
        vote, signing = self._disposition(name, dataset, voter, (status, reviewer))
        done.append(Acted(signing, b""))
        votes = self._counting([*earlier, vote], status)
        missing = self.missing(votes)
        if not missing:
            send = Signing("anyone", f"record the disposition of version {hex32(name)} with {len(votes)} votes")
            self.announce(send)
            done.append(Acted(send, self.registry.dispose(descent.behind(dataset), votes)))
        return Outcome(tuple(done), votes, missing)

    def cancel(self, voter: Voter, waiting: Sequence[Vote]) -> tuple[Acted, ...]:
        """Take back all votes of a reviewer that are not counted; nothing where none of these is its own and alive.

        Raises:
            PolicyError: if the key is no reviewer's.
        """
        reviewer = self.registry.reviewer(voter.key.address)
        if reviewer is None:
            raise PolicyError(f"{voter.name} is no reviewer", got=hex32(voter.key.address))
        own = [each.nonce for each in waiting if each.signer == voter.key.address]
        least = 1 + max(own, default=-1)
        if least <= reviewer.least_nonce:
            return ()
        signing = Signing(
            f"reviewer {voter.name} ({hex32(voter.key.address)})",
            f"take back every vote of this reviewer that was not counted yet, those with a nonce below {least}",
        )
        self.announce(signing)
        message = CancelApprovals(voter.key.address, least)
        return (Acted(signing, self.registry.cancel_approvals(message, voter.key.sign(self._digest(message)))),)

    def waiting(self, name: bytes, decision: Decision | None, votes: Sequence[Vote]) -> tuple[Vote, ...]:
        """Return those votes for a decision, or for a disposition (None), that could still be counted."""
        state = self.registry.status(name).state
        open_ = (VersionState.TAINTED,) if decision is None else DECIDED_FROM[decision]
        return self.counting(name, votes) if state in open_ else ()

    def counting(self, name: bytes, votes: Sequence[Vote]) -> tuple[Vote, ...]:
        """Return those of the votes that would count now."""
        return self._counting(votes, self.registry.status(name))

    def missing(self, votes: Sequence[Vote]) -> str:
        """Return in words what these votes lack, empty for nothing."""
        terms = self.registry.identity().terms
        held = {vote.role for vote in votes}
        roles = [name for role, name in self.roles.items() if terms.required_roles >> role & 1 and role not in held]
        if roles:
            return f"{len(votes)} of {terms.quorum} votes; missing: {', '.join(roles)}"
        return "" if len(votes) >= terms.quorum else f"{len(votes)} of {terms.quorum} votes"

    def open_taints(self, name: bytes, taints: Sequence[Taint]) -> tuple[Taint, ...]:
        """Return the taints without a disposition. One that is announced for later counts, too: approvals last."""
        return tuple(each for each in taints if not self.registry.is_disposed(name, bytes.fromhex(each.dataset)))

    def _refuse_tainted(self, name: bytes, status: VersionStatus, taints: Sequence[Taint]) -> None:
        left = self.open_taints(name, taints)
        if left:
            datasets = ", ".join(f"0x{each.dataset} since {each.since}" for each in left)
            raise PolicyError(
                "the version is tainted: consent was withdrawn", got=datasets,
                remedy="`fedchain model dispose` has its reviewers decide about it",
            )  # fmt: skip
        if status.state is VersionState.TAINTED:
            raise PolicyError(
                "the version is tainted by a parent", got=hex32(name), remedy="dispose of the parent's dataset first"
            )

    def _status(self, name: bytes) -> VersionStatus:
        status = self.registry.status(name)
        if status.state is VersionState.UNKNOWN:
            raise InputError("no such version", got=hex32(name), remedy="`fedchain model register` submits one")
        return status

    def _reviewer(self, voter: Voter, status: VersionStatus, *, is_neutral: bool) -> Reviewer:
        reviewer = self.registry.reviewer(voter.key.address)
        if reviewer is None or self.clock.now() >= reviewer.valid_until:
            raise PolicyError(f"{voter.name} is no reviewer now", got=hex32(voter.key.address))
        if reviewer.organisation == status.organisation and not is_neutral:
            raise PolicyError(f"{voter.name} is of the organisation that submitted the model", got="its own model")
        return reviewer

    def _approval(
        self, name: bytes, decision: Decision, voter: Voter, standing: tuple[VersionStatus, Reviewer]
    ) -> tuple[Vote, Signing]:
        _, reviewer = standing
        vote, signing = self._draft(approval_words(name, decision), voter, standing)
        message = Approval(
            name, int(decision), reviewer.role, vote.meaning, vote.evidence, vote.signed_at, vote.valid_until,
            vote.nonce,
        )  # fmt: skip
        return self._signed(vote, signing, voter, message), signing

    def _disposition(
        self, name: bytes, dataset: bytes, voter: Voter, standing: tuple[VersionStatus, Reviewer]
    ) -> tuple[Vote, Signing]:
        _, reviewer = standing
        vote, signing = self._draft(disposition_words(name, dataset), voter, standing)
        message = Disposition(
            name, dataset, reviewer.role, vote.meaning, vote.evidence, vote.signed_at, vote.valid_until, vote.nonce
        )
        return self._signed(vote, signing, voter, message), signing

    def _draft(self, what: str, voter: Voter, standing: tuple[VersionStatus, Reviewer]) -> tuple[Vote, Signing]:
        status, reviewer = standing
        at = max(self.clock.now(), status.review_since)
        sentence = vote_sentence(what, self.roles.get(reviewer.role, str(reviewer.role)), voter.evidence)
        signing = Signing(f"reviewer {voter.name} ({hex32(voter.key.address)})", sentence)
        nonce = max(at, reviewer.least_nonce)
        address = voter.key.address
        vote = Vote(address, reviewer.role, meaning_of(sentence), voter.evidence, at, at + YEAR_S, nonce, b"")
        return vote, signing

    def _signed(self, vote: Vote, signing: Signing, voter: Voter, message: TypedMessage) -> Vote:
        self.announce(signing)
        return replace(vote, signature=voter.key.sign(self._digest(message)))

    def _counting(self, votes: Sequence[Vote], status: VersionStatus) -> tuple[Vote, ...]:
        """The newest vote of each organisation, without those that count no more."""
        now = self.clock.now()
        newest: dict[bytes, Vote] = {}
        for vote in votes:
            reviewer = self.registry.reviewer(vote.signer)
            if reviewer is None or now >= reviewer.valid_until or vote.nonce < reviewer.least_nonce:
                continue
            is_timely = status.review_since <= vote.signed_at and now < vote.valid_until
            if is_timely and reviewer.organisation != status.organisation:
                newest[reviewer.organisation] = vote
        return tuple(newest.values())

    def _tainted(self, name: bytes, dataset: bytes, descent: Descent) -> Acted:
        signing = Signing(
            "anyone", f"show that version {hex32(name)} came from dataset {hex32(dataset)}, whose consent is withdrawn"
        )
        self.announce(signing)
        return Acted(signing, self.registry.taint(descent.behind(dataset)))

    def _digest(self, message: TypedMessage) -> bytes:
        return signing_digest(self.registry.identity().domain, message)
