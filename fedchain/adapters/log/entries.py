"""The entries of a log and their bytes.

An entry says who adds what, where and when. Its writer signs it (as a sender signs a transaction) together with the
root of all entries before, so that nobody can put one writer's words behind another history.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fedchain.core import document
from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import FormatError
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    ConsentWithdraw,
    LogEntry,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
    RotateAdmin,
)
from fedchain.core.record import RoundLink
from fedchain.core.signatures import ADDRESS_SIZE, SIGNATURE_SIZE

LOG_FORMAT: Final = "fedchain/log/1"
_PLACE: Final = struct.Struct(f">QQ{SIGNATURE_SIZE}s")


@dataclass(frozen=True, slots=True)
class LogTerms:
    """The first entry: the federation that the log serves, and the addresses of its operator and aggregator."""

    format: str
    federation: bytes
    operator: bytes
    aggregator: bytes


@dataclass(frozen=True, slots=True)
class LogLink:
    """A link to seal, with the hash of the one that it follows (zero in round 1)."""

    previous_hash: bytes
    link: RoundLink


Body: TypeAlias = LogTerms | LogLink | RegistryMessage
_KINDS: Final[Mapping[str, type[Body]]] = {
    each.__name__: each
    for each in (
        LogTerms, LogLink, AddOrganisation, RotateAdmin, RegisterDevice, RevokeDevice, RegisterDataset, ConsentGrant,
        ConsentWithdraw,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry; `authority` is the signature under a registry message, empty where there is none."""

    index: int
    at: int
    body: Body
    authority: bytes
    writer_signature: bytes

    def statement(self, root_before: Digest) -> LogEntry:
        """Return what the writer signs."""
        return LogEntry(self.index, root_before, self.at, tagged("log-content", self._content()))

    def to_bytes(self) -> bytes:
        """Return the entry's bytes, which the tree's leaf hashes."""
        return _PLACE.pack(self.index, self.at, self.writer_signature) + self._content()

    def _content(self) -> bytes:
        kind = type(self.body).__name__.encode("ascii")
        signature = bytes([len(self.authority)]) + self.authority
        return signature + bytes([len(kind)]) + kind + document.to_bytes(self.body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """Read an entry back.

        Raises:
            FormatError: if the bytes are no entry.
        """
        try:
            index, at, writer_signature = _PLACE.unpack_from(data)
            authority, rest = _prefixed(data[_PLACE.size :])
            kind, text = _prefixed(rest)
        except (struct.error, IndexError) as error:
            raise FormatError("log entry", expected="place, signatures, kind and document", got=str(error)) from error
        body_class = _KINDS.get(kind.decode("ascii", "replace"))
        if body_class is None:
            raise FormatError("kind of a log entry", expected=f"one of {sorted(_KINDS)}", got=repr(kind[:80]))
        entry = cls(index, at, document.from_bytes(body_class, text), authority, writer_signature)
        if entry.to_bytes() != data:
            raise FormatError("log entry", expected="the one way to write it", got="another")
        return entry


def terms_of(federation: bytes, operator: bytes, aggregator: bytes) -> LogTerms:
    """Return the terms of a new log.

    Raises:
        FormatError: if an identifier has the wrong size.
    """
    sizes = (len(federation), len(operator), len(aggregator))
    if sizes != (32, ADDRESS_SIZE, ADDRESS_SIZE):
        raise FormatError("terms of a log", expected="32, 20 and 20 bytes", got=sizes)
    return LogTerms(LOG_FORMAT, federation, operator, aggregator)


def _prefixed(data: bytes) -> tuple[bytes, bytes]:
    """Return what one length byte announces, and the rest."""
    end = 1 + data[0]
    return data[1:end], data[end:]
