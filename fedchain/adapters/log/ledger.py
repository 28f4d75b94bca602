"""The Ledger and Registry ports over a signed log."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.adapters.log.entries import LogLink
from fedchain.adapters.log.file import Log, LogWriter
from fedchain.adapters.log.state import CHAIN_ID, LogState, Signed
from fedchain.adapters.sealed import seal_of
from fedchain.core.digest import ZERO, Digest, hex32
from fedchain.core.errors import InputError, RejectedTransactionError
from fedchain.core.history_tree import consistency_proof, inclusion_proof
from fedchain.core.messages import AddOrganisation, RegistryMessage
from fedchain.core.record import RoundLink
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, Seal
from fedchain.ports.signer import Signer


def identity_of(state: LogState) -> LedgerIdentity:
    """Return what a log is known by: no chain, and its key's address in place of both contracts.

    Round and registry messages share a domain then; their type strings keep them apart.
    """
    if state.terms is None:
        raise ValueError("a log without its first entry is never handed out")
    return LedgerIdentity(CHAIN_ID, state.key, state.key, state.terms.federation)


class LogLedger:
    """The record in a log. Without a writer and the aggregator's key it only reads."""

    def __init__(self, log: Log, writer: tuple[LogWriter, Signer] | None = None) -> None:
        self._log = log
        self._writer = writer

    def identity(self) -> LedgerIdentity:
        """Return the log's key and its federation."""
        return identity_of(self._log.current())

    def events(self) -> Sequence[LedgerEvent]:
        """Return every event of registry and rounds, in the order of the log; a transaction is an entry's leaf hash."""
        return list(self._log.current().events)

    def registry_head(self) -> bytes:
        """Return the registry's rolling hash."""
        return self._log.current().registry.head

    def head_slot(self, run: bytes) -> bytes:
        """Return what a contract's storage slot would hold for the run, zero for a run without links."""
        return self._log.current().slots.get(run, ZERO)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        """Return the link of a round, or None."""
        return self._log.current().links.get((run, round_))

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        """Record a link, once: the seal of a link that is already there is returned as it is.

        Raises:
            RejectedTransactionError: if a rule is against it, or another link has its place.
            InputError: if there is no aggregator's key here, or the file cannot be written.
        """
        found = self.find(link.run, link.round)
        if found is None:
            found = self._append(link, previous_hash)
        return seal_of(found, link, previous_hash)

    def check_lead(self) -> None:
        """Check that there is the aggregator's key here; the writer's lock keeps every other one out.

        Raises:
            RejectedTransactionError: if the key is another one.
            InputError: if there is none.
        """
        log, sender = self._required_writer()
        terms = log.current().terms
        if terms is None or sender.address != terms.aggregator:
            raise RejectedTransactionError("the sender is not the aggregator", got=hex32(sender.address))

    def tree_head(self) -> Signed:
        """Return the newest signed tree head."""
        return self._log.current().heads[-1]

    def inclusion(self, index: int, size: int) -> tuple[Digest, ...]:
        """Return the proof that the tree of the first `size` entries holds the entry `index`.

        Raises:
            InputError: if the log does not have so many.
        """
        return inclusion_proof(self._leaves(size, at_least=index + 1), index)

    def consistency(self, first: int, second: int) -> tuple[Digest, ...]:
        """Return the proof that the first `second` entries continue the first `first`.

        Raises:
            InputError: if the log does not have so many, or the first has none.
        """
        return consistency_proof(self._leaves(second, at_least=first), first)

    def _leaves(self, size: int, *, at_least: int) -> Sequence[Digest]:
        leaves = self._log.current().leaves
        if not 0 < at_least <= size <= len(leaves):
            raise InputError("size of a tree", expected=f"{at_least} to {len(leaves)}", got=size)
        return leaves[:size]

    def _append(self, link: RoundLink, previous_hash: bytes) -> LinkEvent:
        log, aggregator = self._required_writer()
        log.append(aggregator, LogLink(previous_hash, link))
        return log.current().links[link.run, link.round]

    def _required_writer(self) -> tuple[LogWriter, Signer]:
        if self._writer is None:
            raise InputError("no key to seal with", expected="the aggregator's", got="none")
        return self._writer


class LogRegistry:
    """Writing to the registry as one sender, who signs each entry; the authority is in the messages."""

    def __init__(self, log: LogWriter, sender: Signer) -> None:
        self._log = log
        self._sender = sender

    def add_organisation(self, organisation: bytes, admin: bytes) -> bytes:
        """As the operator, add an organisation with its admin address; return the entry's leaf hash.

        Raises:
            RejectedTransactionError: if the sender is not the operator, or the organisation exists.
        """
        return self._log.append(self._sender, AddOrganisation(organisation, admin, 0)).leaf

    def submit(self, message: RegistryMessage, signature: bytes) -> bytes:
        """Relay a signed message; an empty signature stands for a sender who is the admin.

        Raises:
            RejectedTransactionError: if a rule is against it, or it is the operator's own act.
        """
        if isinstance(message, AddOrganisation):
            raise RejectedTransactionError(
                "registry message", expected="one that an admin signs", got="AddOrganisation"
            )
        return self._log.append(self._sender, message, signature).leaf

    def nonce(self, organisation: bytes) -> int:
        """Return the next nonce of an organisation, 1 after it was added."""
        return self._log.current().registry.nonces.get(organisation, 0) + 1
