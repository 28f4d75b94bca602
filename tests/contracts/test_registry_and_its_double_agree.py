"""Whatever is sent, in whatever order, the contract and the in-memory registry take the same and refuse the same.

The double takes its rules from `core.registry`, the replay that the verifier trusts; so this also says that a replay
accepts exactly the histories that the contract accepts.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import RejectedTransactionError
from fedchain.core.messages import (
    ConsentGrant,
    ConsentWithdraw,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
    RotateAdmin,
)
from fedchain.ports.ledger import Registry, RegistryEvent
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, FEDERATION, OPERATOR, OTHER_SITE, RELAYER, SITE, deployed
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.doubles.possession import possessed
from tests.doubles.signer import NamedSigner

NOW = ManualClock().time
ORGANISATIONS = [b"\x01" * 32, b"\x02" * 32]
DATASETS = [b"\x03" * 32, b"\x04" * 32]
DEVICE_KEYS = [NamedSigner(name) for name in ("one device", "another device")]
DEVICES = [each.address for each in DEVICE_KEYS]
ADMINS = [SITE, OTHER_SITE]

# Mostly what is allowed, so that histories get long; each list ends with what is not, or not always.
organisations, datasets, devices = st.sampled_from(ORGANISATIONS), st.sampled_from(DATASETS), st.sampled_from(DEVICES)
windows = st.sampled_from([*[(NOW, NOW + 1000)] * 6, (0, NOW + 5), (NOW, NOW), (NOW + 5, NOW)])
times = st.sampled_from([NOW, NOW, 0, NOW + 5, NOW + 1000, NOW + 1001])
sizes = st.sampled_from([*[10] * 8, 20, 0])
federations = st.sampled_from([*[FEDERATION] * 8, b"\x09" * 32])
messages = st.one_of(
    st.builds(lambda o, d, w: RegisterDevice(o, d, w[0], w[1], 1, b"", 0), organisations, devices, windows),
    st.builds(lambda o, a: RotateAdmin(o, a.address, b"", 0), organisations, st.sampled_from([SITE, OTHER_SITE])),
    st.builds(lambda d, at: RevokeDevice(d, at, 0), devices, times),
    st.builds(lambda d, o, size: RegisterDataset(d, o, size, 0), datasets, organisations, sizes),
    st.builds(
        lambda d, f, w, size: ConsentGrant(d, f, b"\x05" * 32, w[0], w[1], 8_000_000, 10**7, b"\x06" * 32, size, 0),
        datasets, federations, windows, sizes,
    ),
    st.builds(lambda d, at: ConsentWithdraw(d, at, 1, 0), datasets, times),
)  # fmt: skip


class TwoRegistries(RuleBasedStateMachine):
    """One history on a chain and in memory."""

    @initialize()
    def begin(self) -> None:
        self.open = ExitStack()
        folder = Path(self.open.enter_context(tempfile.TemporaryDirectory()))
        clock = ManualClock()
        contracts = self.open.enter_context(deployed(folder / "chain.sqlite", clock))
        self.identity = contracts.identity
        record = MemoryRecord(self.identity, clock, OPERATOR.address, AGGREGATOR.address)
        self.state = record.state
        self.ledgers = EvmLedger(contracts.node, self.identity), MemoryLedger(record, RELAYER.address)
        self.relayers: list[Registry] = [
            EvmRegistry(contracts.node, self.identity, RELAYER), MemoryRegistry(record, RELAYER.address),
        ]  # fmt: skip
        for operator in (
            EvmRegistry(contracts.node, self.identity, OPERATOR), MemoryRegistry(record, OPERATOR.address),
        ):  # fmt: skip
            for organisation, admin in zip(ORGANISATIONS, ADMINS, strict=True):
                operator.add_organisation(organisation, admin.address)

    @rule(message=messages, is_rightful=st.sampled_from([True] * 6 + [False]), late=st.sampled_from([0] * 8 + [1]),
        keys=st.sampled_from([(*DEVICE_KEYS, *ADMINS)] * 8 + [()]),
    )  # fmt: skip
    def submit(self, message: RegistryMessage, is_rightful: bool, late: int, keys: tuple[NamedSigner, ...]) -> None:
        owner = self._owner(message)
        message = replace(message, nonce=self.relayers[0].nonce(ORGANISATIONS[owner]) + late)
        message = possessed(message, self.identity.registry, *keys)
        present = self.state.organisations[ORGANISATIONS[owner]]
        admin = next(each for each in ADMINS if (each.address == present) == is_rightful)
        signature = admin.sign(signing_digest(self.identity.registry, message))
        taken = [_is_taken(registry, message, signature) for registry in self.relayers]
        assert taken[0] == taken[1]

    def _owner(self, message: RegistryMessage) -> int:
        match message:
            case RotateAdmin() | RegisterDevice() | RegisterDataset():
                return ORGANISATIONS.index(message.organisation)
            case RevokeDevice() if message.device in self.state.devices:
                return ORGANISATIONS.index(self.state.devices[message.device].organisation)
            case ConsentGrant() | ConsentWithdraw() if message.dataset in self.state.datasets:
                return ORGANISATIONS.index(self.state.datasets[message.dataset].organisation)
            case _:
                return 0

    @invariant()
    def same_head_and_same_events(self) -> None:
        on_chain, in_memory = self.ledgers
        assert on_chain.registry_head() == in_memory.registry_head()
        assert [_content(event) for event in on_chain.events()] == [_content(event) for event in in_memory.events()]

    def teardown(self) -> None:
        self.open.close()


def _is_taken(registry: Registry, message: RegistryMessage, signature: bytes) -> bool:
    try:
        registry.submit(message, signature)
    except RejectedTransactionError:
        return False
    return True


def _content(event: object) -> tuple[RegistryMessage, bytes, int]:
    assert isinstance(event, RegistryEvent)
    return event.message, event.signature, event.at


@pytest.mark.slow
def test_any_history_is_taken_and_refused_alike() -> None:
    run_state_machine_as_test(TwoRegistries, settings=settings(max_examples=12, stateful_step_count=25, deadline=None))
