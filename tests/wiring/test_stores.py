from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import Home, create_home
from fedchain.config import StoreConfig, StoreNodesConfig
from fedchain.core.errors import InputError, MissingArtifactError
from fedchain.wiring.stores import open_store, replicas_of, written_store
from tests.doubles.kubo_server import kubo_server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home")


def on_nodes(*addresses: str, files: tuple[str, ...] = (), keep_local: bool = False) -> StoreConfig:
    return StoreConfig("kubo", nodes=StoreNodesConfig(addresses, files, keep_local, 1, 5))


def test_a_home_without_nodes_is_a_folder_and_remembers_nothing(home: Home) -> None:
    assert isinstance(written_store(home, StoreConfig("embedded")), EmbeddedStore)
    assert isinstance(open_store(home), EmbeddedStore)
    assert not home.store_nodes.exists()


def test_who_only_reads_reaches_the_nodes_of_the_last_run(home: Home) -> None:
    with kubo_server() as node:
        cid = written_store(home, on_nodes(node.address)).put(b"weights")
        assert node.pins == {cid.text}
        assert not home.store.exists()
        assert open_store(home).get(cid) == b"weights"
        assert home.store_nodes.stat().st_mode & 0o777 == 0o600


def test_what_lies_in_the_folder_is_read_beside_the_nodes(home: Home) -> None:
    earlier = open_store(home).put(b"earlier")
    with kubo_server() as node:
        store = written_store(home, on_nodes(node.address))
        assert store.get(earlier) == b"earlier"
        later = store.put(b"later")
        with pytest.raises(MissingArtifactError):
            EmbeddedStore(home.store).get(later)


def test_the_folder_can_be_one_of_the_replicas(home: Home) -> None:
    with kubo_server() as node:
        cid = written_store(home, on_nodes(node.address, keep_local=True)).put(b"weights")
        assert EmbeddedStore(home.store).get(cid) == b"weights"
        assert [each.is_written for each in replicas_of(home)] == [True, True]


def test_a_later_run_in_the_folder_writes_there_and_still_reads_the_nodes(home: Home) -> None:
    with kubo_server() as node:
        earlier = written_store(home, on_nodes(node.address)).put(b"earlier")
        store = written_store(home, StoreConfig("embedded"))
        later = store.put(b"later")
        assert node.pins == {earlier.text}
        assert EmbeddedStore(home.store).has(later)
        assert store.get(earlier) == b"earlier"


def test_the_authorization_is_read_from_its_file_and_kept_nowhere_else(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "authorization"
    file.write_text("Bearer s3cret\n")
    with kubo_server() as node:
        written_store(home, on_nodes(node.address, files=(str(file),))).put(b"weights")
        assert node.authorizations == {"Bearer s3cret"}
    assert b"s3cret" not in home.store_nodes.read_bytes()


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"tab\t", b"\xff", b"long" * 5000])
def test_a_file_that_holds_no_authorization_is_refused_and_not_shown(
    home: Home, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "authorization"
    file.write_bytes(content)
    with pytest.raises(InputError, match="an authorization file: expected one line") as caught:
        written_store(home, on_nodes("/ip4/127.0.0.1/tcp/5001", files=(str(file),)))
    assert "two" not in str(caught.value)
    assert not home.store_nodes.exists()


def test_a_mark_that_cannot_be_read_is_an_input_error(home: Home) -> None:
    home.store_nodes.write_bytes(b"{")
    with pytest.raises(InputError):
        open_store(home)
