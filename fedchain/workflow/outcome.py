"""What a round's outcome is made of: its manifest, its two trees, its link. Pure functions of what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.core.cid import Cid
from fedchain.core.eip712 import Domain
from fedchain.core.manifest import ArtifactRef, RejectedReply, RoundManifest
from fedchain.core.merkle import MerkleTree
from fedchain.core.record import LinkKind, RejectedLeaf, RoundLink
from fedchain.core.task import UpdateHeader, leaf_of
from fedchain.workflow.run_state import Accepted


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ends: its kind and model, what was accepted, what was refused at the end, and why it was aborted.

    `state` is that of the server's optimiser after a sealed round.
    It was decided in the second `at`, by the registry as it was at `registry_head`.
    """

    kind: LinkKind
    at: int
    registry_head: bytes
    model: ArtifactRef
    accepted: tuple[Accepted, ...]
    refused: tuple[RejectedReply, ...]
    reason: str
    state: ArtifactRef | None = None

    @property
    def by_signer(self) -> tuple[Accepted, ...]:
        """The accepted updates in the order that the manifest lists them."""
        return tuple(sorted(self.accepted, key=lambda each: each.signer))


def updates_tree(domain: Domain, accepted: Sequence[tuple[UpdateHeader, bytes, str]]) -> MerkleTree:
    """Return the tree over (header, signer, payload CID) of the accepted updates."""
    return MerkleTree.of([leaf_of(domain, header, signer, Cid.parse(cid).codec) for header, signer, cid in accepted])


def rejected_tree(rejected: Sequence[RejectedReply]) -> MerkleTree:
    """Return the tree over the rejected replies."""
    return MerkleTree.of(
        [
            RejectedLeaf(each.reason, each.round, each.signer, each.node, Cid.parse(each.evidence_cid).digest).hash()
            for each in rejected
        ]
    )


def link_of(manifest: RoundManifest, manifest_cid: Cid, updates: MerkleTree) -> RoundLink:
    """Return the link that stands for a round's manifest on the ledger."""
    return RoundLink(
        run=manifest.run,
        round=manifest.round,
        kind=LinkKind(manifest.kind),
        updates_root=updates.root,
        rejected_root=rejected_tree(manifest.rejected).root,
        base_model=manifest.base_model.digest,
        model_digest=manifest.model.digest,
        manifest_digest=manifest_cid.digest,
        accepted=len(manifest.accepted),
        rejected=len(manifest.rejected),
    )
