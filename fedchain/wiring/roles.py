"""The roles of a home's contracts: read by anybody, changed with the operator's key, to which they were given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.deployment import check_identity
from fedchain.adapters.evm.roles import EvmRoles
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.system import SystemClock
from fedchain.core.errors import InputError
from fedchain.ports.roles import Role, Roles
from fedchain.wiring.home_chain import written_home_chain
from fedchain.wiring.ledger_mark import required_mark
from fedchain.wiring.parties import parties_of
from fedchain.workflow import roles
from fedchain.workflow.roles import Announce, Done

_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{40}")


def grant(home: Path, role: Role, address: str, announce: Announce) -> Done | None:
    """Give a role to an address, or to a key of the home by its name; None if nothing is to be done.

    Raises:
        InputError: if there is no chain, or that is no address.
        RejectedTransactionError: if the operator's key may not.
        UnreachableError: if no endpoint answers.
    """
    with _written(open_home(home)) as (opened, written):
        return roles.grant(written, role, _address(opened, address), announce)


def revoke(home: Path, role: Role, address: str, announce: Announce) -> Done | None:
    """Take a role away; None if the address does not hold it.

    Raises:
        PolicyError: if nobody could give the role again, or hold it.
        InputError: as `grant`.
        RejectedTransactionError: as `grant`.
        UnreachableError: as `grant`.
    """
    with _written(open_home(home)) as (opened, written):
        return roles.revoke(written, role, _address(opened, address), announce)


def pause(home: Path, seconds: int, announce: Announce) -> Done | None:
    """Have nothing sealed for so many seconds.

    Raises:
        PolicyError: if it was paused before, and not long enough ago.
        InputError: as `grant`, and for a time that is out of range.
        RejectedTransactionError: if the operator's key is not the guardian's.
        UnreachableError: as `grant`.
    """
    with _written(open_home(home)) as (_, written):
        return roles.pause(written, seconds, SystemClock(), announce)


@contextmanager
def _written(home: Home) -> Iterator[tuple[Home, Roles]]:
    identity = required_mark(home).identity
    with locked(home), written_home_chain(home, identity.chain_id, "changing roles") as node:
        check_identity(node, identity)
        yield home, EvmRoles(node, identity, parties_of(home).operator)


def _address(home: Home, text: str) -> bytes:
    parties = parties_of(home)
    own = {"deployer": parties.deployer, "operator": parties.operator, "aggregator": parties.aggregator}
    if text in own:
        return own[text].address
    if not _ADDRESS.fullmatch(text):
        names = ", ".join(own)
        raise InputError("ADDRESS", expected=f"0x and 40 hexadecimal digits, or {names}", got=repr(text)[:80])
    return bytes.fromhex(text[2:])
