"""NASA C-MAPSS turbofan engines (Saxena et al., PHM 2008), read from a folder in NASA's own format: SIMULATED flights.

Clients are fleets: engines are dealt out in turn. A row is a window of the last cycles of the sensors that move; its
label is the remaining useful life, capped at 125 cycles (Heimes 2008) and in units of 125 cycles, so that an RMSE of
0.1 is 12.5 cycles. Held out are NASA's test engines, each with its last window. The data are not part of fedchain.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.own import sandbox
from fedchain.adapters.datasets.partition import Floats, Partition
from fedchain.adapters.files import explained
from fedchain.core.errors import InputError
from fedchain.core.policy import DatasetCard

CAP: Final = 125
COLUMNS: Final = 26
_FIRST_SENSOR: Final = 5
RANGES: Final = {
    2: (641.0, 645.0), 3: (1570.0, 1620.0), 4: (1380.0, 1442.0), 7: (549.0, 557.0), 8: (2387.5, 2389.0),
    9: (9020.0, 9245.0), 11: (46.5, 48.8), 12: (518.0, 524.0), 13: (2387.5, 2389.0), 14: (8099.0, 8294.0),
    15: (8.3, 8.6), 17: (388.0, 400.0), 20: (38.0, 39.5), 21: (22.8, 23.7),
}  # fmt: skip
"""The sensors that move in FD001, by number, with round figures around what they show there."""

Table = npt.NDArray[np.float64]


def load(directory: str, subset: str = "FD001", fleets: int = 4, window: int = 30) -> tuple[Partition, ...]:
    """Return one partition a fleet: rows (sensors, window) and their remaining useful life.

    Raises:
        InputError: if a file is missing or has another format, or there are fewer engines than fleets.
    """
    folder = Path(directory)
    names = [f"{kind}_{subset}.txt" for kind in ("train", "test", "RUL")]
    train, test, left = (_table(folder / name, 1 if name.startswith("RUL") else COLUMNS) for name in names)
    engines, tested = _engines(train, window), _engines(test, 1)
    if not 1 <= fleets <= len(engines) or window < 1:
        raise InputError(
            "fleets and window of C-MAPSS", expected=f"1..{len(engines)} fleets, a window of at least 1",
            got=f"{fleets} and {window}",
        )  # fmt: skip
    if len(tested) != len(left):
        raise InputError(str(folder / names[2]), expected=f"{len(tested)} lines", got=len(left))
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    ends = [(each, int(cycles)) for each, cycles in zip(tested, left[:, 0], strict=True)]
    return tuple(
        _fleet(number + 1, (engines[number::fleets], ends[number::fleets]), window, files) for number in range(fleets)
    )


def _fleet(
    number: int, engines: tuple[list[Table], list[tuple[Table, int]]], window: int, files: dict[str, str]
) -> Partition:
    run_down, tested = engines
    x, y = _stacked([_windows(each, window, 0) for each in run_down], window)
    held_x, held_y = _stacked([_last(each, window, left) for each, left in tested], window)
    policy = replace(
        sandbox("nasa-cmapss", "SIMULATED: NASA C-MAPSS, Saxena et al. 2008"),
        dataset_name=f"nasa-cmapss-fleet-{number}",
    )
    card = DatasetCard(policy.dataset_name, files, len(x))
    return Partition(f"fleet-{number}", x, y, held_x, held_y, x[:0], y[:0], card, policy)


def _windows(engine: Table, window: int, left: int) -> tuple[Floats, Floats]:
    """Return every window of an engine, (n, sensors, window), and the life that is left at its end, (n,)."""
    scaled = _scaled(engine)
    slices = np.lib.stride_tricks.sliding_window_view(scaled, window, axis=0)
    lives = np.arange(len(engine) - window, -1, -1) + left
    return slices.astype(np.float32), (np.minimum(lives, CAP) / CAP).astype(np.float32)


def _last(engine: Table, window: int, left: int) -> tuple[Floats, Floats]:
    """Return the last window alone; an engine with fewer cycles is filled with its first one."""
    missing = max(0, window - len(engine))
    filled = np.concatenate([np.repeat(engine[:1], missing, axis=0), engine])[-window:]
    return _windows(filled, window, left)


def _scaled(engine: Table) -> Table:
    columns = [
        (2 * engine[:, _FIRST_SENSOR + sensor - 1] - low - high) / (high - low)
        for sensor, (low, high) in RANGES.items()
    ]
    return np.stack(columns, axis=1)


def _stacked(parts: list[tuple[Floats, Floats]], window: int) -> tuple[Floats, Floats]:
    rows, labels = [each for each, _ in parts], [each for _, each in parts]
    empty = np.empty((0, len(RANGES), window), np.float32), np.empty(0, np.float32)
    return np.concatenate([empty[0], *rows]), np.concatenate([empty[1], *labels])


def _engines(table: Table, least: int) -> list[Table]:
    engines = [table[table[:, 0] == unit] for unit in np.unique(table[:, 0])]
    return [each for each in engines if len(each) >= least]


def _table(path: Path, columns: int) -> Table:
    with explained(path):
        if not path.is_file():
            raise InputError(
                f"data file {path}", expected="a file of NASA's C-MAPSS", got="no such file",
                remedy="set data.options.directory to the folder with train_, test_ and RUL_FD001.txt",
            )  # fmt: skip
        lines = path.read_text(encoding="ascii", errors="replace").split("\n")
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        texts = line.split()
        if not texts:
            continue
        try:
            values = [float(text) for text in texts]
        except ValueError:
            values = []
        if len(values) != columns or not np.isfinite(values).all():
            raise InputError(f"{path}, line {number}", expected=f"{columns} finite numbers", got=line[:60])
        rows.append(values)
    if not rows:
        raise InputError(f"data file {path}", expected="at least one line", got="none")
    return np.array(rows)
