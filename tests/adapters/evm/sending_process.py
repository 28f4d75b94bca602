"""A process that adds organisations with the operator's key until it has added them all.

Run as `python -m tests.adapters.evm.sending_process URL JOURNAL IDENTITY FIRST LAST`; prints one line each.
What is there already is passed over, so a killed process is continued by the same command.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.core import document
from fedchain.core.messages import AddOrganisation
from fedchain.ports.ledger import LedgerIdentity, RegistryEvent
from tests.doubles.evm import CHAIN_ID, OPERATOR, SITE


def add_all(url: str, journal: Path, identity: LedgerIdentity, numbers: range) -> None:
    """Add the organisations with these numbers that are not there."""
    with rpc_node(RpcSettings((url,), CHAIN_ID, poll_s=0.01), journal) as node:
        registry = EvmRegistry(node, identity, OPERATOR)
        for number in numbers:
            if number not in added(EvmLedger(node, identity)):
                registry.add_organisation(number.to_bytes(32), SITE.address)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def added(ledger: EvmLedger) -> list[int]:
    """Return the numbers of the organisations that are there, in ledger order."""
    events = [event.message for event in ledger.events() if isinstance(event, RegistryEvent)]
    return [int.from_bytes(each.organisation) for each in events if isinstance(each, AddOrganisation)]


if __name__ == "__main__":
    url, journal, identity, first, last = sys.argv[1:]
    content = document.from_bytes(LedgerIdentity, Path(identity).read_bytes())
    add_all(url, Path(journal), content, range(int(first), int(last) + 1))
