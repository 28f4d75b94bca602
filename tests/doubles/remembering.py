"""Pure functions of immutable values, computed once: thousands of schedules ask them the same."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Final

import pytest

from fedchain.core import cid, document, eip712, merkle, record, signatures, task, tensors
from fedchain.core.cid import Cid
from fedchain.workflow import gate, run_state

PURE: Final = (
    document.from_bytes, document.to_bytes, signatures.recover, signatures.sign, eip712.signing_digest, cid.cid_of,
    record.round_hash, record.next_registry_head, record.head_slot, task.leaf_of, run_state.body_of, gate.signer_of,
    merkle.proves,
)  # fmt: skip


def remember(patch: pytest.MonkeyPatch) -> None:
    """Have every module of ours use the remembering functions, as long as the patch holds."""
    for function in PURE:
        _replace(patch, function, _remembering(function))
    _replace(patch, tensors.decode, _decoding())
    patch.setattr(Cid, "parse", staticmethod(_remembering(Cid.parse)))
    patch.setattr(Cid, "text", property(_remembering(vars(Cid)["text"].fget)))


def _replace(patch: pytest.MonkeyPatch, old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Replace a function wherever a module of ours has it under its name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("fedchain.", "tests.")) and vars(module).get(old.__name__) is old:
            patch.setattr(module, old.__name__, new)


def _decoding() -> Callable[[bytes], tensors.IntTensors]:
    """Remember what tensors decode to; the arrays are read-only views, and each caller has a dictionary of its own."""
    remembered = functools.lru_cache(1 << 14)(tensors.decode)

    def decode(data: bytes) -> tensors.IntTensors:
        return dict(remembered(data))

    return decode


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    remembered = functools.lru_cache(1 << 16)(function)

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        try:
            return remembered(*arguments, **named)
        except TypeError:  # what cannot be hashed is computed anew
            return function(*arguments, **named)

    return called
