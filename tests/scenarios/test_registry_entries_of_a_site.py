"""A site changes its own registry entries between the runs of a home, on either ledger; every run verifies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import fedchain.adapters.keys
import fedchain.wiring.registry
from fedchain.adapters.home import Home, open_home
from fedchain.adapters.keys import key_path, read_signer
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import LedgerConfig
from fedchain.core.errors import InputError
from fedchain.core.messages import ConsentWithdraw
from fedchain.wiring.parties import Record, written_ledger
from fedchain.wiring.registry import grant, overview, rotate_admin, rotate_device, withdraw
from fedchain.workflow.registry_entries import DatasetEntry, Order, OrganisationEntry, Request
from tests.doubles.power import PowerCutError
from tests.scenarios.genuine import CHAIN_ID, SMALL, check, run_quietly

pytestmark = pytest.mark.slow
LEDGERS = {"embedded": LedgerConfig("embedded", CHAIN_ID), "log": LedgerConfig("log", 0)}
SITE = "va"


def say_nothing(_: Sequence[Order]) -> None:
    """Nobody listens."""


REQUEST = Request(SITE, say_nothing)


def entry(home: Path) -> OrganisationEntry:
    """What the registry holds of the site."""
    found = overview(home)
    (organisation,) = (each for each, name in found.names.items() if name == SITE)
    return next(each for each in found.organisations if each.organisation == organisation)


def dataset(home: Path) -> DatasetEntry:
    (found,) = entry(home).datasets
    return found


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed round: whose updates are in it, and the refusals that were recorded."""

    clients: list[bytes]
    rejections: tuple[str, ...]


def run_one_round(home: Path, ledger: LedgerConfig, seed: int) -> Sealed:
    """Run one round of the four hospitals, and verify the whole home against its trust file."""
    run = run_quietly(replace(SMALL, rounds=1, seed=seed, ledger=ledger), home)
    found = check(home, trusted=True)
    assert found.findings == ()
    (sealed,) = (each for each in found.rounds if (each.run, each.round) == (run.hex(), 1))
    return Sealed([bytes.fromhex(part.client) for part in sealed.contributions], sealed.rejections)


@pytest.fixture(scope="module", params=sorted(LEDGERS))
def ledger(request: pytest.FixtureRequest) -> LedgerConfig:
    return LEDGERS[request.param]


@pytest.fixture(scope="module")
def first(ledger: LedgerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one run of one round."""
    home = tmp_path_factory.mktemp(ledger.name) / "home"
    run_quietly(replace(SMALL, rounds=1, ledger=ledger), home)
    return home


@pytest.fixture
def home(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "copy"))


def test_fresh_keys_and_renewed_consent_serve_the_next_run_and_a_withdrawal_ends_it(
    home: Path, ledger: LedgerConfig
) -> None:
    before = entry(home)
    (old,) = before.devices
    assert [type(each.order.message).__name__ for each in rotate_device(home, REQUEST)] == [
        "RevokeDevice",
        "RegisterDevice",
    ]
    (rotated,) = rotate_admin(home, REQUEST)
    assert rotated.order.key == before.admin
    (renewed,) = grant(home, REQUEST)
    after = entry(home)
    assert renewed.order.key == after.admin != before.admin
    assert (after.organisation, after.is_signed, before.is_signed) == (before.organisation, True, False)
    revoked, fresh = after.devices
    assert (revoked.address, revoked.revoked_at is None, fresh.revoked_at) == (old.address, False, None)
    assert fresh.address in run_one_round(home, ledger, 2).clients
    withdraw(home, REQUEST, 7)
    assert dataset(home).withdrawn_at is not None
    without = run_one_round(home, ledger, 3)
    assert (len(without.clients), fresh.address in without.clients) == (3, False)
    assert without.rejections == ("29: dataset without valid consent of its site",)
    with pytest.raises(InputError, match="nothing to withdraw: expected a consent that stands, got withdrawn"):
        withdraw(home, REQUEST, 0)
    grant(home, REQUEST)
    assert dataset(home).withdrawn_at is None
    assert len(run_one_round(home, ledger, 4).clients) == 4


def test_a_revoked_device_is_left_out_of_the_next_run(home: Path, ledger: LedgerConfig) -> None:
    where = ["--home", str(home)]
    assert main(["registry", "revoke-device", SITE, *where]) == Exit.DONE
    assert main(["registry", "revoke-device", SITE, *where]) == Exit.INPUT
    without = run_one_round(home, ledger, 2)
    assert (len(without.clients), without.rejections) == (3, ("25: key not valid at the deadline",))
    assert main(["registry", "rotate-device", SITE, *where]) == Exit.DONE
    assert len(run_one_round(home, ledger, 3).clients) == 4


class _Mortal:
    """A registry that dies before, or after, its n-th message."""

    def __init__(self, record: Record, count: int, is_taken: bool) -> None:
        self._record, self._left, self._is_taken = record, count, is_taken

    def add_organisation(self, organisation: bytes, admin: bytes) -> bytes:
        return self._record.registry.add_organisation(organisation, admin)

    def submit(self, message: Any, signature: bytes) -> bytes:
        if self._left == 0 and not self._is_taken:
            raise PowerCutError
        transaction = self._record.registry.submit(message, signature)
        if self._left == 0:
            raise PowerCutError
        self._left -= 1
        return transaction

    def nonce(self, organisation: bytes) -> int:
        return self._record.registry.nonce(organisation)


@pytest.mark.parametrize(("count", "is_taken"), [(0, False), (0, True), (1, False), (1, True)])
def test_a_rotation_that_was_cut_is_finished_by_the_same_command(
    count: int, is_taken: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = entry(home).devices

    @contextmanager
    def mortal(*arguments: Any) -> Iterator[Record]:
        with written_ledger(*arguments) as record:
            yield Record(record.ledger, _Mortal(record, count, is_taken), record.settle)

    with monkeypatch.context() as patch:
        patch.setattr(fedchain.wiring.registry, "written_ledger", mortal)
        with pytest.raises(PowerCutError):
            rotate_device(home, REQUEST)
    assert len(rotate_device(home, REQUEST)) == 2 - count - is_taken
    revoked, fresh = entry(home).devices
    keys = open_home(home).keys
    assert (revoked.address, revoked.revoked_at is None, fresh.revoked_at) == (old.address, False, None)
    assert read_signer(key_path(keys, "device", SITE)).address == fresh.address
    assert read_signer(key_path(keys / "retired", SITE, f"device-{old.address.hex()}")).address == old.address


@pytest.mark.parametrize("verb", [rotate_device, rotate_admin])
@pytest.mark.parametrize("step", ["create_file", "replace_file", "unlink"])
def test_a_cut_while_the_key_files_change_loses_no_key(
    step: str, verb: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, role = entry(home), "device" if verb is rotate_device else "site"
    old = before.devices[0].address if role == "device" else before.admin
    real = Path.unlink if step == "unlink" else getattr(fedchain.adapters.keys, step)

    def cut(path: Path, *arguments: Any, **options: Any) -> Any:
        is_drawn = step == "create_file" and "retired" not in path.parts
        if is_drawn or path.suffix != ".key":  # the draw of the new key, and temporary files
            return real(path, *arguments, **options)
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(Path if step == "unlink" else fedchain.adapters.keys, step, cut)
        with pytest.raises(PowerCutError):
            verb(home, REQUEST)
    assert verb(home, REQUEST) == ()
    keys, after = open_home(home).keys, entry(home)
    new = after.devices[-1].address if role == "device" else after.admin
    assert read_signer(key_path(keys, role, SITE)).address == new != old
    assert read_signer(key_path(keys / "retired", SITE, f"{role}-{old.hex()}")).address == old
    assert len(after.devices) == (2 if role == "device" else 1)


def test_a_direct_withdrawal_needs_coins_on_a_chain_and_none_in_a_log(
    home: Path, ledger: LedgerConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["registry", "withdraw", SITE, "--reason", "3", "--direct", "--json", "--home", str(home)])
    out, err = capsys.readouterr()
    told = json.loads(out)
    if ledger.name == "embedded":
        assert code == told["exit"] == Exit.INPUT
        assert "holds no coins" in err
        assert dataset(home).withdrawn_at is None
        return
    assert code == told["exit"] == Exit.DONE
    assert [(each["act"], each["direct"]) for each in told["sent"]] == [("ConsentWithdraw", True)]
    found = dataset(home)
    assert (found.withdrawn_at is None, found.is_signed) == (False, True)


def test_what_is_told_before_it_is_signed_is_what_is_sent(home: Path) -> None:
    told: list[Order] = []

    def tell(orders: Sequence[Order]) -> None:
        assert dataset(home).withdrawn_at is None
        told.extend(orders)

    done = withdraw(home, Request(SITE, tell), 9)
    assert [each.order for each in done] == told
    assert isinstance(told[0].message, ConsentWithdraw)
    assert told[0].message.reason == 9


def test_bad_input_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = overview(home).head
    assert main(["registry", "withdraw", "nobody", "--home", str(home)]) == Exit.INPUT
    assert "SITE: expected one of cleveland, hungarian" in capsys.readouterr().err
    assert main(["registry", "grant", SITE, "--dataset", "ab" * 32, "--home", str(home)]) == Exit.INPUT
    assert "--dataset: expected one of 0x" in capsys.readouterr().err
    key = key_path(Home(home).keys, "site", SITE)
    neighbours = key_path(Home(home).keys, "site", "cleveland").read_bytes()
    for content, part in ((b"01" * 32 + b"\n", "not on the registry"), (neighbours, "is another organisation's")):
        key.write_bytes(content)
        for verb in ("withdraw", "grant", "revoke-device", "rotate-device", "rotate-admin"):
            assert main(["registry", verb, SITE, "--home", str(home)]) == Exit.INPUT
            assert part in capsys.readouterr().err
    assert overview(home).head == before
    assert not key_path(Home(home).keys, "next-device", SITE).exists()


def test_status_tells_names_and_levels(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "status", "--json", "--home", str(home)]) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert sorted(each["site"] for each in told["organisations"]) == ["cleveland", "hungarian", "switzerland", "va"]
    assert {each["level"] for each in told["organisations"]} == {"anchored"}
    assert {each["datasets"][0]["level"] for each in told["organisations"]} == {"signed"}
    assert main(["registry", "status", "--home", str(home)]) == Exit.DONE
    out = capsys.readouterr().out
    for part in ("cleveland", told["registry_head"], "anchored", "signed", "withdrawn since"):
        assert part in out
