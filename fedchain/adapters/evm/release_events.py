"""The logs of ModelRegistry.sol as steps of versions and reviewers.

Votes stand in the data of their transaction, and their hash in the log: a log of each would cost an approval by three
ten thousand gas more. Where the data does not hold them, because a contract relayed them, they are unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from fedchain.adapters.evm.abi import Contract, contract
from fedchain.adapters.evm.node import Log
from fedchain.core.errors import FormatError
from fedchain.core.messages import CancelApprovals, RegisterReviewer, RevokeReviewer
from fedchain.core.releases import Decision, Edge, EdgeKind, Version, VersionState, Vote
from fedchain.ports.models import (
    ReleaseEvent,
    ReleaseStep,
    ReviewerChanged,
    VersionDecided,
    VersionDisposed,
    VersionMoved,
    VersionSubmitted,
    VersionTainted,
)

MODELS: Final[Contract] = contract("ModelRegistry")
_NAMES: Final = {event.topic: event.name for event in MODELS.events.values()}

Data = Callable[[bytes], bytes]
"""The data of a transaction, by its hash."""


def release_event(log: Log, data: Data) -> ReleaseEvent:
    """Return a log of the registry of models as a step.

    Raises:
        FormatError: if it is none of its events.
    """
    name = _NAMES.get(log.topics[0] if log.topics else b"")
    if name is None:
        raise FormatError("log of the registry of models", expected="one of its events", got=log.topics[:1])
    indexed, rest = MODELS.events[name].decode(log.topics, log.data)
    return ReleaseEvent(_step(name, indexed, rest, lambda: data(log.transaction)), log.at, log.transaction)


def _step(name: str, indexed: tuple[Any, ...], rest: tuple[Any, ...], data: Callable[[], bytes]) -> ReleaseStep:
    try:
        match name:
            case "VersionSubmitted":
                return VersionSubmitted(indexed[0], version_of(rest[0]), rest[1])
            case "VersionMoved":
                return VersionMoved(indexed[0], VersionState(rest[0]), VersionState(rest[1]), rest[2])
            case "VersionDecided":
                decision, state, until, votes = rest
                found = _votes("decide", data(), votes)
                return VersionDecided(indexed[0], Decision(decision), VersionState(state), until, found)
            case "VersionTainted":
                return VersionTainted(*indexed)
            case "VersionDisposed":
                version_id, dataset = indexed
                return VersionDisposed(version_id, dataset, _votes("dispose", data(), rest[0]))
            case "ReviewerRegistered":
                organisation, reviewer = indexed
                return ReviewerChanged(RegisterReviewer(organisation, _address(reviewer), *rest[:3]), rest[3])
            case "ReviewerRevoked":
                return ReviewerChanged(RevokeReviewer(_address(indexed[1]), rest[0]), rest[1])
            case _:
                return ReviewerChanged(CancelApprovals(_address(indexed[0]), rest[0]), rest[1])
    except ValueError as error:
        raise FormatError(f"log {name}", expected="states and kinds that the contract knows", got=error) from error


def version_of(members: tuple[Any, ...]) -> Version:
    """Return the tuple of a version as decoded."""
    organisation, model, bundle, round_hash, datasets_root, edges = members
    parents = tuple(Edge(parent, EdgeKind(kind)) for parent, kind in edges)
    return Version(organisation, model, bundle, round_hash, datasets_root, parents)


def _votes(function: str, data: bytes, digest: bytes) -> tuple[Vote, ...] | None:
    """Return the votes in a call, if they are the ones of the log."""
    types = MODELS.functions[function]
    selector = keccak(f"{function}({','.join(types)})".encode())[:4]
    if data[:4] != selector:
        return None
    try:
        votes = decode(types, data[4:])[-1]
    except (DecodingError, OverflowError):
        return None
    if keccak(encode(types[-1:], [votes])) != digest:
        return None
    return tuple(Vote(_address(signer), *rest) for signer, *rest in votes)


def _address(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
