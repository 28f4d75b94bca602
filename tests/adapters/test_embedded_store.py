from __future__ import annotations

import os
import resource
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.core.cid import CHUNK_BYTES, cid_of
from fedchain.core.errors import InputError, MissingArtifactError
from tests.adapters.store_files import LARGE, assert_is_sound, file_of, sidecar_of

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> EmbeddedStore:
    return EmbeddedStore(root)


# What lies in the folder


def test_an_artifact_is_a_plain_file_with_its_bytes(root: Path, store: EmbeddedStore) -> None:
    for data in (b"", b"small", bytes(CHUNK_BYTES), LARGE):
        cid = store.put(data)
        assert file_of(root, cid).read_bytes() == data
        assert file_of(root, cid).parent.name == cid.text[-2]


def test_only_an_artifact_of_several_chunks_has_a_sidecar(root: Path, store: EmbeddedStore) -> None:
    store.put(bytes(CHUNK_BYTES))
    assert list(root.rglob("*.dag")) == []
    cid = store.put(LARGE)
    assert [path.name for path in root.rglob("*.dag")] == [f"{cid}.dag"]


def test_a_sidecar_holds_the_nodes_each_after_its_length(root: Path, store: EmbeddedStore) -> None:
    cid = store.put(LARGE)
    packed = sidecar_of(root, cid).read_bytes()
    assert int.from_bytes(packed[:4], "little") == len(packed) - 4
    assert sha256(packed[4:]).digest() == cid.digest


def test_nobody_else_may_read_the_store(root: Path, store: EmbeddedStore) -> None:
    store.put(LARGE)
    modes = {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}
    folder_modes = {path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")] if path.is_dir()}
    assert (modes, folder_modes) == ({0o600}, {0o700})


def test_files_of_other_names_are_no_artifacts(root: Path, store: EmbeddedStore) -> None:
    cid = store.put(b"an artifact")
    folder = file_of(root, cid).parent
    (folder / "notes.txt").write_text("stray")
    (folder / str(cid).upper()).write_text("stray")
    (root / "z").write_text("stray")
    (root / "README").write_text("stray")
    other = root / ("a" if folder.name != "a" else "b")
    other.mkdir()
    (other / str(cid)).write_bytes(b"an artifact")
    assert list(store.cids()) == [cid]


def test_reading_makes_nothing(root: Path, store: EmbeddedStore) -> None:
    assert not store.has(cid_of(b""))
    assert list(store.cids()) == []
    with pytest.raises(MissingArtifactError):
        store.get(cid_of(b""))
    assert not root.exists()


def test_putting_again_changes_no_byte(root: Path, store: EmbeddedStore) -> None:
    store.put(LARGE)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    store.put(LARGE)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


# What the environment refuses


def test_a_file_in_the_place_of_the_store_is_an_input_error(root: Path, store: EmbeddedStore) -> None:
    root.write_text("no folder")
    with pytest.raises(InputError, match="store"):
        store.put(b"")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to pass over permissions; any other user keeps its own."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_store_of_others_can_be_read_but_not_written() -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        store = EmbeddedStore(root)
        cid = store.put(LARGE)
        for path in root.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        root.chmod(0o555)
        Path(folder).chmod(0o755)
        with as_nobody():
            assert store.get(cid) == LARGE
            with pytest.raises(InputError, match="permission"):
                store.put(b"more")


def test_a_store_that_may_not_be_read_is_an_input_error_and_not_an_empty_store() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = EmbeddedStore(Path(folder) / "store")
        cid = store.put(LARGE)
        (Path(folder) / "store").chmod(0)
        for use in (store.get, store.has, lambda _: list(store.cids()), lambda _: store.put(b"more")):
            with as_nobody(), pytest.raises(InputError, match="permission"):
                use(cid)


def test_a_full_disk_is_an_input_error_and_leaves_nothing(root: Path, store: EmbeddedStore) -> None:
    kept = store.put(b"small")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK_BYTES + CHUNK_BYTES // 2, limits[1]))
    try:
        with pytest.raises(InputError, match="room"):
            store.put(LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(store.cids()) == [kept]
    assert list((root / "tmp").iterdir()) == []
    assert store.get(store.put(LARGE)) == LARGE


def test_streams_of_any_length_take_the_memory_of_a_few_chunks(store: EmbeddedStore) -> None:
    tracemalloc.start()
    try:
        cid = store.put_stream(bytes([number]) * CHUNK_BYTES for number in range(48))
        assert sum(len(chunk) for chunk in store.chunks(cid)) == 48 * CHUNK_BYTES
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * CHUNK_BYTES


def test_what_gets_its_name_is_on_the_disk_and_the_name_is_too(
    root: Path, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = store.put(LARGE)
    synced: list[tuple[int, int]] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    def replace(path: Path, target: Path) -> Path:
        assert (path.stat().st_ino, path.stat().st_size) in synced
        if target == file_of(root, cid):
            synced.clear()
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    store.put(LARGE)
    assert [inode for inode, _ in synced] == [file_of(root, cid).parent.stat().st_ino]


# Several writers


def test_writers_of_one_artifact_do_not_disturb_each_other(root: Path) -> None:
    def write(_: int) -> bool:
        store = EmbeddedStore(root)
        return store.get(store.put(LARGE)) == LARGE

    with ThreadPoolExecutor(4) as writers:
        assert all(writers.map(write, range(20)))
    assert_is_sound(root)


def test_a_put_does_not_sweep_what_another_writer_is_writing(root: Path, store: EmbeddedStore) -> None:
    def parts() -> Iterator[bytes]:
        yield LARGE[:CHUNK_BYTES]
        EmbeddedStore(root).put(b"another writer")
        assert len(list((root / "tmp").iterdir())) == 1
        yield LARGE[CHUNK_BYTES:]

    assert store.get(store.put_stream(parts())) == LARGE


def test_removals_and_puts_of_one_artifact_leave_it_whole_or_missing(root: Path) -> None:
    def work(number: int) -> None:
        store = EmbeddedStore(root)
        if number % 2:
            store.put(LARGE)
        else:
            store.remove(cid_of(LARGE))
        with suppress(MissingArtifactError):
            assert store.get(cid_of(LARGE)) == LARGE

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(40)))
    assert_is_sound(root)


def test_an_artifact_can_be_removed_while_another_is_being_put(root: Path, store: EmbeddedStore) -> None:
    cid = store.put(b"first")

    def parts() -> Iterator[bytes]:
        yield LARGE[:CHUNK_BYTES]
        EmbeddedStore(root).remove(cid)
        yield LARGE[CHUNK_BYTES:]

    assert list(store.cids()) == [cid]
    assert store.get(store.put_stream(parts())) == LARGE
    assert not store.has(cid)
