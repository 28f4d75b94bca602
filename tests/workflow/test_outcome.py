"""An outcome's trees and link are functions of its manifest: of what is listed, and never of the order it came in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.cid import Cid
from fedchain.core.digest import ZERO
from fedchain.core.manifest import RejectedReply
from fedchain.core.merkle import proves
from fedchain.core.record import LinkKind, RejectedLeaf
from fedchain.core.task import leaf_of
from fedchain.workflow.outcome import link_of, rejected_tree, updates_tree
from fedchain.workflow.run_state import RunState
from tests.scenarios.federation import IDENTITY
from tests.workflow.forgery import finished

CIDS = [Cid(0x55, bytes([number]) * 32).text for number in range(1, 4)]
REPLIES = st.builds(
    RejectedReply, st.integers(1, 33), st.integers(1, 9), st.binary(min_size=20, max_size=20),
    st.integers(0, 2**64 - 1), st.sampled_from(CIDS),
)  # fmt: skip


def test_nothing_has_the_root_zero() -> None:
    assert updates_tree(IDENTITY.rounds, []).root == ZERO
    assert rejected_tree([]).root == ZERO


@given(replies=st.lists(REPLIES, unique=True, min_size=1, max_size=6), data=st.data())
def test_the_order_of_rejections_changes_no_root_and_each_can_be_proved(
    replies: list[RejectedReply], data: st.DataObject
) -> None:
    tree = rejected_tree(replies)
    assert tree.root == rejected_tree(data.draw(st.permutations(replies))).root
    for each in replies:
        digest = Cid.parse(each.evidence_cid).digest
        leaf = RejectedLeaf(each.reason, each.round, each.signer, each.node, digest).hash()
        assert proves(tree.root, leaf, tree.proof(leaf))


def test_a_rejection_stands_once() -> None:
    reply = RejectedReply(24, 1, bytes(20), 1, CIDS[0])
    with pytest.raises(ValueError, match="once"):
        rejected_tree([reply, reply])


def test_the_link_of_a_round_is_made_of_its_manifest() -> None:
    new = finished()
    decided = RunState.replay(new.journal.entries()).decided
    for event, manifest in zip(new.links(), new.manifests(), strict=True):
        accepted = [(each.header, each.signer, each.payload_cid) for each in decided[manifest.round].accepted]
        tree = updates_tree(IDENTITY.rounds, accepted)
        link = link_of(manifest, Cid(0x55, event.link.manifest_digest), tree)
        assert link == event.link
        assert (link.accepted, link.rejected) == (len(manifest.accepted), len(manifest.rejected))
        for header, signer, cid in accepted:
            leaf = leaf_of(IDENTITY.rounds, header, signer, Cid.parse(cid).codec)
            assert proves(link.updates_root, leaf, tree.proof(leaf))
        other = link_of(replace(manifest, kind=int(LinkKind.ABORTED)), Cid(0x55, event.link.manifest_digest), tree)
        assert other.kind is LinkKind.ABORTED
