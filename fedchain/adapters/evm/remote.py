"""Opening any JSON-RPC node, or several of them, as the ledger's node. docs/ledgers.md explains every setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from web3 import Web3

from fedchain.adapters.evm.answers import warn
from fedchain.adapters.evm.endpoints import QuorumProvider, QuorumRules
from fedchain.adapters.evm.fees import FeePolicy
from fedchain.adapters.evm.http_endpoint import HttpEndpoint
from fedchain.adapters.evm.intents import open_intents
from fedchain.adapters.evm.node import Node, Reading
from fedchain.adapters.evm.sending import Rules, Sender
from fedchain.adapters.evm.waiting import Stopwatch
from fedchain.core.errors import InputError

GWEI: Final = 10**9


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """How a chain is reached: times in seconds, depths and ranges in blocks, fees in gwei per gas."""

    endpoints: tuple[str, ...]
    chain_id: int
    quorum: int = 1
    confirmations: int = 1
    buried_after: int = 64
    first_block: int = 0
    blocks_a_query: int = 10_000
    request_timeout_s: float = 10.0
    patience_s: float = 120.0
    send_timeout_s: float = 600.0
    poll_s: float = 1.0
    resend_after_s: float = 15.0
    stuck_after_s: float = 60.0
    max_fee_gwei: int = 500
    max_tip_gwei: int = 50
    bump_percent: int = 12

    def quorum_rules(self) -> QuorumRules:
        """Return what concerns the endpoints."""
        return QuorumRules(self.chain_id, self.quorum, self.request_timeout_s, self.patience_s)

    def sending_rules(self) -> Rules:
        """Return what concerns transactions.

        Raises:
            InputError: if depths or fees contradict each other.
        """
        try:
            return Rules(
                timeout_s=self.send_timeout_s,
                poll_s=self.poll_s,
                confirmations=self.confirmations,
                buried_after=max(self.buried_after, self.confirmations),
                resend_after_s=self.resend_after_s,
                stuck_after_s=self.stuck_after_s,
                fees=FeePolicy(self.max_fee_gwei * GWEI, self.max_tip_gwei * GWEI, self.bump_percent),
            )
        except ValueError as error:
            raise InputError("settings of the ledger", got=error) from error


@contextmanager
def rpc_node(
    settings: RpcSettings,
    journal: Path,
    *,
    stopwatch: Stopwatch | None = None,
    say: Callable[[str], None] = warn,
) -> Iterator[Node]:
    """Open the chain behind the endpoints; `journal` is the file of what was sent, shared by all who use the same keys.

    Raises:
        InputError: if an address, a setting or the journal cannot be used.
    """
    web3 = _web3(settings, stopwatch, say)
    rules = settings.sending_rules()
    intents = open_intents(journal)
    try:
        sender = Sender(web3, rules, intents=intents, stopwatch=stopwatch, say=say)
        yield Node(web3, _reading(settings), sender)
    finally:
        intents.close()


def rpc_reader(settings: RpcSettings, *, stopwatch: Stopwatch | None = None, say: Callable[[str], None] = warn) -> Node:
    """Return the chain behind the endpoints for reading: it needs no journal and writes no file.

    Raises:
        InputError: if an address or a setting cannot be used.
    """
    return Node(_web3(settings, stopwatch, say), _reading(settings))


def _web3(settings: RpcSettings, stopwatch: Stopwatch | None, say: Callable[[str], None]) -> Web3:
    endpoints = [HttpEndpoint.parse(address) for address in settings.endpoints]
    return Web3(QuorumProvider(endpoints, settings.quorum_rules(), stopwatch=stopwatch, say=say))


def _reading(settings: RpcSettings) -> Reading:
    return Reading(settings.first_block, settings.confirmations, settings.blocks_a_query)
