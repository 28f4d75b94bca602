"""Which launcher a name stands for. Those of other projects are extras, imported when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedchain.adapters.home import Home
from fedchain.adapters.launchers import pooled, processes, submitted
from fedchain.core.errors import InputError
from fedchain.ports.launcher import Launcher


def launcher_of(name: str, module: str, home: Path, parameters: Mapping[str, str]) -> Launcher:
    """Return a launcher for the work of a module, which it may begin to import at once.

    Raises:
        InputError: if there is none of this name, what it needs is not installed, or it takes no parameters.
    """
    if parameters and name != "submitit":
        raise InputError("--launcher-option", expected="--launcher submitit", got=f"--launcher {name}")
    match name:
        case "local":
            processes.warm_up(module)
            return processes.launch
        case "joblib":
            pooled.check()
            return pooled.launch
        case "submitit":
            submitted.check()
            return submitted.Submitted(Home(home).sweeps / "submitit", parameters)
        case _:
            raise InputError("--launcher", expected="local, joblib or submitit", got=name[:40])
