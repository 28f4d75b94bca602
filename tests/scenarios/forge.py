"""A dishonest aggregator at work: it tells a whole record anew, consistently, with the keys that it has.

It holds the deployer's, the operator's and the aggregator's keys, so a new chain has the same contracts at the same
addresses. Hospitals' signatures it copies; where what it tells needs others, it plays the hospital with keys of its
own: admins who register devices and grant consents, devices that sign updates. What it cannot make are receipts of
the real devices.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import Terms, deploy, embedded_node
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.adapters.home import Home
from fedchain.adapters.keys import key_path, read_signer
from fedchain.adapters.private_store import PrivateStore
from fedchain.adapters.system import SystemClock
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.core import document
from fedchain.core.aggregation import ExactSum, serially
from fedchain.core.cid import RAW, Cid
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.lineage import Lineage
from fedchain.core.manifest import AcceptedUpdate, ArtifactRef, CohortMember, RewardTerms, RoundManifest, RunManifest
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    KeyPossession,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
)
from fedchain.core.policy import DataPolicy
from fedchain.core.record import LinkKind, RoundLink
from fedchain.core.registry import RegistryState
from fedchain.core.scoring import ValidationSet, validation_digest
from fedchain.core.tensors import decode, encode, model_digest
from fedchain.core.trust import TrustFile
from fedchain.ports.ledger import Ledger, LedgerEvent, LedgerIdentity, LinkEvent, Registry, RegistryEvent
from fedchain.ports.store import ArtifactStore
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.parties import read_ledger
from fedchain.workflow.gate import NOBODY, schema_of, signer_of
from fedchain.workflow.outcome import link_of, updates_tree
from fedchain.workflow.verify import Verifier
from tests.doubles.clock import ManualClock
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.doubles.signer import NamedSigner
from tests.doubles.store import MemoryStore

T = TypeVar("T")


def untouched(value: T) -> T:
    """Tell it as it was."""
    return value


def as_it_was(run: RunManifest, store: ArtifactStore) -> RunManifest:
    """Tell a run as it was; another one may put what it names into the forger's store."""
    return run


@dataclass(frozen=True, slots=True)
class History:
    """What really happened: the ledger's events, when its chain began, and the store with everything they name."""

    identity: LedgerIdentity
    events: tuple[LedgerEvent, ...]
    began_at: int
    store: PrivateStore

    def manifest(self, link: RoundLink) -> RoundManifest:
        """Return a link's manifest."""
        return document.from_bytes(RoundManifest, self.store.get(Cid(RAW, link.manifest_digest)))


@dataclass(frozen=True, slots=True)
class Forgery:
    """What is told differently, applied to every event, document and consent; what follows from it is made to fit.

    `round` alters a manifest before it is signed and its model aggregated, `manifest` alters it afterwards. Where
    `plays_admins` or `plays_devices`, all hospitals' keys of that kind are the forger's.
    """

    events: Callable[[Sequence[LedgerEvent]], Sequence[LedgerEvent]] = untouched
    consent: Callable[[ConsentGrant], ConsentGrant] = untouched
    policy: Callable[[DataPolicy], DataPolicy] = untouched
    run: Callable[[RunManifest, ArtifactStore], RunManifest] = as_it_was
    round: Callable[[RoundManifest], RoundManifest] = untouched
    manifest: Callable[[RoundManifest], RoundManifest] = untouched
    plays_admins: bool = False
    plays_devices: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a record is told anew. The clock says when the next transaction is mined."""

    ledger: Ledger
    registry: Registry
    store: ArtifactStore
    clock: ManualClock


def read_history(home: Path) -> History:
    """Read what a home records."""
    opened = Home(home)
    with read_ledger(opened) as ledger:
        identity, events = ledger.identity(), tuple(ledger.events())
    chain = read_chain(opened.chain, SystemClock())
    try:
        began_at = chain.block(0).header.timestamp
    finally:
        chain.close()
    return History(identity, events, began_at, open_artifacts(opened, "aggregator"))


@contextmanager
def new_chain(home: Path, history: History) -> Iterator[Stage]:
    """Throw the chain of a (copied) home away and begin another, with the aggregator's own keys."""
    opened, clock = Home(home), ManualClock(history.began_at)
    deployer, operator, aggregator = (
        read_signer(key_path(opened.keys, role, "simulated")) for role in ("deployer", "operator", "aggregator")
    )
    for file in opened.chain.parent.glob("chain.sqlite*"):
        file.unlink()
    funded = (deployer.address, operator.address, aggregator.address)
    chain = open_chain(opened.chain, Genesis(history.identity.chain_id, history.began_at, funded), clock)
    try:
        node = embedded_node(chain)
        terms = Terms(history.identity.federation, operator.address, operator.address, aggregator.address)
        identity = deploy(node, deployer, terms)
        assert identity == history.identity, "the forger's contracts have the addresses of the genuine ones"
        store = open_artifacts(opened, "aggregator")
        yield Stage(EvmLedger(node, identity, aggregator), EvmRegistry(node, identity, operator), store, clock)
    finally:
        chain.close()


def in_memory(history: History) -> Stage:
    """Return a stage without a chain: as quick as hashing, with the same rules."""
    operator, aggregator = NamedSigner("operator").address, NamedSigner("aggregator").address
    clock, stored = ManualClock(history.began_at), MemoryStore()
    for cid in history.store.cids():
        stored.put(history.store.inner.get(cid))
    store = replace(history.store, inner=stored)  # its ring gives what is told as it was the CID that it had
    record = MemoryRecord(history.identity, clock, operator, aggregator)
    return Stage(MemoryLedger(record, aggregator), MemoryRegistry(record, operator), store, clock)


def told_in_memory(history: History, forgery: Forgery) -> Stage:
    """Tell a history with a forgery in it, in memory."""
    stage = in_memory(history)
    Forger(history, forgery, stage).tell()
    return stage


def judged(ledger: Ledger, store: ArtifactStore, trust: TrustFile | None = None) -> Lineage:
    """Return what the verifier finds."""
    return Verifier(ledger, store, PrvAccountant(), serially).verify(trust=trust, scrub=True)


def forged_home(genuine: Path, target: Path, forgery: Forgery) -> None:
    """Copy a home and rebuild its chain and its store with a forgery in them; the trust file stays the real one."""
    history = read_history(genuine)
    shutil.copytree(genuine, target)
    with new_chain(target, history) as stage:
        Forger(history, forgery, stage).tell()


@dataclass(slots=True)
class Forger:
    """Tells a history on a stage."""

    history: History
    forgery: Forgery
    stage: Stage
    _state: RegistryState = field(default_factory=RegistryState)
    _admins: dict[bytes, NamedSigner] = field(default_factory=dict[bytes, NamedSigner])
    _runs: dict[str, tuple[str, RunManifest]] = field(default_factory=dict[str, tuple[str, RunManifest]])
    _heads: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _models: dict[bytes, ArtifactRef] = field(default_factory=dict[bytes, ArtifactRef])

    def tell(self) -> None:
        """Send every event, each at the time of the genuine one.

        Raises:
            RejectedTransactionError: if the contracts refuse one.
        """
        policies = self._policies()
        for event in self.forgery.events(self.history.events):
            self.stage.clock.time = event.at
            match event:
                case RegistryEvent():
                    self._act(event, policies)
                case LinkEvent():
                    self._seal(self.history.manifest(event.link))

    # -- the registry -----------------------------------------------------------------------------------------------

    def _act(self, event: RegistryEvent, policies: Mapping[bytes, DataPolicy]) -> None:
        message = self._retold(event.message, policies)
        if isinstance(message, AddOrganisation):
            self.stage.registry.add_organisation(message.organisation, message.admin)
        else:
            signature = event.signature
            if message != event.message or self.forgery.plays_admins:
                admin = self._admins.get(self._state.authority(message) or b"", NamedSigner("the forger"))
                signature = admin.sign(signing_digest(self.history.identity.registry, message))
            self.stage.registry.submit(message, signature)
        self._state.apply(message, event.at)

    def _retold(self, message: RegistryMessage, policies: Mapping[bytes, DataPolicy]) -> RegistryMessage:
        match message:
            case AddOrganisation() if self.forgery.plays_admins:
                admin = NamedSigner(f"admin of {message.organisation.hex()}")
                self._admins[admin.address] = admin
                return replace(message, admin=admin.address)
            case RegisterDevice() if self.forgery.plays_devices:
                device = self._device(message.device)
                words = KeyPossession(message.organisation, device.address)
                possession = device.sign(signing_digest(self.history.identity.registry, words))
                return replace(message, device=device.address, possession=possession)
            case RevokeDevice():
                return replace(message, device=self._client(message.device))
            case ConsentGrant():
                return self.forgery.consent(replace(message, policy=policies[message.policy].digest()))
            case _:
                return message

    def _policies(self) -> dict[bytes, DataPolicy]:
        """What each genuine policy's digest stands for now."""
        links = [event.link for event in self.history.events if isinstance(event, LinkEvent)]
        runs = {self.history.manifest(link).run_manifest for link in links}
        members = [member for cid in runs for member in self._genuine_run(cid).cohort]
        return {member.policy.digest: self._policy(member) for member in members}

    def _policy(self, member: CohortMember) -> DataPolicy:
        return self.forgery.policy(document.from_bytes(DataPolicy, self._get(member.policy.cid)))

    # -- documents --------------------------------------------------------------------------------------------------

    def _run(self, cid: str) -> tuple[str, RunManifest]:
        if cid not in self._runs:
            genuine = self._genuine_run(cid)
            cohort = tuple(self._member(each) for each in genuine.cohort)
            told = replace(genuine, cohort=tuple(sorted(cohort, key=lambda each: each.client)))
            told = replace(told, rewards=self._terms(genuine.rewards))
            told = self.forgery.run(told, self.stage.store)
            self._runs[cid] = self._put(document.to_bytes(told)), told
        return self._runs[cid]

    def _member(self, member: CohortMember) -> CohortMember:
        policy = self._policy(member)
        reference = ArtifactRef(self._put(document.to_bytes(policy)), policy.digest())
        return replace(member, client=self._client(member.client), policy=reference)

    def _terms(self, terms: RewardTerms | None) -> RewardTerms | None:
        """The same donated rows, by the donors as they are now called."""
        if terms is None or not self.forgery.plays_devices:
            return terms
        rows = ValidationSet.from_bytes(self._get(terms.validation.cid))
        donors = [replace(each, client=self._client(each.client)) for each in terms.donors]
        told = sorted(donors, key=lambda each: each.client)
        places = np.array([told.index(each) for each in donors], np.int32)
        data = replace(rows, donors=places[rows.donors]).to_bytes()
        return replace(terms, donors=tuple(told), validation=ArtifactRef(self._put(data), validation_digest(data)))

    def _genuine_run(self, cid: str) -> RunManifest:
        return document.from_bytes(RunManifest, self._get(cid))

    def _seal(self, genuine: RoundManifest) -> None:
        cid, run = self._run(genuine.run_manifest)
        named = run.run if self.forgery.plays_devices else genuine.run  # sites have signed for the run as it was
        base = self._models.get(named, run.initial_model)
        devices = {each.header.message.dataset: signer_of(each.header) or NOBODY for each in genuine.accepted}
        accepted = tuple(self._restated(each, named, run, base) for each in genuine.accepted)
        told = replace(genuine, run=named, run_manifest=cid, base_model=base, model=base, accepted=accepted)
        told = self.forgery.round(replace(told, registry_head=self.stage.ledger.registry_head()))
        if self.forgery.plays_devices:
            signed = [self._signed(each, devices.get(each.header.message.dataset, NOBODY)) for each in told.accepted]
            told = replace(told, accepted=tuple(sorted(signed, key=lambda each: signer_of(each.header) or NOBODY)))
        if told.kind == LinkKind.SEALED:
            told = replace(told, model=self._aggregate(told, self._genuine_run(genuine.run_manifest)))
        told = self.forgery.manifest(told)
        manifest_cid = Cid.parse(self._put(document.to_bytes(told)))
        leaves = [(each.header, signer_of(each.header) or NOBODY, each.payload_cid) for each in told.accepted]
        link = link_of(told, manifest_cid, updates_tree(self.history.identity.rounds, leaves))
        self._heads[told.run] = self.stage.ledger.seal(link, self._heads.get(told.run, ZERO)).round_hash
        self._models[told.run] = told.model

    def _restated(self, update: AcceptedUpdate, named: bytes, run: RunManifest, base: ArtifactRef) -> AcceptedUpdate:
        """The update for what is now its base and its policy; without the device's key the old signature stays."""
        message = update.header.message
        policies = {each.dataset: each.policy.digest for each in run.cohort}
        message = replace(
            message, run=named, base_model=base.digest, policy=policies.get(message.dataset, message.policy)
        )
        return replace(update, header=replace(update.header, message=message))

    def _signed(self, update: AcceptedUpdate, device: bytes) -> AcceptedUpdate:
        header = update.header
        message = replace(header.message, dp_params=header.dp.digest())
        try:
            digest = signing_digest(self.history.identity.rounds, message)
        except FormatError:  # what does not fit its type cannot be signed
            return update
        return replace(update, header=replace(header, message=message, signature=self._device(device).sign(digest)))

    def _aggregate(self, told: RoundManifest, run: RunManifest) -> ArtifactRef:
        total = ExactSum(schema_of(run))
        for each in told.accepted:
            envelope = Envelope.from_bytes(self._get(each.payload_cid))
            total.add(decode(envelope.update), each.header.message.weight)
        base = decode(self._get(told.base_model.cid))
        model = encode(total.apply_to(base, FixedPoint(run.fraction_bits, run.width)))
        return ArtifactRef(self._put(model), model_digest(model))

    # -- keys and bytes ---------------------------------------------------------------------------------------------

    def _client(self, address: bytes) -> bytes:
        return self._device(address).address if self.forgery.plays_devices else address

    def _device(self, address: bytes) -> NamedSigner:
        return NamedSigner(f"device for {address.hex()}")

    def _get(self, cid: str) -> bytes:
        return self.stage.store.get(Cid.parse(cid))

    def _put(self, data: bytes) -> str:
        return self.stage.store.put(data).text
