"""Ports that go wrong as a seed decides: a network, a ledger, a thread that seals, a disk under the journal."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from random import Random
from typing import Final

from fedchain.adapters import journal_file
from fedchain.adapters.journal_file import FileJournal, read_journal
from fedchain.core.errors import UnreachableError
from fedchain.core.record import RoundLink
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.ports.cohort import Cohort, ReceiptReply, Reply
from fedchain.ports.journal import Entry
from fedchain.ports.ledger import Ledger, LedgerEvent, LedgerIdentity, LinkEvent, Seal


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes wrong in a stretch, in percent of the occasions, and how many seconds pass before it."""

    lost: int = 0
    repeated: int = 0
    late: int = 0
    unreachable: int = 0
    deferred: int = 0
    seconds: int = 0

    @classmethod
    def of(cls, random: Random) -> Weather:
        """Draw it: mostly one or two things are bad."""
        lost, repeated, late, unreachable, deferred = (random.choice((0, 0, 40)) for _ in range(5))
        return cls(lost, repeated, late, unreachable, deferred, random.choice((0, 0, 0, 1, 30, 601)))


FINE: Final = Weather()


@dataclass(slots=True)
class Fate:
    """Decides, from a seed, what happens next.

    `seals` is what the running machine has not sealed yet; `endings` counts how machines ended in all schedules.
    """

    random: Random
    weather: Weather = FINE
    seals: list[tuple[Future[None], Callable[[], None]]] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter[str])

    def finishes(self, run: Callable[[], object], *expected: type[Exception]) -> bool:
        """Tell whether a run finishes; otherwise it may end in the expected ways only. Either is counted."""
        try:
            run()
        except expected as error:
            self.endings[type(error).__name__] += 1
            return False
        self.endings["finished"] += 1
        return True

    def happens(self, percent: int) -> bool:
        return percent > 0 and self.random.randrange(100) < percent

    def let_seals_run(self) -> None:
        """Run what waits to be sealed, in order, if the weather does not defer it."""
        if not self.happens(self.weather.deferred):
            self.run_seals()

    def run_seals(self) -> None:
        while self.seals:
            future, function = self.seals.pop(0)
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - as a thread pool does: whoever asks is told
                future.set_exception(error)


@dataclass(frozen=True, slots=True)
class FatefulPool:
    """Stands where the sealer's pool of one thread stands."""

    fate: Fate

    def submit(self, function: Callable[..., None], *arguments: object) -> Future[None]:
        future: Future[None] = Future()
        self.fate.seals.append((future, functools.partial(function, *arguments)))
        self.fate.let_seals_run()
        return future

    def shutdown(self, *, wait: bool) -> None:
        assert wait
        self.fate.run_seals()


@dataclass(frozen=True, slots=True)
class FatefulCohort:
    """A network that loses, repeats and delays; a site has done its part when its answer is lost."""

    cohort: Cohort
    fate: Fate
    late_replies: list[Reply]

    def train(self, task: Task, model: bytes, answered: frozenset[int]) -> Iterator[Sequence[Reply]]:
        self.fate.let_seals_run()
        together: list[Reply] = []
        for reply in chain.from_iterable(self.cohort.train(task, model, answered)):
            self.fate.let_seals_run()
            if self.fate.happens(self.fate.weather.lost):
                continue
            if self.fate.happens(self.fate.weather.late):
                self.late_replies.append(reply)
                continue
            together.append(reply)
            if self.fate.happens(self.fate.weather.repeated):
                together.append(reply)
            if self.fate.happens(50):
                yield together
                together = []
        yield together

    def late(self) -> Iterator[Reply]:
        return self.cohort.late()

    def promise(self, node: int, promise: SignedPromise) -> None:
        self.fate.let_seals_run()
        if self.fate.happens(self.fate.weather.lost):
            return
        self.cohort.promise(node, promise)
        if self.fate.happens(self.fate.weather.repeated):
            self.cohort.promise(node, promise)

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        self.fate.let_seals_run()
        for receipt in chain.from_iterable(self.cohort.countersign(proofs)):
            if self.fate.happens(self.fate.weather.lost):
                continue
            yield [receipt] * (2 if self.fate.happens(self.fate.weather.repeated) else 1)


@dataclass(frozen=True, slots=True)
class FatefulLedger:
    """A ledger that now and then does not answer, before or after it took the link."""

    ledger: Ledger
    fate: Fate

    def identity(self) -> LedgerIdentity:
        return self.ledger.identity()

    def events(self) -> Sequence[LedgerEvent]:
        return self.ledger.events()

    def registry_head(self) -> bytes:
        return self.ledger.registry_head()

    def head_slot(self, run: bytes) -> bytes:
        return self.ledger.head_slot(run)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        return self.ledger.find(run, round_)

    def check_lead(self) -> None:
        self.ledger.check_lead()

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        if self.fate.happens(self.fate.weather.unreachable):
            raise UnreachableError("the ledger does not answer")
        seal = self.ledger.seal(link, previous_hash)
        if self.fate.happens(self.fate.weather.unreachable):
            raise UnreachableError("the ledger took the link and does not say so")
        return seal


@dataclass(slots=True)
class VolatileDisk:
    """A disk under the journal that forgets, when the power fails, what was not synced to it."""

    path: Path
    synced: int = 0

    def sync(self, descriptor: int) -> None:
        """Stand where os.fsync stands."""
        self.synced = os.fstat(descriptor).st_size

    def journal(self, entries: Sequence[Entry]) -> FileJournal:
        """Return the real journal, with these entries on the disk."""
        self.path.write_bytes(journal_file.MAGIC)
        journal = FileJournal(self.path)
        for entry in entries:
            journal.append(entry)
        self.synced = self.path.stat().st_size
        return journal

    def lose_power(self, journal: FileJournal) -> list[Entry]:
        """Return what is still there."""
        journal.close()
        os.truncate(self.path, self.synced)
        return list(read_journal(self.path))
