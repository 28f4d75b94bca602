from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.store_files import FileFlaw, Flaw, flaws, stored, usage
from fedchain.core.cid import CHUNK_BYTES, Cid
from tests.adapters.store_files import LARGE, file_of, sidecar_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def found(root: Path) -> set[tuple[Flaw, Cid | None]]:
    return {(each.flaw, each.cid) for each in flaws(root, EmbeddedStore(root))}


def test_a_store_that_does_not_exist_has_nothing(root: Path) -> None:
    assert (list(stored(root)), usage(root), found(root)) == ([], 0, set())
    assert EmbeddedStore(root).tidy()
    assert not root.exists()


def test_an_artifact_takes_its_bytes_and_those_of_its_sidecar(root: Path) -> None:
    store = EmbeddedStore(root)
    small, large = store.put(b"small"), store.put(LARGE)
    sizes = {each.cid: each.size for each in stored(root)}
    assert sizes == {small: 5, large: len(LARGE) + sidecar_of(root, large).stat().st_size}
    assert usage(root) == sum(sizes.values())


def test_a_sound_store_has_no_flaw(root: Path) -> None:
    store = EmbeddedStore(root)
    for data in (b"", b"small", bytes(CHUNK_BYTES), LARGE):
        store.put(data)
    assert found(root) == set()


def test_every_kind_of_flaw_is_found_and_named(root: Path) -> None:
    store = EmbeddedStore(root)
    altered, cut, lonely, sound = (store.put(LARGE + bytes([number])) for number in range(4))
    file_of(root, altered).write_bytes(LARGE)
    sidecar_of(root, cut).unlink()
    file_of(root, lonely).unlink()
    (root / "tmp" / "draft").write_bytes(b"half")
    (root / "README").write_text("stray")
    (file_of(root, sound).parent / "notes.txt").write_text("stray")
    assert found(root) == {
        (Flaw.DAMAGED, altered), (Flaw.DAMAGED, cut), (Flaw.LONELY, lonely), (Flaw.LEFTOVER, None), (Flaw.STRANGE, None)
    }  # fmt: skip
    strange = [each.path for each in flaws(root, store) if each.flaw is Flaw.STRANGE]
    assert sorted(strange) == sorted(["README", f"{file_of(root, sound).parent.name}/notes.txt"])


def test_tidying_takes_leftovers_and_lonely_sidecars_away_and_nothing_else(root: Path) -> None:
    store = EmbeddedStore(root)
    lonely, sound = store.put(LARGE), store.put(LARGE + b"more")
    file_of(root, lonely).unlink()
    (root / "tmp" / "draft").write_bytes(b"half")
    (root / "README").write_text("stray")
    assert store.tidy()
    assert [FileFlaw(Flaw.STRANGE, "README", None, "a name that the store does not give")] == list(flaws(root, store))
    assert store.get(sound) == LARGE + b"more"


def test_nothing_is_tidied_while_somebody_is_writing(root: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield LARGE[:CHUNK_BYTES]
        assert not EmbeddedStore(root).tidy()
        yield LARGE[CHUNK_BYTES:]

    store = EmbeddedStore(root)
    assert store.get(store.put_stream(parts())) == LARGE


def test_what_was_put_again_lately_is_not_removed_as_old(root: Path) -> None:
    store = EmbeddedStore(root)
    cid = store.put(LARGE)
    changed = int(file_of(root, cid).stat().st_mtime)
    assert not store.remove_older(cid, changed)
    assert store.get(cid) == LARGE
    assert store.remove_older(cid, changed + 2)
    assert not store.has(cid)
    assert store.remove_older(cid, changed)
