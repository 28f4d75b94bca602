"""What launchers of other projects need is optional, and its absence is one clear line."""

from __future__ import annotations

import importlib.util

from fedchain.core.errors import InputError


def require(package: str) -> None:
    """Check that an optional package is there, without importing it.

    Raises:
        InputError: if it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"--launcher {package}", expected=f"the package {package}", got="none",
            remedy=f"pip install 'fedchain[{package}]', or leave the option out",
        )  # fmt: skip
