"""Make or refresh the virtual environment from the lock, and let no CUDA library in unasked.

`make` calls this with the Python that the environment is to have; only the standard library is there yet. The stamp is
written last: an environment without one is the rest of an interrupted install and is made anew.

Environment: TORCH_INDEX, a package index that torch alone is taken from; TORCH=cuda accepts the CUDA libraries.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

STAMP = ".installed"
PIP = "pip==26.3"  # the one that Python 3.11 ships takes three times as long to resolve the lock
CUDA_PREFIXES = ("cuda", "nvidia", "pytorch-triton", "triton")


def main(argv: list[str]) -> int:
    """Install the lock and this checkout into the environment; print what happens and how long it took."""
    if sys.version_info < (3, 11):  # noqa: UP036 - nothing else has asked this Python for its version yet
        print(f"expected Python 3.11 or later, got {sys.version.split()[0]}: make PYTHON=python3.11", file=sys.stderr)
        return 2
    venv, lock = Path(argv[0]), Path(argv[1])
    started = time.monotonic()
    print(f"{venv}: installing {lock} (about 2 GB, some minutes the first time)", flush=True)
    try:
        create(venv)
        install_torch(venv, torch_pin())
        pip(venv, "install", "-qq", "--no-compile", "--requirement", str(lock))
        pip(venv, "install", "-qq", "--no-deps", "--no-build-isolation", "--editable", ".")
        compile_packages(venv)
    except subprocess.CalledProcessError as failure:
        print(
            f"{venv}: failed: {' '.join(map(str, failure.cmd))}; mend the cause, then run make again", file=sys.stderr
        )
        return failure.returncode
    except KeyboardInterrupt:
        print(f"{venv}: interrupted; the next make starts it anew", file=sys.stderr)
        return 130
    (venv / STAMP).touch()
    print(f"{venv}: ready in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def create(venv: Path) -> None:
    """Make the environment, or keep a finished one and take its stamp away until the new lock is in."""
    if (venv / STAMP).exists():
        (venv / STAMP).unlink()
        return
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        sys.exit(f"expected {venv} to be a virtual environment or absent, got another folder: make VENV=<a new name>")
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip(venv, "install", "-qq", PIP)


def pip(venv: Path, *arguments: str) -> str:
    """Run the environment's pip and return what it printed; errors, not warnings, go to the terminal."""
    line = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


def torch_pin() -> str:
    """The line of the lock that pins torch."""
    return next(line for line in Path("requirements.lock").read_text().splitlines() if line.startswith("torch=="))


def install_torch(venv: Path, torch: str) -> None:
    """Take torch from TORCH_INDEX if there is one, then stop before any CUDA library, unless TORCH=cuda."""
    if index := os.environ.get("TORCH_INDEX"):
        pip(venv, "install", "-qq", "--no-deps", "--index-url", index, torch)
    if os.environ.get("TORCH") == "cuda":
        return
    if found := [name for name, _ in would_install(venv, torch) if name.startswith(CUDA_PREFIXES)]:
        sys.exit(
            f"expected a CPU build of {torch}, got {len(found)} CUDA libraries with it ({found[0]} ...: several GB). "
            "Take a CPU build: `TORCH_INDEX=<url of a CPU index> make ...`, or accept these: `TORCH=cuda make ...`"
        )


def would_install(venv: Path, *requirements: str) -> list[tuple[str, str]]:
    """The packages, sorted, that pip would add for the requirements: name (normalised as in PEP 503) and version."""
    report = json.loads(pip(venv, "install", "-qq", "--dry-run", "--report", "-", *requirements))
    found = [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in report["install"]]
    return sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found)


def compile_packages(venv: Path) -> None:
    """Write the bytecode on all cores, which pip would do on one; the packages' own tests stay as they are."""
    line = [str(venv / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0", "-x", "/tests?/", str(venv / "lib")]
    subprocess.run(line, check=False)  # some packages carry files for other Pythons


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
