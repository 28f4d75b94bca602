"""The store of a home: the one place that says what artifacts are kept in."""

from __future__ import annotations

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import Home
from fedchain.ports.store import ArtifactStore


def open_store(home: Home) -> ArtifactStore:
    """Return the store that a home reads from and writes to."""
    return EmbeddedStore(home.store)
