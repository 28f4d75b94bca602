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
from collections.abc import Callable
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
        # floor(2^64 / b) words of 2^64: below 1/b by less than 2^-64, so never above the accounted rate.
        limit = np.uint64(2**64 // one_in - 1)
        return np.flatnonzero(self.words(rows) <= limit)

    def normals(self, count: int) -> torch.Tensor:
        """Return independent standard normals in float64, (count,), by Box and Muller (1958)."""
        half = -(-count // 2)
        uniform = torch.from_numpy((self.words(2 * half) >> np.uint64(1)).view(np.int64)).double()
        uniform.add_(0.5).mul_(2.0**-63)
        radius = uniform[:half].log_().mul_(-2.0).sqrt_()
        angle = uniform[half:].mul_(2.0 * math.pi)
        return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count]


def _keyed(secret: Secret) -> CipherContext:
    key = secret(KEY_SIZE)
    if len(key) != KEY_SIZE:
        raise InputError("secret key of the noise", expected=f"{KEY_SIZE} bytes", got=len(key))
    return Cipher(algorithms.ChaCha20(key, nonce=bytes(16)), mode=None).encryptor()
