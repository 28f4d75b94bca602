"""The chain of a home as a node: that of `ledger=embedded` in its file, that of `ledger=rpc` behind its endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import embedded_node
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.adapters.files import make_folder
from fedchain.adapters.home import Home
from fedchain.adapters.system import SystemClock
from fedchain.config import LedgerConfig
from fedchain.core.errors import InputError
from fedchain.wiring.ledger_mark import required_mark
from fedchain.wiring.nodes import read_node, reopened_node, written_node


@contextmanager
def read_home_chain(home: Home) -> Iterator[Node]:
    """Open the chain of a home's ledger for reading.

    Raises:
        InputError: if the home has no ledger, or one without a chain, or another chain is there.
    """
    mark = required_mark(home)
    _require_chain(mark.kind)
    if mark.kind == "rpc":
        yield read_node(home)
        return
    with closing(read_chain(home.chain, SystemClock(), chain_id=mark.identity.chain_id)) as chain:
        yield embedded_node(chain)


@contextmanager
def written_home_chain(home: Home) -> Iterator[Node]:
    """Open the chain of a home's ledger for writing, as the last run reached it.

    Raises:
        InputError: if the home has no ledger, or one without a chain, or another chain is there.
        UnreachableError: if no endpoint answers.
    """
    mark = required_mark(home)
    _require_chain(mark.kind)
    if mark.kind == "rpc":
        with reopened_node(home) as node:
            yield node
        return
    clock = SystemClock()
    with closing(open_chain(home.chain, Genesis(mark.identity.chain_id, clock.now(), ()), clock)) as chain:
        yield embedded_node(chain)


@contextmanager
def configured_chain(home: Home, config: LedgerConfig, funded: tuple[bytes, ...]) -> Iterator[Node]:
    """Open the chain that a configuration names for writing; an embedded one is made, with coins for `funded`.

    Raises:
        InputError: if the configuration names no chain, or the home has another one.
        UnreachableError: if no endpoint answers.
    """
    _require_chain(config.name)
    if config.name == "rpc":
        if config.node is None:
            raise InputError("ledger.node", expected="its keys for rpc", got="null", remedy="choose ledger=rpc")
        with written_node(home, config.chain_id, config.node) as node:
            yield node
        return
    clock = SystemClock()
    make_folder(home.chain.parent)
    with closing(open_chain(home.chain, Genesis(config.chain_id, clock.now(), funded), clock)) as chain:
        yield embedded_node(chain)


def _require_chain(kind: str) -> None:
    if kind == "log":
        raise InputError(
            "this needs a chain", expected="ledger=embedded or ledger=rpc", got="ledger=log",
            remedy="choose it for the first command in a new home",
        )  # fmt: skip
