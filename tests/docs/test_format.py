"""docs/format.md says what the code does: whatever is hashed or signed and not written there fails here."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedchain.config import ExperimentConfig, is_recorded
from fedchain.core import document, record, rewards
from fedchain.core.cid import PROFILE
from fedchain.core.lineage import ClaimLevel, Verdict
from fedchain.core.manifest import ROUND_FORMAT, RUN_FORMAT
from fedchain.core.merkle import leaf_hash
from fedchain.core.record import RejectedLeaf, UpdateLeaf
from fedchain.core.rejection import Reason
from fedchain.core.rewards import REPORT_FORMAT
from fedchain.core.scoring import STATISTIC
from fedchain.core.trust import TRUST_FORMAT
from tests.core.samples import DOCUMENTS, MESSAGES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "format.md").read_text()
SOURCES = [path for folder in ("fedchain", "clients", "server") for path in sorted((ROOT / folder).rglob("*.py"))]
CALL = re.compile(r"\b(?:tagged|commitment)\(\s*(?P<argument>[^\s,)]*)")


def section(title: str) -> str:
    """The text under a heading, up to the next heading of the same level or a higher one."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", TEXT, re.MULTILINE)
    assert heading, f"docs/format.md has no section {title}"
    rest = TEXT[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def tables(title: str) -> list[list[list[str]]]:
    """The tables of a section, as rows of cells without their headings."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n?)+", section(title), re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in block.splitlines()]
        found.append(rows[2:])
    return found


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def calls() -> Iterator[tuple[Path, str]]:
    for path in SOURCES:
        for call in CALL.finditer(path.read_text()):
            is_definition = path.read_text()[: call.start()].endswith("def ")
            is_in_prose = "`" in path.read_text()[call.start() - 1 : call.start()]
            if not (is_definition or is_in_prose or call["argument"] == ""):
                yield path, call["argument"]


def document_classes() -> list[Any]:
    """Every document class and every class in one of its fields."""
    found: list[Any] = []

    def visit(kind: Any) -> None:
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in found:
            found.append(kind)
            for hint in typing.get_type_hints(kind).values():
                visit(hint)
        for argument in typing.get_args(kind):
            visit(argument)

    for cls in DOCUMENTS:
        visit(cls)
    return found


def leaves_of(cls: Any, path: str = "") -> list[str]:
    recorded = {each.name for each in dataclasses.fields(cls) if is_recorded(each)}
    names: list[str] = []
    for name, hint in typing.get_type_hints(cls).items():
        if name not in recorded:
            continue
        names += leaves_of(hint, f"{path}{name}.") if dataclasses.is_dataclass(hint) else [path + name]
    return names


def test_every_tag_of_the_code_is_documented_and_every_documented_tag_is_used() -> None:
    used = {argument.strip('"') for path, argument in calls() if argument != "tag"}
    documented = [tag for row in tables("Tagged digests")[0] for tag in named(row[0])]
    assert sorted(used) == sorted(documented)


def test_every_tag_is_a_literal_except_where_digests_are_made() -> None:
    for path, argument in calls():
        assert re.fullmatch(r'"[a-z][a-z-]*"', argument) or (path.name, argument) == ("digest.py", "tag"), path


@pytest.mark.parametrize("cls", document_classes(), ids=lambda cls: cls.__name__)
def test_a_document_is_described_field_by_field_in_order(cls: Any) -> None:
    rows = tables(cls.__name__)[0]
    assert [named(row[0])[0] for row in rows] == [field.name for field in dataclasses.fields(cls)]


KINDS = {
    "text": "str", "decimal string": "str", "integer": "int", "true or false": "bool", "object of text": "dict",
    "bytes20": "bytes", "bytes32": "bytes", "bytes65": "bytes",
}  # fmt: skip


@pytest.mark.parametrize("cls", document_classes(), ids=lambda cls: cls.__name__)
def test_a_document_is_described_with_the_types_that_its_class_has(cls: Any) -> None:
    hints = typing.get_type_hints(cls)
    for row in tables(cls.__name__)[0]:
        name, kind = named(row[0])[0], row[1]
        hint = hints[name]
        if kind.endswith(" or null"):
            kind = kind.removesuffix(" or null")
            (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
        expected = KINDS.get(kind, "tuple" if kind.startswith("list of ") else kind)
        plain = typing.get_origin(hint) or hint
        assert expected in {plain.__name__, *(each.__name__ for each in plain.__mro__)}, f"{cls.__name__}.{name}"


def test_no_class_is_described_that_does_not_exist() -> None:
    headings = re.findall(r"^### ([A-Z]\w+)$", section("Documents"), re.MULTILINE)
    expected = {cls.__name__ for cls in document_classes()} | {"ExperimentConfig"}
    assert set(headings) == expected
    assert len(headings) == len(expected)


def test_the_configuration_is_described_key_by_key() -> None:
    rows = tables("ExperimentConfig")[0]
    assert [named(row[0])[0] for row in rows] == leaves_of(ExperimentConfig)


def test_every_type_string_stands_verbatim_in_its_own_line() -> None:
    block = section("Typed messages (EIP-712)").split("```")[1].strip()
    assert block.splitlines() == [cls.TYPE for cls in MESSAGES]


def test_the_words_of_a_link_are_those_that_are_hashed() -> None:
    words = tables("Links")[0]
    assert [row[0] for row in words] == [str(number) for number in range(len(words))]
    assert [row[2] for row in words] == record._LINK_KINDS


@pytest.mark.parametrize(
    ("number", "leaf"),
    [
        (0, UpdateLeaf(b"\x01" * 20, b"\x02" * 32, b"\x03" * 32, 0x70)),
        (1, RejectedLeaf(5, 6, b"\x01" * 20, 7, b"\x02" * 32)),
    ],
    ids=["update", "rejected"],
)
def test_the_words_of_a_leaf_are_those_that_are_hashed(number: int, leaf: UpdateLeaf | RejectedLeaf) -> None:
    rows = tables("Merkle trees")[number]
    values = [int(rows[0][1]), *(getattr(leaf, field.name) for field in dataclasses.fields(leaf))]
    assert leaf_hash([row[2] for row in rows], values) == leaf.hash()


def test_the_words_of_a_reward_leaf_are_those_that_are_hashed() -> None:
    assert [row[2] for row in tables("Merkle trees")[2]] == list(rewards._LEAF_KINDS)


def test_every_reason_code_has_its_name_and_its_words() -> None:
    rows = [(int(row[0]), named(row[1])[0], row[2]) for row in tables("Reason codes")[0]]
    assert rows == [(int(reason), reason.name, reason.words) for reason in Reason]


def test_the_claim_levels_stand_strongest_first() -> None:
    assert [row[0] for row in tables("Claim levels")[0]] == [level.value for level in ClaimLevel]


@pytest.mark.parametrize("verdict", [Verdict.VERIFIED.value, Verdict.SELF_CONSISTENT.value.split(",")[0]])
def test_the_verdicts_are_explained(verdict: str) -> None:
    assert f'"{verdict}"' in section("Claim levels")


@pytest.mark.parametrize("name", [RUN_FORMAT, ROUND_FORMAT, TRUST_FORMAT, REPORT_FORMAT, STATISTIC, PROFILE])
def test_formats_and_profile_are_named(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_every_vector_file_is_listed() -> None:
    listed = [named(row[0])[0] for row in tables("The format: every byte that is hashed or signed")[0]]
    assert listed == sorted(path.name for path in (ROOT / "tests" / "vectors").glob("*.json"))


def test_what_carries_no_claim_is_named() -> None:
    unclaimed = json.loads((ROOT / "tests" / "scenarios" / "unclaimed_bytes.json").read_text())
    text = section("Bytes that carry no claim")
    assert ("The list is empty" in text) == (not unclaimed)
    assert all(f"`{each['file']}`" in text for each in unclaimed)


def test_a_key_that_the_format_sorts_is_sorted_so() -> None:
    """The order of keys in the tables is that of the classes; on the wire it is RFC 8785's."""
    assert document.to_bytes(record.RejectedLeaf(1, 2, b"", 3, b"")).startswith(b'{"evidence":"0x","node":3,"reason":1')
