from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedchain.adapters.files import create_file, make_folder, replace_file
from fedchain.adapters.home import HOME_FORMAT, Home, create_home, locked, open_home, plain_name
from fedchain.core.errors import FormatError, InputError

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
NOBODY = 65534


@contextmanager
def without_root() -> Iterator[None]:
    """Permissions bind everybody but root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_new_home_says_its_format_and_is_for_its_owner_only(tmp_path: Path) -> None:
    home = create_home(tmp_path / "deep" / "home")
    assert json.loads((home.root / "home.json").read_text()) == {"format": HOME_FORMAT}
    assert home.root.stat().st_mode & 0o777 == 0o700
    assert (home.root / "home.json").stat().st_mode & 0o777 == 0o600
    assert open_home(home.root) == home


def test_creating_a_home_twice_is_creating_it_once(tmp_path: Path) -> None:
    create_home(tmp_path / "home")
    before = (tmp_path / "home" / "home.json").stat()
    create_home(tmp_path / "home")
    after = (tmp_path / "home" / "home.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_home_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run an experiment first"):
        open_home(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_folder_with_other_things_becomes_no_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(InputError, match=r"holds other things and no home\.json.*got thesis\.tex"):
        create_home(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_creation_that_was_killed_half_way_is_taken_up_again(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".home.json.0011.partial").write_text('{"for')
    assert open_home(create_home(tmp_path / "home").root).root == tmp_path / "home"


@pytest.mark.parametrize("found", [str(HOME_FORMAT + 1), "1", "0", "null", '"1"', "true"])
def test_a_home_of_another_version_is_refused_and_left_alone(tmp_path: Path, found: str) -> None:
    (tmp_path / "home.json").write_text(f'{{"format": {found}}}')
    for opening in (open_home, create_home):
        with pytest.raises(
            InputError, match=rf"another version: expected format {HOME_FORMAT}, got format .*use the release"
        ):
            opening(tmp_path)
    assert (tmp_path / "home.json").read_text() == f'{{"format": {found}}}'


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_mark_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "home.json").write_bytes(content)
    with pytest.raises(FormatError, match=r"home\.json is damaged"):
        open_home(tmp_path)


def test_a_mark_that_is_no_object_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text("[1]")
    with pytest.raises(InputError, match=r"another version"):
        open_home(tmp_path)


def test_a_file_in_the_place_of_the_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(InputError, match=r"a file has the name of a folder"):
        create_home(tmp_path / "home")
    with pytest.raises(InputError):
        create_home(tmp_path / "home" / "below")


def test_a_home_that_may_not_be_made_here_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with without_root(), pytest.raises(InputError, match=r"no permission for .*choose another with --home"):
        create_home(tmp_path / "home")
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_may_not_be_written_cannot_be_locked(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    home.root.chmod(0o500)
    with without_root(), pytest.raises(InputError, match="no permission for"), locked(home):
        pass
    home.root.chmod(0o700)


HOLDER = """
import sys
from pathlib import Path
from fedchain.adapters.home import locked, open_home
with locked(open_home(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_home_until_that_one_dies(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"home is in use by process {holder.pid}: got "), locked(home):
            pass
        holder.kill()
        holder.wait()
    with locked(home):
        assert (home.root / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_use(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    with locked(home):
        pass
    with locked(home):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", "a b", "-a", "a\n", "ä", "a" * 65, "a\0"])
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="a name in the home"):
        plain_name(name)


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    places = (home.keys, home.store, home.chain, home.runs, home.mlflow, home.trust)
    assert [each.relative_to(tmp_path).as_posix() for each in places] == [
        "keys",
        "store",
        "chain/chain.sqlite",
        "runs",
        "mlflow",
        "trust.json",
    ]
    assert home.site("cleveland") == tmp_path / "sites/cleveland"
    assert home.journal("ab12") == tmp_path / "runs/ab12/journal"


def test_replacing_a_file_changes_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"first")
    replace_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


FILLER = """
import resource, signal, sys
from pathlib import Path
from fedchain.adapters.files import create_file, replace_file
from fedchain.core.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
for write in (create_file, replace_file):
    try:
        write(Path(sys.argv[1]) / write.__name__, bytes(1000))
    except InputError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_old_file_and_no_half_of_the_new(tmp_path: Path) -> None:
    (tmp_path / "replace_file").write_bytes(b"old")
    said = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path)], env=ENVIRONMENT, capture_output=True, check=True
    )
    lines = said.stdout.decode().splitlines()
    assert len(lines) == 2
    assert all("no room to write" in line and "free some space" in line for line in lines)
    assert [each.name for each in tmp_path.iterdir()] == ["replace_file"]
    assert (tmp_path / "replace_file").read_bytes() == b"old"


def test_the_first_to_create_a_file_wins(tmp_path: Path) -> None:
    assert create_file(tmp_path / "file", b"first")
    assert not create_file(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_folders_are_made_with_their_parents_and_kept_as_they_are(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "a").chmod(0o750)
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
