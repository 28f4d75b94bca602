"""The round machine: open, train, admit, decide, seal, countersign; then the next round.

Every decision is journaled before its effect, and every effect is idempotent, so a crash between any two steps
neither loses nor repeats one. Sealing runs beside training, in order; the next round starts from the decided model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedchain.core import document
from fedchain.core.aggregation import ExactSum, ModelOutOfRangeError, RunAll
from fedchain.core.cid import Cid
from fedchain.core.control import Place
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.manifest import ROUND_FORMAT, AcceptedUpdate, ArtifactRef, RejectedReply, RoundManifest, RunManifest
from fedchain.core.messages import InclusionPromise
from fedchain.core.optimiser import state_digest
from fedchain.core.policy import DataPolicy
from fedchain.core.population import one_update
from fedchain.core.record import LinkKind
from fedchain.core.registry import RegistryState
from fedchain.core.rejection import Reason
from fedchain.core.task import SignedPromise, Task, leaf_of
from fedchain.core.tensors import decode
from fedchain.ports.clock import Clock
from fedchain.ports.cohort import Cohort, Reply
from fedchain.ports.journal import Journal
from fedchain.ports.ledger import Ledger
from fedchain.ports.payloads import PayloadReader
from fedchain.ports.signer import Signer
from fedchain.ports.store import ArtifactStore
from fedchain.ports.training import Accountant
from fedchain.ports.watcher import (
    ReplyRejected,
    RoundEnded,
    RoundOpened,
    RoundSealed,
    RunEnded,
    UpdateAdmitted,
    Watcher,
)
from fedchain.workflow.gate import NOBODY, Admission, Gate, Refusal, schema_of
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.outcome import Outcome, link_of, updates_tree
from fedchain.workflow.receipts import Receipts
from fedchain.workflow.registry_view import RegistryView
from fedchain.workflow.run_state import Accepted, Body, Decided, Finished, Opened, Rejected, RunState, Sealed, entry_of
from fedchain.workflow.sealing import Sealer
from fedchain.workflow.spending import recorded_spending
from fedchain.workflow.stepping import Rules, Summed, is_corrected, next_model, no_rules

MAX_ANONYMOUS_REJECTIONS = 3
"""Replies without a valid signature that are recorded per node and round; the rest are dropped."""

MAX_REJECTIONS = 16
"""Refused replies that are recorded per signer and round; an honest client has one for each late reply."""


def _never(_state: RunState) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Instruments:
    """The ports that a round machine works with.

    `run_all` spreads the aggregation over threads; `keep_receipts` hands the state on whenever receipts came in, and
    before the run is finished, so that a crash leaves no finished run without its pins. Every `snapshot_every`-th model
    is stored whole. `is_enough` ends a run before its last round; of one state it always says the same. `rules` are the
    strategies of one's own that were loaded.
    """

    store: ArtifactStore
    ledger: Ledger
    journal: Journal
    signer: Signer
    clock: Clock
    cohort: Cohort
    watcher: Watcher
    accountant: Accountant
    run_all: RunAll
    keep_receipts: Callable[[RunState], None]
    payloads: PayloadReader
    snapshot_every: int = 1
    is_enough: Callable[[RunState], bool] = _never
    rules: Rules = no_rules


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What does not change within a run: its manifest with its CID, its policies by digest, the round's duration."""

    manifest: RunManifest
    manifest_cid: str
    config_digest: bytes
    policies: dict[bytes, DataPolicy]
    round_timeout_s: int


class RoundMachine:
    """Drives one run from wherever its journal stands to its end."""

    def __init__(self, plan: RunPlan, instruments: Instruments) -> None:
        self.state = RunState.replay(instruments.journal.entries())
        self._plan = plan
        self._manifest = plan.manifest
        self._run = plan.manifest.run
        self._with = instruments
        self._models = ModelSeries(instruments.store, instruments.snapshot_every)
        self._identity = instruments.ledger.identity()
        self._registry = RegistryView(instruments.ledger)
        self._receipts = Receipts(self._identity, self.state, instruments.cohort, self._note, instruments.watcher)
        self._spending = recorded_spending(instruments.ledger, instruments.store, self._run, instruments.accountant)
        for number in sorted(self.state.decided):
            self._spend(self.state.decided[number])
        self._journal_lock = threading.Lock()
        self._errors: list[str] = []
        self._has_asked = False
        self._may_promise = False

    def run(self) -> RunState:
        """Run every round that is left, close the run, collect the receipts.

        Raises:
            PolicyError: if a round was aborted because too few sites took part.
            InputError: if a round was aborted because the model would leave the fixed-point range.
        """
        with Sealer(self._with.ledger, self.state, self._note) as sealer:
            for number in sorted(self.state.decided):
                sealer.submit(number)
            while self._wants_more():
                decided = self._round()
                sealer.submit(decided.link.round)
                self._raise_if_stuck(decided)
                self._collect_receipts()
            if not self.state.is_closed:
                sealer.submit(self._close().link.round)
        self._collect_receipts()
        if not self.state.is_finished:
            self._note(Finished(self._run))
        self._with.watcher(RunEnded(self._run.hex()))
        return self.state

    def _wants_more(self) -> bool:
        if self.state.is_closed or self.state.rounds_sealed >= self._manifest.rounds:
            return False
        return self.state.opened is not None or not self._with.is_enough(self.state)

    def _collect_receipts(self) -> None:
        self._receipts.collect()
        self._with.keep_receipts(self.state)

    def _round(self) -> Decided:
        opened = self._open()
        model = self._models.get(Cid.parse(opened.base_model.cid))
        task = self._task(opened)
        self._errors, self._has_asked, self._may_promise = [], False, False
        total = self._sum_of(tuple(self.state.accepted.values()))
        for each in self.state.accepted.values():  # journaled before a crash, and perhaps not sent
            self._with.cohort.promise(each.node, each.promise)
        if self._with.clock.now() <= opened.deadline:
            answered = frozenset(each.node for each in self.state.accepted.values())
            self._has_asked = True
            for replies in self._with.cohort.train(task, model, answered, self._control()):
                self._receive(task, replies, total)
        return self._decide(opened, task, model, total)

    def _open(self) -> Opened:
        if self.state.opened is not None:
            return self.state.opened
        number = max(self.state.decided, default=0) + 1
        now = self._with.clock.now()
        base = self.state.last_model or self._manifest.initial_model
        opened = Opened(number, 1, base, now, now + self._plan.round_timeout_s)
        self._note(opened)
        self._with.watcher(RoundOpened(number, opened.attempt))
        return opened

    def _task(self, opened: Opened) -> Task:
        manifest, last = self._manifest, self.state.last_state
        return Task(
            chain_id=self._identity.chain_id,
            rounds_contract=self._identity.rounds_contract,
            federation=manifest.federation,
            run=self._run,
            round=opened.round,
            attempt=opened.attempt,
            base_model=opened.base_model.digest,
            deadline=opened.deadline,
            fraction_bits=manifest.fraction_bits,
            width=manifest.width,
            code_digest=manifest.code_digest,
            config_digest=self._plan.config_digest,
            env_digest=manifest.env_digest,
            training=manifest.training,
            control=ZERO if last is None or not is_corrected(manifest.training) else last.digest,
        )

    def _sum_of(self, accepted: Sequence[Accepted]) -> ExactSum:
        total = ExactSum(schema_of(self._manifest), self._with.run_all)
        for each in accepted:
            envelope = Envelope.from_bytes(self._with.store.get(Cid.parse(each.payload_cid)))
            total.add(one_update(decode(envelope.update)), each.header.message.weight)
        return total

    # -- receiving --------------------------------------------------------------------------------------------------

    def _receive(self, task: Task, replies: Sequence[Reply], total: ExactSum | None) -> None:
        """Admit replies into `total`, or record why not; None is a closing link, which takes no update at all."""
        admitted: dict[bytes, tuple[Reply, Admission]] = {}
        for reply in replies:
            if reply.error:
                self._errors.append(reply.error)
                self._with.watcher(ReplyRejected(task.round, f"node {reply.node}", reply.error))
                continue
            verdict = self._judged(task, reply, frozenset(self.state.accepted) | admitted.keys())
            if isinstance(verdict, Admission) and total is None:  # its signer foresaw the closing link
                verdict = Refusal(Reason.OTHER_ROUND, verdict.signer)
            if isinstance(verdict, Refusal):
                self._reject(task, reply, verdict)
            else:
                admitted[verdict.signer] = reply, verdict
        if total is not None and admitted:
            self._admit(task, list(admitted.values()), total)

    def _admit(self, task: Task, admitted: Sequence[tuple[Reply, Admission]], total: ExactSum) -> None:
        """Keep payloads, then note that they are accepted, then promise so: each step durable before the next."""
        self._with.payloads.keep([each.ready(reply) for reply, each in admitted])
        accepted = [self._accepted(task, reply.node, admission) for reply, admission in admitted]
        self._note(*accepted)
        for each, (_, admission) in zip(accepted, admitted, strict=True):
            header = admission.header
            totals = header.dp.run_micro_epsilon, header.message.micro_epsilon_total
            self._with.watcher(UpdateAdmitted(task.round, admission.signer.hex(), *totals))
            total.add(admission.tensors, header.message.weight)
            self._with.cohort.promise(each.node, each.promise)

    def _judged(self, task: Task, reply: Reply, admitted: frozenset[bytes]) -> Admission | Refusal:
        """Judge by the registry as it was read last; read it again before refusing, as the decision does anyway."""
        known = self._registry.known()
        verdict = self._gate_with(task, known, self._with.clock.now()).judge(reply, admitted)
        if isinstance(verdict, Admission):
            return verdict
        gate = self._gate(task)
        return verdict if gate.registry is known else gate.judge(reply, admitted)

    def _gate(self, task: Task) -> Gate:
        now = self._with.clock.now()  # before the registry is read: what it holds up to then is in what is read
        return self._gate_with(task, self._registry.current(), now)

    def _gate_with(self, task: Task, registry: RegistryState, now: int) -> Gate:
        return Gate(task, self._manifest, registry, self._plan.policies, self._spending, now, self._with.payloads)

    def _accepted(self, task: Task, node: int, admission: Admission) -> Accepted:
        if not self._may_promise:  # once a round: a stale aggregator must not promise what it cannot seal
            self._with.ledger.check_lead()
            self._may_promise = True
        cid, header = admission.payload_cid, admission.header
        leaf = leaf_of(self._identity.rounds, header, admission.signer, cid.codec)
        promise = InclusionPromise(task.federation, task.run, task.round, leaf, task.deadline)
        signature = self._with.signer.sign(signing_digest(self._identity.rounds, promise))
        signed = SignedPromise(promise, signature, header.message.nonce)
        return Accepted(task.round, node, admission.signer, header, cid.text, signed)

    def _reject(self, task: Task, reply: Reply, refusal: Refusal) -> None:
        anonymous = refusal.signer == NOBODY
        most = MAX_ANONYMOUS_REJECTIONS if anonymous else MAX_REJECTIONS
        same = [each for each in self.state.rejected if each.signer == refusal.signer]
        if len([each for each in same if each.node == reply.node or not anonymous]) >= most:
            return
        rejected = self._rejected(refusal, reply)
        if rejected not in self.state.rejected:
            self._note(Rejected(rejected))
        whom = f"node {reply.node}" if anonymous else refusal.signer.hex()
        self._with.watcher(ReplyRejected(task.round, whom, refusal.reason.words))

    def _rejected(self, refusal: Refusal, reply: Reply) -> RejectedReply:
        evidence = self._with.store.put(len(reply.header).to_bytes(4, "big") + reply.header + reply.payload)
        return RejectedReply(int(refusal.reason), reply.round, refusal.signer, reply.node, evidence.text)

    # -- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, opened: Opened, task: Task, model: bytes, total: ExactSum) -> Decided:
        gate = self._gate(task)
        reasons = {
            each.signer: gate.coverage_refusal(each.header, each.signer) for each in self.state.accepted.values()
        }
        covered = tuple(each for each in self.state.accepted.values() if reasons[each.signer] is None)
        lost = tuple(
            self._withdrawn(each, reason)
            for each in self.state.accepted.values()
            if (reason := reasons[each.signer]) is not None
        )
        if lost:
            total = self._sum_of(covered)
        if len(covered) < self._manifest.min_clients:
            return self._abort(opened, gate, covered, lost, "cohort-too-small")
        try:
            place, clients = Place(opened.round, opened.attempt), [each.signer for each in covered]
            new = next_model(self._manifest, Summed(total, clients, place), model, self._state(), self._with.rules)
        except ModelOutOfRangeError:
            return self._abort(opened, gate, covered, lost, "model-out-of-range")
        is_last = self.state.rounds_sealed + 1 == self._manifest.rounds
        reference = self._models.put(new.model, opened.base_model, is_last=is_last)
        state = (
            None if new.state is None else ArtifactRef(self._with.store.put(new.state).text, state_digest(new.state))
        )
        return self._end(
            opened, Outcome(LinkKind.SEALED, gate.now, gate.registry.head, reference, covered, lost, "", state)
        )

    def _state(self) -> bytes | None:
        last = self.state.last_state
        return None if last is None else self._with.store.get(Cid.parse(last.cid))

    def _control(self) -> bytes:
        """Return what sites get beside the model: the state, where it corrects their steps."""
        return (self._state() or b"") if is_corrected(self._manifest.training) else b""

    def _withdrawn(self, accepted: Accepted, reason: Reason) -> RejectedReply:
        header, payload = document.to_bytes(accepted.header), self._with.payloads.kept(Cid.parse(accepted.payload_cid))
        return self._rejected(
            Refusal(reason, accepted.signer), Reply(accepted.node, accepted.round, header, payload, "")
        )

    def _abort(
        self, opened: Opened, gate: Gate, covered: Sequence[Accepted], lost: Sequence[RejectedReply], reason: str
    ) -> Decided:
        refused = (*lost, *(self._withdrawn(each, Reason.ROUND_ABORTED) for each in covered))
        return self._end(
            opened, Outcome(LinkKind.ABORTED, gate.now, gate.registry.head, opened.base_model, (), refused, reason)
        )

    def _close(self) -> Decided:
        now = self._with.clock.now()
        number = max(self.state.decided, default=0) + 1
        model = self.state.last_model or self._manifest.initial_model
        opened = Opened(number, 1, model, now, now)
        task = self._task(opened)
        for reply in self._with.cohort.late():
            self._receive(task, [reply], None)
        return self._end(opened, Outcome(LinkKind.CLOSED, now, self._registry.current().head, model, (), (), ""))

    def _manifest_of(self, opened: Opened, outcome: Outcome) -> RoundManifest:
        return RoundManifest(
            format=ROUND_FORMAT,
            run_manifest=self._plan.manifest_cid,
            federation=self._manifest.federation,
            run=self._run,
            round=opened.round,
            attempt=opened.attempt,
            kind=int(outcome.kind),
            reason=outcome.reason,
            base_model=opened.base_model,
            model=outcome.model,
            state=outcome.state if outcome.kind is LinkKind.SEALED else self.state.last_state,
            accepted=tuple(AcceptedUpdate(each.header, each.payload_cid) for each in outcome.by_signer),
            rejected=tuple(dict.fromkeys((*self.state.rejected, *outcome.refused))),  # a leaf stands once
            opened_at=opened.opened_at,
            deadline=opened.deadline,
            closed_at=outcome.at,
            registry_head=outcome.registry_head,
        )

    def _end(self, opened: Opened, outcome: Outcome) -> Decided:
        manifest = self._manifest_of(opened, outcome)
        cid = self._with.store.put(document.to_bytes(manifest))
        leaves = [(each.header, each.signer, each.payload_cid) for each in outcome.accepted]
        link = link_of(manifest, cid, updates_tree(self._identity.rounds, leaves))
        decided = Decided(
            link, manifest.model, cid.text, manifest.reason, outcome.accepted, manifest.rejected, manifest.state
        )
        self._note(decided)
        self._spend(decided)
        if link.kind is not LinkKind.CLOSED:
            self._with.watcher(RoundEnded(link.round, manifest.model.cid, link.model_digest.hex(), manifest.reason))
        return decided

    def _spend(self, decided: Decided) -> None:
        for each in decided.accepted:
            self._spending.record(each.header)

    def _raise_if_stuck(self, decided: Decided) -> None:
        if decided.reason == "model-out-of-range":
            raise InputError(
                f"round {decided.link.round} was aborted: the model would leave the fixed-point range",
                remedy="lower strategy.learning_rate or strategy.max_update_norm",
            )
        if decided.reason and self._has_asked:
            raise PolicyError(
                f"round {decided.link.round} was aborted",
                expected=f"updates of at least {self._manifest.min_clients} clients",
                got="fewer" if not self._errors else f"fewer, since {self._errors[0]}",
            )

    def _note(self, *bodies: Body) -> None:
        with self._journal_lock:
            self._with.journal.append(*(entry_of(each) for each in bodies))
            for each in bodies:
                self.state.apply(each)
        for each in bodies:
            if isinstance(each, Sealed):
                closes = self.state.decided[each.round].link.kind is LinkKind.CLOSED
                self._with.watcher(RoundSealed(each.round, each.round_hash.hex(), each.transaction.hex(), closes))
