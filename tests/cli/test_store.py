from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from fedchain.adapters.home import create_home
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.cli.store import show_audit, show_repair, show_status
from fedchain.core.cid import CHUNK_BYTES, Cid, cid_of
from fedchain.wiring.stores import open_store
from fedchain.workflow.replication import AuditOutcome, RepairOutcome, ReplicaFinding, ReplicaStanding
from tests.cli.samples import screen

LARGE = Random(1).randbytes(CHUNK_BYTES + 1)
SOUND = ReplicaStanding("home", is_written=True, artifacts=3, missing=0, fault="")
LACKING = ReplicaStanding("a:5001", is_written=True, artifacts=2, missing=1, fault="")
SILENT = ReplicaStanding("b:5001", is_written=True, artifacts=0, missing=0, fault="no \x1b[2Janswer")
LOST = ReplicaFinding("a:5001", cid_of(b"lost").text, "artifact is missing", is_silent=False)
GONE = ReplicaFinding("b:5001", "", "it gives no answer", is_silent=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return create_home(tmp_path / "home").root


def run(*arguments: object) -> int:
    return main(["store", *map(str, arguments)])


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([SOUND], Exit.DONE),
        ([SOUND, LACKING], Exit.FINDINGS),
        ([LACKING, SILENT], Exit.UNREACHABLE),
    ],
)
def test_status_tells_each_replica_and_ends_with_the_worst(found: Sequence[ReplicaStanding], code: Exit) -> None:
    shown, out, _ = screen()
    assert show_status(Path("home"), shown, lambda _: found) == code
    assert all(each.name in out.getvalue() for each in found)
    assert "\x1b" not in out.getvalue()
    shown, out, _ = screen(as_json=True)
    assert show_status(Path("home"), shown, lambda _: found) == code
    document = json.loads(out.getvalue())
    assert [each["name"] for each in document["replicas"]] == [each.name for each in found]
    assert document["exit"] == code


@pytest.mark.parametrize(
    ("findings", "code"), [((), Exit.DONE), ((LOST,), Exit.FINDINGS), ((LOST, GONE), Exit.UNREACHABLE)]
)
def test_audit_and_repair_tell_their_findings(findings: tuple[ReplicaFinding, ...], code: Exit) -> None:
    for as_json in (False, True):
        shown, out, _ = screen(as_json=as_json)
        assert show_audit(Path("home"), 7, shown, lambda _, samples: AuditOutcome(samples, findings)) == code
        assert "7" in out.getvalue()
        assert all(each.fault in out.getvalue() for each in findings)
        shown, out, _ = screen(as_json=as_json)
        outcome = RepairOutcome((LOST,), findings)
        assert show_repair(Path("home"), reads_all=True, screen=shown, mend=lambda *_, found=outcome: found) == code
        assert all(each.fault in out.getvalue() for each in findings)


def test_an_artifact_goes_from_one_home_to_another(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cid = open_store(create_home(home)).put(LARGE)
    file, other = tmp_path / "large.car", create_home(tmp_path / "other")
    assert run("export", cid, file, "--home", home) == Exit.DONE
    assert run("import", file, "--home", other.root) == Exit.DONE
    assert cid.text in capsys.readouterr().out
    assert open_store(other).get(cid) == LARGE
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_not_written_over(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cid = open_store(create_home(home)).put(b"one")
    (tmp_path / "file").write_bytes(b"mine")
    assert run("export", cid, tmp_path / "file", "--home", home) == Exit.INPUT
    assert "expected a new file" in capsys.readouterr().err
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_an_export_that_fails_leaves_no_file(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", cid_of(b"lost"), tmp_path / "file", "--home", home) == Exit.INPUT
    assert "is not in the store" in capsys.readouterr().err
    assert list(tmp_path.glob("*file*")) == []
    assert list(tmp_path.glob(".*file*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "file"], "expected a CID or --run, got neither"),
        (["export", Cid(0x55, bytes(32)).text, "file", "--run", "ab"], "expected a CID or --run, got both"),
        (["export", "../../etc/passwd", "file"], "not a CID of this store"),
        (["export", "QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5", "file"], "not a CID of this store"),
        (["import", "no-such-file"], "cannot use no-such-file"),
        (["audit", "--samples", "0"], "--samples: expected 1 to 1000000, got 0"),
        (["audit", "--samples", "many"], "invalid int value"),
    ],
)
def test_wrong_input_is_one_line(
    home: Path, arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--home", home) == Exit.INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_file_that_is_no_car_is_one_line_and_keeps_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"not a car")
    assert run("import", tmp_path / "file", "--home", home) == Exit.INPUT
    assert "not a CAR file of this store" in capsys.readouterr().err
    assert list(open_store(create_home(home)).cids()) == []


def test_the_home_itself_is_a_replica(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(create_home(home))
    cid = store.put(b"one")
    assert run("audit", "--samples", "3", "--home", home) == Exit.DONE
    assert run("status", "--home", home) == Exit.DONE
    next((home / "store").glob(f"?/{cid}")).write_bytes(b"eno")
    assert run("audit", "--samples", "3", "--home", home) == Exit.FINDINGS
    assert run("repair", "--full", "--home", home) == Exit.FINDINGS
    assert cid.text in capsys.readouterr().out
