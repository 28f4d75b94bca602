"""A site's word: it keeps the aggregator's promises and co-signs nothing that contradicts its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fedchain.core import document
from fedchain.core.cid import RAW
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import FedchainError, IntegrityError
from fedchain.core.merkle import MerkleTree
from fedchain.core.messages import InclusionPromise, RoundReceipt
from fedchain.core.record import LinkContext, LinkKind, RoundLink, round_hash
from fedchain.core.signatures import recover
from fedchain.core.task import RoundProof, SignedPromise, leaf_of
from fedchain.ports.site_state import Evidence
from fedchain.workflow import site
from tests.doubles.signer import NamedSigner
from tests.workflow.hospital import AGGREGATOR, DEVICE, DOMAIN, FEDERATION, RUN, World, world

# ------------------------------------------------------------------ promises


def promised(here: World, signer: NamedSigner = AGGREGATOR, round_: int = 1) -> SignedPromise:
    """Contribute to a round and return the promise that its leaf will be in the tree."""
    signed = here.contribute(round_)
    leaf = leaf_of(DOMAIN, signed.header, DEVICE.address, RAW)
    return signed_by(signer, InclusionPromise(FEDERATION, RUN, round_, leaf, 1_800_000_600))


def signed_by(signer: NamedSigner, promise: InclusionPromise, attempt: int = 1) -> SignedPromise:
    return SignedPromise(promise, signer.sign(signing_digest(DOMAIN, promise)), attempt)


def test_the_aggregators_promise_is_kept_as_it_came() -> None:
    here = world()
    signed = promised(here)
    here.site.accept_promise(signed)
    here.site.accept_promise(signed)
    kept = here.state.kept(Evidence.PROMISE, RUN, 1)
    assert kept is not None
    assert document.from_bytes(SignedPromise, kept) == signed


def test_a_promise_about_a_statement_that_is_longer_than_most_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_START", 100)
    here = world()
    here.site.accept_promise(promised(here))
    assert len(here.state.evidence) == 1


def test_a_promise_of_anybody_else_is_refused() -> None:
    here = world()
    genuine = promised(here)
    moved = replace(genuine, promise=replace(genuine.promise, round=2))
    for signed in (promised(here, NamedSigner("a stranger")), moved, replace(genuine, signature=b"")):
        with pytest.raises(FedchainError, match=r"promise|signature"):
            here.site.accept_promise(signed)
    assert here.state.evidence == {}


@pytest.mark.parametrize(
    ("change", "attempt"),
    [
        ({"leaf": b"\x1f" * 32}, 1),
        ({"round": 2}, 1),
        ({"run": b"\x1f" * 32}, 1),
        ({"federation": bytes(32)}, 1),
        ({}, 2),
    ],
    ids=["leaf", "round", "run", "federation", "attempt"],
)
def test_a_promise_of_anything_but_the_update_that_was_released_is_refused(
    change: dict[str, Any], attempt: int
) -> None:
    here = world()
    other = replace(promised(here).promise, **change)
    with pytest.raises(IntegrityError):
        here.site.accept_promise(signed_by(AGGREGATOR, other, attempt))
    assert here.state.evidence == {}


# ------------------------------------------------------------------ receipts


def proof_of(here: World, round_: int, previous: bytes, *, others: Sequence[bytes] = (b"\x0e" * 32,)) -> RoundProof:
    """Contribute to a round and return the proof of a link that includes it."""
    signed = here.contribute(round_)
    leaf = leaf_of(DOMAIN, signed.header, DEVICE.address, RAW)
    tree = MerkleTree.of([leaf, *others])
    return RoundProof(
        int(LinkKind.SEALED), RUN, round_, previous, b"\x4e" * 32, tree.root, ZERO, signed.header.message.base_model,
        b"\x3d" * 32, b"\x3a" * 32, 1 + len(others), 0, 1, RAW, tree.proof(leaf),
    )  # fmt: skip


def hash_of(proof: RoundProof) -> bytes:
    link = RoundLink(
        proof.run, proof.round, LinkKind(proof.kind), proof.updates_root, proof.rejected_root, proof.base_model,
        proof.model_digest, proof.manifest_digest, proof.accepted, proof.rejected,
    )  # fmt: skip
    return round_hash(link, LinkContext(DOMAIN, FEDERATION, proof.previous_hash, proof.registry_head))


def closing(proof: RoundProof, previous: bytes) -> RoundProof:
    return replace(
        proof, kind=int(LinkKind.CLOSED), round=proof.round + 1, previous_hash=previous, updates_root=ZERO, accepted=0,
        base_model=proof.model_digest, proof=(),
    )  # fmt: skip


def signer_of(proof: RoundProof, signature: bytes) -> bytes:
    receipt = RoundReceipt(FEDERATION, proof.run, proof.round, hash_of(proof))
    return recover(signing_digest(DOMAIN, receipt), signature)


def test_a_round_that_includes_the_sites_update_is_co_signed_and_its_hash_kept() -> None:
    here = world()
    proof = proof_of(here, 1, ZERO)
    signature = here.site.countersign(proof)
    assert signer_of(proof, signature) == DEVICE.address
    assert here.state.kept(Evidence.RECEIPT, RUN, 1) == hash_of(proof) + ZERO
    assert here.site.countersign(proof) == signature


def test_each_round_and_the_closing_link_are_co_signed_in_their_order() -> None:
    here = world()
    first = proof_of(here, 1, ZERO)
    second = proof_of(here, 2, hash_of(first))
    last = closing(second, hash_of(second))
    for proof in (first, second, last):
        assert signer_of(proof, here.site.countersign(proof)) == DEVICE.address


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: replace(proof, updates_root=b"\x0e" * 32),
        lambda proof: replace(proof, updates_root=ZERO, proof=()),
        lambda proof: replace(proof, proof=()),
        lambda proof: replace(proof, proof=(b"short",)),
        lambda proof: replace(proof, attempt=2),
        lambda proof: replace(proof, round=2),
        lambda proof: replace(proof, payload_codec=0x70),
        lambda proof: replace(proof, base_model=b"\x0e" * 32),
        lambda proof: replace(proof, run=b"\x0e" * 32),
    ],
    ids=["other root", "empty tree", "no proof", "bad proof", "attempt", "round", "codec", "base", "run"],
)
def test_a_round_that_omits_the_sites_update_is_not_co_signed(change: Callable[[RoundProof], RoundProof]) -> None:
    here = world()
    proof = change(proof_of(here, 1, ZERO))
    with pytest.raises(IntegrityError):
        here.site.countersign(proof)
    assert here.state.evidence == {}


def test_a_second_hash_for_a_round_is_a_fork_and_not_co_signed() -> None:
    here = world()
    proof = proof_of(here, 1, ZERO)
    here.site.countersign(proof)
    for fork in (
        replace(proof, model_digest=b"\x0f" * 32), replace(proof, registry_head=ZERO), replace(proof, rejected=1),
    ):  # fmt: skip
        with pytest.raises(IntegrityError):
            here.site.countersign(fork)
    assert here.state.kept(Evidence.RECEIPT, RUN, 1) == hash_of(proof) + ZERO


def test_a_round_that_does_not_follow_the_co_signed_one_is_not_co_signed() -> None:
    here = world()
    first = proof_of(here, 1, ZERO)
    here.site.countersign(first)
    with pytest.raises(IntegrityError, match="does not follow"):
        here.site.countersign(proof_of(here, 2, b"\x0b" * 32))
    with pytest.raises(IntegrityError, match="does not follow"):
        here.site.countersign(closing(first, ZERO))
    assert here.state.kept(Evidence.RECEIPT, RUN, 2) is None


def test_rounds_that_come_out_of_order_are_held_against_each_other_all_the_same() -> None:
    here = world()
    first = proof_of(here, 1, ZERO)
    second = proof_of(here, 2, hash_of(first))
    here.site.countersign(second)
    with pytest.raises(IntegrityError, match="does not follow"):
        here.site.countersign(replace(first, model_digest=b"\x0f" * 32))
    assert signer_of(first, here.site.countersign(first)) == DEVICE.address


@pytest.mark.parametrize(
    "changes",
    [{"kind": 0}, {"kind": 4}, {"kind": -1}, {"round": -1}, {"previous_hash": b""}, {"accepted": 2**32}],
    ids=repr,
)
def test_a_link_that_no_ledger_would_take_is_not_co_signed(changes: dict[str, Any]) -> None:
    here = world()
    proof = closing(proof_of(here, 1, ZERO), ZERO)
    with pytest.raises(FedchainError):
        here.site.countersign(replace(proof, **changes))
    assert here.state.evidence == {}
