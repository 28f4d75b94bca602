"""One link, re-derived: manifest, roots, signatures, consents, payloads, and the model from its updates."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar

from fedchain.config import config_digest
from fedchain.core import document
from fedchain.core.aggregation import ExactSum, ModelOutOfRangeError, RunAll, squared_norm
from fedchain.core.cid import DAG_PB, RAW, Cid
from fedchain.core.control import Place
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import Domain
from fedchain.core.envelope import Envelope
from fedchain.core.erasure import SignedDeletion
from fedchain.core.errors import FormatError, InputError, IntegrityError, LockedArtifactError, MissingArtifactError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import (
    CID_PROFILE,
    ROUND_FORMAT,
    RUN_FORMAT,
    AcceptedUpdate,
    ArtifactRef,
    CohortMember,
    RoundManifest,
    RunManifest,
)
from fedchain.core.messages import ClientUpdate
from fedchain.core.optimiser import state_digest
from fedchain.core.policy import DataPolicy
from fedchain.core.population import PREFIX
from fedchain.core.record import LinkKind
from fedchain.core.registry import RegistryState
from fedchain.core.rejection import Reason
from fedchain.core.tensors import IntTensors, TensorSchema, decode, model_digest
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.workflow.audit_chain import ChainedLink
from fedchain.workflow.audit_config import plan_difference, read_config
from fedchain.workflow.audit_erasures import Deletions
from fedchain.workflow.audit_report import Fault, Report, same
from fedchain.workflow.gate import (
    NOBODY,
    admissible,
    privacy_refusal,
    schema_of,
    signer_of,
    squared_norm_bound,
    weight_refusal,
)
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.outcome import rejected_tree, updates_tree
from fedchain.workflow.stepping import Rules, Summed, is_corrected, next_model, no_rules

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AuditedUpdate:
    """An accepted update whose signature, consent and payload hold."""

    run: bytes
    round: int
    signer: bytes
    member: CohortMember
    update: AcceptedUpdate
    policy: DataPolicy


@dataclass(frozen=True, slots=True)
class AuditedRound:
    """A link with its manifest and its updates; `initial_file` is the sha256 of its run's first model file."""

    chained: ChainedLink
    manifest: RoundManifest
    run_manifest: RunManifest
    updates: tuple[AuditedUpdate, ...]
    is_gone: bool
    """Whether some of its payloads were erased, or retired, so that nobody can open them any more."""
    initial_file: str = ""


@dataclass(slots=True)
class RoundAuditor:
    """Audits links in ledger order; remembers each run's last model digest and which artifacts were named."""

    identity: LedgerIdentity
    store: ArtifactStore
    report: Report
    run_all: RunAll
    deletions: Sequence[SignedDeletion] = ()
    retired: Set[str] = frozenset()
    rules: Rules = no_rules
    named: set[str] = field(default_factory=set[str])
    _models: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _states: dict[bytes, ArtifactRef | None] = field(default_factory=dict[bytes, ArtifactRef | None])
    _plans: dict[bytes, str] = field(default_factory=dict[bytes, str])
    _runs: dict[str, RunManifest] = field(default_factory=dict[str, RunManifest])
    _timeouts: dict[str, int] = field(default_factory=dict[str, int])
    _initial_files: dict[str, str] = field(default_factory=dict[str, str])
    _policies: dict[str, DataPolicy] = field(default_factory=dict[str, DataPolicy])
    _gone: set[bytes] = field(default_factory=set[bytes])
    _stored_models: ModelSeries = field(init=False)

    def __post_init__(self) -> None:
        self._stored_models = ModelSeries(self.store)

    def audit(self, chained: ChainedLink) -> AuditedRound | None:
        """Audit one link; a finding ends its audit and gives None."""
        link = chained.event.link
        try:
            same("model", self._models.get(link.run, link.base_model), link.base_model)
            manifest = self._manifest(chained)
            run_manifest = self._run_manifest(manifest)
            base = self._model(manifest.base_model)
            updates = tuple(self._update(chained, manifest, run_manifest, each) for each in manifest.accepted)
            same("update", len(updates), len({each.signer for each in updates}))
            self._rejections(manifest)
            self._rederive(chained, manifest, run_manifest, base)
            self._states[link.run] = manifest.state
        except Fault as fault:
            self.report.fails(fault.claim, run=link.run, round_=link.round, expected=fault.expected, got=fault.got)
            return None
        except LockedArtifactError:
            self.report.holds("unopened record")
            return None
        except (FormatError, ModelOutOfRangeError, ValueError) as error:
            self.report.fails("model", run=link.run, round_=link.round, expected="updates that add up", got=error)
            return None
        finally:
            self._models[link.run] = link.model_digest
        initial_file = self._initial_files[manifest.run_manifest]
        is_gone = chained.round_hash in self._gone
        return AuditedRound(chained, manifest, run_manifest, updates, is_gone, initial_file)

    # -- documents --------------------------------------------------------------------------------------------------

    def _manifest(self, chained: ChainedLink) -> RoundManifest:
        link = chained.event.link
        cid = next(
            (cid for codec in (RAW, DAG_PB) if self.store.has(cid := Cid(codec, link.manifest_digest))),
            Cid(RAW, link.manifest_digest),
        )
        manifest = self._document(RoundManifest, cid.text, "manifest")
        said = (manifest.federation, manifest.run, manifest.round, manifest.kind, manifest.base_model.digest)
        linked = (self.identity.federation, link.run, link.round, int(link.kind), link.base_model)
        same("manifest", linked, said)
        same("manifest", (link.accepted, link.rejected), (len(manifest.accepted), len(manifest.rejected)))
        same("manifest", ROUND_FORMAT, manifest.format)
        same("manifest", link.model_digest, manifest.model.digest)
        same("manifest", link.kind is LinkKind.ABORTED, bool(manifest.reason))
        self.report.holds("manifest")
        return manifest

    def _run_manifest(self, manifest: RoundManifest) -> RunManifest:
        cid = self._plans.setdefault(manifest.run, manifest.run_manifest)
        same("configuration", cid, manifest.run_manifest)
        if cid not in self._runs:
            self._read_plan(cid, manifest)
        run = self._runs[cid]
        if manifest.round == 1:
            same("model", run.initial_model.digest, manifest.base_model.digest)
        if manifest.kind != LinkKind.CLOSED:  # sites sign the deadline, so this is when the round was opened
            same("manifest", manifest.deadline - self._timeouts[cid], manifest.opened_at)
        return run

    def _read_plan(self, cid: str, manifest: RoundManifest) -> None:
        run = self._document(RunManifest, cid, "configuration")
        same("configuration", (RUN_FORMAT, CID_PROFILE), (run.format, run.profile))
        same("configuration", (self.identity.federation, manifest.run), (run.federation, run.run))
        canonical = self._get(run.config.cid, "configuration")
        same("configuration", run.config.digest, config_digest(canonical))
        try:
            config = read_config(canonical)
            FixedPoint(run.fraction_bits, run.width)
        except InputError as error:
            raise Fault("configuration", "a configuration of this version", error) from error
        difference = plan_difference(run, config)
        if difference is not None:
            raise Fault("configuration", *difference)
        # Before anything is allocated by what the manifest declares.
        if TensorSchema.of(decode(self._model(run.initial_model))) != schema_of(run):
            raise Fault("configuration", "the tensors of the initial model", "others")
        same("configuration", False, any(each.name.startswith(PREFIX) for each in run.tensors))
        for member in run.cohort:
            if member.roster is not None:
                same("configuration", member.dataset, member.roster.dataset(member.nominal_size))
            policy = self._document(DataPolicy, member.policy.cid, "configuration")
            same("configuration", member.policy.digest, policy.digest())
            self._policies[member.policy.cid] = policy
        self._runs[cid], self._timeouts[cid] = run, config.strategy.round_timeout_s
        self._initial_files[cid] = config.model.initial_sha256 or ""
        self.report.holds("configuration")

    # -- updates ----------------------------------------------------------------------------------------------------

    def _update(
        self, chained: ChainedLink, manifest: RoundManifest, run: RunManifest, update: AcceptedUpdate
    ) -> AuditedUpdate:
        header = update.header
        same("update", self.identity.rounds, Domain(header.chain_id, header.rounds_contract))
        signer = signer_of(header)
        member = next((each for each in run.cohort if each.client == signer), None)
        if signer is None or member is None:
            raise Fault("update", "a signature of a cohort member", signer or "no valid signature")
        registry = _registry_at_decision(chained, manifest)
        if not registry.is_device_valid(signer, at=manifest.deadline):
            raise Fault("update", "a key valid at the deadline", signer)
        self._message(header.message, manifest, run)
        last = self._states.get(run.run) if is_corrected(run.training) else None
        same("update", ZERO if last is None else last.digest, header.dp.control)
        policy = self._consent(registry, manifest, member, header.message)
        for reason in (
            weight_refusal(header.message.weight, member),
            privacy_refusal(header, run.training, member.trained_rows, policy),
        ):
            if reason is not None:
                claim = "update" if reason in (Reason.ZERO_WEIGHT, Reason.OTHER_WEIGHT) else "privacy"
                raise Fault(claim, "an admissible update", reason.words)
        self.report.holds("update")
        return AuditedUpdate(run.run, manifest.round, signer, member, update, policy)

    def _message(self, message: ClientUpdate, manifest: RoundManifest, run: RunManifest) -> None:
        signed = (message.federation, message.run, message.round, message.base_model, message.nonce, message.deadline)
        stated = (
            manifest.federation, manifest.run, manifest.round, manifest.base_model.digest, manifest.attempt,
            manifest.deadline,
        )  # fmt: skip
        same("update", stated, signed)
        identities = (message.code_digest, message.config_digest, message.env_digest)
        same("configuration", (run.code_digest, run.config.digest, run.env_digest), identities)

    def _consent(
        self, registry: RegistryState, manifest: RoundManifest, member: CohortMember, message: ClientUpdate
    ) -> DataPolicy:
        consent = registry.consent(message.dataset, at=manifest.deadline)
        if consent is None:
            raise Fault("consent", "a consent in force at the deadline", f"none for dataset 0x{message.dataset.hex()}")
        policy = self._policies[member.policy.cid]
        same("consent", (consent.policy, consent.policy), (message.policy, policy.digest()))
        granted = (consent.micro_epsilon_grant, consent.delta_e12, consent.unit, consent.nominal_size)
        agreed = (policy.micro_epsilon_grant, policy.delta_e12, policy.unit_digest(), member.nominal_size)
        same("consent", agreed, granted)
        organisations = (registry.datasets[message.dataset].organisation, registry.devices[member.client].organisation)
        same("consent", organisations, (member.organisation, member.organisation))
        same("consent", member.dataset, message.dataset)
        return policy

    def _payload(self, run: RunManifest, update: AcceptedUpdate) -> IntTensors:
        data = self._get(update.payload_cid, "payload")
        same("payload", update.header.message.payload_cid, Cid.parse(update.payload_cid).digest)
        try:
            envelope = Envelope.from_bytes(data)
        except FormatError as error:
            raise Fault("payload", "an envelope", error) from error
        same("payload", update.header.message.update_commit, envelope.commitment())
        message = update.header.message
        tensors = admissible(envelope, run, message)
        if isinstance(tensors, Reason):
            raise Fault("payload", "an admissible update", tensors.words)
        if squared_norm(tensors) > squared_norm_bound(run):
            raise Fault("payload", "a norm within the bound", Reason.NORM_ABOVE_BOUND.words)
        self.report.holds("payload")
        for each in run.cohort:
            if each.dataset == message.dataset and each.roster is not None:
                self.report.holds("population", each.roster.roster.drawn)
        return tensors

    def _rejections(self, manifest: RoundManifest) -> None:
        for each in manifest.rejected:
            if each.reason not in set(Reason):
                raise Fault("rejection", "a documented reason code", each.reason)
            if self._is_retired(each.evidence_cid):
                self.report.holds("retired payload")
                continue
            try:
                self._get(each.evidence_cid, "rejection")
            except LockedArtifactError:  # it is there, and only the evidence itself cannot be read
                self.report.holds("unopened payload")
            self.report.holds("rejection")

    # -- the model --------------------------------------------------------------------------------------------------

    def _rederive(self, chained: ChainedLink, manifest: RoundManifest, run: RunManifest, base: bytes) -> None:
        link = chained.event.link
        leaves = [(each.header, signer_of(each.header) or b"", each.payload_cid) for each in manifest.accepted]
        same("chain", link.updates_root, updates_tree(self.identity.rounds, leaves).root)
        same("chain", link.rejected_root, rejected_tree(manifest.rejected).root)
        if link.kind is LinkKind.SEALED:
            same("model", True, len(manifest.accepted) >= run.min_clients)
            self._rederive_model(chained, manifest, run, base)
        else:
            same("model", link.base_model, link.model_digest)
            same("manifest", 0, link.accepted)
            same("state", self._states.get(link.run), manifest.state)
        self._model(manifest.model)
        if manifest.state is not None:
            self._state(manifest.state)

    def _rederive_model(self, chained: ChainedLink, manifest: RoundManifest, run: RunManifest, base: bytes) -> None:
        """Add up the updates that can be opened; where one cannot, each of the others is checked all the same."""
        total, is_whole = ExactSum(schema_of(run), self.run_all), True
        is_known = run.own_strategy is None or self.rules(run.own_strategy) is not None
        for update in manifest.accepted:
            tensors = self._opened(chained, run, update)
            if tensors is None:
                is_whole = False
            else:
                total.add(tensors, update.header.message.weight)
        if not is_whole:
            self.report.holds("unopened model")
            return
        if not is_known:
            same("model", TensorSchema.of(decode(self._model(manifest.model))), schema_of(run))
            self.report.holds("own model")
            return
        before = self._states.get(run.run)
        clients = [signer_of(each.header) or NOBODY for each in manifest.accepted]
        summed = Summed(total, clients, Place(manifest.round, manifest.attempt))
        derived = next_model(run, summed, base, None if before is None else self._state(before), self.rules)
        same("model", chained.event.link.model_digest, model_digest(derived.model))
        self.report.holds("model")
        said = None if manifest.state is None else manifest.state.digest
        same("state", None if derived.state is None else state_digest(derived.state), said)
        if derived.state is not None:
            self.report.holds("state")

    def _state(self, reference: ArtifactRef) -> bytes:
        data = self._get(reference.cid, "state")
        same("state", reference.digest, state_digest(data))
        return data

    def _opened(self, chained: ChainedLink, run: RunManifest, update: AcceptedUpdate) -> IntTensors | None:
        """Return an update's tensors; None, and what stands for it, where this verifier cannot read them."""
        is_erased, is_retired = False, self._is_retired(update.payload_cid)
        if not self.store.has(Cid.parse(update.payload_cid)):
            is_erased = self._is_erased(update, chained)
        if not (is_erased or is_retired):
            try:
                return self._payload(run, update)
            except LockedArtifactError:
                is_erased = self._is_erased(update, chained)
        if is_erased or is_retired:
            self._gone.add(chained.round_hash)
        self.report.holds("erased payload" if is_erased else "retired payload" if is_retired else "unopened payload")
        return None

    def _is_retired(self, cid: str) -> bool:
        return cid in self.retired and not self.store.has(Cid.parse(cid))

    def _is_erased(self, update: AcceptedUpdate, chained: ChainedLink) -> bool:
        deletions = Deletions(self.identity, self.deletions)
        client = signer_of(update.header) or NOBODY
        return deletions.cover(update.header.message, client, chained.registry.present)

    def _model(self, reference: ArtifactRef) -> bytes:
        data = self._get(reference.cid, "model", self._stored_models)
        same("model", reference.digest, model_digest(data))
        return data

    # -- the store --------------------------------------------------------------------------------------------------

    def _get(self, cid: str, claim: str, source: ModelSeries | None = None) -> bytes:
        self.named.add(cid)
        try:
            return (source or self.store).get(Cid.parse(cid))
        except MissingArtifactError as error:
            raise Fault(claim, f"the artifact {cid}", "missing") from error
        except IntegrityError as error:
            raise Fault(claim, f"the artifact {cid}", error) from error
        except FormatError as error:
            raise Fault(claim, "a content identifier", error) from error

    def _document(self, cls: type[T], cid: str, claim: str) -> T:
        try:
            return document.from_bytes(cls, self._get(cid, claim))
        except FormatError as error:
            raise Fault(claim, f"a {cls.__name__}", error) from error


def _registry_at_decision(chained: ChainedLink, manifest: RoundManifest) -> RegistryState:
    """Return the registry that the outcome was decided by.

    The manifest names it, which is the aggregator's word. It may not lie behind the opening, whose second the sites
    signed, nor ahead of the seal.
    """
    registry = chained.registry
    size, least = registry.size_at(manifest.registry_head), registry.recorded_before(manifest.opened_at)
    if size is None or not least <= size <= chained.actions:
        span = f"a registry head between the opening (action {least}) and the seal (action {chained.actions})"
        raise Fault("registry", span, "one of another time" if size is None else f"action {size}")
    return registry.state(size)
