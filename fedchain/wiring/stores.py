"""The store of a home: the one place that says what artifacts are kept in.

How the nodes of `store=kubo` are reached is in the configuration of a run and, for whoever only reads, in a file of
the home; it is no part of the record. What the home keeps in its own folder is always read, too: earlier runs may lie
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home
from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.rpc import KuboNode
from fedchain.adapters.kubo.store import KuboStore
from fedchain.adapters.replicated_store import ReplicatedStore
from fedchain.config import StoreConfig, StoreNodesConfig
from fedchain.core import document
from fedchain.core.errors import InputError
from fedchain.ports.store import ArtifactStore, Replica

LOCAL: Final = "home"
_FORMAT: Final = "fedchain/store-nodes/1"
_MOST_AUTHORIZATION_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class StoreMark:
    """What a home remembers of its nodes, and whether the last run wrote to them."""

    format: str
    is_written: bool
    nodes: StoreNodesConfig


def written_store(home: Home, config: StoreConfig) -> ArtifactStore:
    """Return the store of a run, and remember how it is reached.

    Raises:
        InputError: if an address or an authorization file cannot be used.
    """
    known = _known(home)
    nodes = config.nodes or (None if known is None else known.nodes)
    if nodes is not None:
        mark = StoreMark(_FORMAT, config.nodes is not None, nodes)
        _replicas(home, mark)  # refused before it is remembered
        if mark != known:
            replace_file(home.store_nodes, document.to_bytes(mark))
    return open_store(home)


def open_store(home: Home) -> ArtifactStore:
    """Return the store that the last run wrote to, for reading and for writing.

    Raises:
        InputError: if the home does not say plainly how it is reached.
    """
    mark = _known(home)
    if mark is None:
        return EmbeddedStore(home.store)
    quorum = mark.nodes.quorum if mark.is_written else 1
    return ReplicatedStore(_replicas(home, mark), quorum, mark.nodes.timeout_s)


def replicas_of(home: Home) -> tuple[Replica, ...]:
    """Return every store that keeps artifacts of the home.

    Raises:
        InputError: if the home does not say plainly how they are reached.
    """
    mark = _known(home)
    return (Replica(LOCAL, EmbeddedStore(home.store), is_written=True),) if mark is None else _replicas(home, mark)


def _replicas(home: Home, mark: StoreMark) -> tuple[Replica, ...]:
    files = mark.nodes.authorization_files or ("",) * len(mark.nodes.addresses)
    local = Replica(LOCAL, EmbeddedStore(home.store), is_written=mark.nodes.keep_local or not mark.is_written)
    remote = [
        Replica(address.name, KuboStore(KuboNode(address, _authorization(file), mark.nodes.timeout_s)), mark.is_written)
        for address, file in zip(map(KuboAddress.parse, mark.nodes.addresses), files, strict=True)
    ]
    return (local, *remote)


def _authorization(file: str) -> str | None:
    """Return the value of the Authorization header: the one line of a file, for example `Bearer ...`."""
    if not file:
        return None
    path = Path(file)
    with explained(path), path.open("rb") as source:
        data = source.read(_MOST_AUTHORIZATION_BYTES + 1)
    line = data.removesuffix(b"\n")
    if not line or len(data) > _MOST_AUTHORIZATION_BYTES or not line.isascii() or not line.decode().isprintable():
        raise InputError("an authorization file", expected="one line of plain text, such as Bearer ...", got=path)
    return line.decode()


def _known(home: Home) -> StoreMark | None:
    with explained(home.store_nodes):
        data = home.store_nodes.read_bytes() if home.store_nodes.exists() else None
    if data is None:
        return None
    mark = document.from_bytes(StoreMark, data)
    if mark.format != _FORMAT:
        raise InputError(f"{home.store_nodes} is of another version", expected=_FORMAT, got=mark.format[:40])
    return mark
