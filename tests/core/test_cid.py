from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import assume, given
from hypothesis import strategies as st

from fedchain.core.cid import (
    CHUNK_BYTES,
    DAG_PB,
    LINKS_PER_NODE,
    PROFILE,
    RAW,
    Cid,
    DagBuilder,
    Link,
    cid_of,
    cut,
    decode_node,
    encode_node,
)
from fedchain.core.errors import FormatError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "cid.json").read_text())
ZEROS = sha256(bytes(CHUNK_BYTES)).digest()

digests = st.binary(min_size=32, max_size=32)
cids = st.builds(Cid, st.sampled_from([RAW, DAG_PB]), digests)
links = st.lists(
    st.builds(
        Link,
        cids,
        content_bytes=st.integers(min_value=0, max_value=2**50),
        total_bytes=st.integers(min_value=0, max_value=2**50),
    ),
    min_size=1,
    max_size=5,
)


def counting(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def zeros_root(vector: dict[str, Any]) -> Cid:
    dag = DagBuilder()
    for _ in range(vector["full_chunks"]):
        dag.add(ZEROS, CHUNK_BYTES)
    if vector["rest_bytes"]:
        dag.add(sha256(bytes(vector["rest_bytes"])).digest(), vector["rest_bytes"])
    return dag.root()


def keystream(seed: str, size: int) -> Iterator[bytes]:
    key = sha256(seed.encode()).digest()
    encryptor = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    for start in range(0, size, CHUNK_BYTES):
        yield encryptor.update(bytes(min(CHUNK_BYTES, size - start)))


def root_and_nodes(data: bytes) -> tuple[Cid, list[bytes]]:
    nodes: list[bytes] = []
    dag = DagBuilder(nodes.append)
    for chunk in cut([data]):
        dag.add(sha256(chunk).digest(), len(chunk))
    return dag.root(), nodes


def test_the_vectors_are_of_the_profile() -> None:
    assert VECTORS["profile"] == PROFILE


@pytest.mark.parametrize("vector", VECTORS["text"])
def test_texts_have_the_published_cid(vector: dict[str, str]) -> None:
    assert cid_of(vector["text"].encode()).text == vector["cid"]


@pytest.mark.parametrize("vector", VECTORS["counting"], ids=lambda vector: vector["size"])
def test_files_have_the_cid_and_the_root_block_of_another_implementation(vector: dict[str, Any]) -> None:
    root, nodes = root_and_nodes(counting(vector["size"]))
    assert root == cid_of(counting(vector["size"]))
    assert root.text == vector["cid"]
    assert [node.hex() for node in nodes] == ([vector["root"]] if "root" in vector else [])


@pytest.mark.parametrize("vector", VECTORS["zeros"], ids=lambda vector: (vector["full_chunks"], vector["rest_bytes"]))
def test_large_files_have_the_tree_of_another_implementation(vector: dict[str, Any]) -> None:
    assert zeros_root(vector).text == vector["cid"]


@pytest.mark.slow
@pytest.mark.parametrize("vector", VECTORS["zeros_of_a_tebibyte"])
def test_a_tebibyte_has_the_tree_of_another_implementation(vector: dict[str, Any]) -> None:
    assert zeros_root(vector).text == vector["cid"]


@pytest.mark.parametrize("seed", sorted({vector["seed"] for vector in VECTORS["keystream"]}))
def test_streams_around_a_chunk_and_around_a_full_node_have_the_published_cid(seed: str) -> None:
    expected = {vector["size"]: vector["cid"] for vector in VECTORS["keystream"] if vector["seed"] == seed}
    leaves: list[bytes] = []
    actual: dict[int, str] = {}
    for chunk in keystream(seed, max(expected) + CHUNK_BYTES):
        for size in expected:
            rest = size - len(leaves) * CHUNK_BYTES
            if 0 <= rest < CHUNK_BYTES:
                dag = DagBuilder()
                for leaf in leaves:
                    dag.add(leaf, CHUNK_BYTES)
                if rest:
                    dag.add(sha256(chunk[:rest]).digest(), rest)
                actual[size] = dag.root().text
        leaves.append(sha256(chunk).digest())
    assert actual == expected


@given(cids)
def test_text_and_binary_round_trip(cid: Cid) -> None:
    assert Cid.parse(cid.text) == cid
    assert Cid.from_binary(cid.binary) == cid
    assert (len(cid.text), len(cid.binary)) == (59, 36)


def test_one_chunk_is_named_by_its_plain_sha256() -> None:
    assert cid_of(b"abc") == Cid(RAW, sha256(b"abc").digest())


GOOD = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


def base32(binary: bytes) -> str:
    return "b" + b32encode(binary).decode().rstrip("=").lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        GOOD[1:],
        GOOD[:-1],
        GOOD + "a",
        GOOD + "=",
        GOOD + "\n",
        " " + GOOD,
        "../" + GOOD,
        GOOD.upper(),
        "B" + GOOD[1:],
        GOOD[:-1] + "f",  # the same 36 bytes, with a bit set in the padding
        GOOD.replace("i", "\N{LATIN SMALL LETTER DOTLESS I}", 1),  # its upper case is I
        GOOD.replace("k", "\N{KELVIN SIGN}", 1),  # its lower case is k
        "f" + Cid.parse(GOOD).binary.hex(),  # base16
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",  # version 0
        base32(b"\x02\x55\x12\x20" + ZEROS),  # a version to come
        base32(b"\x01\x71\x12\x20" + ZEROS),  # dag-cbor
        base32(b"\x01\xd5\x00\x12\x20" + ZEROS),  # raw, as a varint of two bytes
        base32(b"\x01\x55\x13\x40" + ZEROS + ZEROS),  # sha2-512
        base32(b"\x01\x55\x12\x14" + ZEROS[:20]),  # a truncated digest
        base32(b"\x01\x55\x00\x00"),  # identity
    ],
)
def test_any_other_spelling_is_no_cid(text: str) -> None:
    with pytest.raises(FormatError):
        Cid.parse(text)


@given(st.text())
def test_arbitrary_text_is_no_cid(text: str) -> None:
    with pytest.raises(FormatError):
        Cid.parse(text)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_a_cid_only_in_its_form(binary: bytes) -> None:
    assume(binary[:4] not in {b"\x01\x55\x12\x20", b"\x01\x70\x12\x20"})
    with pytest.raises(FormatError):
        Cid.from_binary(binary)


@pytest.mark.parametrize(("codec", "size"), [(0x71, 32), (-1, 32), (RAW, 31), (RAW, 33), (DAG_PB, 0)])
def test_a_cid_of_another_codec_or_length_cannot_be_made(codec: int, size: int) -> None:
    with pytest.raises(FormatError):
        Cid(codec, bytes(size))


@given(st.lists(st.integers(min_value=0, max_value=2 * CHUNK_BYTES + 3), max_size=4), st.binary(min_size=1, max_size=9))
def test_a_stream_is_cut_alike_wherever_its_parts_end(sizes: list[int], pattern: bytes) -> None:
    parts = [(pattern * (size // len(pattern) + 1))[:size] for size in sizes]
    whole = b"".join(parts)
    chunks = [bytes(chunk) for chunk in cut(parts)]
    assert b"".join(chunks) == whole
    assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK_BYTES] * (len(chunks) - 1)
    assert len(chunks) == max(1, -(-len(whole) // CHUNK_BYTES))


def test_a_source_may_fill_one_buffer_again_and_again() -> None:
    def refilled() -> Iterator[bytearray]:
        buffer = bytearray(CHUNK_BYTES + 1)
        for value in (1, 2, 3):
            buffer[:] = bytes([value]) * len(buffer)
            yield buffer

    whole = b"".join(bytes([value]) * (CHUNK_BYTES + 1) for value in (1, 2, 3))
    dag = DagBuilder()
    for chunk in cut(refilled()):
        dag.add(sha256(chunk).digest(), len(chunk))
    assert dag.root() == cid_of(whole)


@given(links)
def test_a_node_is_read_as_it_was_written(node: list[Link]) -> None:
    assert decode_node(encode_node(node)) == tuple(node)


@given(links, st.data())
def test_a_node_with_one_other_byte_is_refused_or_says_something_else(node: list[Link], data: st.DataObject) -> None:
    block = bytearray(encode_node(node))
    block[data.draw(st.integers(min_value=0, max_value=len(block) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = decode_node(bytes(block))
    except FormatError:
        return
    assert read != tuple(node)


@given(st.binary(max_size=200))
def test_bytes_are_read_as_a_node_only_if_they_are_its_one_encoding(block: bytes) -> None:
    try:
        read = decode_node(block)
    except FormatError:
        return
    assert encode_node(read) == block


@pytest.mark.parametrize("end", range(0, 140, 3))
def test_a_node_that_breaks_off_is_refused(end: int) -> None:
    node = encode_node([Link(Cid(RAW, ZEROS), CHUNK_BYTES, CHUNK_BYTES)] * 3)
    with pytest.raises(FormatError):
        decode_node(node[:end])


@pytest.mark.parametrize(
    ("sizes", "refused"),
    [
        ([], -1),
        ([], CHUNK_BYTES + 1),
        ([CHUNK_BYTES], 0),
        ([0], 0),
        ([0], 1),
        ([5], CHUNK_BYTES),
        ([CHUNK_BYTES, 5], 5),
    ],
)
def test_leaves_that_the_profile_does_not_cut_are_refused(sizes: list[int], refused: int) -> None:
    dag = DagBuilder()
    for size in sizes:
        dag.add(ZEROS, size)
    with pytest.raises(FormatError):
        dag.add(ZEROS, refused)


def test_a_tree_needs_a_leaf_and_ends_with_its_root() -> None:
    dag = DagBuilder()
    with pytest.raises(FormatError):
        dag.root()
    dag.add(ZEROS, CHUNK_BYTES)
    assert dag.root() == dag.root() == Cid(RAW, ZEROS)
    with pytest.raises(FormatError):
        dag.add(ZEROS, CHUNK_BYTES)


def test_nodes_come_children_first_and_the_root_last() -> None:
    blocks: list[bytes] = []
    dag = DagBuilder(blocks.append)
    for _ in range(LINKS_PER_NODE + 1):
        dag.add(ZEROS, CHUNK_BYTES)
    root = dag.root()
    names = [Cid(DAG_PB, sha256(block).digest()) for block in blocks]
    assert names[-1] == root
    assert [link.cid for link in decode_node(blocks[-1])] == names[:2]
    leaves = chain.from_iterable(decode_node(block) for block in blocks[:-1])
    assert [link.cid for link in leaves] == list(repeat(Cid(RAW, ZEROS), LINKS_PER_NODE + 1))
