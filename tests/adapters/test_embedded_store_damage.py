"""Whatever byte of the embedded store is altered, the artifact is refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.core.cid import CHUNK_BYTES, DAG_PB, LINKS_PER_NODE, RAW, Cid, DagBuilder, Link, cid_of, encode_node
from fedchain.core.errors import IntegrityError
from tests.adapters.store_files import LARGE, file_of, sidecar_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> EmbeddedStore:
    return EmbeddedStore(root)


def assert_is_refused(store: EmbeddedStore, cid: Cid) -> None:
    for read in (store.get, lambda cid: list(store.chunks(cid))):
        with pytest.raises(IntegrityError, match=cid.text):
            read(cid)


@pytest.fixture(scope="module")
def damageable() -> Iterator[tuple[EmbeddedStore, list[tuple[Cid, Path]]]]:
    with TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder))
        cids = [store.put(data) for data in (b"a few bytes", LARGE[:CHUNK_BYTES], LARGE)]
        paths = [(cid, file_of(Path(folder), cid)) for cid in cids]
        yield store, [*paths, (cids[-1], sidecar_of(Path(folder), cids[-1]))]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_other_byte_anywhere_is_an_integrity_error(
    damageable: tuple[EmbeddedStore, list[tuple[Cid, Path]]], data: st.DataObject
) -> None:
    store, files = damageable
    cid, path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    position = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    other = whole[position] ^ data.draw(st.integers(min_value=1, max_value=255))
    path.write_bytes(whole[:position] + bytes([other]) + whole[position + 1 :])
    assert_is_refused(store, cid)
    path.write_bytes(whole)
    assert cid_of(store.get(cid)) == cid


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_byte_too_many_or_too_few_anywhere_is_an_integrity_error(
    damageable: tuple[EmbeddedStore, list[tuple[Cid, Path]]], data: st.DataObject
) -> None:
    store, files = damageable
    cid, path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    start = data.draw(st.integers(min_value=0, max_value=len(whole)))
    end = data.draw(st.integers(min_value=start, max_value=len(whole)))
    inserted = data.draw(st.binary(min_size=0 if end > start else 1, max_size=4))
    path.write_bytes(whole[:start] + inserted + whole[end:])
    if path.read_bytes() != whole:
        assert_is_refused(store, cid)
    path.write_bytes(whole)
    assert cid_of(store.get(cid)) == cid


def test_every_byte_of_a_sidecar_is_covered(root: Path, store: EmbeddedStore) -> None:
    cid = store.put(LARGE)
    path = sidecar_of(root, cid)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(IntegrityError, match=cid.text):
            store.get(cid)
        path.write_bytes(whole[:position])
        with pytest.raises(IntegrityError, match=cid.text):
            store.get(cid)


def test_a_lost_or_foreign_sidecar_is_an_integrity_error(root: Path, store: EmbeddedStore) -> None:
    cid, other = store.put(LARGE), store.put(LARGE[::-1])
    sidecar_of(root, other).replace(sidecar_of(root, cid))
    assert_is_refused(store, cid)
    assert_is_refused(store, other)


def test_two_artifacts_that_changed_places_are_both_refused(root: Path, store: EmbeddedStore) -> None:
    cid, other = store.put(LARGE), store.put(LARGE[::-1])
    paths = file_of(root, cid), file_of(root, other)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    assert_is_refused(store, cid)
    assert_is_refused(store, other)


def test_an_artifact_with_its_sidecar_under_another_name_is_refused(root: Path, store: EmbeddedStore) -> None:
    cid, other = store.put(LARGE), store.put(LARGE[::-1])
    sidecar_of(root, cid).write_bytes(sidecar_of(root, other).read_bytes())
    file_of(root, cid).write_bytes(LARGE[::-1])
    assert_is_refused(store, cid)


def test_the_error_names_what_is_there_instead(root: Path, store: EmbeddedStore) -> None:
    cid = store.put(LARGE)
    file_of(root, cid).write_bytes(LARGE[::-1])
    with pytest.raises(IntegrityError, match=f"expected {cid}, got {cid_of(LARGE[::-1])}"):
        store.get(cid)


def lay(root: Path, cid: Cid, content: bytes, sidecar: bytes | bytearray) -> Path:
    """Put an artifact into the store by hand and return its path."""
    path = root / cid.text[-2] / cid.text
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.with_name(f"{cid}.dag").write_bytes(sidecar)
    return path


def test_a_tree_that_the_profile_does_not_build_is_refused_under_its_own_root(root: Path, store: EmbeddedStore) -> None:
    half = bytes(CHUNK_BYTES // 2)
    leaf = Link(Cid(RAW, sha256(half).digest()), len(half), len(half))
    node = encode_node([leaf] * 3)
    cid = Cid(DAG_PB, sha256(node).digest())
    lay(root, cid, half * 3, len(node).to_bytes(4, "little") + node)
    assert_is_refused(store, cid)


def test_a_raw_block_longer_than_a_chunk_is_refused_under_its_own_name(root: Path, store: EmbeddedStore) -> None:
    cid = Cid(RAW, sha256(LARGE).digest())
    lay(root, cid, LARGE, b"")
    assert_is_refused(store, cid)


@pytest.mark.parametrize("suffix", ["", ".dag"])
def test_a_file_of_terabytes_is_refused_unread(root: Path, store: EmbeddedStore, suffix: str) -> None:
    cid = store.put(LARGE)
    os.truncate(file_of(root, cid).with_name(cid.text + suffix), 1 << 42)
    assert_is_refused(store, cid)


def large_tree(root: Path) -> tuple[Cid, Path]:
    """Lay 1,025 chunks of zeros into the store by hand, as a sparse file and a sidecar of three nodes."""
    sidecar = bytearray()
    dag = DagBuilder(lambda node: sidecar.extend(len(node).to_bytes(4, "little") + node))
    for _ in range(LINKS_PER_NODE + 1):
        dag.add(sha256(bytes(CHUNK_BYTES)).digest(), CHUNK_BYTES)
    path = lay(root, dag.root(), b"", sidecar)
    os.truncate(path, (LINKS_PER_NODE + 1) * CHUNK_BYTES)
    return dag.root(), path.with_name(f"{dag.root()}.dag")


def test_a_tree_of_two_levels_is_verified_before_its_first_chunk(root: Path, store: EmbeddedStore) -> None:
    cid, _ = large_tree(root)
    assert next(store.chunks(cid)) == bytes(CHUNK_BYTES)


def test_nodes_in_another_order_are_an_integrity_error(root: Path, store: EmbeddedStore) -> None:
    cid, sidecar = large_tree(root)
    packed = sidecar.read_bytes()
    nodes: list[bytes] = []
    while packed:
        end = 4 + int.from_bytes(packed[:4], "little")
        nodes, packed = [*nodes, packed[:end]], packed[end:]
    sidecar.write_bytes(nodes[2] + nodes[0] + nodes[1])
    assert_is_refused(store, cid)
    sidecar.write_bytes(b"".join(nodes) + nodes[2])
    assert_is_refused(store, cid)


@pytest.mark.parametrize("suffix", ["", ".dag"])
@pytest.mark.parametrize(
    "lay_instead",
    [
        lambda path, target: path.symlink_to(target),
        lambda path, _: path.symlink_to("nowhere"),
        lambda path, _: path.mkdir(),
        lambda path, _: os.mkfifo(path),
    ],
    ids=["link", "dangling link", "folder", "pipe"],
)
def test_only_plain_files_are_read(
    root: Path, store: EmbeddedStore, suffix: str, lay_instead: Callable[[Path, Path], object]
) -> None:
    cid = store.put(LARGE)
    path = file_of(root, cid).with_name(cid.text + suffix)
    elsewhere = root / "elsewhere"
    path.replace(elsewhere)
    lay_instead(path, elsewhere)
    assert_is_refused(store, cid)
    assert store.has(cid)
