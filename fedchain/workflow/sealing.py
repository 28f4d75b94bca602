"""Sealing beside training: links go to the ledger in order, on one thread, each intent journaled before it is sent.

A seal that was sent but not confirmed before a crash is found on the ledger and not sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError
from fedchain.core.record import LinkContext, RoundLink, round_hash
from fedchain.ports.ledger import Ledger, Seal
from fedchain.workflow.registry_view import RegistryView
from fedchain.workflow.run_state import Body, RunState, Sealed, Sealing


class Sealer:
    """A context within which links are sealed in order; leaving it waits for all of them."""

    def __init__(self, ledger: Ledger, state: RunState, note: Callable[[Body], None]) -> None:
        self._ledger = ledger
        self._state = state
        self._note = note
        self._identity = ledger.identity()
        self._registry = RegistryView(ledger)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sealer")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if self._last is not None and error is None:
            self._last.result()

    def submit(self, round_: int) -> None:
        """Have the decided link of a round sealed after all those before it.

        Raises:
            FedchainError: what an earlier seal failed with.
        """
        if self._last is not None and self._last.done():
            self._last.result()
        previous, self._last = self._last, self._thread.submit(self._seal, round_, self._last)
        del previous

    def _seal(self, round_: int, before: Future[None] | None) -> None:
        if before is not None:
            before.result()
        if round_ in self._state.sealed:
            return
        link = self._state.decided[round_].link
        previous_hash = self._state.sealed[round_ - 1].round_hash if round_ > 1 else ZERO
        self._note(Sealing(round_, previous_hash))
        seal = self._ledger.seal(link, previous_hash)
        head = self._registry_head(link, previous_hash, seal)
        self._note(Sealed(round_, seal.round_hash, previous_hash, head, seal.transaction))

    def _registry_head(self, link: RoundLink, previous_hash: bytes, seal: Seal) -> bytes:
        for head in (self._ledger.registry_head, lambda: self._registry.head_at(link.run, link.round)):
            registry_head = head()
            context = LinkContext(self._identity.rounds, self._identity.federation, previous_hash, registry_head)
            if round_hash(link, context) == seal.round_hash:
                return registry_head
        raise IntegrityError(
            f"the ledger's hash of round {link.round}", expected="the hash of the link that was sent",
            got=seal.round_hash.hex(),
        )  # fmt: skip
