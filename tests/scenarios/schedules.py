"""Schedules: what fails when, drawn from a seed, around the real round machine and the real sites.

A schedule begins where a first crash left a run (schedules share these beginnings), goes on for one or two stretches,
each with a crash and an unreliable network, ledger, clock, disk or rival of its own, and ends with one in which all is
well. Everything is on one thread: sealing runs when the schedule lets it, so a seed always plays the same.

    python -m tests.scenarios.schedules 4711          plays one schedule again
    python -m tests.scenarios.schedules 0 1000        plays a range of them, to the first that fails
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

import pytest

from fedchain.adapters.payloads import PlainReader
from fedchain.core.aggregation import serially
from fedchain.core.errors import IntegrityError, PolicyError, RejectedTransactionError, UnreachableError
from fedchain.core.privacy import Release
from fedchain.core.record import LinkKind
from fedchain.core.registry import RegistryState
from fedchain.ports.journal import Journal
from fedchain.ports.training import LocalRound
from fedchain.workflow import sealing
from fedchain.workflow.planning import local_training
from fedchain.workflow.rounds import Instruments, RoundMachine
from fedchain.workflow.run_state import Accepted, RunState, body_of
from fedchain.workflow.site import Site
from fedchain.workflow.summarise import pins_of
from tests.doubles.clock import CountedEntropy
from tests.doubles.fate import FINE, Fate, FatefulCohort, FatefulLedger, FatefulPool, VolatileDisk, Weather
from tests.doubles.journal import MemoryJournal
from tests.doubles.power import (
    Cut,
    MortalCohort,
    MortalJournal,
    MortalLedger,
    MortalStore,
    PowerCutError,
    after,
    never,
)
from tests.doubles.remembering import remember
from tests.doubles.training import AddingAccountant
from tests.scenarios.federation import AGGREGATOR, DELTA, Federation, Setup, Snapshot, federation
from tests.scenarios.invariants import (
    all_that_left_was_charged,
    every_model_is_what_its_updates_add_up_to,
    every_promise_is_kept_once,
    no_update_enters_twice,
    one_seal_a_round,
)

GENEROUS: Final = 10**12
"""A grant that no schedule exhausts: rounds that were aborted are charged, too."""
SETUPS: Final = (
    Setup(sites=2, rounds=1, min_clients=1, micro_epsilon_grant=GENEROUS),
    Setup(sites=2, rounds=1, min_clients=1, epsilon=None),
    Setup(sites=2, rounds=2, min_clients=1, micro_epsilon_grant=GENEROUS),
)
STARTS: Final = 4
"""Machines that may be needed after the last fault: each ends a round whose time is over at most once."""
LONGEST_JOURNAL: Final = 150
"""Entries beyond which something is written again and again."""


LOCAL_ROUND: Final = LocalRound(local_training(SETUPS[0].config(), 4), Release(0, 1, 1), 1, 1)
"""Any: a trainer only counts its calls."""
Draws: TypeAlias = tuple[tuple[int, int], ...]
Errors: TypeAlias = tuple[type[Exception], ...]


EXPECTED: Final = (PowerCutError, PolicyError, UnreachableError)
"""How a machine may end while something is wrong."""


@dataclass(slots=True)
class World:
    """A federation, and its wrecks: what every first crash of its run leaves behind, with how far it had come."""

    new: Federation
    fate: Fate
    disk: VolatileDisk
    wrecks: list[tuple[Snapshot, Draws]] = field(default_factory=list)

    @property
    def draws(self) -> Draws:
        """How often each site has drawn and trained, which its next draws depend on."""
        return tuple((_entropy(each.site).drawn, len(each.trainer.calls)) for each in self.new.members)

    def restore(self, snapshot: Snapshot, draws: Draws) -> None:
        """Put everything back, what the sites will draw included: equal schedules have equal bytes."""
        registry = self.new.record.state  # nobody acts on it here, and copying it takes longer than all the rest
        self.new.restore(replace(snapshot, registry=RegistryState()))
        self.new.record.state = registry
        self.new.events.clear()
        for member, (drawn, called) in zip(self.new.members, draws, strict=True):
            _entropy(member.site).drawn = drawn
            member.trainer.calls[:] = [LOCAL_ROUND] * called
        self.new.cohort.late_replies.clear()
        self.new.cohort.refusals.clear()
        self.new.cohort.proofs.clear()

    def wreck(self) -> None:
        """Let every first crash happen, in fine weather and in some that is not."""
        start = self.new.snapshot(), self.draws
        self.fate.weather = FINE
        self.machine(self.new.journal, never).run()
        for count in range(len(self.new.power.passed)):
            self.fate.random = Random(count)
            for weather in (FINE, Weather.of(self.fate.random)):
                self.restore(*start)
                self.stretch(self.new.journal, weather, count)
                self.wrecks.append((self.new.snapshot(), self.draws))

    def machine(self, journal: Journal, cut: Cut) -> RoundMachine:
        """Start a machine over a journal, with power until `cut`."""
        new = self.new
        new.power.restart(cut)
        self.fate.seals = []

        def keep(state: RunState) -> None:
            new.power.pass_moment("before keeping the pins")
            new.pins = pins_of(state)

        cohort = FatefulCohort(new.cohort, self.fate, new.cohort.late_replies)
        store = MortalStore(new.store, new.power)
        instruments = Instruments(
            store,
            FatefulLedger(MortalLedger(new.ledger, new.power), self.fate),
            MortalJournal(journal, new.power),
            AGGREGATOR,
            new.clock,
            MortalCohort(cohort, new.power),
            new.events.append,
            AddingAccountant(),
            serially,
            keep,
            PlainReader(store),
        )
        return RoundMachine(new.plan, instruments)

    def stretch(self, journal: MemoryJournal, weather: Weather, moments: int, expected: Errors = EXPECTED) -> None:
        """Run a machine in some weather until so many moments have passed; a machine may end before."""
        self.fate.weather = weather
        self.new.clock.forward(weather.seconds)
        self.fate.finishes(lambda: self.machine(journal, after(moments)).run(), *expected)

    def stretch_on_disk(self, weather: Weather, moments: int) -> None:
        """Run a machine whose journal is the real one, on a disk that forgets what was not synced."""
        self.fate.weather = weather
        journal = self.disk.journal(self.new.journal.written)
        try:
            self.fate.finishes(lambda: self.machine(journal, after(moments)).run(), *EXPECTED)
        finally:
            self.new.journal.written = self.disk.lose_power(journal)

    def complete(self, journal: MemoryJournal) -> None:
        """Start machines in fine weather until the run is finished."""
        self.fate.weather = FINE
        for _ in range(STARTS):
            if self.fate.finishes(lambda: self.machine(journal, never).run(), PolicyError):
                return
            self.new.clock.forward(1)
        raise AssertionError(f"not finished after {STARTS} starts")


def _entropy(site: Site) -> CountedEntropy:
    assert isinstance(site.entropy, CountedEntropy)
    return site.entropy


# -- playing ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[tuple[World, ...]]:
    """Found the federations and let every first crash of their runs happen; schedules are played on what is left.

    Meanwhile the schedule decides when sealing runs and what a power cut leaves on the disk, which lies in `folder`;
    and what is a pure function is computed once for all schedules.
    """
    disk = VolatileDisk(folder / "journal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "ThreadPoolExecutor", lambda **_: FatefulPool(FATE))
        patch.setattr(os, "fsync", disk.sync)
        remember(patch)
        founded = tuple(World(federation(setup), FATE, disk) for setup in SETUPS)
        for world in founded:
            world.wreck()
        yield founded


def play(among: Sequence[World], seed: int) -> World:
    """Play the schedule of a seed to its end, and check everything; return the world that it was played in.

    Raises:
        AssertionError: naming the seed, if an invariant does not hold or the run does not end.
    """
    random = Random(seed)
    FATE.random = random
    world = random.choice((*among[:2], *among))  # the longer run takes twice the time
    early = random.randrange(2)  # then most of the run is still to come
    world.restore(*random.choice(world.wrecks[: len(world.wrecks) // 3] if early else world.wrecks))
    try:
        random.choice(KINDS)(world, random)
    except Exception as error:
        raise AssertionError(
            f"schedule {seed} fails: python -m tests.scenarios.schedules {seed} plays it again"
        ) from error
    return world


def crashes(world: World, random: Random) -> None:
    """More crashes, in whatever weather."""
    for _ in range(random.randint(1, 2)):
        world.stretch(world.new.journal, Weather.of(random), _moments(world, random))
    world.complete(world.new.journal)
    check(world.new, random)


def lost_tails(world: World, random: Random) -> None:
    """Crashes that take with them what was not synced of the journal."""
    for _ in range(random.randint(1, 2)):
        world.stretch_on_disk(Weather.of(random), _moments(world, random))
    world.complete(world.new.journal)
    check(world.new, random)


def damage(world: World, random: Random) -> None:
    """One bit of a stored artifact flips; a machine that meets it stops, until it is healed."""
    artifacts = world.new.store.artifacts
    name = random.choice(sorted(artifacts, key=lambda each: each.digest))
    whole = artifacts[name]
    flipped = bytearray(whole)
    flipped[random.randrange(len(whole))] ^= 1 << random.randrange(8)
    artifacts[name] = bytes(flipped)
    world.stretch(world.new.journal, FINE, _moments(world, random), (*EXPECTED, IntegrityError))
    artifacts[name] = whole
    world.complete(world.new.journal)
    check(world.new, random)


def rivals(world: World, random: Random) -> None:
    """Two machines over one run, each with the journal as it was: one of them ends the run, the other is refused.

    What the refused one promised meanwhile is not asked for: a home's lock keeps it from starting, the ledger only from
    sealing.
    """
    new, refused = world.new, (*EXPECTED, RejectedTransactionError)
    rival = MemoryJournal(list(new.journal.written))
    journals = [new.journal, rival]
    random.shuffle(journals)
    for journal in journals:
        weather = Weather(deferred=random.choice((0, 40)), seconds=random.randrange(2))
        world.stretch(journal, weather, _moments(world, random), refused)
    world.fate.weather = FINE
    finished: set[int] = set()
    for index in (0, 1) * STARTS:
        run = functools.partial(_run, world, journals[index])
        if index not in finished and world.fate.finishes(run, PolicyError, RejectedTransactionError):
            finished.add(index)
    states = [RunState.replay(journal.entries()) for journal in journals]
    assert any(state.is_finished for state in states), "one of the two holds the run"
    for journal, state in zip(journals, states, strict=True):
        ours(new, state)
        if state.is_finished:
            promised = [body.promise for body in map(body_of, journal.entries()) if isinstance(body, Accepted)]
            every_promise_is_kept_once(new.ledger, new.store, promised)
    one_seal_a_round(new.ledger)
    no_update_enters_twice(new.ledger, new.store)
    every_model_is_what_its_updates_add_up_to(new.ledger, new.store)
    books = {each.applicant.dataset: each.state for each in new.members}
    all_that_left_was_charged(new.ledger, new.store, {**books}, AddingAccountant(), DELTA)


def _run(world: World, journal: MemoryJournal) -> RunState:
    return world.machine(journal, never).run()


KINDS: Final = (crashes, crashes, crashes, crashes, crashes, lost_tails, damage, rivals)
FATE: Final = Fate(Random(0))


def check(new: Federation, random: Random) -> None:
    """Check that the run is over, its record holds, and everybody's word was kept."""
    state = RunState.replay(new.journal.entries())
    new.check()
    assert state.is_finished
    kinds = [event.link.kind for event in new.links()]
    assert kinds.count(LinkKind.SEALED) == new.setup.rounds
    assert kinds[-1] is LinkKind.CLOSED
    assert sorted(state.sealed) == list(range(1, len(kinds) + 1))
    ours(new, state)
    for round_, decided in state.decided.items():
        signed = state.receipts.get(round_, {})
        assert {each.signer for each in decided.accepted} <= set(signed), f"round {round_}: every receipt is in"
    assert new.pins == pins_of(state)
    assert len(new.journal.written) <= LONGEST_JOURNAL
    if random.randrange(8) == 0:
        once_more(new)


def ours(new: Federation, state: RunState) -> None:
    """What a journal calls sealed is what the ledger has: nobody goes on from another machine's round."""
    links = {event.link.round: event for event in new.links()}
    for round_, sealed in state.sealed.items():
        assert links[round_].link == state.decided[round_].link, f"round {round_} is another machine's"
        assert links[round_].round_hash == sealed.round_hash


def once_more(new: Federation) -> None:
    """Starting a finished run again changes nothing."""
    before = list(new.record.events), len(new.journal.written), len(new.store.artifacts)
    new.run()
    assert (list(new.record.events), len(new.journal.written), len(new.store.artifacts)) == before


def _moments(world: World, random: Random) -> int:
    """A moment of a whole run, early ones as likely as all later ones together: what is left may be short."""
    whole = len(world.wrecks) // 2
    return random.randrange(whole) if random.randrange(2) else random.randrange(1 + whole // 4)


if __name__ == "__main__":
    first, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as scratch, stage(Path(scratch)) as founded:
        for number in range(first, first + count):
            play(founded, number)
