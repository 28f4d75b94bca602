"""What the record itself gives for or against a challenge: proofs of inclusion, of rejection, of overspending.

Nothing here needs a record without findings: whoever challenges shows only what a contract checks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fedchain.core import document
from fedchain.core.challenges import Equivocation, Included, Overspend, Refused
from fedchain.core.cid import DAG_PB, RAW, Cid, cid_of
from fedchain.core.digest import tagged
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.errors import FormatError, IntegrityError, MissingArtifactError
from fedchain.core.manifest import AcceptedUpdate, RejectedReply, RoundManifest
from fedchain.core.messages import UNBOUNDED, ConsentGrant, InclusionPromise, RoundReceipt
from fedchain.core.record import LinkKind, RejectedLeaf, UpdateLeaf
from fedchain.core.rejection import Reason
from fedchain.core.releases import LinkRecord
from fedchain.core.signatures import recover
from fedchain.core.task import UpdateHeader, leaf_of
from fedchain.core.trust import TrustFile
from fedchain.ports.ledger import Ledger, LedgerIdentity, RegistryEvent
from fedchain.ports.store import ArtifactStore
from fedchain.workflow.audit_chain import ChainedLink, audit_chain
from fedchain.workflow.audit_report import Report
from fedchain.workflow.gate import signer_of
from fedchain.workflow.outcome import rejected_tree, updates_tree

LONGEST_REPLY: Final = 2**20
"""One block of the store: a longer reply has no single sha2-256 that the contract could check."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The present consent for a dataset and the second in which it was recorded."""

    grant: ConsentGrant
    at: int


@dataclass(frozen=True, slots=True)
class Chronicle:
    """All links of a ledger with the store behind them, and the present consents."""

    identity: LedgerIdentity
    links: tuple[ChainedLink, ...]
    consents: dict[bytes, Granted]
    store: ArtifactStore

    @classmethod
    def of(cls, ledger: Ledger, store: ArtifactStore) -> Chronicle:
        """Read a ledger; whether it is sound is for the contracts to say, which check every proof."""
        links = audit_chain(ledger, Report())
        consents: dict[bytes, Granted] = {}
        for event in ledger.events():
            if isinstance(event, RegistryEvent) and isinstance(event.message, ConsentGrant):
                consents[event.message.dataset] = Granted(event.message, event.at)
        return cls(ledger.identity(), tuple(links), consents, store)

    def records(self, run: bytes, round_: int) -> tuple[LinkRecord, ...]:
        """Return the preimages of the links from a round to the head of its run, oldest first."""
        return tuple(
            LinkRecord(each.event.link, each.event.previous_hash, each.registry.state(each.actions).head)
            for each in self.links
            if each.event.link.run == run and each.event.link.round >= round_
        )

    def manifests(self) -> Iterator[tuple[ChainedLink, RoundManifest]]:
        """Return each link whose manifest is in the store."""
        for each in self.links:
            digest = each.event.link.manifest_digest
            cid = next((cid for codec in (RAW, DAG_PB) if self.store.has(cid := Cid(codec, digest))), None)
            if cid is None:
                continue
            try:
                yield each, document.from_bytes(RoundManifest, self.store.get(cid))
            except (FormatError, IntegrityError):
                continue  # what is damaged proves nothing


def overspends(chronicle: Chronicle) -> tuple[Overspend, ...]:
    """Return every sealed update above the lifetime grant under which it was made, the first of each dataset."""
    found: dict[bytes, Overspend] = {}
    for chained, manifest in chronicle.manifests():
        for update in manifest.accepted if chained.event.link.kind is LinkKind.SEALED else ():
            shown = _overspend(chronicle, chained, manifest, update)
            if shown is not None:
                found.setdefault(shown.header.message.dataset, shown)
    return tuple(found.values())


def answer_to(chronicle: Chronicle, promise: InclusionPromise) -> Included | Refused | None:
    """Return what the record says of a promised update; None where it knows nothing of it."""
    rounds = chronicle.identity.rounds
    of_run = [each for each in chronicle.manifests() if each[0].event.link.run == promise.run]
    for chained, manifest in of_run:
        if chained.event.link.round == promise.round:
            tree = updates_tree(rounds, _leaves(manifest))
            if tree.root == chained.event.link.updates_root and promise.leaf in tree.nodes:
                proof = tree.proof(promise.leaf)
                return Included(promise, proof, chronicle.records(promise.run, promise.round))
    for chained, manifest in of_run:
        if chained.event.link.round >= promise.round:
            for reply in manifest.rejected:
                refused = _refused(chronicle, promise, manifest, reply)
                if refused is not None:
                    return refused
    return None


def equivocations(rounds: Domain, one: TrustFile, other: TrustFile) -> tuple[Equivocation, ...]:
    """Return whoever signed two hashes of one round, by two files of receipts; signatures of others do not count."""
    found: list[Equivocation] = []
    for (run, round_), first in _receipts(rounds, one).items():
        second = _receipts(rounds, other).get((run, round_), {})
        for signer in first.keys() & second.keys():
            (a, a_signature), (b, b_signature) = first[signer], second[signer]
            if a.round_hash != b.round_hash:
                found.append(Equivocation(signer, a, a_signature, b, b_signature))
    return tuple(found)


def _overspend(
    chronicle: Chronicle, chained: ChainedLink, manifest: RoundManifest, update: AcceptedUpdate
) -> Overspend | None:
    header, message = update.header, update.header.message
    signer, granted = signer_of(header), chronicle.consents.get(message.dataset)
    if signer is None or granted is None:
        return None
    unit, total = f"{header.dp.unit}/lifetime", message.micro_epsilon_total
    is_under = message.policy == granted.grant.policy and message.deadline > granted.at
    is_lifetime = tagged("privacy-unit", unit.encode()) == granted.grant.unit
    if not (is_under and is_lifetime) or total == UNBOUNDED or total <= granted.grant.micro_epsilon_grant:
        return None
    rounds, codec = chronicle.identity.rounds, Cid.parse(update.payload_cid).codec
    tree = updates_tree(rounds, _leaves(manifest))
    if tree.root != chained.event.link.updates_root:
        return None
    proof = tree.proof(leaf_of(rounds, header, signer, codec))
    records = chronicle.records(message.run, message.round)
    return Overspend(header, signer, codec, proof, unit, granted.grant.micro_epsilon_grant, records)


def _refused(
    chronicle: Chronicle, promise: InclusionPromise, manifest: RoundManifest, reply: RejectedReply
) -> Refused | None:
    if reply.reason == Reason.DUPLICATE:
        return None
    leaf = RejectedLeaf(reply.reason, reply.round, reply.signer, reply.node, Cid.parse(reply.evidence_cid).digest)
    try:
        data = chronicle.store.get(Cid.parse(reply.evidence_cid))
        size = int.from_bytes(data[:4], "big")
        header = document.from_bytes(UpdateHeader, data[4 : 4 + size])
    except (FormatError, IntegrityError, MissingArtifactError):
        return None
    signer, codec = signer_of(header), cid_of(data[4 + size :]).codec
    if signer is None or leaf_of(chronicle.identity.rounds, header, signer, codec) != promise.leaf:
        return None
    digest = signing_digest(chronicle.identity.rounds, header.message)
    update = UpdateLeaf.of(signer, digest, header.signature, codec)
    shown = data if len(data) <= LONGEST_REPLY else b""
    tree = rejected_tree(manifest.rejected)
    records = chronicle.records(manifest.run, manifest.round)
    return Refused(promise, update, leaf, shown, tree.proof(leaf.hash()), records)


def _leaves(manifest: RoundManifest) -> Sequence[tuple[UpdateHeader, bytes, str]]:
    return [(each.header, signer_of(each.header) or b"", each.payload_cid) for each in manifest.accepted]


Receipts = dict[tuple[bytes, int], dict[bytes, tuple[RoundReceipt, bytes]]]


def _receipts(rounds: Domain, trust: TrustFile) -> Receipts:
    found: Receipts = {}
    for pin in trust.pins:
        receipt = RoundReceipt(trust.federation, pin.run, pin.round, pin.round_hash)
        for each in pin.receipts:
            try:
                is_its = recover(signing_digest(rounds, receipt), each.signature) == each.signer
            except FormatError:
                is_its = False
            if is_its:
                found.setdefault((pin.run, pin.round), {})[each.signer] = (receipt, each.signature)
    return found
