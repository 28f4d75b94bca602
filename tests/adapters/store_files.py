"""Where the embedded store keeps what, for tests that look at or alter its files."""

from __future__ import annotations

from pathlib import Path
from random import Random

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.core.cid import CHUNK_BYTES, Cid, cid_of

LARGE = Random(1).randbytes(2 * CHUNK_BYTES + 5)


def file_of(root: Path, cid: Cid) -> Path:
    return next(root.glob(f"?/{cid}"))


def sidecar_of(root: Path, cid: Cid) -> Path:
    return next(root.glob(f"?/{cid}.dag"))


def assert_is_sound(root: Path) -> None:
    """Every visible artifact is whole, and after the next put nothing else is left."""
    store = EmbeddedStore(root)
    for cid in store.cids():
        assert cid_of(store.get(cid)) == cid
    store.put(b"the next put")
    assert list((root / "tmp").iterdir()) == []
    assert [path for path in root.glob("?/*.dag") if not path.with_suffix("").exists()] == []
