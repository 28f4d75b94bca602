"""A site's one function: check the base, charge, train, quantise, encrypt, sign.

Rows, keys and privacy counters stay here. The charge is durable before training, the signed update before it is
released, so a crash at any line repeats nothing that was released and forgets nothing that was spent. An attempt that
died before its release let nothing out; trained again with fresh noise, it reuses its charge.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Final

from fedchain.core import document
from fedchain.core.cid import codec_of
from fedchain.core.control import NO_CORRECTION, SCAFFOLD, Control, own_after, own_from_bytes, own_to_bytes
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.encryption import KeyContext
from fedchain.core.envelope import Envelope
from fedchain.core.errors import FormatError, InputError, IntegrityError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.merkle import proves
from fedchain.core.messages import UNBOUNDED, ClientUpdate, RoundReceipt
from fedchain.core.optimiser import state_digest
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.population import Roster, drawn
from fedchain.core.privacy import (
    MICRO,
    NO_MECHANISM,
    SUBSAMPLED_GAUSSIAN,
    DpParams,
    Release,
    batches_per_epoch,
    epsilon_of,
    merged,
    micro_epsilon,
)
from fedchain.core.record import LinkContext, LinkKind, RoundLink, round_hash
from fedchain.core.signatures import recover
from fedchain.core.task import (
    LocalTraining,
    RoundProof,
    SignedPromise,
    SignedUpdate,
    Task,
    UpdateHeader,
    header_bytes,
    header_of,
    leaf_of,
)
from fedchain.core.tensors import FloatTensors, IntTensors, TensorSchema, decode, encode, model_digest
from fedchain.ports.clock import Clock, Entropy
from fedchain.ports.payloads import PayloadWriter
from fedchain.ports.signer import Signer
from fedchain.ports.site_state import Charge, ChargeKey, Evidence, SiteState
from fedchain.ports.training import Accountant, LocalRound, Members, Trainer
from fedchain.workflow.stepping import is_corrected, steps_of

_START: Final = 1 << 13
"""Bytes of a released update that hold any statement."""
NOISE_SOURCE: Final = "chacha20 keyed by os.urandom"


@dataclass(frozen=True, slots=True)
class SitePopulation:
    """The clients that a site answers for: their roster, and where each stands in it."""

    roster: Roster
    members: Members


@dataclass(frozen=True, slots=True)
class SiteDataset:
    """A registered dataset as its own site knows it: commitment, policy, nominal size, and who trains on it."""

    commitment: bytes
    policy: DataPolicy
    nominal_size: int
    trainer: Trainer
    population: SitePopulation | None = None

    @property
    def trained_rows(self) -> int:
        """The rows that batches are counted by: of a population those of its smallest client."""
        return self.nominal_size if self.population is None else self.population.roster.least_rows


@dataclass(frozen=True, slots=True)
class Site:
    """One client of one site. `domain` and `aggregator` are the ledger and the address that the site accepts."""

    name: str
    domain: Domain
    federation: bytes
    aggregator: bytes
    dataset: SiteDataset
    device: Signer
    state: SiteState
    accountant: Accountant
    clock: Clock
    entropy: Entropy
    payloads: PayloadWriter

    def contribute(self, task: Task, model: bytes, control: bytes = b"") -> SignedUpdate:
        """Answer a task with a signed update, or the one already released for this attempt.

        `control` is the server's control that the task names, empty where it names none.

        Raises:
            InputError: if the task is for another ledger, past its deadline, or its base or control is not what it
                says.
            IntegrityError: if an update of this site entered that control whose own control is not here.
            PolicyError: if the dataset's grant does not allow the charge.
            LockedArtifactError: if the update was released and its keys were erased since.
        """
        self._check(task, model)
        check_control(task, control)
        key = ChargeKey(task.run, task.round, task.attempt)
        earlier = self.state.released(key)
        if earlier is not None:
            return self._again(earlier)
        encoding = FixedPoint(task.fraction_bits, task.width)
        base = _base_of(model, encoding)
        correction = self._correction(task, base, control)
        charge = self._charge(task, key)
        local = replace(self._local(task, charge.release), correction=correction)
        update = encoding.quantise(self.dataset.trainer.train(base, local)) | self._openings(local)
        own = b""
        if correction is not None:
            own = own_to_bytes(own_after(correction, update, steps_of(task.training), encoding))
        signed = self._sign(task, charge, update)
        packed = _pack(signed)
        stands = self.state.release(key, packed, own)
        return signed if stands == packed else self._again(stands)  # another process of this site was first

    def _again(self, released: bytes) -> SignedUpdate:
        signed = _unpack(released)
        return replace(signed, keys=self.payloads.keys_of(signed.payload))

    def prepare(self, task: Task, model: bytes) -> LocalRound | None:
        """Check a task and charge for it durably, so that `contribute` finds the charge; return what it will train.

        None means that the attempt's update was released already. Raises what `contribute` raises for the task.
        """
        self._check(task, model)
        key = ChargeKey(task.run, task.round, task.attempt)
        if self.state.released(key) is not None:
            return None
        return self._local(task, self._charge(task, key).release)

    def accept_promise(self, signed: SignedPromise) -> None:
        """Keep the aggregator's inclusion promise, after checking that it is the aggregator's and about this site.

        Raises:
            IntegrityError: if it is signed by another key, or promises anything but the update that was released.
        """
        promise = signed.promise
        digest = signing_digest(self.domain, promise)
        signer = recover(digest, signed.signature)
        if signer != self.aggregator:
            raise IntegrityError("inclusion promise", expected=f"0x{self.aggregator.hex()}", got=f"0x{signer.hex()}")
        header, payload_bytes = self._released(promise.run, promise.round, signed.attempt)
        leaf = leaf_of(self.domain, header, self.device.address, codec_of(payload_bytes))
        if (promise.federation, promise.leaf) != (self.federation, leaf):
            raise IntegrityError(
                f"promise for round {promise.round}", expected=f"the leaf 0x{leaf.hex()}", got=f"0x{promise.leaf.hex()}"
            )
        self.state.keep(Evidence.PROMISE, promise.run, promise.round, document.to_bytes(signed))

    def countersign(self, proof: RoundProof) -> bytes:
        """Check a link and sign its RoundReceipt; return the signature.

        A sealed round must hold this site's update; every link must join the ones that this site signed before and
        after it, and no round is signed with two hashes.

        Raises:
            IntegrityError: if the record contradicts what this site released or signed.
        """
        if proof.kind == LinkKind.SEALED:
            self._check_inclusion(proof)
        context = LinkContext(self.domain, self.federation, proof.previous_hash, proof.registry_head)
        hash_ = round_hash(_link(proof), context)
        self._check_neighbours(proof, hash_)
        self.state.keep(Evidence.RECEIPT, proof.run, proof.round, hash_ + proof.previous_hash)
        receipt = RoundReceipt(self.federation, proof.run, proof.round, hash_)
        return self.device.sign(signing_digest(self.domain, receipt))

    def _check(self, task: Task, model: bytes) -> None:
        if (task.chain_id, task.rounds_contract, task.federation) != (
            self.domain.chain_id, self.domain.contract, self.federation,
        ):  # fmt: skip
            raise InputError(
                "task is for another ledger",
                expected=f"chain {self.domain.chain_id}, contract 0x{self.domain.contract.hex()}",
                got=f"chain {task.chain_id}, contract 0x{task.rounds_contract.hex()}",
            )
        if self.clock.now() > task.deadline:
            raise InputError("task is past its deadline", expected=f"before {task.deadline}", got=self.clock.now())
        digest = _digest_of(model)
        if digest != task.base_model:
            raise InputError("base model", expected=f"digest {task.base_model.hex()}", got=digest.hex())
        check_training(task.training)

    def _charge(self, task: Task, key: ChargeKey) -> Charge:
        release = self._release(task)
        with self.state.locked():
            charges = self.state.charges(self.dataset.commitment)
            for charge in charges:
                if charge.key == key:
                    return charge
            charge = self._priced(task.training, key, release, charges)
            self.state.charge(charge)
        return charge

    def _correction(self, task: Task, base: FloatTensors, control: bytes) -> FloatTensors | None:
        """Return c - c_i, or None: this client's own control is that of its newest update that entered the server's."""
        if not is_corrected(task.training):
            return None
        schema = TensorSchema.of(base)
        server = Control.read(control or None, schema)
        place = server.entered.get(self.device.address)
        if place is None:
            return server.less(own_from_bytes(None, schema))
        own = self.state.control(ChargeKey(task.run, place.round, place.attempt))
        if own is None or place.round >= task.round:
            raise IntegrityError(
                f"the server's control counts an update of {self.name} in round {place.round}",
                expected="one whose own control is kept here", got="none",
            )  # fmt: skip
        self.state.forget_controls(task.run, before=place.round)
        return server.less(own_from_bytes(own, schema))

    def _release(self, task: Task) -> Release:
        training = task.training
        batches = batches_per_epoch(self.dataset.trained_rows, training.batch_size)
        steps = training.steps(batches)
        if training.epsilon == "off":
            return Release(0, batches, steps)
        noise = self.state.noise_multiplier(task.run, self.dataset.commitment)
        if noise is None:
            noise = self.accountant.calibrate(
                epsilon=float(training.epsilon),
                delta=training.delta_e12 / 1e12,
                batches_per_epoch=batches,
                steps=steps * training.rounds,
            )
            self.state.set_noise_multiplier(task.run, self.dataset.commitment, noise)
        return Release(noise, batches, steps)

    def _priced(self, training: LocalTraining, key: ChargeKey, release: Release, earlier: Sequence[Charge]) -> Charge:
        policy = self.dataset.policy
        if release.is_protected and training.delta_e12 != policy.delta_e12:
            raise PolicyError(
                f"{self.name} grants epsilon at one delta only",
                expected=f"privacy.delta={policy.delta_e12}e-12", got=f"{training.delta_e12}e-12",
            )  # fmt: skip
        if not release.is_protected and not policy.allows_unprotected:
            raise PolicyError(f"{self.name} allows no training without differential privacy")
        of_run = [charge.release for charge in earlier if charge.key.run == key.run]
        total = self._spent([*(charge.release for charge in earlier), release], policy)
        in_run = self._spent([*of_run, release], policy)
        check_grant(self.name, policy, run=in_run[0], total=total[0])
        floor = max((charge.micro_epsilon_total for charge in earlier), default=0)
        return Charge(key, self.dataset.commitment, release, max(floor, total[0]), in_run[0], total[1])

    def _spent(self, releases: list[Release], policy: DataPolicy) -> tuple[int, str]:
        spent = self.accountant.spent(merged(releases), policy.delta_e12 / 1e12)
        return micro_epsilon(spent.epsilon), spent.accountant

    def _local(self, task: Task, release: Release) -> LocalRound:
        population = self.dataset.population
        clients = None if population is None else drawn(task.run, task.round, population.roster)
        return LocalRound(task.training, release, task.round, self.dataset.trained_rows, clients=clients)

    def _openings(self, local: LocalRound) -> IntTensors:
        population = self.dataset.population
        if population is None or local.clients is None:
            return {}
        return population.members.openings(local.clients)

    def _sign(self, task: Task, charge: Charge, update: IntTensors) -> SignedUpdate:
        encoding = FixedPoint(task.fraction_bits, task.width)
        envelope = Envelope.of(self.entropy.secret(32), encoding, encode(update))
        ready = self.payloads.write(
            envelope, KeyContext(task.federation, task.run, task.round, self.dataset.commitment)
        )
        dp = self._dp_params(task, charge)
        message = ClientUpdate(
            federation=task.federation,
            run=task.run,
            round=task.round,
            base_model=task.base_model,
            update_commit=envelope.commitment(),
            payload_cid=ready.cid.digest,
            dataset=self.dataset.commitment,
            policy=self.dataset.policy.digest(),
            weight=self.dataset.nominal_size,
            micro_epsilon_total=charge.micro_epsilon_total,
            dp_params=dp.digest(),
            code_digest=task.code_digest,
            config_digest=task.config_digest,
            env_digest=task.env_digest,
            nonce=task.attempt,
            deadline=task.deadline,
        )
        signature = self.device.sign(signing_digest(self.domain, message))
        header = UpdateHeader(task.chain_id, task.rounds_contract, message, signature, dp)
        return SignedUpdate(header, ready.payload, ready.keys)

    def _dp_params(self, task: Task, charge: Charge) -> DpParams:
        training, protected = task.training, charge.release.is_protected
        return DpParams(
            mechanism=SUBSAMPLED_GAUSSIAN if protected else NO_MECHANISM,
            noise_multiplier_e6=charge.release.noise_multiplier_e6,
            max_grad_norm_e6=int(Decimal(training.max_grad_norm) * MICRO) if protected else 0,
            batches_per_epoch=charge.release.batches_per_epoch,
            steps=charge.release.steps,
            delta_e12=self.dataset.policy.delta_e12,
            unit=self.dataset.policy.unit,
            adjacency="zero-out",
            accountant=charge.accountant if protected else "none",
            noise_source=NOISE_SOURCE if protected else "none",
            run_micro_epsilon=charge.run_micro_epsilon,
            control=task.control,
        )

    def _check_inclusion(self, proof: RoundProof) -> None:
        header, _ = self._released(proof.run, proof.round, proof.attempt)
        leaf = leaf_of(self.domain, header, self.device.address, proof.payload_codec)
        if header.message.base_model != proof.base_model:
            raise IntegrityError(
                "sealed base model", expected=header.message.base_model.hex(), got=proof.base_model.hex()
            )
        if not proves(proof.updates_root, leaf, proof.proof):
            raise IntegrityError(f"round {proof.round} does not include {self.name}'s update")

    def _check_neighbours(self, proof: RoundProof, hash_: bytes) -> None:
        """Compare a link with the co-signed ones next to it, which are kept as hash and previous hash."""
        before = self.state.kept(Evidence.RECEIPT, proof.run, proof.round - 1)
        after = self.state.kept(Evidence.RECEIPT, proof.run, proof.round + 1)
        for expected, got in (
            (None if before is None else before[:32], proof.previous_hash),
            (None if after is None else after[32:], hash_),
        ):
            if expected is not None and expected != got:
                raise IntegrityError(
                    f"round {proof.round} does not follow the co-signed one", expected=expected.hex(), got=got.hex()
                )

    def _released(self, run: bytes, round_: int, attempt: int) -> tuple[UpdateHeader, int]:
        """Return the statement that was released, and how many bytes its payload has, without reading them."""
        key = ChargeKey(run, round_, attempt)
        found = self.state.released_start(key, _START)
        if found is not None and _payload_start(found[0]) > len(found[0]):
            found = self.state.released_start(key, _payload_start(found[0]))
        if found is None:
            raise IntegrityError(f"{self.name} released no update for round {round_}")
        start, size = found
        return _unpack(start).header, size - _payload_start(start)


@functools.lru_cache(maxsize=1)  # the sites of a simulation all get the same bytes, and get them twice
def _digest_of(model: bytes) -> bytes:
    return model_digest(model)


@functools.lru_cache(maxsize=1)
def _base_of(model: bytes, encoding: FixedPoint) -> FloatTensors:
    base = encoding.dequantise(decode(model))
    for each in base.values():
        each.flags.writeable = False
    return base


def check_control(task: Task, control: bytes) -> None:
    """Refuse a control that is not the one that the task names.

    Raises:
        InputError: naming the digests.
    """
    digest = state_digest(control) if control else ZERO
    expected = task.control if is_corrected(task.training) else ZERO
    if (task.control, digest) != (expected, expected):
        raise InputError("control of the server", expected=f"digest {expected.hex()}", got=digest.hex())


def check_training(training: LocalTraining) -> None:
    """Refuse training with numbers that no charge could stand for; negative steps would give a grant back.

    Raises:
        InputError: naming the number.
    """
    for name, count in (("epochs", training.epochs), ("batch_size", training.batch_size), ("rounds", training.rounds)):
        if count < 1:
            raise InputError(f"local training: {name}", expected="at least 1", got=count)
    if training.correction not in (NO_CORRECTION, SCAFFOLD):
        expected, got = f"{NO_CORRECTION} or {SCAFFOLD}", repr(training.correction)[:80]
        raise InputError("local training: correction", expected=expected, got=got)
    least = int(is_corrected(training))  # every client takes as many steps
    if training.updates < least:
        raise InputError("local training: updates", expected=f"at least {least}", got=training.updates)
    if training.epsilon == "off":
        return
    for name, text in (("epsilon", training.epsilon), ("max_grad_norm", training.max_grad_norm)):
        try:
            is_sensible = Decimal("1e-6") <= Decimal(text) <= MICRO
        except InvalidOperation:  # no number, or NaN
            is_sensible = False
        if not is_sensible:
            raise InputError(f"local training: {name}", expected="a number from 1e-6 to 1e6", got=repr(text)[:80])


def check_grant(name: str, policy: DataPolicy, *, run: int, total: int) -> None:
    """Refuse a charge that would pass the grant (micro-epsilon of this run and of the dataset's lifetime).

    Raises:
        PolicyError: naming the site, what its grant allows and what the charge would reach.
    """
    reached, scope = (
        (run, "in one run") if policy.grant is GrantKind.SANDBOX else (total, "over the dataset's lifetime")
    )
    if reached == UNBOUNDED and policy.allows_unprotected:
        return
    if reached > policy.micro_epsilon_grant:
        raise PolicyError(
            f"the privacy grant of {name} does not cover this training",
            expected=f"epsilon at most {epsilon_of(policy.micro_epsilon_grant):g} {scope}",
            got=f"{epsilon_of(reached):.4f}",
            remedy="lower privacy.epsilon or ask the site for a new grant",
        )


def _link(proof: RoundProof) -> RoundLink:
    if proof.kind not in set(LinkKind):
        raise IntegrityError("kind of link", expected="sealed, aborted or closed", got=proof.kind)
    return RoundLink(
        proof.run, proof.round, LinkKind(proof.kind), proof.updates_root, proof.rejected_root, proof.base_model,
        proof.model_digest, proof.manifest_digest, proof.accepted, proof.rejected,
    )  # fmt: skip


def _pack(signed: SignedUpdate) -> bytes:
    header = header_bytes(signed.header)
    return b"".join([len(header).to_bytes(4, "big"), header, signed.payload])


def _payload_start(packed: bytes) -> int:
    return 4 + int.from_bytes(packed[:4], "big")


def _unpack(data: bytes) -> SignedUpdate:
    start = _payload_start(data)
    try:
        return SignedUpdate(header_of(data[4:start]), data[start:])
    except FormatError as error:
        raise IntegrityError("a released update in the site's state is damaged", got=str(error)) from error
