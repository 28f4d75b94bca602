"""A key that another process holds and that signs transactions over JSON-RPC: web3signer, Clef behind a proxy, a node.

It is asked with eth_signTransaction for each transaction, whole, so that it can show or refuse what it signs. Such
programs sign no bare digests, so this key sends and does nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rlp import decode
from rlp.exceptions import RLPException

from fedchain.adapters.evm.http_endpoint import EndpointError, HttpEndpoint
from fedchain.core.errors import FormatError, InputError, UnreachableError
from fedchain.core.signatures import checksum_address

_TYPE_2: Final = b"\x02"
_NAMES: Final = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data", "accessList")


@dataclass(frozen=True, slots=True)
class NodeSigner:
    """Asks one endpoint for each transaction; what comes back is compared with what was asked for."""

    address: bytes
    endpoint: HttpEndpoint
    timeout_s: float = 60.0

    def sign(self, digest: bytes) -> bytes:
        """Refuse: only transactions are signed there.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"signer {self.endpoint.name} signs transactions only", expected="a transaction",
            got=f"a digest of {len(digest)} bytes", remedy="give this role a keystore or a command",
        )  # fmt: skip

    def sign_transaction(self, fields: Sequence[int | bytes | list[bytes]]) -> bytes:
        """Return the 65-byte signature over a transaction of type 2, given as its nine fields.

        Raises:
            UnreachableError: if the signer does not answer in time.
            InputError: if it refuses.
            FormatError: if it signed something else, or its answer is no transaction.
        """
        answer = self._ask(fields)
        raw = answer.get("raw") if isinstance(answer, dict) else answer
        try:
            signed = bytes.fromhex(str(raw).removeprefix("0x"))
            *unsigned, parity, r, s = decode(signed[1:])
            is_same = signed[:1] == _TYPE_2 and unsigned == [_plain(each) for each in fields]
            signature = bytes(r.rjust(32, b"\0") + s.rjust(32, b"\0")) + bytes([int.from_bytes(parity) + 27])
        except (RLPException, ValueError, TypeError) as error:
            raise FormatError(
                f"answer of signer {self.endpoint.name}", expected="a signed transaction", got=str(raw)[:80]
            ) from error
        if not is_same:
            raise FormatError(f"signer {self.endpoint.name} signed another transaction", got=str(raw)[:200])
        return signature

    def _ask(self, fields: Sequence[int | bytes | list[bytes]]) -> object:
        asked: dict[str, object] = {"from": checksum_address(self.address), "type": "0x2"}
        asked |= {name: _shown(each) for name, each in zip(_NAMES, fields, strict=True) if name != "to" or each}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_signTransaction", "params": [asked]}).encode()
        try:
            answer = self.endpoint.ask(body, self.timeout_s)
        except EndpointError as error:
            raise UnreachableError(
                f"signer {self.endpoint.name} does not answer", got=error, remedy="check its address and that it runs"
            ) from error
        if "error" in answer:
            got = " ".join(str(answer["error"]).split())[:200]
            raise InputError(f"signer {self.endpoint.name} refused", got=got, remedy="check that it holds the key")
        return answer["result"]


def _shown(field: int | bytes | list[bytes]) -> object:
    match field:
        case int():
            return hex(field)
        case bytes():
            return "0x" + field.hex()
        case _:
            return field


def _plain(field: int | bytes | list[bytes]) -> object:
    return field.to_bytes((field.bit_length() + 7) // 8) if isinstance(field, int) else field
