"""Hypothesis strategies for the values of the core, derived from their types."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedchain.adapters.log.entries import LogLink, LogTerms
from fedchain.core.eip712 import Domain, members
from fedchain.core.encryption import WrappedKeys
from fedchain.core.erasure import DeletionReceipt, ErasureOrder, SignedDeletion
from fedchain.core.manifest import RoundManifest, RunManifest
from fedchain.core.messages import (
    AddOrganisation,
    Approval,
    CancelApprovals,
    ClientUpdate,
    ConsentGrant,
    ConsentWithdraw,
    Disposition,
    InclusionPromise,
    KeyPossession,
    LogEntry,
    MoveVersion,
    RegisterDataset,
    RegisterDevice,
    RegisterReviewer,
    RevokeDevice,
    RevokeReviewer,
    RotateAdmin,
    RoundReceipt,
    SubmitVersion,
    TreeHead,
)
from fedchain.core.policy import DataPolicy, DatasetCard
from fedchain.core.population import MOST_CLIENTS, Roster
from fedchain.core.privacy import DpParams
from fedchain.core.rewards import RewardReport
from fedchain.core.task import LocalTraining, RoundProof, SignedPromise, Task, UpdateHeader
from fedchain.core.trust import TrustFile

T = TypeVar("T")

FEW = settings(max_examples=15)
"""For laws over large values: the folder stays quick, and another run takes other examples."""

MESSAGES: tuple[type[Any], ...] = (
    ClientUpdate, InclusionPromise, RoundReceipt, AddOrganisation, KeyPossession, RotateAdmin, RegisterDevice,
    RevokeDevice, RegisterDataset, ConsentGrant, ConsentWithdraw, SubmitVersion, MoveVersion, RegisterReviewer,
    RevokeReviewer, CancelApprovals, Approval, Disposition, LogEntry, TreeHead, DeletionReceipt,
)  # fmt: skip
DOCUMENTS: tuple[type[Any], ...] = (
    RunManifest, RoundManifest, DataPolicy, DatasetCard, DpParams, LocalTraining, UpdateHeader, TrustFile, Task,
    SignedPromise, RoundProof, LogTerms, LogLink, RewardReport, WrappedKeys, ErasureOrder, SignedDeletion,
)  # fmt: skip

bytes32 = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
secrets = st.integers(1, 2**256 - 2**130).map(lambda number: number.to_bytes(32))
domains = st.builds(Domain, st.integers(0, 2**256 - 1), addresses)


def vectors(name: str) -> dict[str, Any]:
    """Return the shared vectors of a name."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / f"{name}.json").read_text())
    return loaded


def unhex(text: str) -> bytes:
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


def solidity(kind: str) -> st.SearchStrategy[Any]:
    """Values of a Solidity type."""
    if kind == "bytes":
        return st.binary(max_size=130)
    if kind == "bytes32":
        return bytes32
    if kind == "address":
        return addresses
    return st.integers(0, 2 ** int(kind.removeprefix("uint")) - 1)


def messages(cls: type[T]) -> st.SearchStrategy[T]:
    """Instances of a message class, within the bounds of its TYPE."""
    fields = {name: solidity(kind) for kind, name in members(cls.TYPE)}  # type: ignore[attr-defined]  # a TypedMessage
    return st.builds(cls, **fields)


def rosters() -> st.SearchStrategy[Roster]:
    """Rosters within their bounds."""
    sizes = st.tuples(st.integers(2, MOST_CLIENTS), st.integers(1, 2**32 - 1), st.integers(0, 2**24))
    return st.builds(
        lambda root, size: Roster(root, size[0], 1 + size[2] % size[0], size[1]), bytes32, sizes
    )  # fmt: skip


def documents(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a document's field or class."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return st.lists(documents(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(max_size=5), documents(arguments[1]), max_size=3)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(documents(option) for option in arguments))
    if kind is Roster:
        return rosters()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: documents(hints[field.name]) for field in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        str: st.text(max_size=8),
        bytes: st.binary(max_size=8),
        int: st.one_of(st.integers(-(2**60), 2**60), st.integers(-(2**256), 2**256)),
        type(None): st.none(),
    }
    return plain[kind]


shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
int32 = st.integers(-(2**31), 2**31 - 1)


def int_arrays(shape: tuple[int, ...]) -> st.SearchStrategy[npt.NDArray[np.int32]]:
    """int32 arrays of a shape."""
    return hnp.arrays(np.int32, shape, elements=int32)


int_tensors = st.dictionaries(st.text(max_size=6), shapes.flatmap(int_arrays), max_size=4)
