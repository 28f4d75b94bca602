from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fedchain.adapters.keyring import KeyRing
from fedchain.core import document
from fedchain.core.cid import Cid, cid_of
from fedchain.core.encryption import ARTIFACT, WrappedKey, WrappedKeys
from fedchain.core.errors import InputError, LockedArtifactError

CIDS = [cid_of(bytes([number])) for number in range(40)]


def keys_of(cid: Cid) -> WrappedKeys:
    return WrappedKeys(ARTIFACT, (WrappedKey(cid.digest, cid.digest * 2),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ring" / "keys.sqlite"


def test_keys_are_found_by_the_next_process(path: Path) -> None:
    KeyRing(path).keep(CIDS[0], keys_of(CIDS[0]), b"content")
    assert KeyRing(path).find(CIDS[0]) == keys_of(CIDS[0])
    assert KeyRing(path).find_content(b"content") == (CIDS[0], keys_of(CIDS[0]))
    assert KeyRing(path).find(CIDS[1]) is None
    assert KeyRing(path).find_content(b"other") is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_ring_that_is_not_there_is_empty_and_not_made_by_reading(path: Path) -> None:
    ring = KeyRing(path)
    assert (ring.find(CIDS[0]), ring.find_content(b""), ring.is_erased(CIDS[0])) == (None, None, False)
    assert not path.parent.exists()


def test_the_first_keys_stand(path: Path) -> None:
    ring = KeyRing(path)
    ring.keep(CIDS[0], keys_of(CIDS[0]))
    ring.keep(CIDS[0], keys_of(CIDS[1]))
    assert ring.find(CIDS[0]) == keys_of(CIDS[0])


def test_keys_of_several_artifacts_are_kept_together_or_not_at_all(path: Path) -> None:
    ring = KeyRing(path)
    ring.keep(CIDS[0], keys_of(CIDS[0]))
    ring.keep_all({CIDS[0]: keys_of(CIDS[3]), CIDS[1]: keys_of(CIDS[1])})
    assert [KeyRing(path).find(cid) for cid in CIDS[:2]] == [keys_of(cid) for cid in CIDS[:2]]
    ring.erase([CIDS[2]])
    with pytest.raises(LockedArtifactError, match="were erased"):
        ring.keep_all({CIDS[3]: keys_of(CIDS[3]), CIDS[2]: keys_of(CIDS[2])})
    assert KeyRing(path).find(CIDS[3]) is None


def test_one_content_that_two_processes_put_at_once_is_kept_under_both_its_keys(path: Path) -> None:
    """Each has looked for the content before the other has kept it, and drawn a key of its own."""
    one, other = KeyRing(path), KeyRing(path)
    assert one.find_content(b"content") is other.find_content(b"content") is None
    one.keep(CIDS[0], keys_of(CIDS[0]), b"content")
    other.keep(CIDS[1], keys_of(CIDS[1]), b"content")
    assert [one.find(cid) for cid in CIDS[:2]] == [keys_of(cid) for cid in CIDS[:2]]
    assert one.find_content(b"content") == (CIDS[0], keys_of(CIDS[0]))


BEGIN = """
import sys
from pathlib import Path
from tests.adapters.test_keyring import CIDS, KeyRing, keys_of
ring, number = KeyRing(Path(sys.argv[1])), int(sys.argv[2])
sys.stdin.read()
ring.keep(CIDS[number], keys_of(CIDS[number]))
"""


def test_processes_that_begin_a_ring_together_lose_nothing(path: Path) -> None:
    beginners = [
        subprocess.Popen([sys.executable, "-c", BEGIN, str(path), str(number)], stdin=subprocess.PIPE)
        for number in range(4)
    ]
    for each in beginners:
        assert each.stdin is not None
        each.stdin.close()  # go
    assert [each.wait() for each in beginners] == [0] * 4
    assert all(KeyRing(path).find(CIDS[number]) for number in range(4))


def test_no_byte_of_an_erased_key_is_left_in_any_file(path: Path) -> None:
    ring = KeyRing(path)
    for cid in CIDS:
        ring.keep(cid, keys_of(cid), cid.digest)
    gone = CIDS[::2]
    ring.erase(gone)
    ring.erase(gone)
    left = b"".join(each.read_bytes() for each in path.parent.iterdir())
    for cid in gone:
        assert ring.find(cid) is None
        assert ring.is_erased(cid)
        assert cid.digest not in left
        assert cid.digest.hex().encode() not in left
    for cid in CIDS[1::2]:
        assert ring.find(cid) == keys_of(cid)
        assert not ring.is_erased(cid)


def test_what_was_erased_takes_no_key_again(path: Path) -> None:
    ring = KeyRing(path)
    ring.erase([CIDS[0]])
    with pytest.raises(LockedArtifactError, match="were erased"):
        ring.keep(CIDS[0], keys_of(CIDS[0]))


def test_a_reader_that_holds_the_log_keeps_nobody_from_knowing_it(path: Path) -> None:
    ring = KeyRing(path)
    ring.keep(CIDS[0], keys_of(CIDS[0]))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM held").fetchall()
    with pytest.raises(InputError, match="a process that reads the ring"):
        KeyRing(path, timeout_s=0.05).erase([CIDS[0]])
    reader.close()
    ring.erase([CIDS[0]])
    assert document.to_bytes(keys_of(CIDS[0])) not in path.read_bytes()


def test_a_killed_writer_leaves_whole_entries(path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from fedchain.adapters.keyring import KeyRing
from fedchain.core.cid import cid_of
from fedchain.core.encryption import ARTIFACT, WrappedKeys
ring = KeyRing(Path(sys.argv[1]))
for number in range(10):
    ring.keep(cid_of(bytes([number])), WrappedKeys(ARTIFACT, ()))
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -9
    assert all(KeyRing(path).find(cid) is not None for cid in CIDS[:10])


def test_a_file_that_is_no_ring_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 30)
    with pytest.raises(InputError, match="damaged"):
        KeyRing(path).find(CIDS[0])
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(InputError, match="no key ring of this release"):
        KeyRing(path).find(CIDS[0])
