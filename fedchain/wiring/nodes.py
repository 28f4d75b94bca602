"""The chain of `ledger=rpc`: how a home reaches it, and which one it is.

The addresses of endpoints are in the configuration of a run and, for whoever only reads, in a file of the home; they
are no part of the record. The hash of the first block tells the home's chain from another one with the same id, whose
nonces and journal would be others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.remote import RpcSettings, rpc_node, rpc_reader
from fedchain.adapters.files import explained, make_folder, replace_file
from fedchain.adapters.home import Home
from fedchain.config import NodeConfig
from fedchain.core import document
from fedchain.core.errors import InputError

_FORMAT: Final = "fedchain/node/1"


@dataclass(frozen=True, slots=True)
class NodeMark:
    """What the home remembers of its chain."""

    format: str
    chain_id: int
    genesis: bytes
    node: NodeConfig


@contextmanager
def written_node(home: Home, chain_id: int, config: NodeConfig) -> Iterator[Node]:
    """Open the chain for writing, and remember how it is reached.

    Raises:
        InputError: if it is not the home's chain, or a setting cannot be used.
        UnreachableError: if no endpoint answers.
    """
    known = _known(home) if home.ledger.exists() else None  # before there is a ledger, any chain will do
    if known is not None and known.chain_id != chain_id:
        raise InputError(
            "this home is on another chain", expected=f"ledger.chain_id={known.chain_id}", got=chain_id,
            remedy="name that one, or choose another home with --home",
        )  # fmt: skip
    make_folder(home.node.parent)
    with rpc_node(_settings(chain_id, config), home.intents) as node:
        genesis = node.genesis()
        if known is not None:
            _check(known, genesis)
        mark = NodeMark(_FORMAT, chain_id, genesis, config)
        if mark != known:
            replace_file(home.node, document.to_bytes(mark))
        yield node


def node_config(home: Home) -> NodeConfig:
    """Return how the home reached its chain last.

    Raises:
        InputError: if the home does not say.
    """
    return _required(home).node


@contextmanager
def reopened_node(home: Home) -> Iterator[Node]:
    """Open the chain for writing as the last run reached it.

    Raises:
        InputError: if the home does not say how, or another chain is there.
        UnreachableError: if no endpoint answers.
    """
    known = _required(home)
    with rpc_node(_settings(known.chain_id, known.node), home.intents) as node:
        _check(known, node.genesis())
        yield node


def read_node(home: Home) -> Node:
    """Open the chain for reading as the last run reached it.

    Raises:
        InputError: if the home does not say how, or another chain is there.
        UnreachableError: if no endpoint answers.
    """
    known = _required(home)
    node = rpc_reader(_settings(known.chain_id, known.node))
    _check(known, node.genesis())
    return node


def _check(known: NodeMark, genesis: bytes) -> None:
    if known.genesis != genesis:
        raise InputError(
            f"another chain with id {known.chain_id}",
            expected=f"first block 0x{known.genesis.hex()}", got=f"0x{genesis.hex()}",
            remedy="check ledger.node.endpoints, or choose another home with --home",
        )  # fmt: skip


def _required(home: Home) -> NodeMark:
    known = _known(home)
    if known is None:
        raise InputError(
            "the home does not say how its chain is reached", expected=home.node, got="no such file",
            remedy="repeat the run with ledger=rpc",
        )  # fmt: skip
    return known


def _known(home: Home) -> NodeMark | None:
    with explained(home.node):
        mark = document.from_bytes(NodeMark, home.node.read_bytes()) if home.node.exists() else None
    if mark is not None and mark.format != _FORMAT:
        raise InputError(f"{home.node} is of another version", expected=_FORMAT, got=mark.format[:40])
    return mark


def _settings(chain_id: int, config: NodeConfig) -> RpcSettings:
    return RpcSettings(
        endpoints=config.endpoints,
        chain_id=chain_id,
        quorum=config.quorum,
        confirmations=config.confirmations,
        buried_after=config.buried_after,
        first_block=config.first_block,
        patience_s=config.patience_s,
        send_timeout_s=config.send_timeout_s,
        poll_s=config.poll_ms / 1000,
        resend_after_s=config.resend_after_s,
        stuck_after_s=config.stuck_after_s,
        max_fee_gwei=config.max_fee_gwei,
        max_tip_gwei=config.max_tip_gwei,
    )
