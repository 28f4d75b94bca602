from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from fedchain.adapters.kubo.deadline import MOST_LEFT_BEHIND, Deadline, DeadlineError


def test_a_call_that_ends_in_time_gives_what_it_gives() -> None:
    assert Deadline(60).within(lambda: 5) == 5


@pytest.mark.parametrize("error", [ValueError("its own"), TimeoutError("its own")])
def test_a_call_that_fails_raises_what_it_raises(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error), match="its own"):
        Deadline(60).within(fail)


def test_only_so_many_calls_are_left_behind_and_each_that_ends_makes_room() -> None:
    released = threading.Event()
    deadline = Deadline(0.05)
    threads = threading.active_count()
    hang: Callable[[], bool] = released.wait
    for _ in range(MOST_LEFT_BEHIND):
        with pytest.raises(DeadlineError, match=r"no answer within 0\.05 s"):
            deadline.within(hang)
    for _ in range(3):
        with pytest.raises(DeadlineError, match="still hang"):
            deadline.within(hang)
    assert threading.active_count() - threads <= MOST_LEFT_BEHIND
    released.set()
    before = time.monotonic()
    while time.monotonic() - before < 30:
        try:
            assert deadline.within(hang)
        except DeadlineError:
            continue
        break
    else:
        raise AssertionError("no room was made")


def test_a_limit_is_on_the_whole_call_and_not_on_its_steps() -> None:
    released = threading.Event()

    def drip() -> None:
        while not released.wait(0.01):
            pass

    before = time.monotonic()
    with pytest.raises(DeadlineError):
        Deadline(0.1).within(drip)
    assert time.monotonic() - before < 5
    released.set()
