from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.errors import FormatError
from fedchain.core.policy import DataPolicy, DatasetCard, GrantKind
from tests.core.samples import FEW, documents

POLICY = DataPolicy("heart", "UCI", GrantKind.SANDBOX, 8_000_000, 10**7, "example", True)
POLICY_BYTES = (
    b'{"allows_unprotected":true,"dataset_name":"heart","delta_e12":10000000,"grant":"sandbox",'
    b'"micro_epsilon_grant":8000000,"source":"UCI","unit":"example"}'
)


def test_a_policy_is_this_document_under_this_tag() -> None:
    assert document.to_bytes(POLICY) == POLICY_BYTES
    assert POLICY.digest() == hashlib.sha256(b"fedchain/policy/1\x00" + POLICY_BYTES).digest()


def test_a_card_is_a_document_of_its_own_kind() -> None:
    card = DatasetCard("heart", {"b": "2", "a": "1"}, 303)
    expected = b'{"files":{"a":"1","b":"2"},"name":"heart","nominal_size":303}'
    assert document.to_bytes(card) == expected
    assert card.digest() == hashlib.sha256(b"fedchain/dataset-card/1\x00" + expected).digest()


@pytest.mark.parametrize("cls", [DataPolicy, DatasetCard])
@FEW
@given(st.data())
def test_a_digest_covers_every_field(cls: Any, data: st.DataObject) -> None:
    one, other = data.draw(documents(cls)), data.draw(documents(cls))
    for field in dataclasses.fields(cls):
        changed = dataclasses.replace(one, **{field.name: getattr(other, field.name)})
        assert (changed.digest() == one.digest()) == (changed == one)


def test_there_are_two_kinds_of_grant() -> None:
    assert [kind.value for kind in GrantKind] == ["lifetime", "sandbox"]
    with pytest.raises(FormatError, match="lifetime"):
        document.from_bytes(DataPolicy, POLICY_BYTES.replace(b"sandbox", b"endless"))


@pytest.mark.parametrize(
    ("grant", "allows_unprotected", "text"),
    [
        (GrantKind.LIFETIME, False, b"patient/lifetime"),
        (GrantKind.SANDBOX, False, b"patient/sandbox"),
        (GrantKind.LIFETIME, True, b"patient/lifetime/unprotected"),
    ],
)
def test_a_unit_stands_on_the_ledger_as_a_digest_that_also_says_what_the_grant_bounds(
    grant: GrantKind, allows_unprotected: bool, text: bytes
) -> None:
    policy = dataclasses.replace(POLICY, unit="patient", grant=grant, allows_unprotected=allows_unprotected)
    assert policy.unit_digest() == hashlib.sha256(b"fedchain/privacy-unit/1\x00" + text).digest()
