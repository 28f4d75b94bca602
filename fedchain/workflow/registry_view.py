"""The registry as of now, replayed from the ledger's events whenever its head has moved."""

from __future__ import annotations

from fedchain.core.errors import IntegrityError
from fedchain.core.registry import RegistryState
from fedchain.ports.ledger import Ledger, LinkEvent, RegistryEvent


class RegistryView:
    """Keeps a replayed state and replays again only when the ledger's registry head differs from it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._state = RegistryState()

    def current(self) -> RegistryState:
        """Return the state at the ledger's present registry head.

        Raises:
            IntegrityError: if the events do not lead to the head that the ledger keeps.
        """
        head = self._ledger.registry_head()
        while head != self._state.head:
            state = RegistryState()
            for event in self._ledger.events():
                if isinstance(event, RegistryEvent):
                    state.apply(event.message, event.at)
            earlier, head = head, self._ledger.registry_head()
            if state.head != head == earlier:  # else somebody acted between the two reads
                raise IntegrityError(
                    "registry events do not lead to its head", expected=head.hex(), got=state.head.hex()
                )
            self._state = state
        return self._state

    def known(self) -> RegistryState:
        """Return the state that `current` returned last; before the first time it is empty."""
        return self._state

    def head_at(self, run: bytes, round_: int) -> bytes:
        """Return the registry head that was in force when a link was recorded."""
        state = RegistryState()
        for event in self._ledger.events():
            match event:
                case RegistryEvent():
                    state.apply(event.message, event.at)
                case LinkEvent() if (event.link.run, event.link.round) == (run, round_):
                    break
                case LinkEvent():
                    continue
        return state.head
