"""The ModelRegistry port over its contract, and putting that contract, with the challenges it asks, on a chain.

Both are deployed by the federation's operator, among other transactions of its key, so their addresses are looked for
among the contracts that this key has created: a deployment that was interrupted is finished and not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Final

from fedchain.adapters.evm.challenges import challenges_at, create, created_by, deploy_challenges, link_records
from fedchain.adapters.evm.node import Log, Node
from fedchain.adapters.evm.release_events import MODELS, release_event, version_of
from fedchain.core.digest import ZERO
from fedchain.core.errors import FormatError, InputError, RejectedTransactionError
from fedchain.core.messages import CancelApprovals, MoveVersion, RegisterReviewer, RevokeReviewer
from fedchain.core.releases import Behind, Decision, LinkRecord, Version, VersionState, Vote
from fedchain.core.signatures import checksum_address
from fedchain.ports.models import RecordedVersion, ReleaseEvent, ReleaseIdentity, ReleaseTerms, Reviewer, VersionStatus
from fedchain.ports.signer import Signer

_SUBMITTED: Final = MODELS.events["VersionSubmitted"]


class EvmModelRegistry:
    """A registry of models on a node, as one sender. Without a key it only reads."""

    def __init__(self, node: Node, identity: ReleaseIdentity, sender: Signer | None = None) -> None:
        self._node = node
        self._identity = identity
        self._sender = sender

    def identity(self) -> ReleaseIdentity:
        """Return chain, address and terms."""
        return self._identity

    def events(self) -> Sequence[ReleaseEvent]:
        """Return every step that was ever recorded, in ledger order."""
        return [release_event(log, self._node.data) for log in self._node.logs([self._identity.contract])]

    def versions(self) -> Sequence[RecordedVersion]:
        """Return every version that was ever submitted, oldest first."""
        return [_recorded(log) for log in self._node.logs([self._identity.contract], [[_SUBMITTED.topic]])]

    def status(self, version_id: bytes) -> VersionStatus:
        """Return where a version stands."""
        state, since, until, moves, organisation = self._read("statusOf", version_id)
        return VersionStatus(VersionState(state), since, until, moves, organisation)

    def is_released(self, version_id: bytes) -> bool:
        """Tell whether a version is approved or deployed, and its approvals have not expired."""
        return bool(self._read("isReleased", version_id))

    def reviewer(self, address: bytes) -> Reviewer | None:
        """Return a reviewer, or None."""
        found = Reviewer(*self._read("reviewerOf", address))
        return None if found.organisation == ZERO else found

    def reviewer_nonce(self, organisation: bytes) -> int:
        """Return the next nonce of an organisation for its reviewers."""
        return int(self._read("nonceOf", organisation)) + 1

    def is_disposed(self, version_id: bytes, dataset: bytes) -> bool:
        """Tell whether a disposition about a withdrawn dataset was recorded for a version."""
        return bool(self._read("isDisposed", version_id, dataset))

    def submit(self, version: Version, records: Sequence[LinkRecord], signature: bytes) -> bytes:
        """Add a version as a draft; return the transaction hash."""
        return self._send("submit", version.fields(), link_records(records), signature)

    def move(self, message: MoveVersion, signature: bytes) -> bytes:
        """Move a version; return the transaction hash."""
        return self._send("move", message.version_id, message.state, message.nonce, signature)

    def register_reviewer(self, message: RegisterReviewer, signature: bytes) -> bytes:
        """Add a reviewer; return the transaction hash."""
        return self._send("registerReviewer", *astuple(message), signature)

    def revoke_reviewer(self, message: RevokeReviewer, signature: bytes) -> bytes:
        """End a reviewer's time now; return the transaction hash."""
        return self._send("revokeReviewer", message.reviewer, message.nonce, signature)

    def cancel_approvals(self, message: CancelApprovals, signature: bytes) -> bytes:
        """Take back the votes of a reviewer; return the transaction hash."""
        return self._send("cancelApprovals", message.reviewer, message.least_nonce, signature)

    def decide(self, version_id: bytes, decision: Decision, votes: Sequence[Vote]) -> bytes:
        """Let reviewers decide; return the transaction hash."""
        return self._send("decide", version_id, int(decision), [astuple(each) for each in votes])

    def taint(self, shown: Behind) -> bytes:
        """Show that a version descends from a withdrawn dataset; return the transaction hash."""
        return self._send("taint", *_shown(shown))

    def dispose(self, shown: Behind, votes: Sequence[Vote]) -> bytes:
        """Record what a quorum decided about a withdrawn dataset; return the transaction hash."""
        return self._send("dispose", *_shown(shown), [astuple(each) for each in votes])

    def _read(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  # what the ABI says
        return self._node.call(self._identity.contract, MODELS, function, *arguments)[0]

    def _send(self, function: str, *arguments: object) -> bytes:
        if self._sender is None:
            raise InputError(f"no key to send {function} with", expected="a sender's", got="none")
        data = MODELS.call(function, *arguments)
        return self._node.send(self._sender, MODELS, data, self._identity.contract).transaction


def deploy_models(node: Node, deployer: Signer, terms: ReleaseTerms) -> ReleaseIdentity:
    """Return the registry of models with these terms that this key has deployed, or deploy what is missing of it.

    Raises:
        RejectedTransactionError: if a contract refuses the terms.
        UnreachableError: if the node does not answer.
    """
    found = next((each for each in created_by(node, deployer) if _terms_at(node, each) == terms), None)
    if found is None:
        challenges = deploy_challenges(node, deployer, terms.rounds_contract, terms.answer_window_s)
        found = create(node, deployer, MODELS, challenges, terms.quorum, terms.required_roles)
    identity = ReleaseIdentity(node.chain_id(), found, terms)
    check_models(node, identity)
    return identity


def check_models(node: Node, identity: ReleaseIdentity) -> None:
    """Check that a registry of models with these very terms is where it is said to be.

    Raises:
        InputError: if another contract is there, or none.
    """
    if node.chain_id() != identity.chain_id:
        raise InputError("foreign chain id", expected=identity.chain_id, got=node.chain_id(), remedy="check the node")
    found = _terms_at(node, identity.contract) if node.code(identity.contract) else None
    if found != identity.terms:
        raise InputError(
            f"no registry of this federation's models at {checksum_address(identity.contract)}",
            expected=identity.terms, got=found, remedy="check the node's address and the home directory",
        )  # fmt: skip


def _terms_at(node: Node, address: bytes) -> ReleaseTerms | None:
    """Return the terms of a registry of models, None where there is another contract."""
    names = ("challenges", "quorum", "requiredRoles")
    try:
        (challenges,), (quorum,), (roles,) = (node.call(address, MODELS, name) for name in names)
    except (FormatError, RejectedTransactionError):
        return None
    asked = challenges_at(node, bytes.fromhex(challenges.removeprefix("0x")))
    return None if asked is None else ReleaseTerms(*asked, quorum, roles)


def _shown(shown: Behind) -> tuple[object, ...]:
    return [each.fields() for each in shown.path], shown.dataset, list(shown.proof)


def _recorded(log: Log) -> RecordedVersion:
    (version_id, _), (members, _) = _SUBMITTED.decode(log.topics, log.data)
    return RecordedVersion(version_id, version_of(members), log.at)
