"""What is undocumented fails: fields, verbs, flags, exit codes, choices, words."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from fedchain.cli.audit import LEVELS
from fedchain.cli.compose import CONF, choices_of, compose
from fedchain.cli.exits import MEANING, PRECEDENCE
from fedchain.cli.main import parser
from fedchain.cli.multirun import compose_sweep
from fedchain.cli.validate import field_paths
from fedchain.cli.words import WORDS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows_of(text: str) -> list[list[str]]:
    """The cells of all table rows, headers and rulers left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rulers = {number for number, row in enumerate(rows) if set("".join(row)) <= {"-"}}
    return [row for number, row in enumerate(rows) if number not in rulers and number + 1 not in rulers]


def section(name: str, heading: str) -> str:
    text = (DOCS / name).read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/{name} has no section {heading}"
    return found[1]


def parsers_of(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Every verb with its parser, nested verbs included."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found |= {each.prog: each} | parsers_of(each)
    return found


VERBS = parsers_of(parser())


def arguments_of(verb: argparse.ArgumentParser) -> set[str]:
    shown = set()
    for action in verb._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        value = f" {action.metavar}" if action.metavar and action.option_strings else ""
        shown.add(f"`{action.option_strings[0]}{value}`" if action.option_strings else f"`{action.metavar}`")
    return shown


def test_the_verbs_are_the_documented_ones() -> None:
    documented = re.findall(r"^## `(fedchain .*)`$", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_arguments_of_a_verb_are_the_documented_ones(verb: str) -> None:
    documented = {row[0] for row in rows_of(section("cli.md", f"`{verb}`")) if row[0].startswith("`")}
    assert documented == arguments_of(VERBS[verb])


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_argument_has_a_help(verb: str) -> None:
    for action in VERBS[verb]._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help


def test_the_exit_codes_are_the_documented_ones() -> None:
    text = section("cli.md", "Exit codes")
    assert rows_of(text) == [[str(int(code)), meaning] for code, meaning in MEANING.items()]
    assert ", ".join(str(int(code)) for code in PRECEDENCE) in text


def test_the_levels_are_the_documented_ones() -> None:
    rows = [row for row in rows_of(section("cli.md", "`fedchain verify`")) if not row[0].startswith("`")]
    assert rows == [[level.value, meaning] for level, meaning in LEVELS.items()]


def fields() -> list[list[str]]:
    return rows_of(section("configuration.md", "Fields"))


def test_every_field_is_documented_in_the_order_of_the_dataclasses() -> None:
    assert [row[0].strip("`") for row in fields()] == list(field_paths())


def test_the_documented_defaults_are_what_a_bare_run_takes() -> None:
    bare, on_nodes = compose([]), compose(["ledger=rpc", "store=kubo"])
    for path, _, default, _ in fields():
        value: object = on_nodes if path.startswith(("`ledger.node.", "`store.nodes.")) else bare
        for name in path.strip("`").split("."):
            value = getattr(value, name)
        assert default.strip("`") == json.dumps(value).strip('"'), path


def test_every_choice_of_every_group_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text().partition("## Fields")[0]
    documented = {group.strip("`"): re.findall(r"`(.*?)`", options) for group, options in rows_of(text)}
    assert documented == choices_of(CONF)


def test_the_documented_experiment_of_ones_own_composes(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    config = compose(["experiment=mine"], tmp_path)
    assert (config.experiment, config.rounds, config.model.name, config.privacy.epsilon) == ("mine", 10, "mlp", 3.0)


@pytest.mark.parametrize("name", ["cli.md", "configuration.md"])
def test_every_run_in_the_docs_has_overrides_that_compose(name: str, tmp_path: Path) -> None:
    lines = re.findall(r"^fedchain run ([^#\n]*)", (DOCS / name).read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        overrides = [each for each in line.split() if "=" in each]
        if "--multirun" in line:
            assert compose_sweep(overrides)
        elif "--config-dir" not in line:
            assert compose(overrides).experiment


def glossary() -> dict[str, str]:
    return dict(rows_of((DOCS / "glossary.md").read_text()))


def test_the_words_of_the_screens_mean_in_the_glossary_what_they_mean_there() -> None:
    assert {word: glossary().get(word) for word in WORDS} == WORDS


def test_the_glossary_is_sorted_and_says_each_word_once() -> None:
    words = [word for word, _ in rows_of((DOCS / "glossary.md").read_text())]
    assert words == sorted(set(words), key=str.casefold)


TERMS = {
    "artifact", "CID", "delta", "digest", "epsilon", "federation", "grant", "hash", "home", "key", "ledger",
    "lineage", "model digest", "payload", "pinned head", "privacy spent", "receipt", "record", "round", "run", "seal",
    "signature", "store", "trust file", "update", "blockchain", "commitment", "contract", "nonce", "merkle",
    "transaction", "wallet", "gas", "epoch", "cohort", "attestation", "promise", "registry",
}  # fmt: skip
"""What a hospital's data officer may not know; a term that a help text uses has to be in the glossary."""


def test_every_term_of_a_help_text_is_in_the_glossary() -> None:
    known = {word.casefold() for word in glossary()}
    for verb, each in VERBS.items():
        text = re.sub(r"[a-z_]+[=/.][\w./=]*", " ", each.format_help().casefold())
        used = {term for term in TERMS if re.search(rf"\b{term.casefold()}(s|es|ed)?\b", text)}
        missing = {term for term in used if term.casefold() not in known}
        assert not missing, f"{verb} says {missing}"
