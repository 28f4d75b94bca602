"""Which launcher a name stands for. Those of other projects are extras, imported when they are asked for."""

from __future__ import annotations

from fedchain.adapters.launchers import processes
from fedchain.core.errors import InputError
from fedchain.ports.launcher import Launcher


def launcher_of(name: str, module: str) -> Launcher:
    """Return a launcher for the work of a module, which it may begin to import at once.

    Raises:
        InputError: if there is none of this name, or what it needs is not installed.
    """
    match name:
        case "local":
            processes.warm_up(module)
            return processes.launch
        case _:
            raise InputError("--launcher", expected="local", got=name[:40])
