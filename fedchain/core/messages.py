"""The messages that keys sign (EIP-712), as listed in docs/format.md.

Integers are unsigned and bounded by their Solidity type; addresses are 20 bytes, bytes32 are 32 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

UNBOUNDED: Final = 2**64 - 1
"""Micro-epsilon of an update that left without differential privacy."""


@dataclass(frozen=True, slots=True)
class ClientUpdate:
    """A client's word: this update, of this dataset, trained from this base, under this code and this privacy."""

    TYPE: ClassVar[str] = (
        "ClientUpdate(bytes32 federation,bytes32 run,uint64 round,bytes32 baseModel,bytes32 updateCommit,"
        "bytes32 payloadCid,bytes32 dataset,bytes32 policy,uint32 weight,uint64 microEpsilonTotal,bytes32 dpParams,"
        "bytes32 codeDigest,bytes32 configDigest,bytes32 envDigest,uint64 nonce,uint64 deadline)"
    )
    federation: bytes
    run: bytes
    round: int
    base_model: bytes
    update_commit: bytes
    payload_cid: bytes
    dataset: bytes
    policy: bytes
    weight: int
    micro_epsilon_total: int
    dp_params: bytes
    code_digest: bytes
    config_digest: bytes
    env_digest: bytes
    nonce: int
    deadline: int


@dataclass(frozen=True, slots=True)
class InclusionPromise:
    """The aggregator's word: the leaf will be in the round's tree by the second `seal_by`."""

    TYPE: ClassVar[str] = "InclusionPromise(bytes32 federation,bytes32 run,uint64 round,bytes32 leaf,uint64 sealBy)"
    federation: bytes
    run: bytes
    round: int
    leaf: bytes
    seal_by: int


@dataclass(frozen=True, slots=True)
class RoundReceipt:
    """A site's word: I checked that this round hash holds my contribution."""

    TYPE: ClassVar[str] = "RoundReceipt(bytes32 federation,bytes32 run,uint64 round,bytes32 roundHash)"
    federation: bytes
    run: bytes
    round: int
    round_hash: bytes


@dataclass(frozen=True, slots=True)
class AddOrganisation:
    """The operator's act, hashed into the registry head and never signed (nonce 0)."""

    TYPE: ClassVar[str] = "AddOrganisation(bytes32 organisation,address admin,uint64 nonce)"
    organisation: bytes
    admin: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class KeyPossession:
    """A new key's word that it belongs to an organisation: it stands inside the message that registers the key."""

    TYPE: ClassVar[str] = "KeyPossession(bytes32 organisation,address key)"
    organisation: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class RotateAdmin:
    """A site hands its administration to another key; `possession` is the new key's signature of KeyPossession."""

    TYPE: ClassVar[str] = "RotateAdmin(bytes32 organisation,address admin,bytes possession,uint64 nonce)"
    organisation: bytes
    admin: bytes
    possession: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class RegisterDevice:
    """A site adds a device key that may sign updates from `valid_from` until before `valid_until` (seconds).

    `possession` is the device key's own signature of KeyPossession, so that nobody registers a key that is another's.
    """

    TYPE: ClassVar[str] = (
        "RegisterDevice(bytes32 organisation,address device,uint64 validFrom,uint64 validUntil,"
        "uint8 deviceClass,bytes possession,uint64 nonce)"
    )
    organisation: bytes
    device: bytes
    valid_from: int
    valid_until: int
    device_class: int
    possession: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class RevokeDevice:
    """A site revokes a device key from the second `at` on."""

    TYPE: ClassVar[str] = "RevokeDevice(address device,uint64 at,uint64 nonce)"
    device: bytes
    at: int
    nonce: int


@dataclass(frozen=True, slots=True)
class RegisterDataset:
    """A site registers a dataset by its salted commitment and public nominal size (rows)."""

    TYPE: ClassVar[str] = "RegisterDataset(bytes32 dataset,bytes32 organisation,uint32 nominalSize,uint64 nonce)"
    dataset: bytes
    organisation: bytes
    nominal_size: int
    nonce: int


@dataclass(frozen=True, slots=True)
class ConsentGrant:
    """A site consents to training on a dataset in a window (seconds), up to an epsilon at one fixed delta."""

    TYPE: ClassVar[str] = (
        "ConsentGrant(bytes32 dataset,bytes32 federation,bytes32 policy,uint64 from,uint64 until,"
        "uint64 microEpsilonGrant,uint64 deltaE12,bytes32 unit,uint32 nominalSize,uint64 nonce)"
    )
    dataset: bytes
    federation: bytes
    policy: bytes
    from_: int
    until: int
    micro_epsilon_grant: int
    delta_e12: int
    unit: bytes
    nominal_size: int
    nonce: int


@dataclass(frozen=True, slots=True)
class ConsentWithdraw:
    """A site withdraws its consent for a dataset from the second `at` on."""

    TYPE: ClassVar[str] = "ConsentWithdraw(bytes32 dataset,uint64 at,uint8 reason,uint64 nonce)"
    dataset: bytes
    at: int
    reason: int
    nonce: int


@dataclass(frozen=True, slots=True)
class SubmitVersion:
    """An organisation's word: this is a version of ours; its id binds the model, its parents and its datasets."""

    TYPE: ClassVar[str] = "SubmitVersion(bytes32 versionId)"
    version_id: bytes


@dataclass(frozen=True, slots=True)
class MoveVersion:
    """The submitting organisation moves a version to a state; the nonce counts its moves from 1."""

    TYPE: ClassVar[str] = "MoveVersion(bytes32 versionId,uint8 state,uint64 nonce)"
    version_id: bytes
    state: int
    nonce: int


@dataclass(frozen=True, slots=True)
class RegisterReviewer:
    """An organisation names a reviewer with its one role until before `valid_until` (seconds)."""

    TYPE: ClassVar[str] = (
        "RegisterReviewer(bytes32 organisation,address reviewer,uint8 role,uint64 validUntil,uint64 nonce)"
    )
    organisation: bytes
    reviewer: bytes
    role: int
    valid_until: int
    nonce: int


@dataclass(frozen=True, slots=True)
class RevokeReviewer:
    """An organisation ends its reviewer's time."""

    TYPE: ClassVar[str] = "RevokeReviewer(address reviewer,uint64 nonce)"
    reviewer: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class CancelApprovals:
    """A reviewer takes back all of its votes below a nonce that were not counted yet."""

    TYPE: ClassVar[str] = "CancelApprovals(address reviewer,uint64 leastNonce)"
    reviewer: bytes
    least_nonce: int


@dataclass(frozen=True, slots=True)
class Approval:
    """A reviewer's vote for a decision about a version: what it saw, what it rests on, and how long it holds."""

    TYPE: ClassVar[str] = (
        "Approval(bytes32 versionId,uint8 decision,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,"
        "uint64 validUntil,uint64 nonce)"
    )
    version_id: bytes
    decision: int
    role: int
    meaning: bytes
    evidence: bytes
    signed_at: int
    valid_until: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Disposition:
    """A reviewer's vote that a version may be reviewed again although consent for a dataset was withdrawn."""

    TYPE: ClassVar[str] = (
        "Disposition(bytes32 versionId,bytes32 dataset,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,"
        "uint64 validUntil,uint64 nonce)"
    )
    version_id: bytes
    dataset: bytes
    role: int
    meaning: bytes
    evidence: bytes
    signed_at: int
    valid_until: int
    nonce: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A writer's word, where there is no chain: I add this content after the `index` entries that have this root."""

    TYPE: ClassVar[str] = "LogEntry(uint64 index,bytes32 rootBefore,uint64 at,bytes32 content)"
    index: int
    root_before: bytes
    at: int
    content: bytes


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The log's word: after `size` entries, the last one at the second `at`, the root of their tree is this."""

    TYPE: ClassVar[str] = "TreeHead(uint64 size,bytes32 root,uint64 at)"
    size: int
    root: bytes
    at: int


RegistryMessage: TypeAlias = (
    AddOrganisation | RotateAdmin | RegisterDevice | RevokeDevice | RegisterDataset | ConsentGrant | ConsentWithdraw
)
