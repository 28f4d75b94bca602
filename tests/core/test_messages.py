from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest

from fedchain.core.eip712 import members
from fedchain.core.messages import (
    UNBOUNDED,
    AddOrganisation,
    ClientUpdate,
    InclusionPromise,
    RegistryMessage,
    RoundReceipt,
)
from tests.core.samples import MESSAGES, vectors

CONTRACT = Path(__file__).parents[2] / "contracts" / "src" / "FedRegistry.sol"


def without_space(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("cls", MESSAGES)
def test_a_class_has_exactly_the_members_of_its_type_in_order(cls: Any) -> None:
    assert [name for _, name in members(cls.TYPE)] == [field.name for field in dataclasses.fields(cls)]
    assert cls.TYPE.startswith(cls.__name__ + "(")


@pytest.mark.parametrize("cls", MESSAGES)
def test_the_type_strings_are_those_of_the_shared_vectors(cls: Any) -> None:
    assert cls.TYPE in {case["type"] for case in vectors("eip712")["cases"]}


@pytest.mark.parametrize("cls", get_args(RegistryMessage))
def test_the_registry_contract_hashes_the_same_type_strings(cls: Any) -> None:
    assert without_space(f'keccak256("{cls.TYPE}")') in without_space(CONTRACT.read_text())


@pytest.mark.parametrize("cls", [ClientUpdate, InclusionPromise, RoundReceipt])
def test_every_message_of_a_round_binds_federation_run_and_round(cls: Any) -> None:
    assert [name for _, name in members(cls.TYPE)][:3] == ["federation", "run", "round"]


@pytest.mark.parametrize("cls", get_args(RegistryMessage))
def test_every_registry_message_ends_with_its_nonce(cls: Any) -> None:
    assert members(cls.TYPE)[-1] == ("uint64", "nonce")


@pytest.mark.parametrize("cls", MESSAGES)
def test_a_message_does_not_change(cls: Any) -> None:
    assert cls.__dataclass_params__.frozen
    assert not hasattr(AddOrganisation(bytes(32), bytes(20), 0), "__dict__")


def test_no_bound_of_privacy_is_the_greatest_uint64() -> None:
    assert UNBOUNDED == 2**64 - 1
