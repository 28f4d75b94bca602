"""The Launcher port: one function, called with many lines of text, each call in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Work: TypeAlias = Callable[[str], None]
"""A function of a module, so that another process finds it by its name."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The call with this line is over; `death` says what ended its process, "" if it came to its end by itself."""

    line: str
    death: str


class Launcher(Protocol):
    """Starts processes."""

    def __call__(self, work: Work, lines: Sequence[str], at_once: int) -> Generator[Ended, None, None]:
        """Call `work` with each line, so many at once, in their order; yield each call when it is over.

        Closing the iterator ends what is still running.

        Raises:
            InputError: if processes cannot be started.
        """
        ...
