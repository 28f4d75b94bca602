"""What goes over the wire between the aggregator and a site: a task, a signed update, a round's proof."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from fedchain.core import document
from fedchain.core.control import NO_CORRECTION
from fedchain.core.digest import ZERO, Digest, tagged
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.messages import ClientUpdate, InclusionPromise
from fedchain.core.privacy import DpParams
from fedchain.core.record import UpdateLeaf


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """How every site trains in every round of a run; decimal strings stand for reals.

    Without privacy `epsilon` is "off"; then `max_grad_norm` and `delta_e12` mean nothing. `task` chooses the loss.
    `updates` is how many batches a client takes in a round, 0 where `epochs` says it.
    With `proximal` mu > 0 the loss has mu/2 * |w - w_base|^2 added (FedProx, Li et al., MLSys 2020).
    With `correction` "scaffold" controls are added to every gradient (see `fedchain.core.control`), else it is "none".
    """

    model: str
    model_options: dict[str, str]
    epochs: int
    batch_size: int
    learning_rate: str
    epsilon: str
    delta_e12: int
    max_grad_norm: str
    rounds: int
    seed: int
    task: str = "binary"
    proximal: str = "0"
    updates: int = 0
    correction: str = NO_CORRECTION

    def steps(self, batches: int) -> int:
        """Return the steps of a round for a client with so many batches an epoch."""
        return self.updates or batches * self.epochs

    def digest(self) -> Digest:
        """Return the digest of this document."""
        return tagged("local-training", document.to_bytes(self))


@dataclass(frozen=True, slots=True)
class Task:
    """An invitation to one round: train from this base, under this configuration, and answer before the deadline.

    `attempt` counts from 1 and grows when a round must be asked again; it is the nonce of the signed update.
    `control` is the digest of the server's control that comes with the base model, zero where none does.
    """

    chain_id: int
    rounds_contract: bytes
    federation: bytes
    run: bytes
    round: int
    attempt: int
    base_model: bytes
    deadline: int
    fraction_bits: int
    width: int
    code_digest: bytes
    config_digest: bytes
    env_digest: bytes
    training: LocalTraining
    control: bytes = ZERO


@dataclass(frozen=True, slots=True)
class UpdateHeader:
    """The signed statement that travels beside a payload: its domain, message, signature and privacy parameters.

    `chain_id` and `rounds_contract` say in which domain the signature was made; only ours is admitted.
    """

    chain_id: int
    rounds_contract: bytes
    message: ClientUpdate
    signature: bytes
    dp: DpParams


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """A site's answer to a task: the signed statement, the payload's envelope bytes, and its wrapped data keys.

    `keys` is a WrappedKeys document, empty where the payload is plain.
    """

    header: UpdateHeader
    payload: bytes
    keys: bytes = b""


@dataclass(frozen=True, slots=True)
class SignedPromise:
    """An inclusion promise with the aggregator's signature; `attempt` says which of the site's updates it is about."""

    promise: InclusionPromise
    signature: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class RoundProof:
    """What a site needs to check that a sealed round holds its update before it co-signs.

    From `kind` to `rejected` stands the preimage of the round hash; `attempt` and `payload_codec` name the site's own
    leaf, `proof` leads from it to `updates_root`.
    """

    kind: int
    run: bytes
    round: int
    previous_hash: bytes
    registry_head: bytes
    updates_root: bytes
    rejected_root: bytes
    base_model: bytes
    model_digest: bytes
    manifest_digest: bytes
    accepted: int
    rejected: int
    attempt: int
    payload_codec: int
    proof: tuple[bytes, ...]


@functools.lru_cache(maxsize=1 << 9)  # the gate reads it, and the site when it is promised and when it countersigns
def header_of(data: bytes) -> UpdateHeader:
    """Return the statement in canonical bytes.

    Raises:
        FormatError: if they are none.
    """
    return document.from_bytes(UpdateHeader, data)


@functools.lru_cache(maxsize=1 << 4)  # a site keeps it and sends it
def header_bytes(header: UpdateHeader) -> bytes:
    """Return a statement's canonical bytes."""
    return document.to_bytes(header)


@functools.lru_cache(maxsize=1 << 12)  # aggregator, receipts and the sites of a simulation ask for the same ones
def leaf_of(domain: Domain, header: UpdateHeader, signer: bytes, payload_codec: int) -> Digest:
    """Return the hash of the leaf that stands for a signed update in the round's tree."""
    return UpdateLeaf.of(signer, signing_digest(domain, header.message), header.signature, payload_codec).hash()
