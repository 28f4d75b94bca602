from __future__ import annotations

import time

from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.ports.clock import Clock, Entropy


def test_the_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()
    before = int(time.time())
    assert before <= clock.now() <= time.time()


def test_entropy_gives_what_is_asked_for_and_never_the_same() -> None:
    entropy: Entropy = SystemEntropy()
    assert [len(entropy.secret(size)) for size in (0, 1, 32)] == [0, 1, 32]
    assert len({entropy.secret(32) for _ in range(100)}) == 100
