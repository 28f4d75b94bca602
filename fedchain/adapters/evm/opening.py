"""Opening the embedded chain of a file: writers, the first of which creates it, and readers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from fedchain.adapters.evm.chain import EmbeddedChain, Genesis
from fedchain.adapters.evm.database import open_database
from fedchain.core.errors import InputError
from fedchain.ports.clock import Clock


def open_chain(path: Path, genesis: Genesis, clock: Clock) -> EmbeddedChain:
    """Open the chain in a file for writing; create it where there is none.

    Raises:
        InputError: if the file is a chain with another id, is damaged, or cannot be written.
    """
    with ExitStack() as on_failure:
        database = open_database(path, write=True)
        on_failure.callback(database.close)
        chain = EmbeddedChain(database, genesis.chain_id, clock)
        present = database.chain_id()
        if present is None:
            chain.create_genesis(genesis)
            present = database.chain_id()
        _check_id(genesis.chain_id, present)
        on_failure.pop_all()
        return chain


def read_chain(path: Path, clock: Clock, *, chain_id: int | None = None) -> EmbeddedChain:
    """Open the chain in a file for reading, beside a writer or after it.

    Raises:
        InputError: if there is no chain, it is damaged, or `chain_id` is given and is another.
    """
    with ExitStack() as on_failure:
        database = open_database(path, write=False)
        on_failure.callback(database.close)
        present = database.chain_id()
        if present is None:
            raise InputError("chain has no genesis", got=path, remedy="run an experiment first")
        if chain_id is not None:
            _check_id(chain_id, present)
        on_failure.pop_all()
        return EmbeddedChain(database, present, clock)


def _check_id(expected: int, got: int | None) -> None:
    if expected != got:
        raise InputError("foreign chain id", expected=expected, got=got, remedy="use another home directory")
