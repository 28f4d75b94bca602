from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.digest import ZERO
from fedchain.core.eip712 import Domain, struct_hash
from fedchain.core.errors import FormatError
from fedchain.core.messages import AddOrganisation, RevokeDevice
from fedchain.core.record import (
    LinkContext,
    LinkKind,
    RejectedLeaf,
    RoundLink,
    UpdateLeaf,
    head_slot,
    next_registry_head,
    round_hash,
)
from tests.core.samples import FEW, addresses, bytes32, domains, messages, unhex, vectors

VECTORS = vectors("record")
uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
links = st.builds(
    RoundLink, bytes32, uint64, st.sampled_from(LinkKind), bytes32, bytes32, bytes32, bytes32, bytes32, uint32, uint32
)
contexts = st.builds(LinkContext, domains, bytes32, bytes32, bytes32)
update_leaves = st.builds(UpdateLeaf, addresses, bytes32, bytes32, uint64)
rejected_leaves = st.builds(RejectedLeaf, st.integers(0, 2**16 - 1), uint64, addresses, uint64, bytes32)


def values_of(vector: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, str] = vector["values"]
    return {name: unhex(value) if value.startswith("0x") else int(value) for name, value in values.items()}


@pytest.mark.parametrize("vector", VECTORS["links"], ids=lambda vector: vector["values"]["kind"])
def test_round_hashes_are_those_of_the_shared_vectors(vector: dict[str, Any]) -> None:
    chain_id, contract, federation, run, round_, kind, previous, head, *rest = values_of(vector).values()
    context = LinkContext(Domain(chain_id, contract), federation, previous, head)
    assert round_hash(RoundLink(run, round_, LinkKind(kind), *rest), context) == unhex(vector["roundHash"])


@pytest.mark.parametrize("vector", VECTORS["slots"], ids=lambda vector: str(vector["closed"]))
def test_head_slots_are_those_of_the_shared_vectors(vector: dict[str, Any]) -> None:
    slot = head_slot(vector["round"], unhex(vector["roundHash"]), closed=vector["closed"])
    assert slot == unhex(vector["slot"])


@pytest.mark.parametrize("vector", VECTORS["registryHeads"], ids=lambda vector: vector["at"])
def test_registry_heads_roll_as_in_the_shared_vectors(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedchain.core.record.struct_hash", lambda _: unhex(vector["structHash"]))
    message = AddOrganisation(ZERO, bytes(20), 0)
    assert next_registry_head(unhex(vector["head"]), message, vector["at"]) == unhex(vector["next"])


def test_leaves_are_those_of_the_shared_vectors() -> None:
    _, *update = values_of(VECTORS["updateLeaf"]).values()
    _, *rejected = values_of(VECTORS["rejectedLeaf"]).values()
    assert UpdateLeaf(*update).hash() == unhex(VECTORS["updateLeaf"]["leaf"])
    assert RejectedLeaf(*rejected).hash() == unhex(VECTORS["rejectedLeaf"]["leaf"])


@FEW
@given(links, links, contexts)
def test_a_round_hash_covers_every_part_of_its_link(link: RoundLink, other: RoundLink, context: LinkContext) -> None:
    for field in dataclasses.fields(RoundLink):
        changed = dataclasses.replace(link, **{field.name: getattr(other, field.name)})
        assert (round_hash(changed, context) == round_hash(link, context)) == (changed == link)


@FEW
@given(links, contexts, contexts)
def test_a_round_hash_covers_where_it_stands_and_what_came_before(
    link: RoundLink, context: LinkContext, other: LinkContext
) -> None:
    for field in dataclasses.fields(LinkContext):
        changed = dataclasses.replace(context, **{field.name: getattr(other, field.name)})
        assert (round_hash(link, changed) == round_hash(link, context)) == (changed == context)


@pytest.mark.parametrize(
    ("name", "value"),
    [("run", b"short"), ("round", 2**64), ("round", -1), ("accepted", 2**32), ("model_digest", bytes(33))],
)
def test_a_link_that_the_contract_cannot_hold_has_no_hash(name: str, value: Any) -> None:
    link = RoundLink(ZERO, 1, LinkKind.SEALED, ZERO, ZERO, ZERO, ZERO, ZERO, 0, 0)
    context = LinkContext(Domain(1, bytes(20)), ZERO, ZERO, ZERO)
    assert len(round_hash(link, context)) == 32
    with pytest.raises(FormatError):
        round_hash(dataclasses.replace(link, **{name: value}), context)


@FEW
@given(uint64, bytes32, uint64, bytes32)
def test_a_slot_tells_round_hash_and_end(round_: int, hash_: bytes, other: int, other_hash: bytes) -> None:
    same = (round_, hash_) == (other, other_hash)
    for closed in (False, True):
        slot = head_slot(round_, hash_, closed=closed)
        assert (slot == head_slot(other, other_hash, closed=closed)) == same
        assert slot != head_slot(round_, hash_, closed=not closed)


@FEW
@given(bytes32, messages(RevokeDevice), uint64, uint64)
def test_a_registry_head_covers_the_action_and_its_time(
    head: bytes, message: RevokeDevice, at: int, other: int
) -> None:
    expected = keccak(head + struct_hash(message) + at.to_bytes(32))
    assert next_registry_head(head, message, at) == expected
    assert (next_registry_head(head, message, other) == expected) == (at == other)


@FEW
@given(update_leaves, update_leaves)
def test_an_update_leaf_covers_each_of_its_parts(leaf: UpdateLeaf, other: UpdateLeaf) -> None:
    for field in dataclasses.fields(UpdateLeaf):
        changed = dataclasses.replace(leaf, **{field.name: getattr(other, field.name)})
        assert (changed.hash() == leaf.hash()) == (changed == leaf)


@FEW
@given(rejected_leaves, rejected_leaves)
def test_a_rejected_leaf_covers_each_of_its_parts(leaf: RejectedLeaf, other: RejectedLeaf) -> None:
    for field in dataclasses.fields(RejectedLeaf):
        changed = dataclasses.replace(leaf, **{field.name: getattr(other, field.name)})
        assert (changed.hash() == leaf.hash()) == (changed == leaf)


@FEW
@given(addresses, bytes32, st.binary(min_size=65, max_size=65))
def test_a_leaf_holds_the_hash_of_the_signature(signer: bytes, digest: bytes, signature: bytes) -> None:
    assert UpdateLeaf.of(signer, digest, signature, 0x55) == UpdateLeaf(signer, digest, keccak(signature), 0x55)


def test_link_kinds_have_the_numbers_of_the_contract() -> None:
    assert {kind.name: int(kind) for kind in LinkKind} == {"SEALED": 1, "ABORTED": 2, "CLOSED": 3}
