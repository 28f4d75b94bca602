"""The secret randomness of DP-SGD: ChaCha20 (RFC 8439) keyed with 32 bytes of the operating system.

Noise that can be guessed can be subtracted. Torch's generator keeps 32 bits of its seed, so it can be searched in hours
even when it is seeded well; and a recorded seed gives the noise away at once. Here every stream has a key of its own
that is drawn, handed to the cipher and forgotten: it is in no attribute, log, message or file. (Python cannot wipe
memory: whoever reads the memory of the running process reads the rows as well.)

What finite precision means: a uniform draw has 63 bits, so normals are cut at 9.4 standard deviations, which adds less
than 1e-20 for each coordinate and step to delta. Normals are float64, whose low-order bits are known to leak for a
mechanism that publishes them raw (Mironov, CCS 2012). Here sums, noise and steps are float64 too, and only their result
leaves, rounded to 24 fraction bits, some 2^28 float64 steps apart at the size of an update: this blunts the attack and
does not prove it away; a discrete Gaussian would.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms

from fedchain.core.errors import InputError

Secret: TypeAlias = Callable[[int], bytes]
"""Gives so many unpredictable bytes; production has one, os.urandom."""

KEY_SIZE: Final = 32
REKEY_AFTER: Final = 2**37
"""Bytes of one key's stream: half of what ChaCha20's 32-bit block counter reaches."""

_WORD: Final = 8
_31_BITS: Final = 2**31 - 1
_BLOCK: Final = 1 << 17
"""Normals made at once: what they are made from then stays in a core's cache."""

_ZEROS: Final = bytes(12 * _BLOCK)


class SecretStream:
    """Uniform and normal draws that nobody can repeat."""

    __slots__ = ("_cipher", "_left", "_secret")

    def __init__(self, secret: Secret = os.urandom) -> None:
        self._secret = secret
        self._cipher, self._left = _keyed(secret), REKEY_AFTER

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """Return uniform 64-bit words, (count,)."""
        size = count * _WORD
        if size > self._left:
            self._cipher, self._left = _keyed(self._secret), REKEY_AFTER
        self._left -= size
        stream = bytearray(size)
        self._cipher.update_into(bytes(size), stream)
        return np.frombuffer(stream, "<u8")

    def sample(self, rows: int, one_in: int) -> npt.NDArray[np.intp]:
        """Return a Poisson sample of range(rows): each index by itself with probability 1 / one_in."""
        return np.flatnonzero(self.samples(rows, one_in, 1)[0])

    def samples(self, rows: int, one_in: int, count: int) -> npt.NDArray[np.bool_]:
        """Return `count` Poisson samples, (count, rows): whether each row is in."""
        # floor(2^64 / b) words of 2^64: below 1/b by less than 2^-64, so never above the accounted rate.
        limit = np.uint64(2**64 // one_in - 1)
        return (self.words(count * rows) <= limit).reshape(count, rows)

    def normals(self, count: int) -> torch.Tensor:
        """Return independent standard normals in float64, (count,), by Box and Muller (1958)."""
        half = -(-count // 2)
        uniform = torch.from_numpy((self.words(2 * half) >> np.uint64(1)).view(np.int64)).double()
        uniform.add_(0.5).mul_(2.0**-63)
        radius = uniform[:half].log_().mul_(-2.0).sqrt_()
        angle = uniform[half:].mul_(2.0 * math.pi)
        return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count]

    def fill_words(self, out: npt.NDArray[np.int32]) -> None:
        """Fill a contiguous array with uniform 32-bit words."""
        size = out.nbytes
        if size > self._left:
            self._cipher, self._left = _keyed(self._secret), REKEY_AFTER
        self._left -= size
        self._cipher.update_into(
            memoryview(_ZEROS)[:size] if size <= len(_ZEROS) else bytes(size), out.view(np.uint8).data
        )


def fill_normals(streams: Sequence[SecretStream], out: torch.Tensor) -> None:
    """Fill row i of `out`, (streams, count), with independent standard normals from stream i.

    In float32 a pair of normals takes three 32-bit words: 62 bits for the radius, so that the tail reaches 9.3 standard
    deviations as in float64, and 32 bits for the angle, more than float32 resolves.
    """
    count = out.shape[1]
    if out.dtype == torch.float64:
        for row, stream in zip(out, streams, strict=True):
            row.copy_(stream.normals(count))
        return
    rows, columns = max(1, _BLOCK // max(1, count)), max(1, min(count, _BLOCK))
    for first in range(0, len(streams), rows):
        for start in range(0, count, columns):
            _fill_block(streams[first : first + rows], out[first : first + rows, start : start + columns])


def _fill_block(streams: Sequence[SecretStream], out: torch.Tensor) -> None:
    half = -(-out.shape[1] // 2)
    words = np.empty((len(streams), 3, half), np.int32)
    for stream, row in zip(streams, words, strict=True):
        stream.fill_words(row)
    high, low, turn = torch.from_numpy(words).unbind(1)
    uniform = high.bitwise_and_(_31_BITS).float().add_(low.bitwise_and_(_31_BITS).float(), alpha=2.0**-31)
    radius = uniform.add_(2.0**-32).mul_(2.0**-31).log_().mul_(-2.0).sqrt_()
    angle = turn.float().mul_(math.pi * 2.0**-31)
    torch.mul(radius, angle.cos(), out=out[:, :half])
    torch.mul(radius[:, : out.shape[1] - half], angle.sin_()[:, : out.shape[1] - half], out=out[:, half:])


def _keyed(secret: Secret) -> CipherContext:
    key = secret(KEY_SIZE)
    if len(key) != KEY_SIZE:
        raise InputError("secret key of the noise", expected=f"{KEY_SIZE} bytes", got=len(key))
    return Cipher(algorithms.ChaCha20(key, nonce=bytes(16)), mode=None).encryptor()
