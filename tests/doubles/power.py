"""Power that fails at a chosen moment of a machine, and ports whose effects stop with it.

A moment lies before and after every effect that outlives a process: an entry of the journal, an artifact, a seal, a
message to a site, a line in a site's state. When the power fails at one, every later effect of the same machine fails
too, on whatever thread, as it does for a process that was killed. Restarting gives power to the next machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from fedchain.core.cid import BytesLike, Cid
from fedchain.core.record import RoundLink
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.ports.cohort import Cohort, ReceiptReply, Reply
from fedchain.ports.journal import Entry, Journal
from fedchain.ports.ledger import Ledger, LedgerEvent, LedgerIdentity, LinkEvent, Seal
from fedchain.ports.site_state import Charge, ChargeKey, Evidence, SiteState
from fedchain.ports.store import ArtifactStore


class PowerCutError(Exception):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by its name, how often that name was passed before, and how many moments were passed in all."""

    name: str
    earlier: int
    index: int


Cut = Callable[[Moment], bool]


def never(_moment: Moment) -> bool:
    """Let the power on."""
    return False


def at(name: str, earlier: int = 0) -> Cut:
    """Cut the power when a moment is passed that was passed `earlier` times before."""
    return lambda moment: (moment.name, moment.earlier) == (name, earlier)


def after(count: int) -> Cut:
    """Cut the power when `count` moments of any kind have passed."""
    return lambda moment: moment.index >= count


@dataclass(slots=True)
class Power:
    """Feeds one machine at a time; `passed` are the moments since the last restart.

    `turn` is held for each transaction: a ledger takes one at a time, whoever sends them from whatever thread.
    """

    cut: Cut = never
    is_out: bool = False
    passed: list[str] = field(default_factory=list[str])
    turn: threading.Lock = field(default_factory=threading.Lock)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def restart(self, cut: Cut = never) -> None:
        self.cut, self.is_out, self.passed = cut, False, []

    def pass_moment(self, name: str) -> None:
        """Raise PowerCutError if the power is out, or fails now."""
        with self._lock:
            if not self.is_out:
                self.is_out = self.cut(Moment(name, self.passed.count(name), len(self.passed)))
                self.passed.append(name)
            if self.is_out:
                raise PowerCutError(name)


@dataclass(frozen=True, slots=True)
class MortalJournal:
    journal: Journal
    power: Power

    def append(self, *entries: Entry) -> None:
        for entry in entries:  # of several, any first ones may have reached the disk
            self.power.pass_moment(f"before journal {entry.step}")
            self.journal.append(entry)
            self.power.pass_moment(f"after journal {entry.step}")

    def entries(self) -> Sequence[Entry]:
        return self.journal.entries()


@dataclass(frozen=True, slots=True)
class MortalStore:
    store: ArtifactStore
    power: Power

    def put(self, data: BytesLike) -> Cid:
        self.power.pass_moment("before put")
        cid = self.store.put(data)
        self.power.pass_moment("after put")
        return cid

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        return self.put(b"".join(bytes(part) for part in parts))

    def get(self, cid: Cid) -> bytes:
        return self.store.get(cid)

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        return self.store.chunks(cid)

    def has(self, cid: Cid) -> bool:
        return self.store.has(cid)

    def cids(self) -> Iterator[Cid]:
        return self.store.cids()

    def remove(self, cid: Cid) -> None:
        self.power.pass_moment("before remove")
        self.store.remove(cid)
        self.power.pass_moment("after remove")


@dataclass(frozen=True, slots=True)
class MortalLedger:
    ledger: Ledger
    power: Power

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
        self.power.pass_moment("before seal")
        with self.power.turn:
            seal = self.ledger.seal(link, previous_hash)
        self.power.pass_moment("after seal")
        return seal


@dataclass(frozen=True, slots=True)
class MortalCohort:
    cohort: Cohort
    power: Power

    def train(
        self, task: Task, model: bytes, answered: frozenset[int], control: bytes = b""
    ) -> Iterator[Sequence[Reply]]:
        self.power.pass_moment("before tasks")
        for replies in self.cohort.train(task, model, answered, control):
            self.power.pass_moment("after reply")
            yield replies

    def late(self) -> Iterator[Reply]:
        for reply in self.cohort.late():
            self.power.pass_moment("after late reply")
            yield reply

    def promise(self, node: int, promise: SignedPromise) -> None:
        self.power.pass_moment("before promise")
        self.cohort.promise(node, promise)
        self.power.pass_moment("after promise")

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        self.power.pass_moment("before proofs")
        for replies in self.cohort.countersign(proofs):
            self.power.pass_moment("after receipt")
            yield replies


@dataclass(frozen=True, slots=True)
class MortalState:
    state: SiteState
    power: Power

    def locked(self) -> AbstractContextManager[None]:
        return self.state.locked()

    def charges(self, dataset: bytes) -> Sequence[Charge]:
        return self.state.charges(dataset)

    def charge(self, charge: Charge) -> None:
        self.power.pass_moment("before charge")
        self.state.charge(charge)
        self.power.pass_moment("after charge")

    def released(self, key: ChargeKey) -> bytes | None:
        return self.state.released(key)

    def released_start(self, key: ChargeKey, size: int) -> tuple[bytes, int] | None:
        return self.state.released_start(key, size)

    def release(self, key: ChargeKey, update: bytes, control: bytes = b"") -> bytes:
        self.power.pass_moment("before release")
        stands = self.state.release(key, update, control)
        self.power.pass_moment("after release")
        return stands

    def control(self, key: ChargeKey) -> bytes | None:
        return self.state.control(key)

    def forget_controls(self, run: bytes, before: int) -> None:
        self.power.pass_moment("before forgetting controls")
        self.state.forget_controls(run, before)

    def noise_multiplier(self, run: bytes, dataset: bytes) -> int | None:
        return self.state.noise_multiplier(run, dataset)

    def set_noise_multiplier(self, run: bytes, dataset: bytes, noise_multiplier_e6: int) -> None:
        self.power.pass_moment("before noise multiplier")
        self.state.set_noise_multiplier(run, dataset, noise_multiplier_e6)

    def keep(self, kind: Evidence, run: bytes, round_: int, data: bytes) -> None:
        self.power.pass_moment(f"before keeping a {kind}")
        self.state.keep(kind, run, round_, data)
        self.power.pass_moment(f"after keeping a {kind}")

    def kept(self, kind: Evidence, run: bytes, round_: int) -> bytes | None:
        return self.state.kept(kind, run, round_)
