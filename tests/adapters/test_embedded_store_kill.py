"""A putting or removing process is killed: at each of its calls to the system in turn, and at random moments."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path
from random import Random

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.core.cid import cid_of
from tests.adapters.store_files import LARGE, assert_is_sound, file_of

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]

PUT = """
import os, signal, sys
from pathlib import Path
from fedchain.adapters.embedded_store import EmbeddedStore
from random import Random

store = EmbeddedStore(Path(sys.argv[1]))
data = Random(1).randbytes(2 * 1048576 + 5)
steps = 0

def kill(event, arguments):
    global steps
    if event.startswith(("os.", "open", "fcntl.", "tempfile.", "_thread.")) and event != "os.kill":
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
store.put(data)
"""
REMOVE = PUT.replace("store.put(data)", "store.remove(cid_of(data))").replace(
    "from random", "from fedchain.core.cid import cid_of\nfrom random"
)

PUT_FOR_EVER = """
import sys
from pathlib import Path
from random import Random
from fedchain.adapters.embedded_store import EmbeddedStore

store, random = EmbeddedStore(Path(sys.argv[1])), Random(int(sys.argv[2]))
while True:
    print(store.put(random.randbytes(random.choice([10, 1000, 1048576, 1048577, 3000000]))), flush=True)
"""


def killed_at(step: int, root: Path, program: str = PUT) -> bool:
    """Put LARGE in a process that dies just before its n-th call to the system; False if it has fewer."""
    done = subprocess.run([sys.executable, "-c", program, str(root), str(step)], cwd=REPOSITORY, check=False)
    assert done.returncode in {0, -9}
    return done.returncode == -9


def test_a_put_killed_at_any_step_leaves_all_or_nothing(tmp_path: Path) -> None:
    seen: set[bool] = set()
    for step in count(1):
        root = tmp_path / str(step)
        kept = EmbeddedStore(root).put(b"put before")
        was_killed = killed_at(step, root)
        store = EmbeddedStore(root)
        seen.add(store.has(cid_of(LARGE)))
        assert store.get(kept) == b"put before"
        assert_is_sound(root)
        assert store.get(store.put(LARGE)) == LARGE
        if not was_killed:
            break
    assert step > 10
    assert seen == {True, False}


def test_a_removal_killed_at_any_step_leaves_all_or_nothing(tmp_path: Path) -> None:
    seen: set[bool] = set()
    for step in count(1):
        root = tmp_path / str(step)
        cid = EmbeddedStore(root).put(LARGE)
        was_killed = killed_at(step, root, REMOVE)
        seen.add(EmbeddedStore(root).has(cid))
        assert_is_sound(root)
        EmbeddedStore(root).remove(cid)
        assert [path.name for path in root.glob(f"*/{cid}*")] == []
        if not was_killed:
            break
    assert step > 10
    assert seen == {True, False}


def test_a_sweep_killed_at_any_step_is_ended_by_the_next(tmp_path: Path) -> None:
    for step in count(1):
        root = tmp_path / str(step)
        cid = EmbeddedStore(root).put(LARGE)
        file_of(root, cid).replace(root / "tmp" / "content")  # as if killed between the two renames
        (root / "tmp" / "another").write_bytes(b"half")
        was_killed = killed_at(step, root)
        assert_is_sound(root)
        if not was_killed:
            break
    assert step > 10


def test_artifacts_that_were_acknowledged_survive_a_kill_at_any_moment(tmp_path: Path) -> None:
    root = tmp_path / "store"
    random = Random(7)
    acknowledged: set[str] = set()
    for seed in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", PUT_FOR_EVER, str(root), str(seed)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=random.uniform(0, 0.2))
            process.kill()
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        store = EmbeddedStore(root)
        assert acknowledged <= {cid.text for cid in store.cids()}
        assert_is_sound(root)
