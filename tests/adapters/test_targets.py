"""Targets: what they name, which files stand behind them, and what is said when they fail."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedchain.adapters import targets
from fedchain.adapters.identity import code_digest
from fedchain.core.errors import InputError

_NUMBERS = itertools.count()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working folder; what was imported from it is forgotten afterwards."""
    path, known = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def module(folder: Path, text: str) -> str:
    """Write a module of a name that no test had before."""
    name = f"own_{next(_NUMBERS)}"
    (folder / f"{name}.py").write_text(text)
    return name


def test_a_target_is_found_in_the_folder(folder: Path) -> None:
    name = module(folder, "def make(size): return size + 1\n")
    assert targets.load(f"{name}:make", folder)(3) == 4


@pytest.mark.parametrize("target", ["mine", "mine:", ":Net", "mine:Net()", "../mine:Net", "os;x:y", "mine:Net.deep"])
def test_other_forms_are_refused_before_anything_is_imported(target: str, folder: Path) -> None:
    with pytest.raises(InputError, match="expected module:name"):
        targets.load(target, folder)


def test_a_missing_module_says_where_it_was_looked_for(folder: Path) -> None:
    with pytest.raises(InputError, match=f"a module nowhere_to_be in {folder}, got none; start fedchain in the folder"):
        targets.load("nowhere_to_be:Net", folder)


def test_what_is_no_class_or_function_is_refused(folder: Path) -> None:
    name = module(folder, "Net = 3\n")
    with pytest.raises(InputError, match="got int"):
        targets.load(f"{name}:Net", folder)
    with pytest.raises(InputError, match="got none"):
        targets.load(f"{name}:Other", folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nraise ValueError('no\\nway')\n", r"failed with ValueError: no way \(own_\d+.py, line 2\)"),
        ("def broken(:\n", r"failed with SyntaxError: .* \(own_\d+.py, line 1\)"),
        ("import not_there_at_all\n", r"failed with ModuleNotFoundError: .*not_there_at_all.* \(own_\d+.py, line 1\)"),
    ],
)
def test_a_module_that_fails_is_said_in_one_line_with_its_place(text: str, said: str, folder: Path) -> None:
    name = module(folder, text)
    with pytest.raises(InputError, match=said) as caught:
        targets.load(f"{name}:Net", folder)
    assert "\n" not in str(caught.value)


def test_the_sources_are_the_module_and_what_it_imports_beside_it(folder: Path) -> None:
    package = folder / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("from . import deep\nimport json\n")
    (package / "deep.py").write_text("DEPTH = 1\n")
    (folder / "unused.py").write_text("")
    name = module(folder, "import numpy\nfrom parts.layers import deep\ndef make(): return deep\n")
    found = targets.sources_of(targets.load(f"{name}:make", folder))
    assert set(found) == {f"{name}.py", "parts/__init__.py", "parts/layers.py", "parts/deep.py"}


def test_a_changed_file_beside_the_module_is_another_code(folder: Path) -> None:
    (folder / "beside_it.py").write_text("A = 1\n")
    name = module(folder, "import beside_it\ndef make(): return 1\n")
    made = targets.load(f"{name}:make", folder)
    before = code_digest(own=targets.sources_of(made))
    (folder / "beside_it.py").write_text("A = 2\n")
    assert len({code_digest(), before, code_digest(own=targets.sources_of(made))}) == 3


def test_fedchains_own_functions_add_no_source() -> None:
    assert targets.sources_of(code_digest) == {}


def test_a_notebooks_function_counts_by_its_text() -> None:
    namespace: dict[str, object] = {"__name__": "no_such_module"}
    exec("def make(): return 1", namespace)  # noqa: S102 - as a notebook does, here without a cell to read
    with pytest.raises(InputError, match=r"has no source.*put it into a module"):
        targets.sources_of(namespace["make"])
