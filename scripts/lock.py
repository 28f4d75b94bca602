"""Write the two locks: the closure of pyproject.toml as it resolves today in a clean environment.

`make lock` runs it. Pins carry no hashes, no index, no local version (`+cpu`) and no CUDA library: torch is another
build on another machine, and each takes the one that its indexes offer. requirements.lock is what fedchain runs on (its
digest is the `envDigest` of every update); requirements-dev.lock adds the tools of `make test`.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from pathlib import Path

from scripts.venv import CUDA_PREFIXES, create, would_install

HEADER = "# Exact pins of the whole closure, written by `make lock`: do not edit.\n"


def main() -> int:
    """Resolve everything together, then the part that runs on those versions, and write both files."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    runtime, tools = project["dependencies"], project["optional-dependencies"]["dev"]
    with tempfile.TemporaryDirectory() as folder:
        venv, constraints = Path(folder) / "venv", Path(folder) / "constraints"
        create(venv)
        everything = resolve(venv, *runtime, *tools)
        write(constraints, everything)
        runs = resolve(venv, "--constraint", str(constraints), *runtime)
    write(Path("requirements.lock"), runs)
    write(Path("requirements-dev.lock"), ["-r requirements.lock", *(pin for pin in everything if pin not in runs)])
    return 0


def resolve(venv: Path, *requirements: str) -> list[str]:
    """The closure of the requirements as pins; nothing is installed."""
    found = would_install(venv, *requirements)
    return [f"{name}=={version.split('+')[0]}" for name, version in found if not name.startswith(CUDA_PREFIXES)]


def write(path: Path, lines: list[str]) -> None:
    """Write the lines under the header."""
    path.write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
