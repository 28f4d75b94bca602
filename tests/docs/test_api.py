"""docs/api.md has every public name with its signature, every argument and error, and examples that run."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fedchain
from fedchain import flower

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text()
PUBLIC: list[str] = sorted(vars(fedchain)["_PUBLIC"])
NAMES = {f"fedchain.{name}": getattr(fedchain, name) for name in PUBLIC} | {
    f"fedchain.flower.{name}": each
    for name, each in vars(flower).items()
    if getattr(each, "__module__", "") == flower.__name__ and not name.startswith("_")
}


def section(name: str) -> str:
    found = re.search(rf"^### `{re.escape(name)}`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/api.md has no section {name}"
    return found[1]


def signature(name: str) -> str:
    """A signature as the page writes it: annotations without quotes, no return value for classes."""
    text = str(inspect.signature(NAMES[name]))
    for annotation in re.findall(r"(?:: |-> )('(?:[^'\\]|\\.)*')", text):
        text = text.replace(annotation, ast.literal_eval(annotation))
    return name + (text.removesuffix(" -> None") if inspect.isclass(NAMES[name]) else text)


def flat(text: str) -> str:
    return re.sub(r"\(\s+|\s+\)", lambda each: each[0].strip(), re.sub(r"\s+", " ", text)).strip()


def test_the_names_are_the_public_ones_and_no_other() -> None:
    assert sorted(re.findall(r"^### `(.*)`$", TEXT, re.MULTILINE)) == sorted(NAMES)


def test_the_stub_has_the_same_names() -> None:
    stub = (ROOT / "fedchain" / "__init__.pyi").read_text()
    assert sorted(re.findall(r"import (\w+) as \1$", stub, re.MULTILINE)) == PUBLIC


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_signature_stands_as_it_is(name: str) -> None:
    (written,) = re.findall(r"```text\n(.*?)```", section(name), re.DOTALL)
    assert flat(written) == flat(signature(name))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_argument_is_explained_and_no_other(name: str) -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| \S", section(name), re.MULTILINE)
    explained = [each for row in rows for each in re.findall(r"`(\w+)`", row)]
    assert sorted(explained) == sorted(inspect.signature(NAMES[name]).parameters)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_error_is_named(name: str) -> None:
    (errors,) = re.findall(r"^Errors: (.*?)\n\n", section(name), re.MULTILINE | re.DOTALL)
    raised = re.findall(r"^\s+(\w+Error):", inspect.getdoc(NAMES[name]) or "", re.MULTILINE)
    assert {each for each in raised if f"`{each}`" not in errors} == set()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_has_an_example(name: str) -> None:
    assert re.search(r"```python\n.*?```", section(name), re.DOTALL)


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
    (tmp_path / "examples.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLWR_TELEMETRY_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "examples.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
