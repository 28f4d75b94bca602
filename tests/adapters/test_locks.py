"""Locks are held alone or together, refuse at once or wait, and never outlive their process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fedchain.adapters.locks import held, in_turn
from fedchain.core.errors import InputError


def lock(path: Path, *, alone: bool) -> None:
    with held(path, "home", "wait", alone=alone):
        pass


def test_many_hold_it_together_and_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    refusal = f"home is in use by process {os.getpid()}: got {tmp_path}; wait"
    with held(path, "home", "wait", alone=False):
        lock(path, alone=False)
        with pytest.raises(InputError) as caught:
            lock(path, alone=True)
        assert str(caught.value) == refusal
    with held(path, "home", "wait"):
        for alone in (True, False):
            with pytest.raises(InputError) as caught:
                lock(path, alone=alone)
            assert str(caught.value) == refusal
    lock(path, alone=True)


@pytest.mark.parametrize("content", ["", "text\n", "99999999999999999999\n", f"{2**31 - 1}\n"])
def test_who_is_gone_is_not_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock"
    with held(path, "home", "wait", alone=False):
        path.write_text(content)
        with pytest.raises(InputError, match=r"in use by process \(unknown\)"):
            lock(path, alone=True)


def test_turns_are_waited_for(tmp_path: Path) -> None:
    path, count = tmp_path / "lock", [0]

    def add() -> None:
        for _ in range(5):
            with in_turn(path):
                before = count[0]
                os.sched_yield()
                count[0] = before + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert count == [20]


def test_patience_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        in_turn(path),
        pytest.raises(InputError, match="stays locked: expected its lock within 0 s"),
        in_turn(path, patience_s=0),
    ):
        pass
