"""The admission gate: every reply is checked before it is summed, and a failure is a recorded rejection.

Classes are tried in a fixed order: signature, run, ledger, round, base model, deadline, key, duplicate, then
configuration, consent and privacy, then the payload and its tensors, then weight and norm. A reply without a valid
signature is attributed to the transport's node, never to a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fedchain.core.aggregation import squared_norm
from fedchain.core.cid import Cid, cid_of
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.encryption import NO_ENCRYPTION, KeyContext, is_encrypted
from fedchain.core.envelope import Envelope
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import CohortMember, RunManifest
from fedchain.core.messages import UNBOUNDED, ClientUpdate, ConsentGrant
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.population import checked, schema_with
from fedchain.core.privacy import (
    MICRO,
    NO_MECHANISM,
    SUBSAMPLED_GAUSSIAN,
    DpParams,
    batches_per_epoch,
)
from fedchain.core.registry import RegistryState
from fedchain.core.rejection import Reason
from fedchain.core.signatures import recover
from fedchain.core.task import LocalTraining, Task, UpdateHeader, header_of
from fedchain.core.tensor_check import check_tensors
from fedchain.core.tensors import IntTensors, TensorSchema
from fedchain.ports.cohort import Reply
from fedchain.ports.payloads import PayloadReader, ReadyPayload
from fedchain.workflow.spending import Spending


@dataclass(frozen=True, slots=True)
class Admission:
    """A reply that passed: its statement, its signer, its payload's CID and its tensors."""

    header: UpdateHeader
    signer: bytes
    payload_cid: Cid
    tensors: IntTensors

    def ready(self, reply: Reply) -> ReadyPayload:
        """Return the reply's payload to be kept."""
        return ReadyPayload(reply.payload, self.payload_cid, reply.keys)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that failed; `signer` is 20 zero bytes where no valid signature names one."""

    reason: Reason
    signer: bytes


NOBODY: Final = bytes(20)
ADJACENCY: Final = "zero-out"
MIN_NOISE_MULTIPLIER_E6: Final = 300_000
"""Below a noise multiplier of 0.3 the accountants prove nothing."""
MAX_NAME: Final = 64
"""Characters in a name that a site gives its accountant or its source of noise."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What one attempt of one round admits. `policies` maps a policy digest to the policy, `spending` is on record.

    All that the registry holds counts, whatever its block time: a ledger's clock may run ahead of this machine's.
    """

    task: Task
    manifest: RunManifest
    registry: RegistryState
    policies: dict[bytes, DataPolicy]
    spending: Spending
    now: int
    payloads: PayloadReader

    def judge(self, reply: Reply, admitted: frozenset[bytes]) -> Admission | Refusal:
        """Check a reply; `admitted` holds the signers that are already in this round."""
        try:
            header = header_of(reply.header)
        except FormatError:
            return Refusal(Reason.MALFORMED, NOBODY)
        if header.message.weight < 0:
            return Refusal(Reason.NEGATIVE_WEIGHT, NOBODY)
        signer = signer_of(header)
        if signer is None or signer not in self.registry.devices:
            return Refusal(Reason.BAD_SIGNATURE, NOBODY)
        reason = self._statement_refusal(header, signer, admitted)
        if reason is not None:
            return Refusal(reason, signer)
        cid = cid_of(reply.payload)
        outcome = self._open(header.message, ReadyPayload(reply.payload, cid, reply.keys))
        if isinstance(outcome, Reason):
            return Refusal(outcome, signer)
        reason = weight_refusal(header.message.weight, self._member(signer)) or self._norm_refusal(outcome)
        if reason is not None:
            return Refusal(reason, signer)
        return Admission(header, signer, cid, outcome)

    def _statement_refusal(self, header: UpdateHeader, signer: bytes, admitted: frozenset[bytes]) -> Reason | None:
        message, task = header.message, self.task
        reason = self._place_refusal(header)
        if reason is not None:
            return reason
        if not self.registry.is_device_valid(signer, at=task.deadline):
            return Reason.KEY_NOT_VALID
        if signer in admitted:
            return Reason.DUPLICATE
        configuration = (message.code_digest, message.config_digest, message.env_digest)
        if configuration != (task.code_digest, task.config_digest, task.env_digest):
            return Reason.OTHER_CONFIGURATION
        reason = self._consent_refusal(header, signer) or self._privacy_refusal(header, signer)
        if reason is None and header.dp.control != task.control:
            return Reason.OTHER_CONTROL
        return reason

    def _place_refusal(self, header: UpdateHeader) -> Reason | None:
        """Return why a statement is not an answer to this task, in its time, or None."""
        message, task = header.message, self.task
        if (message.federation, message.run) != (task.federation, task.run):
            return Reason.OTHER_RUN
        if (header.chain_id, header.rounds_contract) != (task.chain_id, task.rounds_contract):
            return Reason.OTHER_LEDGER
        if message.round != task.round or message.nonce != task.attempt:
            return Reason.OTHER_ROUND
        if message.base_model != task.base_model:
            return Reason.OTHER_BASE_MODEL
        if message.deadline != task.deadline or self.now > task.deadline:
            return Reason.PAST_DEADLINE
        return None

    def coverage_refusal(self, header: UpdateHeader, signer: bytes) -> Reason | None:
        """Return why the registry, as it is now, no longer covers an admitted update, or None."""
        if not self.registry.is_device_valid(signer, at=self.task.deadline):
            return Reason.KEY_NOT_VALID
        return self._consent_refusal(header, signer)

    def _consent_refusal(self, header: UpdateHeader, signer: bytes) -> Reason | None:
        message, member = header.message, self._member(signer)
        device = self.registry.devices[signer]
        dataset = self.registry.datasets.get(message.dataset)
        if member is None or dataset is None or dataset.organisation != device.organisation:
            return Reason.NO_CONSENT
        consent = self.registry.consent(message.dataset, at=self.task.deadline)
        policy = self.policies.get(member.policy.digest)
        if consent is None or policy is None or not is_covered(message, consent, member, policy):
            return Reason.NO_CONSENT
        return None

    def _privacy_refusal(self, header: UpdateHeader, signer: bytes) -> Reason | None:
        member = self._member(signer)
        policy = self.policies.get(header.message.policy)
        if member is None or policy is None:
            return Reason.NO_CONSENT
        reason = privacy_refusal(header, self.task.training, member.trained_rows, policy)
        if reason is None and self.spending.is_understated(header, policy.delta_e12):
            return Reason.PRIVACY_MISSTATED
        return reason

    def _open(self, message: ClientUpdate, ready: ReadyPayload) -> IntTensors | Reason:
        if ready.cid.digest != message.payload_cid:
            return Reason.PAYLOAD_MISMATCH
        is_plain = self.manifest.payload_encryption == NO_ENCRYPTION
        if not is_plain and not is_encrypted(ready.payload):
            return Reason.NOT_ENCRYPTED
        try:
            envelope = self.payloads.open(ready, context_of(message))
        except FormatError:
            return Reason.PAYLOAD_MISMATCH if is_plain else Reason.CANNOT_BE_OPENED
        if envelope.commitment() != message.update_commit:
            return Reason.PAYLOAD_MISMATCH
        return admissible(envelope, self.manifest, message)

    def _norm_refusal(self, tensors: IntTensors) -> Reason | None:
        if squared_norm(tensors) > squared_norm_bound(self.manifest):
            return Reason.NORM_ABOVE_BOUND
        return None

    def _member(self, signer: bytes) -> CohortMember | None:
        return next((member for member in self.manifest.cohort if member.client == signer), None)


def context_of(message: ClientUpdate) -> KeyContext:
    """Return what the data key of an update's payload is bound to, beside its CID."""
    return KeyContext(message.federation, message.run, message.round, message.dataset)


def signer_of(header: UpdateHeader) -> bytes | None:
    """Return the address that signed the statement in the domain that it names, or None."""
    try:
        domain = Domain(header.chain_id, header.rounds_contract)
        return recover(signing_digest(domain, header.message), header.signature)
    except (FormatError, ValueError, TypeError):
        return None


def schema_of(manifest: RunManifest) -> TensorSchema:
    """Return the tensors that a run's manifest declares."""
    return TensorSchema(
        tuple(tensor.name for tensor in manifest.tensors), tuple(tensor.shape for tensor in manifest.tensors)
    )


def admissible(envelope: Envelope, manifest: RunManifest, message: ClientUpdate) -> IntTensors | Reason:
    """Return what enters the model of an update, of a population its clients' mean, or why it is refused."""
    schema, encoding = schema_of(manifest), FixedPoint(manifest.fraction_bits, manifest.width)
    opening = next((each.roster for each in manifest.cohort if each.dataset == message.dataset), None)
    if opening is None:
        return check_tensors(envelope, schema, encoding)
    found = check_tensors(envelope, schema_with(schema, opening.roster), encoding)
    return found if isinstance(found, Reason) else checked(found, opening.roster, message.run, message.round)


def squared_norm_bound(manifest: RunManifest) -> int:
    """Return the bound of the squared norm in fixed point: floor((bound * 2^F)^2), exactly."""
    return (manifest.max_update_norm_e6**2 << (2 * manifest.fraction_bits)) // MICRO**2


def is_covered(message: ClientUpdate, consent: ConsentGrant, member: CohortMember, policy: DataPolicy) -> bool:
    """Tell whether an update is of the member's dataset, and its site consented to the member's policy as it reads."""
    granted = (consent.policy, consent.micro_epsilon_grant, consent.delta_e12, consent.unit, consent.nominal_size)
    agreed = (
        member.policy.digest, policy.micro_epsilon_grant, policy.delta_e12, policy.unit_digest(),
        member.nominal_size,
    )  # fmt: skip
    return granted == agreed and (message.dataset, message.policy) == (member.dataset, member.policy.digest)


def weight_refusal(weight: int, member: CohortMember | None) -> Reason | None:
    """Return why a weight is not the registered nominal size, or None."""
    if weight == 0:
        return Reason.ZERO_WEIGHT
    if member is None or weight != member.nominal_size:
        return Reason.OTHER_WEIGHT
    return None


def privacy_refusal(
    header: UpdateHeader, training: LocalTraining, trained_rows: int, policy: DataPolicy
) -> Reason | None:
    """Return why signed privacy parameters contradict the run's plan, the policy or themselves, or None."""
    dp, message = header.dp, header.message
    if dp.digest() != message.dp_params or not _follows_plan(dp, training, trained_rows, policy):
        return Reason.PRIVACY_MISSTATED
    if dp.run_micro_epsilon > message.micro_epsilon_total:
        return Reason.PRIVACY_MISSTATED
    if dp.mechanism == NO_MECHANISM:
        return None if policy.allows_unprotected else Reason.GRANT_EXCEEDED
    spent = dp.run_micro_epsilon if policy.grant is GrantKind.SANDBOX else message.micro_epsilon_total
    return Reason.GRANT_EXCEEDED if spent > policy.micro_epsilon_grant else None


def _follows_plan(dp: DpParams, training: LocalTraining, trained_rows: int, policy: DataPolicy) -> bool:
    batches = batches_per_epoch(trained_rows, training.batch_size)
    if (dp.batches_per_epoch, dp.steps) != (batches, training.steps(batches)) or dp.unit != policy.unit:
        return False
    if dp.adjacency != ADJACENCY or not (_is_name(dp.accountant) and _is_name(dp.noise_source)):
        return False
    if dp.delta_e12 != policy.delta_e12:
        return False
    if training.epsilon == "off":
        stated = (dp.mechanism, dp.noise_multiplier_e6, dp.max_grad_norm_e6, dp.run_micro_epsilon)
        return stated == (NO_MECHANISM, 0, 0, UNBOUNDED)
    return (
        dp.mechanism == SUBSAMPLED_GAUSSIAN
        and dp.noise_multiplier_e6 >= MIN_NOISE_MULTIPLIER_E6
        and dp.delta_e12 == training.delta_e12
        and dp.max_grad_norm_e6 == int(Decimal(training.max_grad_norm) * MICRO)
    )


def _is_name(text: str) -> bool:
    """A site's own words are recorded and shown: short, and no control or bidirectional characters."""
    return len(text) <= MAX_NAME and text.isascii() and text.isprintable()
