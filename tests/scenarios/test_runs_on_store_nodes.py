"""Whole runs with their artifacts on nodes of IPFS: a real one, and doubles that fail in the middle of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fedchain.adapters.home import open_home
from fedchain.adapters.kubo.client import BoundedClient
from fedchain.adapters.kubo.store import KuboStore
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import ExperimentConfig, StoreConfig, StoreNodesConfig
from fedchain.core.cid import Cid
from fedchain.core.errors import UnreachableError
from fedchain.ports.watcher import Event, RoundSealed
from fedchain.wiring.stores import open_store
from tests.doubles import kubo_server as faults
from tests.doubles.daemon import Daemon, daemon
from tests.doubles.kubo_server import KuboServer, kubo_server
from tests.scenarios.genuine import SMALL, run_quietly

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ipfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("ipfs")) as node:
        yield node


def on_nodes(addresses: Sequence[str], quorum: int, *, keep_local: bool = False) -> ExperimentConfig:
    nodes = StoreNodesConfig(tuple(addresses), (), keep_local, quorum, 5)
    return replace(SMALL, store=StoreConfig("kubo", nodes=nodes))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = main([*arguments, "--json"])
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return code, document


def model_digests(home: Path, capsys: pytest.CaptureFixture[str]) -> list[object]:
    _, document = told(capsys, "lineage", "--home", str(home))
    rounds = document["lineage"]
    assert isinstance(rounds, list)
    assert rounds
    return [each["model_digest"] for each in rounds]


def assert_verifies(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = str(open_home(home).trust)
    code, document = told(capsys, "verify", "--all", "--trust", trust, "--home", str(home))
    assert (code, document["findings"]) == (Exit.DONE, [])


def test_a_run_on_a_real_node_has_the_model_of_the_embedded_store_and_verifies(
    ipfs: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ipfs.forget_all()
    run_quietly(SMALL, tmp_path / "embedded")
    run_quietly(on_nodes([ipfs.address], 1), tmp_path / "nodes")
    assert not (tmp_path / "nodes" / "store").exists()
    assert model_digests(tmp_path / "nodes", capsys) == model_digests(tmp_path / "embedded", capsys)
    assert_verifies(tmp_path / "nodes", capsys)
    code, audited = told(capsys, "store", "audit", "--samples", "20", "--home", str(tmp_path / "nodes"))
    assert (code, audited["sampled"], audited["findings"]) == (Exit.DONE, 20, [])


def test_the_stored_objects_of_a_run_have_the_same_names_on_a_real_node(
    ipfs: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given as a CAR file, and given as plain bytes that the node cuts and names itself."""
    ipfs.forget_all()
    home, car = tmp_path / "home", tmp_path / "run.car"
    run = run_quietly(SMALL, home)
    code, exported = told(capsys, "store", "export", "--run", run.hex(), str(car), "--home", str(home))
    assert code == Exit.DONE
    names = exported["roots"]
    assert isinstance(names, list)
    store = open_store(open_home(home))
    assert set(names) <= {cid.text for cid in store.cids()}
    with httpx.Client(timeout=60) as client:
        url = f"{ipfs.node().address.url}dag/import"
        assert client.post(url, params={"pin-roots": "true"}, files={"file": car.read_bytes()}).status_code == 200
    node = KuboStore(ipfs.node())
    assert {cid.text for cid in node.cids()} == set(names)
    with BoundedClient(ipfs.address, {}, 60) as client:
        for name in names:
            data = store.get(Cid.parse(name))
            assert node.get(Cid.parse(name)) == data
            path = tmp_path / "artifact"
            path.write_bytes(data)
            added = client.add(
                path, cid_version=1, raw_leaves=True, chunker="size-1048576", opts={"cid-base": "base32"}
            )
            assert added["Hash"] == name
    other = tmp_path / "other"
    run_quietly(replace(SMALL, seed=2), other)
    code, imported = told(capsys, "store", "import", str(car), "--home", str(other))
    assert (code, imported["roots"]) == (Exit.DONE, names)


def test_a_run_goes_on_while_a_replica_is_down_and_a_repair_gives_it_what_it_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    with kubo_server() as one, kubo_server() as two:

        def fail(event: Event) -> None:
            if isinstance(event, RoundSealed):
                two.fault = faults.failing

        run_quietly(on_nodes([one.address, two.address], 2, keep_local=True), home, fail)
        assert len(two.pins) < len(one.pins)
        assert told(capsys, "store", "status", "--home", str(home))[0] == Exit.UNREACHABLE
        assert_verifies(home, capsys)
        two.fault = None
        assert told(capsys, "store", "status", "--home", str(home))[0] == Exit.FINDINGS
        code, repaired = told(capsys, "store", "repair", "--home", str(home))
        assert (code, repaired["findings"]) == (Exit.DONE, [])
        assert two.pins == one.pins
        assert told(capsys, "store", "status", "--home", str(home))[0] == Exit.DONE


def test_damage_and_loss_on_a_replica_are_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    with kubo_server() as one, kubo_server() as two:
        run_quietly(on_nodes([one.address, two.address], 2), home)
        damaged, lost = (Cid.parse(name) for name in sorted(one.pins)[:2])
        one.forge(damaged, b"damaged")
        one.pins.discard(lost.text)
        code, audited = told(capsys, "store", "audit", "--samples", "300", "--home", str(home))
        assert code == Exit.FINDINGS
        found = audited["findings"]
        assert isinstance(found, list)
        assert {each["cid"] for each in found} == {damaged.text, lost.text}
        assert_verifies(home, capsys)  # the other replica has them
        assert told(capsys, "store", "repair", "--full", "--home", str(home))[0] == Exit.DONE
        assert told(capsys, "store", "audit", "--samples", "300", "--home", str(home))[0] == Exit.DONE
        assert one.pins == two.pins


def test_a_run_without_a_quorum_ends_with_the_exit_code_of_a_silent_service_and_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    with kubo_server() as one, kubo_server() as two:
        config = on_nodes([one.address, two.address], 2)

        def fail(event: Event) -> None:
            if isinstance(event, RoundSealed):
                two.fault = faults.hanging

        with pytest.raises(UnreachableError, match="too few replicas of the store confirm"):
            run_quietly(config, home, fail)
        two.fault = None
        two.released.set()
        run_quietly(config, home)
        _, document = told(capsys, "runs", "--home", str(home))
        rows = document["runs"]
        assert isinstance(rows, list)
        assert [row["state"] for row in rows] == ["finished"]
        assert_verifies(home, capsys)


def test_a_home_goes_back_to_its_own_folder_and_still_reads_what_lies_on_the_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"

    def pins(node: KuboServer) -> set[str]:
        return set(node.pins)

    with kubo_server() as node:
        run_quietly(on_nodes([node.address], 1), home)
        kept = pins(node)
        run_quietly(replace(SMALL, seed=2), home)
        assert pins(node) == kept
        assert (home / "store").is_dir()
        assert_verifies(home, capsys)
    code, document = told(capsys, "verify", "--all", "--home", str(home))
    assert code == Exit.UNREACHABLE, document
