"""Worker processes give what this process gives, and say so when they die."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch

from fedchain.adapters.training.engine import fused, loop
from fedchain.adapters.training.engine.crew import KEPT, Crew
from fedchain.adapters.training.engine.pool import Pool, dealt
from fedchain.adapters.training.engine.recipe import Part
from fedchain.core.errors import InputError
from tests.adapters.training.engine.samples import empty, job_of, recipe

SIZES = (21, 8, 3, 16, 1)
JOB = job_of(recipe("mlp", {"widths": "5,7,3"}, epochs=2), SIZES, (5,))


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool(JOB.recipe, JOB.rows, Crew(2), most=len(SIZES))
    yield made
    made.close()


def trained(pool: Pool, parts: Sequence[Part], base: torch.Tensor = JOB.base) -> torch.Tensor:
    """The updates in the order of the parts."""
    matrix, rows = pool.train(base, parts)
    return matrix[rows]


@pytest.mark.slow
def test_workers_give_the_same_updates_round_after_round(pool: Pool) -> None:
    here = empty(JOB)
    fused.train(JOB, here)
    for _ in range(2):
        torch.testing.assert_close(trained(pool, JOB.parts), here, rtol=1e-12, atol=1e-14)
    some = trained(pool, JOB.parts[3:])
    torch.testing.assert_close(some, here[3:], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(trained(pool, JOB.parts[:1]), here[:1], rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_equal_rounds_give_equal_bytes(pool: Pool) -> None:
    first = trained(pool, JOB.parts).numpy().tobytes()
    assert trained(pool, JOB.parts).numpy().tobytes() == first


@pytest.mark.slow
def test_a_convolution_is_trained_by_the_loop_in_workers() -> None:
    job = job_of(recipe("convolution", {"classes": "2"}), SIZES, (3, 16))
    here = empty(job)
    loop.train(job, here)
    made = Pool(job.recipe, job.rows, Crew(2), most=len(SIZES))
    try:
        torch.testing.assert_close(trained(made, job.parts, job.base), here, rtol=1e-12, atol=1e-14)
    finally:
        made.close()


@pytest.mark.slow
def test_a_dead_worker_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    made = Pool(JOB.recipe, JOB.rows, Crew(1), most=len(SIZES))
    made.train(JOB.base, JOB.parts)
    os.kill(made.pids[0], signal.SIGKILL)
    with pytest.raises(InputError, match="a training worker ended: got exit code 137"):
        made.train(JOB.base, JOB.parts)
    made.close()
    capfd.readouterr()


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


@pytest.mark.slow
def test_closing_gives_memory_and_processes_back() -> None:
    before = open_files()
    made = Pool(JOB.recipe, JOB.rows, Crew(1), most=len(SIZES))
    worker, first = made.pids[0], made._crew._first
    made.close()
    assert first.returncode == 0
    assert not Path(f"/proc/{worker}").exists()
    assert open_files() == before


def test_closing_does_not_wait_for_workers_that_nobody_needed() -> None:
    before = open_files()
    crew = Crew(2)
    crew.close(is_busy=True)
    assert crew._first.returncode == -signal.SIGKILL
    assert open_files() == before


@pytest.mark.slow
def test_one_workers_end_is_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    crew = Crew(3)
    crew.tell(1, "no layout")
    with pytest.raises(InputError, match="a training worker ended: got exit code 1"):
        crew.hear(1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in crew.pids)
    crew.close(is_busy=False)
    assert "JSONDecodeError" in capfd.readouterr().err


@pytest.mark.slow
def test_a_crew_whose_parent_is_gone_ends(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from fedchain.adapters.training.engine.crew import Crew\n"
        "crew = Crew(2)\n"
        "print(crew._first.pid, *crew.pids, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = tmp_path / "said"
    with said.open("w") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, stderr=file, check=False)
    first, *_workers = (int(text) for text in said.read_text().split())
    with contextlib.suppress(ProcessLookupError):  # it ended before we looked
        select.select([os.pidfd_open(first)], [], [], 30)
    assert not Path(f"/proc/{first}").exists() or "Z" in Path(f"/proc/{first}/stat").read_text().split()


def test_starting_a_crew_loads_no_torch_here() -> None:
    program = "import sys, fedchain.adapters.training.engine.crew; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_workers_are_forked_by_a_process_of_one_thread() -> None:
    crew = Crew(1)
    try:
        assert crew.pids
        assert len(list(Path(f"/proc/{crew._first.pid}/task").iterdir())) == 1
    finally:
        crew.close(is_busy=False)


STEPS = """
import resource
for step in range(6):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    values = [bytearray(20 << 20) for _ in range(3)]
    del values
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_with_a_workers_settings_a_step_gets_the_memory_of_the_one_before() -> None:
    def faults(settings: Mapping[str, str]) -> int:
        environment = {name: text for name, text in os.environ.items() if name not in KEPT}
        return int(subprocess.check_output([sys.executable, "-c", STEPS], env={**environment, **settings}, text=True))

    assert faults(KEPT) < 1_000
    assert faults({}) > 10_000


@pytest.mark.slow
def test_a_worker_has_these_settings_unless_its_user_has_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "77")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    made = Pool(JOB.recipe, JOB.rows, Crew(1), most=len(SIZES))
    made.train(JOB.base, JOB.parts)
    environment = Path(f"/proc/{made.pids[0]}/environ").read_text().split("\0")
    made.close()
    assert "MALLOC_TRIM_THRESHOLD_=77" in environment
    assert f"MALLOC_MMAP_THRESHOLD_={KEPT['MALLOC_MMAP_THRESHOLD_']}" in environment


def test_parts_are_dealt_by_size_and_each_once() -> None:
    hands = dealt(JOB.parts, JOB.rows, 2)
    assert sorted(hands[0] + hands[1]) == list(range(len(SIZES)))
    loads = [sum(SIZES[place] for place in hand) for hand in hands]
    assert abs(loads[0] - loads[1]) <= 1
    assert dealt(JOB.parts[:1], JOB.rows, 3) == [[0], [], []]


@pytest.mark.slow
def test_what_workers_share_starts_as_it_was_given(pool: Pool) -> None:
    assert torch.equal(pool._shared[0].tensor, JOB.rows.x)
    assert torch.equal(pool._shared[1].tensor, JOB.rows.y)
