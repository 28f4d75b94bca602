"""What a node answers, in our own errors, and values as web3.py takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from web3.exceptions import ContractLogicError, RequestTimedOut, TransactionNotFound, Web3Exception, Web3RPCError

from fedchain.adapters.evm.abi import Contract
from fedchain.core.errors import FormatError, RejectedTransactionError, UnreachableError
from fedchain.core.signatures import checksum_address

warn: Final = logging.getLogger("fedchain.ledger").warning
"""Where a ledger says what it waits for and whom it distrusts, unless it is told another way."""


@contextmanager
def translated(contract: Contract | None = None, *, sending: bool = False) -> Iterator[None]:
    """Turn what web3.py raises into one of our errors; an error of the node refuses a transaction if we are `sending`.

    Raises:
        RejectedTransactionError: if the contract or the node refuses.
        UnreachableError: if there is no answer.
        FormatError: if there is one that makes no sense.
    """
    try:
        yield
    except ContractLogicError as error:
        data = error.data if isinstance(error.data, str) else ""
        reason = contract.describe(_parsed(data)) if contract is not None else str(error.message)
        raise RejectedTransactionError(f"contract refused: {reason}") from error
    except Web3RPCError as error:
        if sending and not isinstance(error, RequestTimedOut | TransactionNotFound):
            raise RejectedTransactionError("ledger node refused the transaction", got=one_line(error)) from error
        raise UnreachableError("ledger node gave no answer", got=one_line(error)) from error
    except (Web3Exception, OSError) as error:
        raise UnreachableError(
            "ledger node does not answer", got=one_line(error), remedy="check its address and that it runs"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What web3's formatters raise over an answer that has not the form of the method's result.
        raise FormatError("answer of the ledger node", got=repr(error)[:200]) from error


def one_line(error: Exception) -> str:
    """Return an error's text, short and without line breaks."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def checksummed(address: bytes) -> Any:  # noqa: ANN401  # web3's address types are distinct strings
    """Return an address as web3.py takes it."""
    return checksum_address(address)


def prefixed(data: bytes) -> Any:  # noqa: ANN401  # web3's hex types are distinct strings
    """Return bytes as web3.py takes them."""
    return "0x" + data.hex()


def _parsed(data: str) -> bytes:
    try:
        return bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        return b""
