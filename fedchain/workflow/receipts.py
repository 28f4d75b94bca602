"""Receipts: after a link is sealed, each site checks its inclusion and co-signs the round hash with its own key."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.core.cid import Cid
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import FormatError
from fedchain.core.merkle import MerkleTree
from fedchain.core.messages import RoundReceipt
from fedchain.core.record import LinkKind
from fedchain.core.signatures import recover
from fedchain.core.task import RoundProof, leaf_of
from fedchain.core.trust import SignedReceipt
from fedchain.ports.cohort import Cohort, ReceiptReply
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.watcher import ReceiptSigned, ReplyRejected, Watcher
from fedchain.workflow.outcome import updates_tree
from fedchain.workflow.run_state import Accepted, Countersigned, Decided, Note, RunState, Sealed


class Receipts:
    """Collects what receipts are still missing for sealed links, in the order of the rounds."""

    def __init__(
        self,
        identity: LedgerIdentity,
        state: RunState,
        cohort: Cohort,
        note: Note,
        watcher: Watcher,
    ) -> None:
        self._identity = identity
        self._state = state
        self._cohort = cohort
        self._note = note
        self._watcher = watcher

    def collect(self) -> None:
        """Ask the members of every sealed link whose receipt is missing, all at once: the gone are waited for once."""
        proofs = [proof for round_ in sorted(self._state.sealed) for proof in self._proofs(round_)]
        for replies in self._cohort.countersign(proofs) if proofs else ():
            self._take(replies)

    def _missing(self, round_: int) -> list[Accepted]:
        signed = self._state.receipts.get(round_, {})
        return [each for each in self._members(round_) if each.signer not in signed]

    def _members(self, round_: int) -> tuple[Accepted, ...]:
        """The accepted members; for a closing link, those of the last sealed round."""
        decided = self._state.decided[round_]
        if decided.link.kind is LinkKind.CLOSED:
            sealed = [each for each in self._state.decided.values() if each.link.kind is LinkKind.SEALED]
            return max(sealed, key=lambda each: each.link.round).accepted if sealed else ()
        return decided.accepted

    def _proofs(self, round_: int) -> list[tuple[int, RoundProof]]:
        asked = self._missing(round_)
        if not asked:
            return []
        decided, sealed = self._state.decided[round_], self._state.sealed[round_]
        leaves = [(each.header, each.signer, each.payload_cid) for each in decided.accepted]
        tree = updates_tree(self._identity.rounds, leaves)
        return [(each.node, self._proof(decided, sealed, tree, each)) for each in asked]

    def _proof(self, decided: Decided, sealed: Sealed, tree: MerkleTree, member: Accepted) -> RoundProof:
        link = decided.link
        codec = Cid.parse(member.payload_cid).codec
        included = link.kind is LinkKind.SEALED
        leaf = leaf_of(self._identity.rounds, member.header, member.signer, codec)
        return RoundProof(
            kind=int(link.kind),
            run=link.run,
            round=link.round,
            previous_hash=sealed.previous_hash,
            registry_head=sealed.registry_head,
            updates_root=link.updates_root,
            rejected_root=link.rejected_root,
            base_model=link.base_model,
            model_digest=link.model_digest,
            manifest_digest=link.manifest_digest,
            accepted=link.accepted,
            rejected=link.rejected,
            attempt=member.header.message.nonce,
            payload_codec=codec,
            proof=tree.proof(leaf) if included else (),
        )

    def _take(self, replies: Sequence[ReceiptReply]) -> None:
        receipts = [receipt for reply in replies if (receipt := self._receipt(reply)) is not None]
        if receipts:
            self._note(*receipts)
        for each in receipts:
            closes = self._state.decided[each.round].link.kind is LinkKind.CLOSED
            self._watcher(ReceiptSigned(each.round, each.receipt.signer.hex(), closes))

    def _receipt(self, reply: ReceiptReply) -> Countersigned | None:
        """Return what a reply adds to the record; of what adds nothing, tell why."""
        round_ = reply.round
        if reply.error:
            self._watcher(ReplyRejected(round_, f"node {reply.node}", reply.error))
            return None
        sealed, run = self._state.sealed[round_], self._state.decided[round_].link.run
        receipt = RoundReceipt(self._identity.federation, run, round_, sealed.round_hash)
        try:
            signer = recover(signing_digest(self._identity.rounds, receipt), reply.signature)
        except FormatError as error:
            self._watcher(ReplyRejected(round_, f"node {reply.node}", str(error)))
            return None
        if signer not in {each.signer for each in self._members(round_)}:
            self._watcher(ReplyRejected(round_, f"node {reply.node}", "receipt of a stranger"))
            return None
        return Countersigned(round_, SignedReceipt(signer, reply.signature))
