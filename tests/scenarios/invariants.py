"""What must hold of a federation's record after every fault, recomputed here without the verifier.

The numbers are those of the list of invariants that the project is tested against:

1. one seal a round, hash-chained to its predecessor;
2. every promised update is in exactly one of {accepted, rejected}, in exactly one round;
3. no update enters twice;
4. each sealed model is what the stored updates add up to;
5. what was released was charged before, in full, and totals never decrease.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from fedchain.core import document
from fedchain.core.cid import RAW, Cid, cid_of
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.manifest import AcceptedUpdate, RejectedReply, RoundManifest
from fedchain.core.merkle import MerkleTree
from fedchain.core.privacy import merged, micro_epsilon
from fedchain.core.record import LinkContext, LinkKind, RejectedLeaf, head_slot, next_registry_head, round_hash
from fedchain.core.rejection import Reason
from fedchain.core.signatures import recover
from fedchain.core.task import SignedPromise, UpdateHeader, leaf_of
from fedchain.core.tensors import IntTensors, decode, encode, model_digest
from fedchain.ports.ledger import Ledger, LinkEvent, RegistryEvent
from fedchain.ports.site_state import ChargeKey, SiteState
from fedchain.ports.store import ArtifactStore
from fedchain.ports.training import Accountant


def one_seal_a_round(ledger: Ledger) -> None:
    """Check 1, over every run of the ledger."""
    identity, registry_head = ledger.identity(), ZERO
    last: dict[bytes, LinkEvent] = {}
    for event in ledger.events():
        if isinstance(event, RegistryEvent):
            registry_head = next_registry_head(registry_head, event.message, event.at)
            continue
        before = last.get(event.link.run)
        assert event.link.round == (1 if before is None else before.link.round + 1)
        assert before is None or before.link.kind is not LinkKind.CLOSED
        assert event.previous_hash == (ZERO if before is None else before.round_hash)
        context = LinkContext(identity.rounds, identity.federation, event.previous_hash, registry_head)
        assert event.round_hash == round_hash(event.link, context)
        last[event.link.run] = event
    for run, event in last.items():
        is_closed = event.link.kind is LinkKind.CLOSED
        assert ledger.head_slot(run) == head_slot(event.link.round, event.round_hash, closed=is_closed)


def every_promise_is_kept_once(ledger: Ledger, store: ArtifactStore, promises: Iterable[SignedPromise]) -> None:
    """Check 2 for promises of rounds that have ended.

    A copy that was refused as a duplicate, in a later round or with other bytes for its payload is another reply and
    no second update.
    """
    accepted: Counter[tuple[bytes, int, bytes]] = Counter()
    rejected: Counter[tuple[bytes, int, bytes]] = Counter()
    ended: set[tuple[bytes, int]] = set()
    domain = ledger.identity().rounds
    for event, manifest in manifests(ledger, store):
        ended.add((manifest.run, manifest.round))
        for leaf in _accepted_leaves(ledger, manifest):
            accepted[manifest.run, manifest.round, leaf] += 1
        for reply in manifest.rejected:
            header, payload = evidence(store, reply)
            if header is not None and reply.signer != bytes(20) and reply.reason != Reason.DUPLICATE:
                cid = cid_of(payload)
                if cid.digest == header.message.payload_cid:
                    rejected[manifest.run, manifest.round, leaf_of(domain, header, reply.signer, cid.codec)] += 1
        assert event.link.updates_root == MerkleTree.of(_accepted_leaves(ledger, manifest)).root
        assert event.link.rejected_root == MerkleTree.of([_rejected_leaf(each) for each in manifest.rejected]).root
    for signed in promises:
        promise = signed.promise
        if (promise.run, promise.round) in ended:
            key = promise.run, promise.round, promise.leaf
            assert accepted[key] + rejected[key] == 1, f"round {promise.round}: {accepted[key]} and {rejected[key]}"


def no_update_enters_twice(ledger: Ledger, store: ArtifactStore) -> None:
    """Check 3: the key of an update is its signer, run, round and digest."""
    seen: set[tuple[bytes, bytes, int, bytes]] = set()
    signers: set[tuple[bytes, bytes, int]] = set()
    domain = ledger.identity().rounds
    for _, manifest in manifests(ledger, store):
        for update in manifest.accepted:
            message = update.header.message
            signer = recover(signing_digest(domain, message), update.header.signature)
            assert (message.run, message.round) == (manifest.run, manifest.round)
            assert (signer, message.run, message.round) not in signers
            assert (signer, message.run, message.round, message.update_commit) not in seen
            signers.add((signer, message.run, message.round))
            seen.add((signer, message.run, message.round, message.update_commit))


def every_model_is_what_its_updates_add_up_to(ledger: Ledger, store: ArtifactStore) -> None:
    """Check 4 in exact fractions."""
    newest: dict[bytes, bytes] = {}
    for event, manifest in manifests(ledger, store):
        link = event.link
        assert newest.setdefault(link.run, link.base_model) == link.base_model
        assert manifest.base_model.digest == link.base_model
        base = store.get(Cid.parse(manifest.base_model.cid))
        assert model_digest(base) == link.base_model
        if link.kind is LinkKind.SEALED:
            weighed = [
                (decode(Envelope.from_bytes(store.get(Cid.parse(each.payload_cid))).update), each.header.message.weight)
                for each in manifest.accepted
            ]
            assert link.model_digest == model_digest(encode(moved(decode(base), weighed)))
        else:
            assert (link.model_digest, link.accepted) == (link.base_model, 0)
        assert model_digest(store.get(Cid.parse(manifest.model.cid))) == link.model_digest
        newest[link.run] = link.model_digest


def moved(base: IntTensors, weighed: Sequence[tuple[IntTensors, int]]) -> IntTensors:
    """Return base + half-to-even rounding of the weighted mean, in fractions."""
    total = sum(weight for _, weight in weighed)
    model: IntTensors = {}
    for name, array in base.items():
        sums = [
            sum(int(update[name].reshape(-1)[index]) * weight for update, weight in weighed)
            for index in range(array.size)
        ]
        mean = np.array([round(Fraction(each, total)) for each in sums], np.int64).reshape(array.shape)
        model[name] = (array + mean).astype("<i4")
    return model


def all_that_left_was_charged(
    ledger: Ledger, store: ArtifactStore, states: dict[bytes, SiteState], accountant: Accountant, delta: float
) -> None:
    """Check 5 against each dataset's site: `states` maps a dataset to the state of the site that has it."""
    highest: dict[bytes, int] = {}
    for _, manifest in manifests(ledger, store):
        for update in manifest.accepted:
            message = update.header.message
            keys = {charge.key for charge in states[message.dataset].charges(message.dataset)}
            assert ChargeKey(message.run, message.round, message.nonce) in keys
            assert message.micro_epsilon_total >= highest.get(message.dataset, 0)
            highest[message.dataset] = message.micro_epsilon_total
    for dataset, state in states.items():
        charges = state.charges(dataset)
        totals = [charge.micro_epsilon_total for charge in charges]
        assert totals == sorted(totals)
        released = [charge.release for charge in charges if state.released(charge.key) is not None]
        spent = accountant.spent(merged(released), delta)
        assert max(totals, default=0) >= micro_epsilon(spent.epsilon)


def manifests(ledger: Ledger, store: ArtifactStore) -> Iterator[tuple[LinkEvent, RoundManifest]]:
    """Yield every link with its manifest, in ledger order."""
    for event in ledger.events():
        if isinstance(event, LinkEvent):
            cid = Cid(RAW, event.link.manifest_digest)
            yield event, _manifest(store.get(cid))


@functools.lru_cache(1 << 10)
def _manifest(data: bytes) -> RoundManifest:
    return document.from_bytes(RoundManifest, data)


def evidence(store: ArtifactStore, reply: RejectedReply) -> tuple[UpdateHeader | None, bytes]:
    """Return the statement (None where it is no document) and the payload of a rejected reply, as they came."""
    data = store.get(Cid.parse(reply.evidence_cid))
    size = int.from_bytes(data[:4])
    header = None if reply.signer == bytes(20) else document.from_bytes(UpdateHeader, data[4 : 4 + size])
    return header, data[4 + size :]


def _accepted_leaves(ledger: Ledger, manifest: RoundManifest) -> tuple[bytes, ...]:
    return _leaves(ledger.identity().rounds, manifest.accepted)


@functools.lru_cache(1 << 10)
def _leaves(domain: Domain, accepted: tuple[AcceptedUpdate, ...]) -> tuple[bytes, ...]:
    signers = (recover(signing_digest(domain, each.header.message), each.header.signature) for each in accepted)
    codecs = (Cid.parse(each.payload_cid).codec for each in accepted)
    return tuple(
        leaf_of(domain, each.header, signer, codec)
        for each, signer, codec in zip(accepted, signers, codecs, strict=True)
    )


def _rejected_leaf(reply: RejectedReply) -> bytes:
    digest = Cid.parse(reply.evidence_cid).digest
    return RejectedLeaf(reply.reason, reply.round, reply.signer, reply.node, digest).hash()
