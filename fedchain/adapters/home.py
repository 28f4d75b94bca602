"""The home: one folder that holds all state of fedchain on this machine.

`home.json` says which format the folder has, so that a release never works on a layout that it does not know. One
process at a time may change a home: it holds `lock` (flock), which the kernel frees when the process dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.files import PRIVATE_FILE, TEMPORARY, create_file, explained, make_folder
from fedchain.core.errors import FormatError, InputError

HOME_FORMAT: Final = 3
_MARK: Final = "home.json"
_LOCK: Final = "lock"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Home:
    """Where each kind of state lies. The folders below are made by whoever first writes into them."""

    root: Path

    @property
    def keys(self) -> Path:
        """Secret keys, one file each: `keys/<role>/<name>.key`."""
        return self.root / "keys"

    @property
    def keyrings(self) -> Path:
        """Wrapped data keys of what is stored, one folder a reader; those of sites lie in their own folders."""
        return self.root / "keyrings"

    @property
    def signers(self) -> Path:
        """Where keys lie that are not below `keys`: keystores and external signers, by role."""
        return self.root / "signers.toml"

    @property
    def erasures(self) -> Path:
        """What was ordered to be erased, and the receipts of it."""
        return self.root / "erasures"

    @property
    def store(self) -> Path:
        """The artifacts."""
        return self.root / "store"

    @property
    def store_nodes(self) -> Path:
        """How the nodes of `store=kubo` are reached."""
        return self.root / "store.json"

    @property
    def chain(self) -> Path:
        """The embedded chain's database."""
        return self.root / "chain" / "chain.sqlite"

    @property
    def node(self) -> Path:
        """How the chain of `ledger=rpc` is reached, addresses with access keys included, and which chain it is."""
        return self.root / "chain" / "node.json"

    @property
    def intents(self) -> Path:
        """The journal of transactions on their way to that chain."""
        return self.root / "chain" / "intents.sqlite"

    @property
    def log(self) -> Path:
        """The signed log, where there is no chain."""
        return self.root / "log" / "entries"

    @property
    def ledger(self) -> Path:
        """Which kind of ledger the home has, and its identity."""
        return self.root / "ledger.json"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def mlflow(self) -> Path:
        """The tracking database and its files."""
        return self.root / "mlflow"

    @property
    def trust(self) -> Path:
        """The trust file that the last run in simulation wrote."""
        return self.root / "trust.json"

    def site(self, name: str) -> Path:
        """The folder of what one site remembers: salts, charges and releases."""
        return self.root / "sites" / plain_name(name)

    def journal(self, run: str) -> Path:
        """A run's journal; `run` is the run id in hex."""
        return self.runs / plain_name(run) / "journal"


def plain_name(name: str) -> str:
    """Return a name that is safe as part of a path.

    Raises:
        InputError: if it holds anything but lower-case letters, digits, "-" and "_".
    """
    if not _NAME.fullmatch(name):
        raise InputError("a name in the home", expected="lower-case letters, digits, - and _", got=repr(name)[:80])
    return name


def open_home(root: Path) -> Home:
    """Open the home at `root`, for reading or writing; nothing is written.

    Raises:
        InputError: if there is none, it cannot be read, or it has another format.
    """
    path = root / _MARK
    with explained(path):
        data = path.read_bytes() if path.exists() else None
    if data is None:
        raise InputError(
            "no fedchain home here",
            expected=f"a folder with {_MARK}",
            got=root,
            remedy="run an experiment first, or name the home with --home",
        )
    _check_format(root, data)
    return Home(root)


def create_home(root: Path) -> Home:
    """Open the home at `root`, making it (mode 0700) if there is none.

    Raises:
        InputError: if it cannot be made, holds other things, or has another format.
    """
    make_folder(root)
    path = root / _MARK
    with explained(root):
        is_new = not path.exists()
        strangers = [each.name for each in root.iterdir() if is_new and not each.name.endswith(TEMPORARY)]
    if is_new:
        if strangers:
            raise InputError(
                f"{root} holds other things and no {_MARK}",
                expected="a new or empty folder, or a home",
                got=min(strangers),
                remedy="choose another folder with --home",
            )
        create_file(path, json.dumps({"format": HOME_FORMAT}).encode() + b"\n")
    return open_home(root)


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the home's exclusive lock while changing it.

    Raises:
        InputError: if another process holds it, or this one may not write here.
    """
    path = home.root / _LOCK
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        _acquire(home.root, descriptor)
        yield
    finally:
        os.close(descriptor)


def _acquire(root: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise InputError(
            f"home is in use by process {holder if holder.isdecimal() else '(unknown)'}",
            got=root,
            remedy="wait until it ends, or choose another with --home",
        ) from error
    with explained(root / _LOCK):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _check_format(root: Path, data: bytes) -> None:
    try:
        content: object = json.loads(data)
    except ValueError as error:
        raise FormatError(
            f"{root / _MARK} is damaged",
            expected=json.dumps({"format": HOME_FORMAT}),
            got=repr(data[:40]),
            remedy="restore it",
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != HOME_FORMAT or isinstance(found, bool):
        raise InputError(
            f"{root} is a home of another version",
            expected=f"format {HOME_FORMAT}",
            got=f"format {str(found)[:40]}",
            remedy="use the release of fedchain that made it, or choose another with --home",
        )
