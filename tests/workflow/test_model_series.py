from __future__ import annotations

import numpy as np
import pytest

from fedchain.core.cid import Cid, cid_of
from fedchain.core.delta import HEADER_BYTES, DeltaHeader, is_delta
from fedchain.core.errors import IntegrityError, MissingArtifactError
from fedchain.core.manifest import ArtifactRef
from fedchain.core.tensors import encode, model_digest
from fedchain.workflow.model_series import SMALLEST, ModelSeries
from tests.doubles.store import MemoryStore

EVERY = 4


def model(number: int, size: int = 20_000, step: int = 500) -> bytes:
    rng = np.random.default_rng(1)
    weights = rng.integers(-(2**22), 2**22, size, np.int32)
    for _ in range(number):
        weights = weights + rng.integers(-step, step, size, np.int32)
    return encode({"weight": weights.astype(np.int32)})


def kept(store: MemoryStore, count: int, every: int = EVERY) -> list[ArtifactRef]:
    """A first model, put whole, and the next ones of its run."""
    series = ModelSeries(store, every)
    first = model(0)
    found = [ArtifactRef(store.put(first).text, model_digest(first))]
    for number in range(1, count):
        found.append(series.put(model(number), found[-1]))
    return found


def cids(found: list[ArtifactRef]) -> list[Cid]:
    return [Cid.parse(each.cid) for each in found]


@pytest.mark.parametrize("every", [1, 2, EVERY, 100])
def test_every_model_comes_back_in_any_order_by_its_name_alone(every: int) -> None:
    store = MemoryStore()
    found = kept(store, 10, every)
    for number in (9, 0, 5, 3, 8, 1):
        assert ModelSeries(store).get(cids(found)[number]) == model(number)
    reader = ModelSeries(store)
    assert [reader.get(cid) for cid in cids(found)] == [model(number) for number in range(10)]
    assert [each.digest for each in found] == [model_digest(model(number)) for number in range(10)]


def test_every_fourth_model_is_whole_and_the_others_are_small() -> None:
    store = MemoryStore()
    stored = [store.artifacts[cid] for cid in cids(kept(store, 10))]
    assert [is_delta(data) for data in stored] == [number % EVERY != 0 for number in range(10)]
    assert sum(map(len, stored)) < 0.7 * 10 * len(model(0))
    depths = [header.depth for data in stored if (header := DeltaHeader.of(data)) is not None]
    assert depths == [1, 2, 3, 1, 2, 3, 1]


def test_a_chain_is_never_longer_than_a_reader_accepts() -> None:
    store = MemoryStore()
    series, base = ModelSeries(store, 10_000), model(0)
    reference = ArtifactRef(store.put(base).text, model_digest(base))
    depths: list[int] = []
    for number in range(70):
        reference = series.put(base[:-4] + number.to_bytes(4, "little"), reference)
        header = DeltaHeader.of(store.artifacts[Cid.parse(reference.cid)])
        depths.append(0 if header is None else header.depth)
    assert (max(depths), depths.count(0)) == (64, 1)
    assert ModelSeries(store).get(Cid.parse(reference.cid))[-4:] == (69).to_bytes(4, "little")


def test_the_last_model_and_what_gains_nothing_are_whole() -> None:
    store = MemoryStore()
    (first,) = kept(store, 1)
    series = ModelSeries(store, EVERY)
    noise = encode({"weight": np.random.default_rng(2).integers(-(2**31), 2**31 - 1, 20_000, np.int32)})
    for data, is_last in ((model(1), True), (noise, False), (model(1, 30_000), False)):
        put = series.put(data, first, is_last=is_last)
        assert (put.cid, store.artifacts[Cid.parse(put.cid)]) == (cid_of(data).text, data)
    small = model(0, SMALLEST // 4 - 100)
    assert series.put(small, ArtifactRef(store.put(small).text, model_digest(small))).cid == cid_of(small).text


def test_putting_the_same_model_again_gives_the_same_name() -> None:
    store = MemoryStore()
    found = kept(store, 3)
    assert ModelSeries(store, EVERY).put(model(2), found[1]) == found[2]


def test_a_model_below_that_is_missing_or_damaged_is_told() -> None:
    store = MemoryStore()
    found = cids(kept(store, 4))
    damaged = store.artifacts[found[1]]
    store.artifacts[found[1]] = damaged[:-1] + bytes([damaged[-1] ^ 1])
    with pytest.raises(IntegrityError, match=found[1].text):
        ModelSeries(store).get(found[3])
    del store.artifacts[found[1]]
    with pytest.raises(MissingArtifactError, match=found[1].text):
        ModelSeries(store).get(found[3])
    assert ModelSeries(store).get(found[0]) == model(0)


def altered(store: MemoryStore, cid: Cid, start: int, other: bytes) -> Cid:
    """Put a delta with other bytes somewhere, under the name that they have."""
    data = store.artifacts[cid]
    return store.put(data[:start] + other + data[start + len(other) :])


def test_a_delta_that_lies_is_an_integrity_error() -> None:
    store = MemoryStore()
    found = cids(kept(store, 4))
    other = store.put(model(5))
    lies = [
        altered(store, found[2], 16, bytes([3])),  # its depth
        altered(store, found[2], 16, bytes([65])),
        altered(store, found[2], 17, found[0].binary),  # another parent
        altered(store, found[2], 17, other.binary),
        altered(store, found[2], 53, bytes(32)),  # the parent's digest
        altered(store, found[2], 85, bytes(32)),  # its own
        altered(store, found[2], HEADER_BYTES, bytes(8)),
        store.put(store.artifacts[found[2]][:HEADER_BYTES]),
    ]
    for lie in lies:
        with pytest.raises(IntegrityError, match="model"):
            ModelSeries(store).get(lie)
