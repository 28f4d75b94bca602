"""The registry's entries as they are told, and the orders that change a site's own: plain values, quick to import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fedchain.core.messages import ConsentGrant, ConsentWithdraw, RegisterDevice, RevokeDevice, RotateAdmin

Act: TypeAlias = ConsentWithdraw | ConsentGrant | RevokeDevice | RegisterDevice | RotateAdmin


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device key with its class and window [valid_from, valid_until); `is_signed`: the admin signed the last word."""

    address: bytes
    device_class: int
    valid_from: int
    valid_until: int
    revoked_at: int | None
    is_signed: bool


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A dataset with its newest consent if there is one; `is_signed`: the admin signed the last word."""

    commitment: bytes
    nominal_size: int
    grant: ConsentGrant | None
    withdrawn_at: int | None
    is_signed: bool


@dataclass(frozen=True, slots=True)
class OrganisationEntry:
    """An organisation with all that it registered; the first admin is the operator's word, which nobody signs."""

    organisation: bytes
    admin: bytes
    is_signed: bool
    devices: tuple[DeviceEntry, ...]
    datasets: tuple[DatasetEntry, ...]


@dataclass(frozen=True, slots=True)
class RegistryOverview:
    """The registry as its events tell it; `names` are those that are known here, by organisation."""

    head: bytes
    organisations: tuple[OrganisationEntry, ...]
    names: dict[bytes, str]


@dataclass(frozen=True, slots=True)
class Order:
    """A message that is about to be signed by a site's admin key, and sent by a relay or by that key itself."""

    site: str
    key: bytes
    message: Act
    is_direct: bool


@dataclass(frozen=True, slots=True)
class Done:
    """An order with the transaction that recorded it."""

    order: Order
    transaction: bytes


Announce: TypeAlias = Callable[[Sequence[Order]], None]
"""Tells what is about to be signed; it raises where the user does not want it."""


@dataclass(frozen=True, slots=True)
class Request:
    """Which site acts, how what it signs is told and sent, and the dataset where one is named."""

    site: str
    announce: Announce
    is_direct: bool = False
    dataset: bytes | None = None
