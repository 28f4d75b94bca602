"""The registry's states as the events went by: what a decision saw is looked up by the head that it names."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError
from fedchain.core.messages import RegistryMessage
from fedchain.core.registry import RegistryState

Action: TypeAlias = tuple[RegistryMessage, int]
"""What was done, and the block time (seconds) at which it was recorded."""


@dataclass(slots=True)
class RegistryHistory:
    """Actions that the registry's rules allow, in their order; `present` is the state after all of them.

    States of the past are replayed when they are asked for and kept, since many rounds see the same one.
    """

    present: RegistryState = field(default_factory=RegistryState)
    _actions: list[Action] = field(default_factory=list[Action])
    _sizes: dict[bytes, int] = field(default_factory=lambda: {ZERO: 0})
    _states: dict[int, RegistryState] = field(default_factory=lambda: {0: RegistryState()})

    def apply(self, message: RegistryMessage, at: int) -> None:
        """Append an action, or change nothing.

        Raises:
            IntegrityError: if the registry's rules would have refused it, or it is dated before the one before it.
        """
        earliest = self._actions[-1][1] if self._actions else 0
        if at < earliest:
            raise IntegrityError("time of a registry action", expected=f"at least {earliest}", got=at)
        self.present.apply(message, at)
        self._actions.append((message, at))
        self._sizes[self.present.head] = len(self._actions)

    def size(self) -> int:
        """Return how many actions there are."""
        return len(self._actions)

    def size_at(self, head: bytes) -> int | None:
        """Return how many actions led to a head, or None if it never was the registry's."""
        return self._sizes.get(head)

    def recorded_before(self, time: int) -> int:
        """Return how many actions were recorded before a second."""
        return bisect_right(self._actions, time - 1, key=lambda action: action[1])

    def state(self, size: int) -> RegistryState:
        """Return the state after the first `size` actions."""
        if size not in self._states:
            known = max(each for each in self._states if each < size)
            self._states[size] = _after(self._states[known], self._actions[known:size])
        return self._states[size]


def _after(state: RegistryState, actions: Sequence[Action]) -> RegistryState:
    later = copy.deepcopy(state)
    for message, at in actions:
        later.apply(message, at)
    return later
