"""A journal in memory, which outlives the machine that writes it as a file outlives its process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from fedchain.ports.journal import Entry


@dataclass(slots=True)
class MemoryJournal:
    written: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, *entries: Entry) -> None:
        with self._lock:
            self.written += entries

    def entries(self) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(self.written)
