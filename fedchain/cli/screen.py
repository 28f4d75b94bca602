"""Where a verb writes: its result to standard output, everything on the way to standard error.

With `--json` standard output holds exactly one JSON document, whatever happens. It is ASCII, so no byte of it can steer
a terminal; for people, `fedchain.cli.text.safe` does the same. Tables fold long ids, they never cut them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from fedchain.cli.text import safe

_WIDTH_ELSEWHERE: Final = 200  # of tables that go to a file or a pipe


@dataclass(frozen=True, slots=True)
class Screen:
    """The two streams and whether the result is to be a JSON document."""

    out: TextIO
    err: TextIO
    as_json: bool

    def document(self, value: Mapping[str, object]) -> None:
        """Write the one JSON document."""
        json.dump(value, self.out, indent=2, ensure_ascii=True, allow_nan=False)
        self.out.write("\n")

    def line(self, text: str = "") -> None:
        """Write one line of the result, made safe, never wrapped."""
        self.out.write(safe(text, len(text)) + "\n")

    def lines(self, text: str) -> None:
        """Write a text of ours as it stands."""
        self.out.write(text.rstrip("\n") + "\n")

    def note(self, text: str) -> None:
        """Write one line about what is going on, made safe."""
        self.err.write(safe(text, 2000) + "\n")
        self.err.flush()

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; every cell is made safe."""
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only verbs that print tables pay for rich
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in header:
            table.add_column(Text(safe(name)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(safe(cell)) for cell in row))
        width = None if self.out.isatty() else _WIDTH_ELSEWHERE
        console = Console(file=self.out, width=width, markup=False, highlight=False, emoji=False)
        console.print(Text(safe(title), style="bold"))
        console.print(table)
