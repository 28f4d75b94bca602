"""What a site may do with its own entries of the registry: pure decisions, each a list of messages still to be signed.

Every decision looks at the registry as it is, so deciding again after a crash gives only what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.core.messages import ConsentWithdraw, RegisterDevice, RevokeDevice, RotateAdmin
from fedchain.core.registry import Consent, RegistryState
from fedchain.workflow.enrolment import SOFTWARE_KEY, YEAR_S
from fedchain.workflow.registry_entries import Act

RUN_FIRST: Final = "run an experiment: it enrols every site"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key with its own signature that it belongs to the organisation."""

    address: bytes
    possession: bytes


def withdrawals(
    state: RegistryState, organisation: bytes, reason: int, now: int, only: bytes | None = None
) -> list[Act]:
    """Return the withdrawal of every consent that stands, or that of one dataset.

    Raises:
        InputError: if there is none to withdraw, or the dataset is not the site's.
    """
    datasets = _datasets(state, organisation, only)
    consents = {each: state.consents[each] for each in datasets if each in state.consents}
    standing = {each: consent for each, consent in consents.items() if consent.withdrawn_at is None}
    if not standing:
        raise _nothing_stands(consents)
    # The contract takes no withdrawal after the window; one of a consent that ran out still stops its renewal.
    return [ConsentWithdraw(each, min(now, consent.grant.until), reason, 0) for each, consent in standing.items()]


def renewals(state: RegistryState, organisation: bytes, now: int, only: bytes | None = None) -> list[Act]:
    """Return a year's consent from now on, on the terms of the last one, withdrawn or not.

    Raises:
        InputError: if there was none, the dataset is not the site's, or none of several is named.
    """
    granted = [each for each in _datasets(state, organisation, only) if each in state.consents]
    if not granted:
        raise InputError("no consent to renew", expected="one given before", got="none", remedy=RUN_FIRST)
    if len(granted) > 1:
        raise InputError(
            "the site has consented for several datasets", expected="--dataset with one of them", got=_listed(granted)
        )
    last = state.consents[granted[0]].grant
    return [replace(last, from_=now, until=now + YEAR_S, nonce=0)]


def revocation(state: RegistryState, device: bytes, now: int) -> list[Act]:
    """Return the revocation of a device key.

    Raises:
        InputError: if it is not registered, or revoked already.
    """
    registered = state.devices.get(device)
    if registered is None:
        raise InputError("the device key is not on the registry", got=hex32(device), remedy=RUN_FIRST)
    if registered.revoked_at is not None:
        raise InputError(
            "the device key is revoked already", got=f"{hex32(device)}, since the second {registered.revoked_at}",
            remedy="`fedchain registry rotate-device` registers a fresh one",
        )  # fmt: skip
    return [RevokeDevice(device, min(now, registered.valid_until), 0)]


def device_rotation(state: RegistryState, organisation: bytes, old: bytes, new: NewKey, now: int) -> list[Act]:
    """Return what is missing until the old key is revoked and the new one registered: first the one, then the other.

    Raises:
        InputError: if the old key is not registered, or the new one is another organisation's.
    """
    registered, taken = state.devices.get(old), state.devices.get(new.address)
    missing: list[Act] = []
    if registered is None or registered.revoked_at is None:
        missing += revocation(state, old, now)
    if taken is None:
        missing.append(RegisterDevice(organisation, new.address, now, now + YEAR_S, SOFTWARE_KEY, new.possession, 0))
    elif taken.organisation != organisation:
        raise InputError("the new device key is another organisation's", got=hex32(taken.organisation))
    return missing


def admin_rotation(state: RegistryState, organisation: bytes, old: bytes, new: NewKey) -> list[Act]:
    """Return the message that hands an organisation to its new key; nothing where the ledger has it already.

    Raises:
        InputError: if the ledger knows neither key as the organisation's admin.
    """
    admin = state.organisations[organisation]
    if admin == new.address:
        return []
    check_admin(state, organisation, old)
    return [RotateAdmin(organisation, new.address, new.possession, 0)]


def check_registered(state: RegistryState, organisation: bytes) -> None:
    """Check that an organisation is on the registry.

    Raises:
        InputError: if it is not.
    """
    if organisation not in state.organisations:
        raise InputError("the site is not on the registry", got=hex32(organisation), remedy=RUN_FIRST)


def check_admin(state: RegistryState, organisation: bytes, admin: bytes) -> None:
    """Check that a key administers an organisation.

    Raises:
        InputError: if another key does.
    """
    registered = state.organisations[organisation]
    if registered != admin:
        raise InputError(
            "the site's key is not its admin's on the registry", expected=hex32(registered), got=hex32(admin),
            remedy="repeat `fedchain registry rotate-admin` if it was interrupted, else restore the key",
        )  # fmt: skip


def numbered(messages: Sequence[Act], first: int) -> tuple[Act, ...]:
    """Return the messages with the nonces that follow each other from `first` on."""
    return tuple(replace(each, nonce=first + index) for index, each in enumerate(messages))


def _datasets(state: RegistryState, organisation: bytes, only: bytes | None) -> list[bytes]:
    own = [each for each, dataset in state.datasets.items() if dataset.organisation == organisation]
    if only is None:
        return own
    if only not in own:
        raise InputError("--dataset", expected=f"one of {_listed(own)}", got=hex32(only))
    return [only]


def _nothing_stands(consents: dict[bytes, Consent]) -> InputError:
    if not consents:
        return InputError("nothing to withdraw", expected="a consent", got="none", remedy=RUN_FIRST)
    since = ", ".join(f"{hex32(each)} since the second {consent.withdrawn_at}" for each, consent in consents.items())
    return InputError("nothing to withdraw", expected="a consent that stands", got=f"withdrawn: {since}")


def _listed(values: Sequence[bytes]) -> str:
    return ", ".join(map(hex32, values)) or "none"
