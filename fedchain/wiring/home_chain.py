"""The chain of a home, embedded or behind a node, for contracts beside the ledger: rewards, models, challenges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import embedded_node
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.adapters.home import Home
from fedchain.adapters.system import SystemClock
from fedchain.core.errors import InputError
from fedchain.ports.clock import Clock
from fedchain.wiring.nodes import read_node, reopened_node
from fedchain.wiring.parties import kind_of


@dataclass(frozen=True, slots=True)
class BlockClock:
    """The time of a chain's newest block, at which a transaction is tried before it is sent: sign no later one.

    The embedded chain's next block takes this machine's time where that is later.
    """

    node: Node
    is_embedded: bool

    def now(self) -> int:
        """Return seconds since 1970."""
        newest = self.node.time()
        return max(SystemClock().now(), newest) if self.is_embedded else newest


def require_chain(home: Home, what: str) -> None:
    """Refuse a home whose ledger is a log; `what` is what needs a chain ("a vault").

    Raises:
        InputError: if there is no ledger, or no chain.
    """
    if kind_of(home) == "log":
        raise InputError(f"{what} needs a chain", expected="ledger=embedded or rpc", got="ledger=log")


def clock_of(home: Home, node: Node) -> Clock:
    """Return the clock that the chain of a home goes by."""
    return BlockClock(node, kind_of(home) == "embedded")


@contextmanager
def read_home_chain(home: Home, chain_id: int) -> Iterator[Node]:
    """Open the home's chain for reading, beside a writer or after it.

    Raises:
        InputError: if there is none, or another one.
        UnreachableError: if no endpoint answers.
    """
    if kind_of(home) == "rpc":
        yield read_node(home)
        return
    with closing(read_chain(home.chain, SystemClock(), chain_id=chain_id)) as chain:
        yield embedded_node(chain)


@contextmanager
def written_home_chain(home: Home, chain_id: int, what: str) -> Iterator[Node]:
    """Open the home's chain for writing; `what` is what needs it ("a vault").

    Raises:
        InputError: if there is none, or another one.
        UnreachableError: if no endpoint answers.
    """
    require_chain(home, what)
    if kind_of(home) == "rpc":
        with reopened_node(home) as node:
            yield node
        return
    if not home.chain.exists():
        raise InputError(
            f"{what} needs a chain", expected=home.chain, got="no such file", remedy="choose ledger=embedded or rpc"
        )
    clock = SystemClock()
    with closing(open_chain(home.chain, Genesis(chain_id, clock.now(), ()), clock)) as chain:
        yield embedded_node(chain)
