"""Deploying is finished by calling it again, and what stands at an address is checked before it is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.deployment import check_identity, deploy, embedded_node, remote_node
from fedchain.adapters.evm.events import REGISTRY
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.core.errors import InputError, UnreachableError
from tests.doubles.clock import ManualClock
from tests.doubles.evm import DEPLOYER, GENESIS, RELAYER, STRANGER, TERMS, deployed


def test_deploying_again_finds_the_same_contracts(tmp_path: Path) -> None:
    clock = ManualClock()
    with deployed(tmp_path / "chain.sqlite", clock) as first:
        head = first.chain.head()
        assert deploy(first.node, DEPLOYER, TERMS) == first.identity
        assert first.chain.head() == head


def test_an_interrupted_deployment_is_finished(tmp_path: Path) -> None:
    chain = open_chain(tmp_path / "chain.sqlite", GENESIS, ManualClock())
    node = embedded_node(chain)
    node.send(DEPLOYER, REGISTRY, REGISTRY.creation(TERMS.federation, TERMS.operator), None)
    identity = deploy(node, DEPLOYER, TERMS)
    check_identity(node, identity)
    assert chain.head().block_number == 2
    chain.close()


def test_a_key_that_deployed_something_else_is_refused(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        for _ in range(2):
            contracts.node.send(RELAYER, REGISTRY, bytes.fromhex("60fe5f5360015ff3"), None)
        with pytest.raises(InputError, match="not the contracts of a federation"):
            deploy(contracts.node, RELAYER, TERMS)
        with pytest.raises(InputError, match="registry of another federation"):
            deploy(contracts.node, DEPLOYER, replace(TERMS, federation=b"\x01" * 32))


def test_two_federations_live_on_one_chain(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        other = deploy(contracts.node, STRANGER, replace(TERMS, federation=b"\x01" * 32))
        check_identity(contracts.node, other)
        check_identity(contracts.node, contracts.identity)
        mixed = replace(contracts.identity, rounds_contract=other.rounds_contract)
        with pytest.raises(InputError, match="ledger of another federation"):
            check_identity(contracts.node, mixed)
        twin = deploy(contracts.node, RELAYER, TERMS)
        with pytest.raises(InputError, match="ledger of another registry"):
            check_identity(contracts.node, replace(contracts.identity, rounds_contract=twin.rounds_contract))


def test_an_identity_that_is_not_here_is_refused_with_what_is(tmp_path: Path) -> None:
    path, clock = tmp_path / "chain.sqlite", ManualClock()
    with deployed(path, clock) as contracts:
        identity = contracts.identity
    chain = read_chain(path, clock)
    node = embedded_node(chain)
    check_identity(node, identity)
    for wrong, error in (
        (replace(identity, chain_id=1), "foreign chain id: expected 1, got 31337"),
        (replace(identity, registry_contract=STRANGER.address), "no contract at"),
        (replace(identity, rounds_contract=STRANGER.address), "no contract at"),
        (replace(identity, federation=b"\x01" * 32), "registry of another federation"),
        (replace(identity, rounds_contract=identity.registry_contract), "not the contracts of a federation"),
    ):
        with pytest.raises(InputError, match=error):
            check_identity(node, wrong)
    chain.close()


def test_a_node_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        remote_node("http://127.0.0.1:9", timeout_s=1).chain_id()
