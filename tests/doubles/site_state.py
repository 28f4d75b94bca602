"""What a site remembers, in dictionaries that outlive the site as a database outlives its process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fedchain.core.errors import IntegrityError
from fedchain.ports.site_state import Charge, ChargeKey, Evidence


@dataclass(slots=True)
class MemorySiteState:
    """Its contents are open to tests that look at them or damage them."""

    charged: dict[ChargeKey, Charge] = field(default_factory=dict[ChargeKey, Charge])
    releases: dict[ChargeKey, bytes] = field(default_factory=dict[ChargeKey, bytes])
    controls: dict[ChargeKey, bytes] = field(default_factory=dict[ChargeKey, bytes])
    noise: dict[tuple[bytes, bytes], int] = field(default_factory=dict[tuple[bytes, bytes], int])
    evidence: dict[tuple[Evidence, bytes, int], bytes] = field(default_factory=dict[tuple[Evidence, bytes, int], bytes])
    _lock: threading.RLock = field(default_factory=threading.RLock, compare=False, repr=False)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock:
            yield

    def charges(self, dataset: bytes) -> Sequence[Charge]:
        return [charge for charge in self.charged.values() if charge.dataset == dataset]

    def charge(self, charge: Charge) -> None:
        if self.charged.setdefault(charge.key, charge) != charge:
            raise IntegrityError("charge", expected=self.charged[charge.key], got=charge)

    def released(self, key: ChargeKey) -> bytes | None:
        return self.releases.get(key)

    def released_start(self, key: ChargeKey, size: int) -> tuple[bytes, int] | None:
        update = self.releases.get(key)
        return None if update is None else (update[:size], len(update))

    def release(self, key: ChargeKey, update: bytes, control: bytes = b"") -> bytes:
        if key not in self.releases and control:
            self.controls[key] = control
        return self.releases.setdefault(key, update)

    def control(self, key: ChargeKey) -> bytes | None:
        return self.controls.get(key)

    def forget_controls(self, run: bytes, before: int) -> None:
        self.controls = {key: each for key, each in self.controls.items() if key.run != run or key.round >= before}

    def noise_multiplier(self, run: bytes, dataset: bytes) -> int | None:
        return self.noise.get((run, dataset))

    def set_noise_multiplier(self, run: bytes, dataset: bytes, noise_multiplier_e6: int) -> None:
        kept = self.noise.setdefault((run, dataset), noise_multiplier_e6)
        if kept != noise_multiplier_e6:
            raise IntegrityError("noise multiplier", expected=kept, got=noise_multiplier_e6)

    def keep(self, kind: Evidence, run: bytes, round_: int, data: bytes) -> None:
        if self.evidence.setdefault((kind, run, round_), data) != data:
            raise IntegrityError(f"two {kind}s for round {round_}", expected="the one that is kept", got="another")

    def kept(self, kind: Evidence, run: bytes, round_: int) -> bytes | None:
        return self.evidence.get((kind, run, round_))
