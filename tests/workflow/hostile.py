"""Hostile replies, each one change away from a genuine one: the classes that the gate must tell apart.

What is changed is signed again, unless the attack is on the signature. Attacks on the record around a reply (a revoked
key, a withdrawn consent) are also here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from fedchain.core.digest import ZERO
from fedchain.core.messages import UNBOUNDED
from fedchain.core.rejection import Reason
from fedchain.core.signatures import sign
from fedchain.core.task import UpdateHeader
from fedchain.core.tensors import IntTensors, encode
from tests.doubles.signer import NamedSigner
from tests.workflow.drafts import Draft, safetensors

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
OTHER: Final = b"\x99" * 32

Attack = Callable[[Draft], object]


def _entries(tensors: IntTensors) -> list[tuple[str, str, Sequence[int], bytes]]:
    return [(name, "I32", array.shape, array.astype("<i4").tobytes()) for name, array in tensors.items()]


def _with_bias(dtype: str, shape: Sequence[int], data: bytes) -> Attack:
    """Send the bias as something else."""

    def attack(draft: Draft) -> None:
        weight = _entries(draft.tensors)[1]
        draft.carry(safetensors([("bias", dtype, shape, data), weight]))

    return attack


def _floats(dtype: str, *values: float) -> Attack:
    return _with_bias({"<f4": "F32", "<f8": "F64"}[dtype], [len(values)], np.array(values, dtype).tobytes())


def _sends(change: Callable[[IntTensors], IntTensors]) -> Attack:
    """Send other int32 tensors, encoded as they should be."""
    return lambda draft: draft.carry(encode(change(draft.tensors)))


def _carries(change: Callable[[list[tuple[str, str, Sequence[int], bytes]]], bytes]) -> Attack:
    return lambda draft: draft.carry(change(_entries(draft.tensors)))


def _wraps(**changes: Any) -> Attack:
    def attack(draft: Draft) -> None:
        draft.envelope = replace(draft.envelope, **changes)

    return attack


def _states(**changes: Any) -> Attack:
    """Sign another statement."""

    def attack(draft: Draft) -> None:
        before = draft.state
        draft.state = lambda message: replace(before(message), **changes)

    return attack


def _signs_in(**changes: Any) -> Attack:
    def attack(draft: Draft) -> None:
        draft.domain = replace(draft.domain, **changes)

    return attack


def _forges(change: Callable[[UpdateHeader], UpdateHeader]) -> Attack:
    def attack(draft: Draft) -> None:
        draft.forge = change

    return attack


def _signature(change: Callable[[bytes], bytes]) -> Attack:
    return _forges(lambda header: replace(header, signature=change(header.signature)))


def _rewrites(change: Callable[[bytes], bytes]) -> Attack:
    def attack(draft: Draft) -> None:
        draft.rewrite = change

    return attack


def _spoils(change: Callable[[bytes], bytes]) -> Attack:
    def attack(draft: Draft) -> None:
        draft.spoil = change

    return attack


def _claims(**changes: Any) -> Attack:
    """Sign other privacy parameters."""

    def attack(draft: Draft) -> None:
        draft.dp = replace(draft.dp, **changes)

    return attack


def _signed_by(name: str) -> Attack:
    def attack(draft: Draft) -> None:
        draft.signer = NamedSigner(name)

    return attack


def _weighs(weight: int) -> Attack:
    """Claim a weight that no signature can be over."""
    return _forges(lambda header: replace(header, message=replace(header.message, weight=weight)))


def _malleable(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])


def _revoked(draft: Draft) -> None:
    draft.federation.revoke_device(draft.node - 1)


def _withdrawn(draft: Draft) -> None:
    draft.federation.withdraw_consent(draft.node - 1)


def _too_late(draft: Draft) -> None:
    draft.federation.clock.time = draft.task.deadline + 1


def _of_a_neighbour(draft: Draft) -> None:
    neighbour = draft.federation.members[draft.node - 2].applicant
    _states(dataset=neighbour.dataset, policy=neighbour.policy.digest())(draft)


def _unprotected(draft: Draft) -> None:
    draft.dp = replace(draft.dp, mechanism="none", noise_multiplier_e6=0, run_micro_epsilon=UNBOUNDED)
    _states(micro_epsilon_total=UNBOUNDED)(draft)


def _spent(micro_epsilon: int) -> Attack:
    def attack(draft: Draft) -> None:
        draft.dp = replace(draft.dp, run_micro_epsilon=micro_epsilon)
        _states(micro_epsilon_total=micro_epsilon)(draft)

    return attack


def _with_metadata(entries: list[tuple[str, str, Sequence[int], bytes]]) -> bytes:
    return safetensors([("__metadata__", "I32", [0], b""), *entries])


def _huge(tensors: IntTensors) -> IntTensors:
    return {name: np.full_like(array, 30 << 24) for name, array in tensors.items()}


def _lowest(tensors: IntTensors) -> IntTensors:
    return tensors | {"bias": np.array([-(2**31), 0], "<i4")}


def _without_bias(tensors: IntTensors) -> IntTensors:
    return {name: array for name, array in tensors.items() if name != "bias"}


ATTACKS: Final[list[tuple[Reason, str, Attack]]] = [
    (Reason.FLOAT32, "float32", _floats("<f4", 0.5, 0.25)),
    (Reason.FLOAT32, "float16", _with_bias("F16", [2], bytes(4))),
    (Reason.FLOAT32, "bfloat16", _with_bias("BF16", [2], bytes(4))),
    (Reason.FLOAT64, "float64", _floats("<f8", 0.5, 0.25)),
    (Reason.BOOL, "bool", _with_bias("BOOL", [2], b"\x01\x00")),
    (Reason.COMPLEX, "complex64", _with_bias("C64", [2], bytes(16))),
    (Reason.COMPLEX, "complex128", _with_bias("C128", [2], bytes(32))),
    (Reason.NOT_NUMERIC, "strings", _with_bias("STR", [2], b"ab")),
    (Reason.NOT_NUMERIC, "objects", _with_bias("|O", [2], bytes(16))),
    (Reason.NOT_FINITE, "nan", _floats("<f4", 0.5, float("nan"))),
    (Reason.NOT_FINITE, "infinity", _floats("<f8", float("-inf"), 0.5)),
    (Reason.OUT_OF_RANGE, "the lowest int32", _sends(_lowest)),
    (Reason.OTHER_ENCODING, "fewer fraction bits", _wraps(fraction_bits=16)),
    (Reason.OTHER_ENCODING, "another width", _wraps(width=64)),
    (Reason.OTHER_ENCODING, "int64", _with_bias("I64", [2], bytes(16))),
    (Reason.OTHER_ENCODING, "uint8", _with_bias("U8", [2], bytes(2))),
    (Reason.SHAPE_OF_ONE, "shape (1,)", _sends(lambda tensors: tensors | {"bias": tensors["bias"][:1]})),
    (Reason.OTHER_SHAPE, "shape (n, 1)", _sends(lambda tensors: tensors | {"bias": tensors["bias"].reshape(2, 1)})),
    (Reason.OTHER_SHAPE, "scalar", _sends(lambda tensors: tensors | {"bias": tensors["bias"][0].reshape(())})),
    (Reason.OTHER_SHAPE, "transposed", _sends(lambda tensors: tensors | {"weight": tensors["weight"].reshape(4)})),
    (Reason.MISSING_TENSOR, "a tensor less", _sends(_without_bias)),
    (Reason.MISSING_TENSOR, "no tensor", _sends(lambda _: {})),
    (Reason.EXTRA_TENSOR, "a tensor more", _sends(lambda tensors: tensors | {"scale": tensors["bias"]})),
    (Reason.DUPLICATE_NAME, "a name twice", _carries(lambda entries: safetensors([entries[0], *entries]))),
    (Reason.NOT_CANONICAL, "other order", _carries(lambda entries: safetensors(entries[::-1]))),
    (Reason.NOT_CANONICAL, "spaces in the header", _carries(lambda entries: safetensors(entries, spaces=True))),
    (Reason.NOT_CANONICAL, "metadata", _carries(_with_metadata)),
    (Reason.NOT_CANONICAL, "big-endian header size", lambda draft: draft.carry(_swapped(draft.envelope.update))),
    (Reason.NOT_CANONICAL, "bytes at the end", lambda draft: draft.carry(draft.envelope.update + b"\0")),
    (Reason.NOT_CANONICAL, "nothing", lambda draft: draft.carry(b"")),
    (Reason.ZERO_WEIGHT, "weight 0", _states(weight=0)),
    (Reason.NEGATIVE_WEIGHT, "weight -399", _weighs(-399)),
    (Reason.OTHER_WEIGHT, "weight one more", lambda draft: _states(weight=draft.message.weight + 1)(draft)),
    (Reason.OTHER_WEIGHT, "the largest weight", _states(weight=2**32 - 1)),
    (Reason.NORM_ABOVE_BOUND, "norm above the bound", _sends(_huge)),
    (Reason.OTHER_BASE_MODEL, "another base", _states(base_model=OTHER)),
    (Reason.OTHER_ROUND, "next round", lambda draft: _states(round=draft.task.round + 1)(draft)),
    (Reason.OTHER_ROUND, "past round", lambda draft: _states(round=draft.task.round - 1)(draft)),
    (Reason.OTHER_ROUND, "another attempt", lambda draft: _states(nonce=draft.task.attempt + 1)(draft)),
    (Reason.OTHER_RUN, "another federation", _states(federation=OTHER)),
    (Reason.OTHER_RUN, "another run", _states(run=OTHER)),
    (Reason.OTHER_LEDGER, "another chain", _signs_in(chain_id=1)),
    (Reason.OTHER_LEDGER, "another contract", _signs_in(contract=b"\x77" * 20)),
    (Reason.PAST_DEADLINE, "another deadline", lambda draft: _states(deadline=draft.task.deadline + 1)(draft)),
    (Reason.PAST_DEADLINE, "too late", _too_late),
    (Reason.BAD_SIGNATURE, "foreign key", _signed_by("a stranger")),
    (Reason.BAD_SIGNATURE, "malleable", _signature(_malleable)),
    (Reason.BAD_SIGNATURE, "empty", _signature(lambda _: b"")),
    (Reason.BAD_SIGNATURE, "cut off", _signature(lambda signature: signature[:64])),
    (Reason.BAD_SIGNATURE, "v of 0 or 1", _signature(lambda signature: signature[:64] + bytes([signature[64] - 27]))),
    (Reason.BAD_SIGNATURE, "zeros", _signature(lambda _: bytes(64) + b"\x1b")),
    (Reason.BAD_SIGNATURE, "of other bytes", _signature(lambda _: sign(b"\x01" * 32, ZERO))),
    (Reason.BAD_SIGNATURE, "moved to another chain", _forges(lambda each: replace(each, chain_id=1))),
    (Reason.BAD_SIGNATURE, "weight beyond uint32", _weighs(10**12)),
    (Reason.KEY_NOT_VALID, "revoked key", _revoked),
    (Reason.MALFORMED, "no JSON", _rewrites(lambda _: b"\xff\xfe")),
    (Reason.MALFORMED, "spaces", _rewrites(lambda header: header.replace(b":", b": ", 1))),
    (Reason.MALFORMED, "cut off", _rewrites(lambda header: header[:-1])),
    (Reason.MALFORMED, "another key", _rewrites(lambda header: header[:-1] + b',"x":1}')),
    (Reason.OTHER_CONFIGURATION, "other code", _states(code_digest=OTHER)),
    (Reason.OTHER_CONFIGURATION, "other configuration", _states(config_digest=OTHER)),
    (Reason.OTHER_CONFIGURATION, "other environment", _states(env_digest=OTHER)),
    (Reason.NO_CONSENT, "withdrawn", _withdrawn),
    (Reason.NO_CONSENT, "unknown dataset", _states(dataset=OTHER)),
    (Reason.NO_CONSENT, "a neighbour's dataset", _of_a_neighbour),
    (Reason.NO_CONSENT, "another policy", _states(policy=OTHER)),
    (Reason.PRIVACY_MISSTATED, "unsigned parameters", _states(dp_params=OTHER)),
    (Reason.PRIVACY_MISSTATED, "fewer steps", _claims(steps=1)),
    (Reason.PRIVACY_MISSTATED, "a lower rate", _claims(batches_per_epoch=1000)),
    (Reason.PRIVACY_MISSTATED, "no noise", _claims(noise_multiplier_e6=0)),
    (Reason.PRIVACY_MISSTATED, "less noise than any proof covers", _claims(noise_multiplier_e6=299_999)),
    (Reason.PRIVACY_MISSTATED, "another unit", _claims(unit="patient")),
    (Reason.PRIVACY_MISSTATED, "another delta", _claims(delta_e12=1)),
    (Reason.PRIVACY_MISSTATED, "another bound", _claims(max_grad_norm_e6=1)),
    (Reason.PRIVACY_MISSTATED, "another adjacency", _claims(adjacency="none")),
    (Reason.PRIVACY_MISSTATED, "an accountant of control characters", _claims(accountant="\x1b[2J")),
    (Reason.PRIVACY_MISSTATED, "a novel for a noise source", _claims(noise_source="x" * 10_000)),
    (Reason.PRIVACY_MISSTATED, "unprotected in a private run", _unprotected),
    (Reason.PRIVACY_MISSTATED, "a total below the run's", _states(micro_epsilon_total=0)),
    (Reason.PRIVACY_MISSTATED, "a run below what it adds up to", _claims(run_micro_epsilon=1)),
    (Reason.OTHER_CONTROL, "a control that no task named", _claims(control=OTHER)),
    (Reason.PAYLOAD_MISMATCH, "altered", _spoils(lambda payload: payload[:-1] + bytes([payload[-1] ^ 1]))),
    (Reason.PAYLOAD_MISMATCH, "empty", _spoils(lambda _: b"")),
    (Reason.PAYLOAD_MISMATCH, "other commitment", _states(update_commit=OTHER)),
    (Reason.GRANT_EXCEEDED, "beyond the grant", _spent(10_000_001)),
]  # fmt: skip
"""(reason, what is special, the attack), at least one for each class; `ROUND_ABORTED` is no fault of a reply."""


def _swapped(update: bytes) -> bytes:
    return update[7::-1] + update[8:]
