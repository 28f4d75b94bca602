"""Starting worker processes: nothing here imports torch, so that it is loaded there and here at the same time.

One process loads what workers need and then forks into them; it has one thread at that moment. So libraries are loaded
once however many workers there are, and workers share what they take. Rows and models lie in memory that has no name
(memfd) and is gone when the last process is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import fedchain
from fedchain.core.errors import InputError

TENSORS: Final = 4
"""Tensors that workers share with who started them."""

KEPT: Final = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
"""Bytes of freed memory that a worker keeps: glibc gives a step's tensors back to the kernel otherwise, and gets them
again page by page in the next, which took a seventh of a convolution's processor time. 2^25 is the most that it takes.
"""


class Crew:
    """Worker processes, and one that forked them and ends with them."""

    def __init__(self, workers: int) -> None:
        self.descriptors = tuple(os.memfd_create("fedchain-engine") for _ in range(TENSORS))
        orders, answers = [os.pipe() for _ in range(workers)], [os.pipe() for _ in range(workers)]
        theirs = [(order[0], answer[1]) for order, answer in zip(orders, answers, strict=True)]
        inherited = [descriptor for pair in theirs for descriptor in pair]
        self._first = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "fedchain.adapters.training.engine.worker", *map(str, inherited)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=_environment(), text=True,
            pass_fds=(*self.descriptors, *inherited),
            start_new_session=True,  # an interrupt from the keyboard is the parent's, who ends the workers
        )  # fmt: skip
        for descriptor in inherited:
            os.close(descriptor)
        self._orders = [os.fdopen(order[1], "w") for order in orders]
        self._answers = [os.fdopen(answer[0]) for answer in answers]
        self._pids: list[int] = []

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids; waits until they are there.

        Raises:
            InputError: if they could not be started.
        """
        if not self._pids:
            self._pids = [int(text) for text in _pipe(self._first.stdout).readline().split()]
            if not self._pids:
                raise self._ended()
        return self._pids

    def tell(self, worker: int, line: str) -> None:
        """Give a worker a line.

        Raises:
            InputError: if one ended; its own message is on standard error.
        """
        try:
            self._orders[worker].write(line + "\n")
            self._orders[worker].flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def hear(self, worker: int) -> str:
        """Return a worker's next line.

        Raises:
            InputError: if one ended; its own message is on standard error.
        """
        line = self._answers[worker].readline()
        if not line:
            raise self._ended()
        return line.strip()

    def close(self, *, is_busy: bool) -> None:
        """End the workers; those that are in the middle of something at once."""
        if is_busy and self._first.poll() is None:
            os.killpg(self._first.pid, signal.SIGKILL)  # it leads a group of its own, which has the workers
        for order in self._orders:
            with contextlib.suppress(BrokenPipeError):  # a worker ended, and `hear` has said so
                order.close()
        self._first.wait()
        _pipe(self._first.stdout).close()
        for answer in self._answers:
            answer.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._orders, self._answers, self.descriptors = [], [], ()

    def _ended(self) -> InputError:
        return InputError("a training worker ended", got=f"exit code {self._first.wait()}")


def _environment() -> Mapping[str, str]:
    return {
        **KEPT,
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(Path(fedchain.__file__).parents[1]), *sys.path]),
    }


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("the first process has a pipe")
    return pipe
