"""Transactions of type 2 (EIP-1559), signed through the Signer port so that the key may live in an HSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak
from rlp import decode, encode

from fedchain.adapters.evm.fees import Fees
from fedchain.adapters.evm.intents import Attempt
from fedchain.ports.signer import Signer

_TYPE_2: Final = b"\x02"
_UNSIGNED: Final = 9
"""chain id, nonce, tip, most fee, gas, to, value, data, access list."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a transaction does, whatever its nonce and fees: a call, or a creation where `to` is None."""

    to: bytes | None
    data: bytes

    def digest(self) -> bytes:
        """Return the digest by which the same request is known again."""
        return keccak((self.to or b"").rjust(32, b"\0") + self.data)


def signed(signer: Signer, chain_id: int, nonce: int, request: Request, cost: tuple[int, Fees]) -> Attempt:
    """Return the signed transaction; `cost` is its gas limit and its fees."""
    gas, fees = cost
    fields = [chain_id, nonce, fees.tip, fees.max_fee, gas, request.to or b"", 0, request.data, []]
    return _attempt(signer, fields, fees)


def signed_again(signer: Signer, attempt: Attempt, fees: Fees) -> Attempt:
    """Return the same transaction with other fees."""
    fields = list(decode(attempt.raw[1:]))[:_UNSIGNED]
    fields[2:4] = [_integer(fees.tip), _integer(fees.max_fee)]
    return _attempt(signer, fields, fees)


def _attempt(signer: Signer, fields: list[object], fees: Fees) -> Attempt:
    signature = signer.sign(keccak(_TYPE_2 + encode(fields)))
    r, s, v = signature[:32], signature[32:64], signature[64]
    raw = _TYPE_2 + bytes(encode([*fields, v - 27, int.from_bytes(r), int.from_bytes(s)]))
    return Attempt(keccak(raw), raw, fees)


def _integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)
