"""Logs of the two contracts as the ledger's events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fedchain.adapters.evm.abi import contract
from fedchain.adapters.evm.node import Log
from fedchain.core.eip712 import members
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    ConsentWithdraw,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
    RotateAdmin,
)
from fedchain.core.record import LinkKind, RoundLink
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, RegistryEvent

REGISTRY: Final = contract("FedRegistry")
ROUNDS: Final = contract("RoundLedger")

_MESSAGES: Final[Mapping[str, type[RegistryMessage]]] = {
    "OrganisationAdded": AddOrganisation,
    "AdminRotated": RotateAdmin,
    "DeviceRegistered": RegisterDevice,
    "DeviceRevoked": RevokeDevice,
    "DatasetRegistered": RegisterDataset,
    "ConsentGranted": ConsentGrant,
    "ConsentWithdrawn": ConsentWithdraw,
}
_KINDS: Final[Mapping[str, LinkKind]] = {
    "RoundSealed": LinkKind.SEALED,
    "RoundAborted": LinkKind.ABORTED,
    "RunClosed": LinkKind.CLOSED,
}
_REGISTRY_TOPICS: Final = {REGISTRY.events[name].topic: name for name in _MESSAGES}
_LINK_TOPICS: Final = {ROUNDS.events[name].topic: name for name in _KINDS}
LINK_TOPICS: Final = tuple(_LINK_TOPICS)
"""First topics of the three events that end a round."""


def decode_event(log: Log, identity: LedgerIdentity) -> LedgerEvent | None:
    """Return the ledger event in a log, or None for a log that is none (a role was granted).

    Raises:
        FormatError: if the log has the topic of an event and is not its encoding.
    """
    topic = log.topics[0] if log.topics else b""
    if log.address == identity.registry_contract and topic in _REGISTRY_TOPICS:
        return _registry_event(log, _REGISTRY_TOPICS[topic])
    if log.address == identity.rounds_contract and topic in _LINK_TOPICS:
        return _link_event(log, _LINK_TOPICS[topic])
    return None


def _registry_event(log: Log, name: str) -> RegistryEvent:
    _, (fields, at, *signature) = REGISTRY.events[name].decode(log.topics, log.data)
    return RegistryEvent(
        message=_message(_MESSAGES[name], fields),
        signature=signature[0] if signature else b"",
        at=at,
        transaction=log.transaction,
    )


def _message(message_class: type[RegistryMessage], fields: tuple[Any, ...]) -> RegistryMessage:
    kinds = [kind for kind, _ in members(message_class.TYPE)]
    values: list[Any] = [
        bytes.fromhex(value.removeprefix("0x")) if kind == "address" else value
        for kind, value in zip(kinds, fields, strict=True)
    ]
    return message_class(*values)


def _link_event(log: Log, name: str) -> LinkEvent:
    indexed, data = ROUNDS.events[name].decode(log.topics, log.data)
    _, run, number = indexed
    round_hash, previous_hash, updates, rejected_root, base, model, manifest, accepted, rejected = data
    link = RoundLink(
        run=run,
        round=number,
        kind=_KINDS[name],
        updates_root=updates,
        rejected_root=rejected_root,
        base_model=base,
        model_digest=model,
        manifest_digest=manifest,
        accepted=accepted,
        rejected=rejected,
    )
    return LinkEvent(link, round_hash, previous_hash, log.at, log.transaction)
