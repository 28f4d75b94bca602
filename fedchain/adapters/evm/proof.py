"""Proof that a block committed to the value of a storage slot, checked without trusting the node that gives it.

The path is the whole one of eth_getProof (https://eips.ethereum.org/EIPS/eip-1186): the header's fields hash to the
block hash, which the verifier has from elsewhere; the header names the root of all accounts; a Merkle Patricia proof
leads from it to the contract's account, which names the root of its storage; a second one leads from there to the slot.
Absence is proved likewise, so a run without a link cannot be mistaken for one that is kept back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak
from rlp import decode, encode
from rlp.exceptions import RLPException

from fedchain.core.errors import FormatError, IntegrityError

HEADS_SLOT: Final = 4
"""Where RoundLedger keeps `_heads`, after owners, lead and guardian (`forge inspect RoundLedger storageLayout`)."""

_STATE_ROOT, _NUMBER, _TIME = 3, 8, 11
_EMPTY_ROOT: Final = keccak(encode(b""))
_ZERO: Final = bytes(32)
_LONGEST_NODE: Final = 1024
_LEAF_FLAG: Final = 2

Lookup = Callable[[bytes], bytes]
"""Gives the trie node that has a hash."""


@dataclass(frozen=True, slots=True)
class StorageProof:
    """A header's RLP fields in order, and the nodes of the two paths in whatever order."""

    header: tuple[bytes, ...]
    account_nodes: tuple[bytes, ...]
    storage_nodes: tuple[bytes, ...]

    @property
    def block(self) -> int:
        """The number of the block."""
        return int.from_bytes(self.header[_NUMBER])

    @property
    def at(self) -> int:
        """The block's time in seconds since 1970."""
        return int.from_bytes(self.header[_TIME])

    @property
    def block_hash(self) -> bytes:
        """The hash that the header's fields have."""
        return keccak(encode(list(self.header)))


def verify_storage_proof(proof: StorageProof, block_hash: bytes, contract: bytes, slot: bytes) -> bytes:
    """Return the 32 bytes that `slot` of `contract` held after the block with this hash; zero if it was never written.

    Raises:
        IntegrityError: if the header is another block's, or a node on one of the paths is missing or altered.
        FormatError: if a node on a path is no trie node.
    """
    if len(proof.header) <= _TIME or proof.block_hash != block_hash:
        raise IntegrityError(
            "storage proof of another block", expected="0x" + block_hash.hex(), got="0x" + proof.block_hash.hex()
        )
    account = trie_value(proof.header[_STATE_ROOT], keccak(contract), _among(proof.account_nodes))
    value = trie_value(storage_root(account), keccak(slot), _among(proof.storage_nodes))
    if value is None:
        return _ZERO
    number = _decoded(value)
    if not isinstance(number, bytes) or not 1 <= len(number) <= 32 or number[0] == 0:
        raise FormatError("slot in a storage proof", expected="1 to 32 bytes without leading zeros", got=value.hex())
    return number.rjust(32, b"\0")


def storage_root(account: bytes | None) -> bytes:
    """Return the root of an account's storage trie, from the account's RLP; None stands for no account.

    Raises:
        FormatError: if it is no account.
    """
    if account is None:
        return _EMPTY_ROOT
    fields = _decoded(account)
    if not isinstance(fields, list) or len(fields) != 4 or not all(isinstance(field, bytes) for field in fields):
        raise FormatError("account in a storage proof", expected="nonce, balance, storage root and code hash")
    return bytes(fields[2])


def head_key(run: bytes) -> bytes:
    """Return the slot of a run's head: keccak256(run || position of the mapping)."""
    return keccak(run + HEADS_SLOT.to_bytes(32))


def trie_value(root: bytes, key: bytes, lookup: Lookup) -> bytes | None:
    """Return the value at a key of a Merkle Patricia trie, None if there is none (Yellow Paper, appendix D).

    Raises:
        FormatError: if a node is none.
    """
    if root == _EMPTY_ROOT:
        return None
    nibbles = [nibble for byte in key for nibble in (byte >> 4, byte & 15)]
    node = _decoded(lookup(root))
    while True:
        if not isinstance(node, list) or len(node) not in {2, 17}:
            raise FormatError("trie node", expected="2 or 17 items", got=str(node)[:80])
        if len(node) == 17:
            child: Any = node[nibbles[0]] if nibbles else node[16]
            is_value, nibbles = not nibbles, nibbles[1:]
        else:
            path, is_value = _path(node[0])
            rest = nibbles[len(path) :]
            if nibbles[: len(path)] != path or (is_value and rest):
                return None
            child, nibbles = node[1], rest
        if is_value:
            if not isinstance(child, bytes):
                raise FormatError("trie value", expected="bytes", got="a node")
            return child or None
        if child == b"":
            return None
        # A node shorter than its hash stands in its parent as it is.
        node = child if isinstance(child, list) else _decoded(lookup(child))


def trie_path(root: bytes, key: bytes, lookup: Lookup) -> list[bytes]:
    """Return the nodes that prove what a trie has at a key, or that it has nothing there."""
    nodes: list[bytes] = []

    def noting(hash_: bytes) -> bytes:
        nodes.append(lookup(hash_))
        return nodes[-1]

    trie_value(root, key, noting)
    return nodes


def header_fields(block: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Return the RLP fields of a header in order, from the block of eth_getBlockByNumber; forks append to them.

    Raises:
        FormatError: if a field is missing or no hexadecimal.
    """
    try:
        fields = [_bytes(block[name]) for name in _DATA_FIELDS[:7]]
        fields += [_quantity(block[name]) for name in ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")]
        fields += [_bytes(block[name]) for name in ("extraData", "mixHash", "nonce")]
        later = [
            (n, _quantity if n in _LATER_QUANTITIES else _bytes) for n in _LATER_FIELDS if block.get(n) is not None
        ]
        return (*fields, *(read(block[name]) for name, read in later))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError("header of a block", got=repr(error)[:200]) from error


_DATA_FIELDS: Final = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
)  # fmt: skip
_LATER_FIELDS: Final = (
    "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash",
)  # fmt: skip
_LATER_QUANTITIES: Final = frozenset({"baseFeePerGas", "blobGasUsed", "excessBlobGas"})


def _among(nodes: Sequence[bytes]) -> Lookup:
    by_hash = {keccak(node): node for node in nodes}

    def find(hash_: bytes) -> bytes:
        try:
            return by_hash[hash_]
        except KeyError as error:
            raise IntegrityError(
                "storage proof is broken", expected=f"a node with hash 0x{hash_.hex()}", got=f"{len(nodes)} others"
            ) from error

    return find


def _path(encoded: object) -> tuple[list[int], bool]:
    """Return the nibbles of a hex-prefix encoding, and whether they end at a leaf (Yellow Paper, appendix C)."""
    if not isinstance(encoded, bytes) or not encoded or encoded[0] >> 4 > 3:
        raise FormatError("path of a trie node", got=str(encoded)[:80])
    nibbles = [nibble for byte in encoded for nibble in (byte >> 4, byte & 15)]
    return nibbles[1 if nibbles[0] & 1 else 2 :], bool(nibbles[0] & _LEAF_FLAG)


def _decoded(node: bytes) -> Any:  # noqa: ANN401  # RLP is bytes or lists of it
    if len(node) > _LONGEST_NODE:  # nested lists would take the parser's stack
        raise FormatError("node of a storage proof", expected=f"at most {_LONGEST_NODE} bytes", got=len(node))
    try:
        return decode(node)
    except (RLPException, TypeError) as error:
        raise FormatError("node of a storage proof", expected="RLP", got=repr(error)[:200]) from error


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def _quantity(value: str) -> bytes:
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8)
