"""The secret stream draws what it says: normals, uniform words, and samples at an exact rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedchain.adapters.training import secret_stream
from fedchain.adapters.training.secret_stream import SecretStream

KEY = bytes(range(32))


def test_words_are_chacha20s_key_stream() -> None:
    # RFC 8439, A.1, test vector 1: key, nonce and counter zero.
    assert SecretStream(bytes).words(2).tobytes().hex() == "76b8e0ada0f13d90405d6ae55386bd28"


def test_draws_follow_one_another_without_repeating_the_stream() -> None:
    stream = SecretStream(lambda _size: KEY)
    parts = np.concatenate([stream.words(count) for count in (1, 5, 0, 17)])
    np.testing.assert_array_equal(parts, SecretStream(lambda _size: KEY).words(23))


def test_normals_are_normal_independent_and_float64() -> None:
    drawn = SecretStream().normals(400_001)
    assert drawn.dtype == torch.float64
    values = drawn.numpy()
    assert stats.kstest(values, "norm").pvalue > 1e-9
    assert abs(values.mean()) < 6 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 6 * np.sqrt(2 / values.size)
    for shift in (1, 2, 200_001 - 1):
        assert abs(np.corrcoef(values[:-shift], values[shift:])[0, 1]) < 6 / np.sqrt(values.size - shift)


def test_the_tail_is_there() -> None:
    values = np.abs(SecretStream().normals(2_000_000).numpy())
    for cut in (3.0, 4.0):
        expected = 2 * stats.norm.sf(cut) * values.size
        assert np.sum(values > cut) == pytest.approx(expected, abs=6 * np.sqrt(expected))
    assert values.max() < 9.5


@given(count=st.integers(0, 50))
def test_any_number_of_normals_can_be_drawn(count: int) -> None:
    drawn = SecretStream().normals(count)
    assert drawn.shape == (count,)
    assert torch.isfinite(drawn).all()


def test_normals_are_finite_for_the_extreme_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, 2**64 - 1):
        monkeypatch.setattr(SecretStream, "words", lambda _self, count, word=word: np.full(count, word, np.uint64))
        assert torch.isfinite(SecretStream().normals(4)).all()


@given(one_in=st.integers(1, 2**31))
def test_the_rate_is_never_above_one_in_so_many(one_in: int) -> None:
    limit = 2**64 // one_in
    assert limit / 2**64 <= 1 / one_in
    assert one_in * limit > 2**64 - one_in


def test_sampled_rows_are_ascending_indices() -> None:
    sample = SecretStream().sample(1000, 3)
    assert (np.diff(sample) > 0).all()
    assert sample.min() >= 0
    assert sample.max() < 1000
    assert 200 < len(sample) < 470


def test_a_long_stream_changes_its_key_before_the_cipher_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_stream, "REKEY_AFTER", 64)
    keys = [bytes([number]) * 32 for number in range(1, 4)]
    given_keys = iter(keys)
    stream = SecretStream(lambda _size: next(given_keys))
    drawn = [stream.words(8).tobytes() for _ in keys]
    expected = [Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(64)) for key in keys]
    assert drawn == expected
