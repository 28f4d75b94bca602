"""Write the shared vectors anew, without any code of fedchain: `python tests/vectors/generate.py`.

What is written here follows docs/format.md by other libraries: eth_account for typed data and signatures, eth_abi for
the preimages, safetensors for tensors, hashlib and json for the rest. Other implementations check themselves against
the JSON files. merkle.json and cid.json come from JavaScript; their notes say how.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from safetensors.numpy import save

FOLDER = Path(__file__).parent
KEY = hashlib.sha256(b"a key of the shared vectors").digest()
CHAIN_ID = 31337
REGISTRY = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
LEDGER = bytes.fromhex("e7f1725e7734ce288f8367e1bb143e90bb3f0512")

TYPES = {
    "ClientUpdate": "bytes32 federation,bytes32 run,uint64 round,bytes32 baseModel,bytes32 updateCommit,"
    "bytes32 payloadCid,bytes32 dataset,bytes32 policy,uint32 weight,uint64 microEpsilonTotal,bytes32 dpParams,"
    "bytes32 codeDigest,bytes32 configDigest,bytes32 envDigest,uint64 nonce,uint64 deadline",
    "InclusionPromise": "bytes32 federation,bytes32 run,uint64 round,bytes32 leaf,uint64 sealBy",
    "RoundReceipt": "bytes32 federation,bytes32 run,uint64 round,bytes32 roundHash",
    "AddOrganisation": "bytes32 organisation,address admin,uint64 nonce",
    "RegisterDevice": "bytes32 organisation,address device,uint64 validFrom,uint64 validUntil,uint8 deviceClass,"
    "bytes possession,uint64 nonce",
    "KeyPossession": "bytes32 organisation,address key",
    "RotateAdmin": "bytes32 organisation,address admin,bytes possession,uint64 nonce",
    "RevokeDevice": "address device,uint64 at,uint64 nonce",
    "RegisterDataset": "bytes32 dataset,bytes32 organisation,uint32 nominalSize,uint64 nonce",
    "ConsentGrant": "bytes32 dataset,bytes32 federation,bytes32 policy,uint64 from,uint64 until,"
    "uint64 microEpsilonGrant,uint64 deltaE12,bytes32 unit,uint32 nominalSize,uint64 nonce",
    "ConsentWithdraw": "bytes32 dataset,uint64 at,uint8 reason,uint64 nonce",
    "SubmitVersion": "bytes32 versionId",
    "MoveVersion": "bytes32 versionId,uint8 state,uint64 nonce",
    "RegisterReviewer": "bytes32 organisation,address reviewer,uint8 role,uint64 validUntil,uint64 nonce",
    "RevokeReviewer": "address reviewer,uint64 nonce",
    "CancelApprovals": "address reviewer,uint64 leastNonce",
    "Approval": "bytes32 versionId,uint8 decision,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,"
    "uint64 validUntil,uint64 nonce",
    "Disposition": "bytes32 versionId,bytes32 dataset,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,"
    "uint64 validUntil,uint64 nonce",
    "LogEntry": "uint64 index,bytes32 rootBefore,uint64 at,bytes32 content",
    "TreeHead": "uint64 size,bytes32 root,uint64 at",
    "DeletionReceipt": "bytes32 federation,bytes32 run,uint64 round,bytes32 payloadCid,bytes32 reader,uint8 reason,"
    "uint64 at",
}
ROUND_MESSAGES = ("ClientUpdate", "InclusionPromise", "RoundReceipt", "DeletionReceipt")
LINK = (
    "uint256 chainId,address contract,bytes32 federation,bytes32 run,uint64 round,uint8 kind,bytes32 previousHash,"
    "bytes32 registryHead,bytes32 updatesRoot,bytes32 rejectedRoot,bytes32 baseModel,bytes32 modelDigest,"
    "bytes32 manifestDigest,uint32 accepted,uint32 rejected"
)


def members(inner: str) -> list[tuple[str, str]]:
    """Split "bytes32 run,uint64 round" into its (type, name) pairs."""
    return [(kind, name) for kind, _, name in (member.partition(" ") for member in inner.split(","))]


def sample(kind: str, label: str) -> Any:
    """A value of a Solidity type that is made from its label: bytes for bytes32 and address, else an integer."""
    digest = hashlib.sha256(label.encode()).digest()
    if kind == "bytes32":
        return digest
    if kind == "bytes":
        return 3 * digest[:20]
    if kind == "address":
        return digest[:20]
    return int.from_bytes(digest) % 2 ** int(kind.removeprefix("uint"))


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes as hex, integers as decimal strings (JSON readers round what is beyond 2^53)."""
    return {name: hexed(value) if isinstance(value, bytes) else str(value) for name, value in values.items()}


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def eip712() -> dict[str, Any]:
    """Every message with a sample value in each member, and with the least and the greatest ones."""
    cases = [
        typed(name, inner, LEDGER if name in ROUND_MESSAGES else REGISTRY, label)
        for name, inner in TYPES.items()
        for label in ("sample", "least", "greatest")
    ]
    return {
        "note": [
            "EIP-712: typeHash, structHash (hashStruct) and digest (what is signed) of each message; signature is",
            "r || s || v by `key`, made with RFC 6979. Written by tests/vectors/generate.py with eth_account.",
        ],
        "key": hexed(KEY),
        "signer": Account.from_key(KEY).address,
        "cases": cases,
    }


def typed(name: str, inner: str, contract: bytes, label: str) -> dict[str, Any]:
    values = {member: bounded(kind, f"{label} {name}.{member}", label) for kind, member in members(inner)}
    typed_data = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            name: [{"name": member, "type": kind} for kind, member in members(inner)],
        },
        "primaryType": name,
        "domain": {"name": "fedchain", "version": "1", "chainId": CHAIN_ID, "verifyingContract": hexed(contract)},
        "message": values,
    }
    signable = encode_typed_data(full_message=typed_data)
    signed = Account.from_key(KEY).sign_message(signable)
    return {
        "type": f"{name}({inner})",
        "chainId": CHAIN_ID,
        "verifyingContract": hexed(contract),
        "values": shown(values),
        "typeHash": hexed(keccak(text=f"{name}({inner})")),
        "structHash": hexed(bytes(signable.body)),
        "domainSeparator": hexed(bytes(signable.header)),
        "digest": hexed(keccak(b"\x19\x01" + bytes(signable.header) + bytes(signable.body))),
        "signature": hexed(bytes(signed.signature)),
    }


def bounded(kind: str, label: str, which: str) -> Any:
    if which == "sample":
        return sample(kind, label)
    if kind == "bytes":
        return b"" if which == "least" else b"\xff" * 1024
    bits = {"bytes32": 256, "address": 160}.get(kind) or int(kind.removeprefix("uint"))
    number = 0 if which == "least" else 2**bits - 1
    return number.to_bytes(bits // 8) if kind in {"bytes32", "address"} else number


def record() -> dict[str, Any]:
    """Round hashes, head slots, registry heads and leaves."""
    links = []
    for kind in (1, 2, 3):
        values = {name: sample(type_, f"link {kind} {name}") for type_, name in members(LINK)}
        values |= {"chainId": CHAIN_ID, "contract": LEDGER, "kind": kind}
        hash_ = keccak(encode([type_ for type_, _ in members(LINK)], list(values.values())))
        links.append({"values": shown(values), "roundHash": hexed(hash_)})
    return {
        "note": [
            "keccak256 over abi.encode of the values in the order in which they stand; the contracts compute the same.",
            "Written by tests/vectors/generate.py with eth_abi.",
        ],
        "links": links,
        "slots": [slot(7, sample("bytes32", "slot"), closed=closed) for closed in (False, True)],
        "registryHeads": registry_heads(),
        "updateLeaf": leaf(
            "uint8 leafType,address signer,bytes32 messageDigest,bytes32 signatureDigest,uint64 payloadCodec", 1
        ),
        "rejectedLeaf": leaf(
            "uint8 leafType,uint16 reason,uint64 round,address signer,uint64 node,bytes32 evidence", 2
        ),
    }


def slot(round_: int, hash_: bytes, *, closed: bool) -> dict[str, Any]:
    kinds, values = ["uint64", "bytes32"], [round_, hash_]
    if closed:
        kinds, values = [*kinds, "string"], [*values, "closed"]
    return {"round": round_, "roundHash": hexed(hash_), "closed": closed, "slot": hexed(keccak(encode(kinds, values)))}


def registry_heads() -> list[dict[str, Any]]:
    head, heads = bytes(32), []
    for number in (1, 2):
        struct_hash, at = sample("bytes32", f"action {number}"), 1_700_000_000 + number
        after = keccak(encode(["bytes32", "bytes32", "uint64"], [head, struct_hash, at]))
        heads.append({"head": hexed(head), "structHash": hexed(struct_hash), "at": at, "next": hexed(after)})
        head = after
    return heads


def leaf(inner: str, leaf_type: int) -> dict[str, Any]:
    values = {name: sample(kind, f"leaf {name}") for kind, name in members(inner)} | {"leafType": leaf_type}
    hash_ = keccak(keccak(encode([kind for kind, _ in members(inner)], list(values.values()))))
    return {"types": inner, "values": shown(values), "leaf": hexed(hash_)}


TENSORS: dict[str, dict[str, tuple[list[int], list[int]]]] = {
    "none": {},
    "one": {"bias": ([2], [1, -1])},
    "sorted by name": {"b.weight": ([2, 2], [1, 2, 3, 4]), "a.bias": ([1], [2**31 - 1]), "B": ([1], [1 - 2**31])},
    "scalar and empty": {"scalar": ([], [7]), "empty": ([0, 3], []), "z": ([1], [-(2**31)])},
    "beyond ASCII": {"\u00e9": ([1], [1]), "\U0001f9ec": ([1], [2]), "\uffee": ([1], [3]), '"\\\n\x1f': ([1], [4])},
}  # fmt: skip


def tensors() -> dict[str, Any]:
    """Canonical tensors: shapes and row-major values to bytes, and the digest of these bytes as a model."""
    cases = []
    for name, listed in TENSORS.items():
        data = save({key: np.array(values, "<i4").reshape(shape) for key, (shape, values) in listed.items()})
        cases.append(
            {
                "name": name,
                "tensors": {key: {"shape": shape, "values": values} for key, (shape, values) in listed.items()},
                "bytes": hexed(data),
                "modelDigest": hexed(tagged("model", data)),
            }
        )
    return {
        "note": [
            "int32 tensors, values row by row. The bytes are those of safetensors.numpy.save 0.8; the digest is sha256",
            "over b'fedchain/model/1' || NUL || bytes. Written by tests/vectors/generate.py.",
        ],
        "cases": cases,
    }


def envelope() -> dict[str, Any]:
    """Envelopes with their commitment, and the CID digest of the payload."""
    cases = []
    for bits, update in ((24, save({"bias": np.array([1, -1], "<i4")})), (16, b""), (30, bytes(range(256)))):
        salt = sample("bytes32", f"salt {bits}")
        header = b"FCENV" + bytes([1, 0, 0, bits, 32]) + len(update).to_bytes(6, "little")
        digest = tagged("update", bytes([bits, 32]), update)
        cases.append(
            {
                "salt": hexed(salt),
                "fractionBits": bits,
                "width": 32,
                "update": hexed(update),
                "bytes": hexed(header + salt + update),
                "updateDigest": hexed(digest),
                "updateCommit": hexed(tagged("update-commit", salt, digest)),
                "payloadCid": hexed(hashlib.sha256(header + salt + update).digest()),
            }
        )
    return {"note": ["Unencrypted payloads. Written by tests/vectors/generate.py with hashlib."], "cases": cases}


SEGMENT = 1 << 20


def encryption() -> dict[str, Any]:
    """Encrypted envelopes and a data key wrapped by HPKE; the long one is told by the digest of its bytes."""
    cases = []
    for size in (0, 100, SEGMENT - 32, SEGMENT - 31, 2 * SEGMENT + 5):
        key, salt = sample("bytes32", f"data key {size}"), sample("bytes32", f"salt {size}")
        content = hashlib.shake_256(b"content").digest(size)
        header = b"FCENV" + bytes([1, 1, 20, 24, 32]) + size.to_bytes(6, "little")
        body = salt + content
        cuts = range(0, len(body), SEGMENT)
        data = header + b"".join(
            AESGCM(key).encrypt(number.to_bytes(11) + bytes([start == cuts[-1]]), body[start : start + SEGMENT], header)
            for number, start in enumerate(cuts)
        )
        case = {"dataKey": hexed(key), "salt": hexed(salt), "contentBytes": size}
        case["sha256"] = hexed(hashlib.sha256(data).digest())
        cases.append(case | ({"bytes": hexed(data)} if size <= 100 else {}))
    context = [sample("bytes32", "federation"), sample("bytes32", "run"), (7).to_bytes(8), sample("bytes32", "dataset")]
    artifact = sample("bytes32", "artifact")
    info = b"fedchain/data-key/1\0" + b"".join(context) + artifact
    reader = X25519PrivateKey.from_private_bytes(sample("bytes32", "reader"))
    sender = X25519PrivateKey.from_private_bytes(sample("bytes32", "sender"))
    key = sample("bytes32", "data key")
    public = reader.public_key().public_bytes_raw()
    return {
        "note": [
            "Encrypted envelopes of shake_256('content') with F = 24, and a wrapped key. Written by",
            "tests/vectors/generate.py with AES-GCM, X25519 and the key schedule of RFC 9180 in hashlib.",
        ],
        "envelopes": cases,
        "wrapped": {
            "federation": hexed(context[0]), "run": hexed(context[1]), "round": 7, "dataset": hexed(context[3]),
            "artifact": hexed(artifact), "info": hexed(info), "secretKey": hexed(reader.private_bytes_raw()),
            "publicKey": hexed(public), "recipient": hexed(tagged("reader", public)), "dataKey": hexed(key),
            "wrapped": hexed(hpke_seal(reader.public_key(), sender, info, key)),
        },
    }  # fmt: skip


def hpke_seal(receiver: X25519PublicKey, sender: X25519PrivateKey, info: bytes, plaintext: bytes) -> bytes:
    """RFC 9180, sections 4.1, 5.1 and 5.2: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
    kem, suite = b"KEM" + (0x20).to_bytes(2), b"HPKE" + (0x20).to_bytes(2) + (1).to_bytes(2) + (2).to_bytes(2)
    encapsulated = sender.public_key().public_bytes_raw()
    shared = extract(kem, b"", b"eae_prk", sender.exchange(receiver))
    secret = expand(kem, shared, b"shared_secret", encapsulated + receiver.public_bytes_raw(), 32)
    schedule = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    keyed = extract(suite, secret, b"secret", b"")
    key, nonce = expand(suite, keyed, b"key", schedule, 32), expand(suite, keyed, b"base_nonce", schedule, 12)
    return encapsulated + AESGCM(key).encrypt(nonce, plaintext, b"")


def extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand for one block, which is all that is wanted here."""
    return hmac.digest(secret, size.to_bytes(2) + b"HPKE-v1" + suite + label + info + b"\x01", "sha256")[:size]


DOCUMENTS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "DataPolicy", "policy",
        {
            "dataset_name": "heart/cleveland", "source": "UCI \u2014 \u201cHeart Disease\u201d", "grant": "sandbox",
            "micro_epsilon_grant": 8_000_000, "delta_e12": 10_000_000, "unit": "example", "allows_unprotected": True,
        },
    ),
    (
        "DatasetCard", "dataset-card",
        {"name": "heart/cleveland", "files": {"b.data": "00" * 32, "a.data": "ff" * 32}, "nominal_size": 303},
    ),
    (
        "DpParams", "dp-params",
        {
            "mechanism": "poisson-subsampled-gaussian", "noise_multiplier_e6": 1_234_567, "max_grad_norm_e6": 1_000_000,
            "batches_per_epoch": 10, "steps": 10, "delta_e12": 10_000_000, "unit": "example", "adjacency": "zero-out",
            "accountant": "prv", "noise_source": "chacha20 keyed by os.urandom",
            "run_micro_epsilon": str(2**64 - 1), "control": "0x" + "c0" * 32,
        },
    ),
    (
        "LocalTraining", "local-training",
        {
            "model": "mlp", "model_options": {"hidden": "16"}, "epochs": 1, "batch_size": 32, "learning_rate": "0.1",
            "epsilon": "off", "delta_e12": 0, "max_grad_norm": "1", "rounds": 5, "seed": 2**53 - 1,
            "task": "binary", "proximal": "0", "updates": 0, "correction": "none",
        },
    ),
]  # fmt: skip


def documents() -> dict[str, Any]:
    """Documents: canonical JSON and its tagged digest."""
    cases = []
    for name, tag, value in DOCUMENTS:
        # The names and strings of these samples have no characters whose order or escapes differ from RFC 8785.
        data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        cases.append({"document": name, "tag": tag, "json": data.decode(), "digest": hexed(tagged(tag, data))})
    return {
        "note": [
            "RFC 8785 documents in UTF-8 and their digest, sha256 over b'fedchain/' || tag || b'/1' || NUL || bytes.",
            "Written by tests/vectors/generate.py with json and hashlib.",
        ],
        "cases": cases,
    }


def tagged(tag: str, *parts: bytes) -> bytes:
    return hashlib.sha256(b"fedchain/" + tag.encode() + b"/1\x00" + b"".join(parts)).digest()


def log() -> dict[str, Any]:
    """A whole log of three entries, byte by byte; and trees over the leaves that RFC 6962's implementations share."""
    key = bytes.fromhex(Account.from_key(KEY).address[2:])
    bodies: list[tuple[str, dict[str, Any]]] = [
        (
            "LogTerms",
            {
                "format": "fedchain/log/1", "federation": hexed(sample("bytes32", "federation")),
                "operator": hexed(key), "aggregator": hexed(key),
            },
        ),
        (
            "AddOrganisation",
            {"organisation": hexed(sample("bytes32", "organisation")), "admin": hexed(key), "nonce": 0},
        ),
        (
            "LogLink",
            {
                "previous_hash": hexed(bytes(32)),
                "link": {
                    "run": hexed(sample("bytes32", "run")), "round": 1, "kind": 1,
                    "updates_root": hexed(sample("bytes32", "updates")), "rejected_root": hexed(bytes(32)),
                    "base_model": hexed(sample("bytes32", "base")), "model_digest": hexed(sample("bytes32", "model")),
                    "manifest_digest": hexed(sample("bytes32", "manifest")), "accepted": 4, "rejected": 0,
                },
            },
        ),
    ]  # fmt: skip
    data, leaves, entries = b"fedchain/log/1\n", list[bytes](), []
    for index, (kind, body) in enumerate(bodies):
        frame, leaf, shown_entry = log_frame(index, kind, body, leaves)
        data += frame
        leaves.append(leaf)
        entries.append(shown_entry)
    return {
        "note": [
            "A signed log whose key, operator and aggregator are all `key` of eip712.json: the file and its parts.",
            "Trees: RFC 6962's roots over the first 1 to 8 of `leafInputs`. Written by tests/vectors/generate.py.",
        ],
        "entries": entries,
        "file": hexed(data),
        "leafInputs": [hexed(each) for each in LEAF_INPUTS],
        "roots": [hexed(tree_root([log_leaf(each) for each in LEAF_INPUTS[:n]])) for n in range(1, 9)],
    }


LEAF_INPUTS = [bytes.fromhex(each) for each in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip


def log_frame(index: int, kind: str, body: dict[str, Any], leaves: list[bytes]) -> tuple[bytes, bytes, dict[str, Any]]:
    """The frame of one entry after others, its leaf, and its parts in words."""
    before, at = tree_root(leaves), 1_800_000_000 + index
    document = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    content = b"\x00" + bytes([len(kind)]) + kind.encode() + document
    statement = {"index": index, "rootBefore": before, "at": at, "content": tagged("log-content", content)}
    entry = index.to_bytes(8) + at.to_bytes(8) + log_signature("LogEntry", statement) + content
    root = tree_root([*leaves, log_leaf(entry)])
    signature = log_signature("TreeHead", {"size": index + 1, "root": root, "at": at})
    payload = entry + signature
    length = len(payload).to_bytes(4)
    parts = {"kind": kind, "at": at, "entry": hexed(entry), "root": hexed(root), "headSignature": hexed(signature)}
    return length + tagged("log-length", before, length)[:8] + payload, log_leaf(entry), parts


def log_signature(name: str, values: dict[str, Any]) -> bytes:
    """The signature in the domain of a log: chain id 0 and the key's own address."""
    signable = encode_typed_data(
        domain_data={
            "name": "fedchain", "version": "1", "chainId": 0, "verifyingContract": Account.from_key(KEY).address,
        },
        message_types={name: [{"name": member, "type": kind} for kind, member in members(TYPES[name])]},
        message_data=values,
    )  # fmt: skip
    return bytes(Account.from_key(KEY).sign_message(signable).signature)


def log_leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def tree_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:])).digest()


def population() -> dict[str, Any]:
    """A roster of 11 clients of which 4 are drawn: entries, root, paths, dataset, draws, and their mean."""
    rows, run = [3 + 7 * number % 5 for number in range(11)], bytes(range(32))
    commitments = [hashlib.sha256(bytes([number])).digest() for number in range(11)]
    entries = [
        number.to_bytes(8) + size.to_bytes(4) + commitments[number] for number, size in enumerate(rows)
    ] + [b""] * 5  # fmt: skip
    leaves = [log_leaf(entry) for entry in entries]
    draws = {str(number): draw(run, number, 11, 4) for number in (1, 2, 3)}
    chosen = draws["1"]
    updates = [[(client * 37 + place * 11) % 29 - 14 for place in range(6)] for client in chosen]
    total = sum(rows[client] for client in chosen)
    mean = [
        round(
            Fraction(sum(rows[client] * update[place] for client, update in zip(chosen, updates, strict=True)), total)
        )
        for place in range(6)
    ]
    root, salt = tree_root(leaves), b"\x05" * 32
    files = {"roster": root.hex(), "clients": "11", "least_rows": str(min(rows))}
    card = {"name": "plant", "files": files, "nominal_size": sum(rows)}
    text = json.dumps(card, sort_keys=True, separators=(",", ":")).encode()
    return {
        "rows": rows, "commitments": [hexed(each) for each in commitments], "root": hexed(root), "salt": hexed(salt),
        "dataset": hexed(tagged("dataset-commit", salt, tagged("dataset-card", text))), "run": hexed(run),
        "paths": {str(client): [hexed(each) for each in tree_path(leaves, client)] for client in chosen},
        "drawn": draws, "updates": updates, "mean": mean,
    }  # fmt: skip


def draw(run: bytes, round_: int, clients: int, wanted: int) -> list[int]:
    """The clients of a round."""
    found: list[int] = []
    for number in itertools.count():
        word = int.from_bytes(tagged("population-draw", run, round_.to_bytes(8), number.to_bytes(8))[:8])
        if word < 2**64 // clients * clients and word % clients not in found:
            found.append(word % clients)
        if len(found) == wanted:
            return sorted(found)
    raise AssertionError


def tree_path(leaves: list[bytes], index: int) -> list[bytes]:
    """The siblings of a leaf in a full tree, bottom first."""
    if len(leaves) == 1:
        return []
    half = len(leaves) // 2
    inner, other = (leaves[:half], leaves[half:]) if index < half else (leaves[half:], leaves[:half])
    return [*tree_path(inner, index % half), tree_root(other)]


VECTORS = {
    "eip712": eip712, "record": record, "tensors": tensors, "envelope": envelope, "documents": documents, "log": log,
    "encryption": encryption, "population": population,
}  # fmt: skip


def text_of(name: str) -> str:
    """Return what the file of this name holds."""
    text = json.dumps(VECTORS[name](), indent=2)
    return (
        re.sub(r"\[\s+((?:-?\d+,\s+)*-?\d+)\s+\]", lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text) + "\n"
    )


if __name__ == "__main__":
    for name in VECTORS:
        (FOLDER / f"{name}.json").write_text(text_of(name))
