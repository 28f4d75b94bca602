"""The home: one folder that holds all state of fedchain on this machine.

`home.json` says which format the folder has, so that a release never works on a layout that it does not know. Runs hold
`lock` together, each with a lock on its own journal; whoever changes anything else of a home holds `lock` alone. What
all runs share is locked where it is written: docs/adr/0035-runs-share-a-home.md has the list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.files import TEMPORARY, create_file, explained, make_folder
from fedchain.adapters.locks import held, in_turn
from fedchain.core.errors import FormatError, InputError

HOME_FORMAT: Final = 3
_MARK: Final = "home.json"
_LOCK: Final = "lock"
_ENROLLING: Final = "enrolling.lock"
_WAIT: Final = "wait until it ends, or choose another with --home"
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
    def sweeps(self) -> Path:
        """One folder a sweep."""
        return self.root / "sweeps"

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


def locked(home: Home) -> AbstractContextManager[None]:
    """Hold the home alone while changing it.

    Raises:
        InputError: if another process holds it, or this one may not write here.
    """
    return held(home.root / _LOCK, "home", _WAIT)


def shared(home: Home) -> AbstractContextManager[None]:
    """Hold the home together with other runs.

    Raises:
        InputError: if another process holds it alone, or this one may not write here.
    """
    return held(home.root / _LOCK, "home", _WAIT, alone=False)


def enrolling(home: Home) -> AbstractContextManager[None]:
    """Be the only one that makes keys, ledger and contracts, and brings the registry up to date; others wait.

    Raises:
        InputError: if another process is at it for minutes, or this one may not write here.
    """
    return in_turn(home.root / _ENROLLING)


@contextmanager
def driven(home: Home, run: str) -> Iterator[None]:
    """Be the only one that takes a run further; `run` is the run id in hex.

    Raises:
        InputError: if another process does, or this one may not write here.
    """
    make_folder(home.journal(run).parent)
    remedy = "wait until it ends, or start another run with --fresh"
    with held(home.journal(run).with_name(_LOCK), f"run 0x{run}", remedy):
        yield


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
