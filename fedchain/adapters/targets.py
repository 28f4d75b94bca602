"""Code of the experimenter's own: what a target ("module:name") names, and which files stand behind it.

Only a configuration of one's own may name any target, and only `fedchain run` and `fedchain.federate` load one. A site
that gets a task, and a verifier that reads a record, look a target up among those that were loaded here on purpose and
refuse every other: nothing is imported because somebody else's document names it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import fedchain
from fedchain.adapters.files import explained
from fedchain.core.errors import FedchainError, InputError

_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_MAIN: Final = "__main__"
_INSTALLED: Final = "site-packages"
_PACKAGE: Final = Path(fedchain.__file__).resolve().parent


def load(target: str, folder: Path) -> Callable[..., Any]:
    """Import what a target names; `folder` is searched first, as a script's own folder is.

    Raises:
        InputError: if the target has another form, is not there, or its module fails while it is imported.
    """
    if not _TARGET.fullmatch(target):
        raise InputError("target", expected="module:name, such as mine:Net", got=repr(target)[:80])
    module_name, _, name = target.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    with own_code(target):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name not in (module_name, module_name.partition(".")[0]):
                raise
            raise InputError(
                f"target {target}", expected=f"a module {module_name} in {folder}", got="none",
                remedy="start fedchain in the folder that holds it",
            ) from error  # fmt: skip
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        raise InputError(
            f"target {target}", expected=f"a class or function {name} in {module.__file__}", got=_kind(found)
        )
    return found


@contextmanager
def own_code(target: str) -> Iterator[None]:
    """Run code of the experimenter's; whatever it raises is said in one line with its place.

    Raises:
        InputError: naming the target, the exception and the line that raised it.
    """
    try:
        yield
    except FedchainError:
        raise
    except Exception as error:
        raise InputError(f"{target} failed with {_described(error)}", remedy="mend it and repeat") from error


def target_of(made: object) -> str:
    """Return the target that names a class or function; in a script, its module is the script's file."""
    name = getattr(made, "__qualname__", type(made).__qualname__)
    module = getattr(made, "__module__", _MAIN)
    file = getattr(sys.modules.get(_MAIN), "__file__", None) if module == _MAIN else None
    plain = Path(file).stem if file else module
    return f"{plain}:{re.sub(r'[^A-Za-z0-9_]', '_', name)}"


def is_importable(target: str, made: object) -> bool:
    """Whether another process finds the very thing under this target: not what a script or a notebook defines."""
    module_name, _, name = target.partition(":")
    return getattr(made, "__module__", _MAIN) != _MAIN and getattr(sys.modules.get(module_name), name, None) is made


def sources_of(*mades: object) -> dict[str, bytes]:
    """Return the source files behind classes and functions, by path: their modules, and what those import beside them.

    Of a notebook, which has no file, the text of each class or function itself counts.

    Raises:
        InputError: if there is no source, or a file cannot be read.
    """
    found: dict[str, bytes] = {}
    for made in mades:
        module = inspect.getmodule(made)
        file = getattr(module, "__file__", None)
        if module is None or file is None:
            found[f"{target_of(made)}.py"] = _text_of(made)
        elif not is_shipped(made):
            found |= _closure(Path(file).resolve(), _root_of(module, Path(file).resolve()))
    return found


def is_shipped(made: object) -> bool:
    """Whether a class or function is fedchain's own, which the package's digest covers."""
    return str(getattr(made, "__module__", "")).partition(".")[0] == "fedchain"


def _root_of(module: ModuleType, file: Path) -> Path:
    depth = module.__name__.count(".") + (file.name == "__init__.py")
    return file.parents[depth]


def _closure(start: Path, root: Path) -> dict[str, bytes]:
    """Read a file and all under `root` that it imports, directly or not; of an installed package only its own files."""
    top = start.relative_to(root).parts[0] if _INSTALLED in root.parts else None
    found: dict[str, bytes] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix()
        if name in found or top not in (None, name.partition("/")[0]):
            continue
        with explained(path):
            found[name] = path.read_bytes()
        waiting += _imported(found[name], path, root)
    return found


def _imported(source: bytes, path: Path, root: Path) -> Iterator[Path]:
    package = list(path.relative_to(root).parts[:-1])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [each.name.split(".") for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            stem = [*start, *(node.module.split(".") if node.module else [])]
            names = [[*stem, each.name] for each in node.names]
        else:
            continue
        for parts in names:
            yield from _files_of(parts, root)


def _files_of(parts: list[str], root: Path) -> Iterator[Path]:
    """The files under `root` that importing a dotted name runs: each package's, then the module's."""
    for end in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:end])
        for path in (stem / "__init__.py", stem.with_suffix(".py")):
            if path.is_file():
                yield path


def _text_of(made: object) -> bytes:
    try:
        return inspect.getsource(made).encode()  # type: ignore[arg-type]  # what has no source raises TypeError
    except (OSError, TypeError) as error:
        raise InputError(
            f"{target_of(made)} has no source", expected="a class or function in a file or a notebook cell",
            got=str(error)[:120], remedy="put it into a module",
        ) from error  # fmt: skip


def _kind(found: object) -> str:
    return "none" if found is None else type(found).__name__


def _described(error: Exception) -> str:
    trace, place = error.__traceback__, ""
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if not path.is_relative_to(_PACKAGE) and _INSTALLED not in path.parts:
            place = f" ({path.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({Path(error.filename).name}, line {error.lineno})"
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}{place}"
