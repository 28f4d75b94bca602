"""A whole federation in memory: sites, ledger, store and journal, all real but for what they are kept in.

Every effect passes through one `Power`, so a test can cut it at any moment and start another machine over what is
left, as a process is started again over its files.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from fedchain.adapters.payloads import PlainReader, PlainWriter
from fedchain.config import (
    DataConfig,
    EncryptionConfig,
    ExperimentConfig,
    LedgerConfig,
    ModelConfig,
    PrivacyConfig,
    RewardsConfig,
    SimulationConfig,
    StoreConfig,
    StrategyConfig,
)
from fedchain.core import document
from fedchain.core.aggregation import RunAll, serially
from fedchain.core.cid import RAW, Cid
from fedchain.core.digest import ZERO, commitment, tagged
from fedchain.core.eip712 import signing_digest
from fedchain.core.lineage import Lineage
from fedchain.core.manifest import RoundManifest
from fedchain.core.messages import ConsentGrant, ConsentWithdraw, RegistryMessage, RevokeDevice
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.registry import RegistryState
from fedchain.core.rewards import RewardHistory
from fedchain.core.task import SignedPromise
from fedchain.core.trust import Pin, TrustFile
from fedchain.ports.cohort import Cohort
from fedchain.ports.journal import Entry
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent
from fedchain.ports.signer import Signer
from fedchain.ports.site_state import Evidence, SiteState
from fedchain.ports.watcher import Event
from fedchain.workflow.enrolment import Applicant, enrol
from fedchain.workflow.planning import Donation, NewRun, Provenance, local_training, read_plan, write_plan
from fedchain.workflow.rewards import paid_rounds, rederive_rewards
from fedchain.workflow.rounds import Instruments, RoundMachine, RunPlan
from fedchain.workflow.run_state import Accepted, Planned, RunState, body_of, entry_of
from fedchain.workflow.site import Site, SiteDataset
from fedchain.workflow.stepping import Rules, no_rules
from fedchain.workflow.summarise import pins_of, trust_file
from fedchain.workflow.verify import Verifier
from tests.doubles.clock import CountedEntropy, ManualClock
from tests.doubles.cohort import DirectCohort
from tests.doubles.journal import MemoryJournal
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.doubles.p256 import P256Signer
from tests.doubles.power import Cut, MortalCohort, MortalJournal, MortalLedger, MortalState, MortalStore, Power, never
from tests.doubles.signer import NamedSigner
from tests.doubles.site_state import MemorySiteState
from tests.doubles.store import MemoryStore
from tests.doubles.training import AddingAccountant, NamedTrainer
from tests.scenarios.invariants import (
    all_that_left_was_charged,
    every_model_is_what_its_updates_add_up_to,
    every_promise_is_kept_once,
    no_update_enters_twice,
    one_seal_a_round,
)

IDENTITY: Final = LedgerIdentity(31_337, b"\x01" * 20, b"\x02" * 20, b"\xfe" * 32)
AGGREGATOR: Final = NamedSigner("aggregator")
OPERATOR: Final = NamedSigner("operator")
SALT: Final = b"\x0a" * 32
CODE: Final = b"\xc0" * 32
SOURCES: Final = b"\x50" * 32
ENVIRONMENT: Final = b"\xee" * 32
DELTA: Final = 1e-5
INITIAL: Final = {"bias": np.array([0.25, -0.5]), "weight": np.array([[1.0, -2.0], [0.125, 3.0]])}


SCORABLE: Final = {"output.bias": np.array([0.25]), "output.weight": np.array([[1.0, -0.5, 0.125, 0.0]])}
"""A logistic model over four features, for runs that pay."""
Strategy: TypeAlias = Literal["custom", "fedadam", "fedavg", "fedavgm", "fedprox", "scaffold"]
NO_REWARDS: Final = RewardsConfig("off", 0, "credits", None, 60)
REWARDS: Final = RewardsConfig("donated", 1_000_003, "credits", None, 60)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a federation is built from; `epsilon` None is training without privacy, `hardware`: P-256 device keys."""

    sites: int = 3
    rounds: int = 2
    epsilon: float | None = 4.0
    min_clients: int = 2
    max_update_norm: float = 20.0
    timeout_s: int = 600
    grant: GrantKind = GrantKind.SANDBOX
    micro_epsilon_grant: int = 10_000_000
    allows_unprotected: bool = True
    threads: RunAll = serially
    rewards: RewardsConfig = NO_REWARDS
    hardware: bool = False
    strategy: Strategy = "fedavg"

    def config(self) -> ExperimentConfig:
        return ExperimentConfig(
            experiment="memory",
            seed=7,
            rounds=self.rounds,
            data=DataConfig("heart", "flamby", None),
            model=ModelConfig("logistic", 0),
            privacy=PrivacyConfig("off" if self.epsilon is None else "dp", self.epsilon or 8.0, DELTA, 1.0),
            strategy=StrategyConfig(
                self.strategy,
                1,
                32,
                0.1,
                self.min_clients,
                self.max_update_norm,
                1,
                self.timeout_s,
                updates=4 if self.strategy == "scaffold" else 0,
                target="mine:halved" if self.strategy == "custom" else None,
            ),
            store=StoreConfig("embedded"),
            encryption=EncryptionConfig("off"),
            ledger=LedgerConfig("embedded", IDENTITY.chain_id),
            rewards=self.rewards,
            simulation=SimulationConfig(None),
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A site with everything that belongs to it."""

    applicant: Applicant
    admin: NamedSigner
    device: Signer
    trainer: NamedTrainer
    state: MemorySiteState
    site: Site


@dataclass(slots=True)
class Federation:
    """Everybody, and one planned run. `cohort` answers with all sites until a test says otherwise.

    `pins` is what a trust file would hold of this run. It ends early once `is_enough`. `rules` are the strategies of
    one's own that the machine has loaded.
    """

    setup: Setup
    clock: ManualClock
    power: Power
    record: MemoryRecord
    store: MemoryStore
    journal: MemoryJournal
    members: tuple[Member, ...]
    plan: RunPlan
    cohort: DirectCohort
    events: list[Event] = field(default_factory=list[Event])
    pins: tuple[Pin, ...] = ()
    is_enough: Callable[[RunState], bool] = lambda _: False
    rules: Rules = no_rules

    @property
    def ledger(self) -> MemoryLedger:
        """The ledger as the aggregator's key writes to it."""
        return MemoryLedger(self.record, AGGREGATOR.address)

    def machine(self, cut: Cut = never, cohort: Cohort | None = None) -> RoundMachine:
        """Start a machine over what the journal says, with power until `cut`."""
        self.power.restart(cut)
        store = MortalStore(self.store, self.power)
        instruments = Instruments(
            store,
            MortalLedger(self.ledger, self.power),
            MortalJournal(self.journal, self.power),
            AGGREGATOR,
            self.clock,
            MortalCohort(cohort or self.cohort, self.power),
            self.events.append,
            AddingAccountant(),
            self.setup.threads,
            self._keep,
            PlainReader(store),
            is_enough=self.is_enough,
            rules=self.rules,
        )
        return RoundMachine(self.plan, instruments)

    def _keep(self, state: RunState) -> None:
        self.power.pass_moment("before keeping the pins")
        self.pins = pins_of(state)
        self.power.pass_moment("after keeping the pins")

    def run(self) -> RunState:
        """Run what is left of the run."""
        return self.machine().run()

    def another_run(self, salt: bytes, setup: Setup | None = None) -> Federation:
        """Plan another run of the same federation, with a journal of its own."""
        chosen = setup or self.setup
        plan = _plan(chosen, salt, [each.applicant for each in self.members], self.store, self.clock.now())
        return replace(self, setup=chosen, plan=plan, journal=_journal(plan), events=[], pins=())

    def submit(self, member: int, message: RegistryMessage) -> None:
        """Have a member's administration act on the registry; the nonce is filled in."""
        each = self.members[member]
        registry = MemoryRegistry(self.record, OPERATOR.address)
        with self.power.turn:
            numbered = replace(message, nonce=registry.nonce(each.applicant.organisation))
            registry.submit(numbered, each.admin.sign(signing_digest(IDENTITY.registry, numbered)))

    def grant_of(self, member: int) -> ConsentGrant:
        """A member's newest consent."""
        return self.record.state.consents[self.members[member].applicant.dataset].grant

    def withdraw_consent(self, member: int) -> None:
        self.submit(member, ConsentWithdraw(self.members[member].applicant.dataset, self.clock.now(), 1, 0))

    def revoke_device(self, member: int) -> None:
        self.submit(member, RevokeDevice(self.members[member].device.address, self.clock.now(), 0))

    def snapshot(self) -> Snapshot:
        """Everything durable, as it is now."""
        record = self.record
        return Snapshot(
            list(record.events), copy.deepcopy(record.state), dict(record.slots), record.last,
            dict(self.store.artifacts), list(self.journal.written),
            tuple(_remembered(each.state, MemorySiteState()) for each in self.members), self.clock.time,
            self.pins,
        )  # fmt: skip

    def restore(self, snapshot: Snapshot) -> None:
        """Put everything durable back to how it was."""
        record = self.record
        record.events, record.state = list(snapshot.events), copy.deepcopy(snapshot.registry)
        record.slots, record.last = dict(snapshot.slots), snapshot.last
        self.store.artifacts, self.journal.written = dict(snapshot.artifacts), list(snapshot.journal)
        for each, state in zip(self.members, snapshot.sites, strict=True):
            _remembered(state, each.state)
        self.clock.time, self.pins = snapshot.time, snapshot.pins

    def check(self) -> None:
        """Check the invariants, over everything on the ledger."""
        one_seal_a_round(self.ledger)
        every_promise_is_kept_once(self.ledger, self.store, self._promises())
        no_update_enters_twice(self.ledger, self.store)
        every_model_is_what_its_updates_add_up_to(self.ledger, self.store)
        states: dict[bytes, SiteState] = {each.applicant.dataset: each.state for each in self.members}
        all_that_left_was_charged(self.ledger, self.store, states, AddingAccountant(), DELTA)

    def _promises(self) -> list[SignedPromise]:
        """What the sites hold, and what the journal says they were promised."""
        kept = (each.state.evidence.items() for each in self.members)
        held = [
            document.from_bytes(SignedPromise, data) for items in kept for (kind, *_), data in items
            if kind is Evidence.PROMISE
        ]  # fmt: skip
        bodies = map(body_of, self.journal.entries())
        return held + [body.promise for body in bodies if isinstance(body, Accepted)]

    def links(self, run: bytes | None = None) -> list[LinkEvent]:
        """The links of this run, or of another, in ledger order."""
        wanted = self.plan.manifest.run if run is None else run
        return [each for each in self.record.events if isinstance(each, LinkEvent) and each.link.run == wanted]

    def manifest(self, round_: int) -> RoundManifest:
        """What the ledger's link of a round names."""
        (link,) = (each.link for each in self.links() if each.link.round == round_)
        return document.from_bytes(RoundManifest, self.store.get(Cid(RAW, link.manifest_digest)))

    def manifests(self) -> list[RoundManifest]:
        return [self.manifest(each.link.round) for each in self.links()]

    def rewards(self) -> RewardHistory:
        """Re-derive what every round paid, as a stranger does."""
        ledger = MemoryLedger(self.record, bytes(20))
        audit = Verifier(ledger, self.store, AddingAccountant(), serially).audit()
        assert not audit.lineage.findings
        return rederive_rewards(ledger.identity(), paid_rounds(audit.rounds), self.store, serially)

    def verify(
        self, *, run: bytes | None = None, heads: Sequence[bytes] = (), trust: TrustFile | None = None,
        scrub: bool = False, rules: Rules = no_rules,
    ) -> Lineage:  # fmt: skip
        """Verify as a stranger does."""
        ledger = MemoryLedger(self.record, bytes(20))
        verifier = Verifier(ledger, self.store, AddingAccountant(), serially, rules=rules)
        return verifier.verify(run=run, heads=heads, trust=trust, scrub=scrub)

    def trust(self) -> TrustFile:
        """The trust file that this run's receipts make."""
        return trust_file(IDENTITY, self.pins)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything durable at one moment."""

    events: list[LedgerEvent]
    registry: RegistryState
    slots: dict[bytes, bytes]
    last: int
    artifacts: dict[Cid, bytes]
    journal: list[Entry]
    sites: tuple[MemorySiteState, ...]
    time: int
    pins: tuple[Pin, ...]


def _remembered(source: MemorySiteState, target: MemorySiteState) -> MemorySiteState:
    target.charged, target.releases = dict(source.charged), dict(source.releases)
    target.controls = dict(source.controls)
    target.noise, target.evidence = dict(source.noise), dict(source.evidence)
    return target


def federation(setup: Setup | None = None) -> Federation:
    """Found a federation, enrol its sites and plan one run."""
    setup, clock, power = setup or Setup(), ManualClock(), Power()
    record = MemoryRecord(IDENTITY, clock, OPERATOR.address, AGGREGATOR.address)
    members = tuple(_member(setup, number, clock, power) for number in range(setup.sites))
    applicants = [each.applicant for each in members]
    enrol(MemoryLedger(record, OPERATOR.address), MemoryRegistry(record, OPERATOR.address), applicants, clock.now())
    clock.forward(3600)  # the registry's transactions lie in the past
    store = MemoryStore()
    plan = _plan(setup, SALT, applicants, store, clock.now())
    cohort = DirectCohort([each.site for each in members])
    return Federation(setup, clock, power, record, store, _journal(plan), members, plan, cohort)


def _member(setup: Setup, number: int, clock: ManualClock, power: Power) -> Member:
    name = f"site-{number + 1}"
    admin, device, trainer, state = (
        NamedSigner(f"{name} admin"),
        P256Signer(name.encode()) if setup.hardware else NamedSigner(name),
        NamedTrainer(name),
        MemorySiteState(),
    )
    policy = DataPolicy(
        f"{name} data", "made up", setup.grant, setup.micro_epsilon_grant, 10_000_000, "example",
        setup.allows_unprotected,
    )  # fmt: skip
    size = 100 * (number + 1)
    dataset = commitment("dataset-commit", tagged("salt", name.encode()), tagged("card", name.encode()))
    applicant = Applicant(name, tagged("organisation", admin.address), admin, device, dataset, size, policy)
    site = Site(
        name, IDENTITY.rounds, IDENTITY.federation, AGGREGATOR.address,
        SiteDataset(dataset, policy, size, trainer), device, MortalState(state, power), AddingAccountant(), clock,
        CountedEntropy(name.encode()), PlainWriter(),
    )  # fmt: skip
    return Member(applicant, admin, device, trainer, state, site)


def _plan(setup: Setup, salt: bytes, applicants: Sequence[Applicant], store: MemoryStore, now: int) -> RunPlan:
    config = setup.config()
    provenance = Provenance(CODE, ENVIRONMENT, "simulation", now, SOURCES if config.strategy.target else ZERO)
    is_paid = setup.rewards.mode == "donated"
    new = NewRun(
        config, IDENTITY, salt, applicants, local_training(config, 4), SCORABLE if is_paid else INITIAL, provenance,
        tuple(_donation(each) for each in applicants) if is_paid else (),
    )  # fmt: skip
    return read_plan(store, write_plan(new, store).manifest_cid, setup.timeout_s)


def _donation(applicant: Applicant) -> Donation:
    """Rows that differ by site and tell nothing of their labels, so that an update helps as often as it harms."""
    draws = np.random.default_rng(list(applicant.device))
    rows = draws.normal(size=(12, 4)).astype(np.float32)
    labels = draws.integers(0, 2, size=12).astype(np.float32)
    return Donation(applicant.device, rows, labels)


def _journal(plan: RunPlan) -> MemoryJournal:
    planned = Planned(plan.manifest.run, plan.manifest_cid, plan.config_digest)
    return MemoryJournal([entry_of(planned)])


def _keep_nothing(_: RunState) -> None:
    """Receipts stay in the journal."""
