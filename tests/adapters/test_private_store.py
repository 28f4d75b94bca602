from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.adapters import cipher
from fedchain.adapters.cipher import Opener, wrapped_keys
from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.private_store import PrivateStore, Readers, Writing
from fedchain.core.cid import CHUNK_BYTES, cid_of
from fedchain.core.encryption import KeyContext, is_encrypted
from fedchain.core.envelope import Envelope
from fedchain.core.errors import IntegrityError, LockedArtifactError, MissingArtifactError
from tests.doubles.clock import CountedEntropy
from tests.doubles.store import MemoryStore

WRITER, READER = Opener.of(b"\x01" * 32), Opener.of(b"\x02" * 32)
WORDS = b"words that stand nowhere else"


@dataclass(frozen=True)
class World:
    """A writer and another reader of one store of bytes."""

    inner: MemoryStore
    folder: Path
    entropy: CountedEntropy

    @property
    def writer(self) -> PrivateStore:
        ring = KeyRing(self.folder / "writer" / "keys.sqlite")
        readers = Readers({WRITER.public_key: ring, READER.public_key: KeyRing(self.folder / "reader" / "keys.sqlite")})
        return PrivateStore(self.inner, ring, WRITER, Writing(readers, self.entropy))

    @property
    def reader(self) -> PrivateStore:
        return PrivateStore(self.inner, KeyRing(self.folder / "reader" / "keys.sqlite"), READER)

    @property
    def stranger(self) -> PrivateStore:
        return PrivateStore(self.inner, KeyRing(self.folder / "stranger" / "keys.sqlite"), None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(MemoryStore(), tmp_path, CountedEntropy())


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK_BYTES - 32, CHUNK_BYTES, 2 * CHUNK_BYTES + 5])
def test_what_is_put_comes_back_to_its_readers_and_is_stored_as_ciphertext(world: World, size: int) -> None:
    content = (WORDS * (size // len(WORDS) + 1))[:size]
    cid = world.writer.put_stream([content[: size // 3], content[size // 3 :]])
    for store in (world.writer, world.reader):
        assert store.get(cid) == content
        assert b"".join(store.chunks(cid)) == content
        assert store.has(cid)
        assert list(store.cids()) == [cid]
    stored = world.inner.artifacts[cid]
    assert cid == cid_of(stored)
    assert is_encrypted(stored)
    assert WORDS not in stored


def test_equal_contents_are_one_artifact_and_heal_it(world: World) -> None:
    cid = world.writer.put(WORDS)
    world.inner.artifacts[cid] = b"damaged"
    with pytest.raises(IntegrityError):
        world.writer.get(cid)
    assert world.writer.put(WORDS) == cid
    assert world.reader.get(cid) == WORDS


def test_a_stream_of_any_length_takes_the_memory_of_a_few_chunks(world: World, tmp_path: Path) -> None:
    writer = replace(world.writer, inner=EmbeddedStore(tmp_path / "store"))
    tracemalloc.start()
    try:
        cid = writer.put_stream(bytes([number]) * CHUNK_BYTES for number in range(80))
        assert sum(len(chunk) for chunk in writer.chunks(cid)) == 80 * CHUNK_BYTES
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * CHUNK_BYTES


def test_a_stream_and_its_bytes_are_one_artifact(world: World) -> None:
    content = WORDS * (3 * CHUNK_BYTES // len(WORDS))
    assert world.writer.put_stream([content[:100], content[100:]]) == world.writer.put(content)


def test_no_two_artifacts_share_a_key(world: World) -> None:
    writer = world.writer
    cids = [writer.put(bytes([number])) for number in range(20)]
    ring = KeyRing(world.folder / "writer" / "keys.sqlite")
    found = [keys for cid in cids if (keys := ring.find(cid)) is not None]
    assert len({WRITER.data_key(keys, cid.digest) for keys, cid in zip(found, cids, strict=True)}) == 20


def test_who_has_no_key_is_told_so_after_the_bytes_were_verified(world: World) -> None:
    cid = world.writer.put(WORDS)
    for read in (world.stranger.get, lambda cid: list(world.stranger.chunks(cid))):
        with pytest.raises(LockedArtifactError, match="no key"):
            read(cid)
    world.inner.artifacts[cid] = world.inner.artifacts[cid][:-1] + b"?"
    for read in (world.stranger.get, lambda cid: list(world.stranger.chunks(cid))):
        with pytest.raises(IntegrityError):
            read(cid)


def test_a_key_of_another_artifact_opens_nothing(world: World) -> None:
    one, other = world.writer.put(b"one"), world.writer.put(b"other")
    ring = KeyRing(world.folder / "reader" / "keys.sqlite")
    keys = ring.find(other)
    assert keys is not None
    third = cid_of(cipher.encrypt(Envelope(bytes(32), 0, 0, b"third"), b"\x07" * 32))
    world.inner.put(cipher.encrypt(Envelope(bytes(32), 0, 0, b"third"), b"\x07" * 32))
    ring.keep(third, keys)
    with pytest.raises(LockedArtifactError, match="for something else"):
        world.reader.get(third)
    ring.erase([third])
    assert world.reader.get(one) == b"one"


def test_a_key_that_was_wrapped_wrongly_is_no_damage_of_the_artifact(world: World) -> None:
    """A site may wrap another key for the verifiers than for the aggregator: then they cannot read, and say that."""
    stored = cipher.encrypt(Envelope(bytes(32), 24, 32, b"update"), b"\x07" * 32)
    cid = world.inner.put(stored)
    context = KeyContext(bytes(32), bytes(32), 1, bytes(32))
    ring = KeyRing(world.folder / "reader" / "keys.sqlite")
    ring.keep(cid, wrapped_keys(b"\x08" * 32, cid.digest, context, [READER.public_key]))
    for read in (world.reader.get, lambda cid: list(world.reader.chunks(cid))):
        with pytest.raises(LockedArtifactError, match="does not open it"):
            read(cid)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 32, CHUNK_BYTES + 7])
def test_an_updates_payload_comes_as_its_plain_envelope(world: World, size: int) -> None:
    envelope = Envelope(b"\x05" * 32, 24, 32, bytes(size))
    cid = world.inner.put(cipher.encrypt(envelope, b"\x07" * 32))
    context = KeyContext(bytes(32), bytes(32), 1, bytes(32))
    keys = wrapped_keys(b"\x07" * 32, cid.digest, context, [READER.public_key])
    KeyRing(world.folder / "reader" / "keys.sqlite").keep(cid, keys)
    assert world.reader.get(cid) == b"".join(world.reader.chunks(cid)) == envelope.to_bytes()


def test_what_lies_in_plain_is_read_by_anyone(world: World) -> None:
    cid = world.inner.put(WORDS)
    for store in (world.writer, world.reader, world.stranger):
        assert store.get(cid) == b"".join(store.chunks(cid)) == WORDS
    assert replace(world.writer, writing=None).put(WORDS) == cid
    with pytest.raises(MissingArtifactError):
        world.reader.get(cid_of(b"nothing"))


def test_erased_is_told_from_unknown(world: World) -> None:
    cid = world.writer.put(WORDS)
    KeyRing(world.folder / "reader" / "keys.sqlite").erase([cid])
    with pytest.raises(LockedArtifactError, match="its keys were erased"):
        world.reader.get(cid)
    assert world.writer.get(cid) == WORDS


def test_a_put_that_died_leaves_what_nobody_names_and_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = world.writer

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer.ring, "keep", die)
        with pytest.raises(KeyboardInterrupt):
            writer.put(WORDS)
    (orphan,) = world.inner.artifacts
    with pytest.raises(LockedArtifactError, match="no key"):
        writer.get(orphan)
    cid = writer.put(WORDS)
    assert cid != orphan
    assert world.reader.get(cid) == writer.get(cid) == WORDS


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=8, deadline=None)
@given(st.binary(max_size=100))
def test_any_content_comes_back_even_what_looks_encrypted(folder: Path, tail: bytes) -> None:
    writer = World(MemoryStore(), folder, CountedEntropy(tail)).writer
    for content in (tail, b"FCENV\x01\x01" + tail, b"FCENV\x01\x00" + tail):
        assert writer.get(writer.put(content)) == content
