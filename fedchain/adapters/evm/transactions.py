"""Transactions of type 2 (EIP-1559), signed through the Signer port so that the key may live in an HSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from eth_hash.auto import keccak
from rlp import decode, encode

from fedchain.adapters.evm.fees import Fees
from fedchain.adapters.evm.intents import Attempt
from fedchain.adapters.evm.node_signer import NodeSigner
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.core.signatures import recover
from fedchain.ports.signer import Signer

_TYPE_2: Final = b"\x02"
_UNSIGNED: Final = 9
"""chain id, nonce, tip, most fee, gas, to, value, data, access list."""
_Fields: TypeAlias = list[int | bytes | list[bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a transaction does, whatever its nonce and fees: a call, or a creation where `to` is None.

    `value` is what it pays, in wei.
    """

    to: bytes | None
    data: bytes
    value: int = 0

    def digest(self) -> bytes:
        """Return the digest by which the same request is known again."""
        paid = b"" if self.value == 0 else self.value.to_bytes(32)
        return keccak((self.to or b"").rjust(32, b"\0") + paid + self.data)


def signed(signer: Signer, chain_id: int, nonce: int, request: Request, cost: tuple[int, Fees]) -> Attempt:
    """Return the signed transaction; `cost` is its gas limit and its fees."""
    gas, fees = cost
    fields: _Fields = [chain_id, nonce, fees.tip, fees.max_fee, gas, request.to or b"", request.value, request.data, []]
    return _attempt(signer, fields, fees)


def signed_again(signer: Signer, attempt: Attempt, fees: Fees) -> Attempt:
    """Return the same transaction with other fees."""
    *numbers, to, value, data, accesses = list(decode(attempt.raw[1:]))[:_UNSIGNED]
    chain_id, nonce, _, _, gas = (int.from_bytes(each) for each in numbers)
    fields: _Fields = [chain_id, nonce, fees.tip, fees.max_fee, gas, to, int.from_bytes(value), data, accesses]
    return _attempt(signer, fields, fees)


def _attempt(signer: Signer, fields: _Fields, fees: Fees) -> Attempt:
    digest = keccak(_TYPE_2 + encode(fields))
    if isinstance(signer, NodeSigner):
        signature = signer.sign_transaction(fields)
        if recover(digest, signature) != signer.address:
            raise InputError(f"signer {signer.endpoint.name} signs with another key", expected=hex32(signer.address))
    else:
        signature = signer.sign(digest)
    r, s, v = signature[:32], signature[32:64], signature[64]
    raw = _TYPE_2 + bytes(encode([*fields, v - 27, int.from_bytes(r), int.from_bytes(s)]))
    return Attempt(keccak(raw), raw, fees)
