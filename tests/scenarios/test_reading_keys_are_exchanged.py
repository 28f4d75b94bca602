"""A reading key is exchanged: the new one opens all that the old one did, the old one nothing, whenever power fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedchain.adapters.cipher import Opener
from fedchain.adapters.home import Home
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.keys import key_path, read_secret
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError, LockedArtifactError
from fedchain.core.lineage import Verdict
from fedchain.wiring import reader_exchange
from fedchain.wiring.confidential import HOLDERS, open_artifacts, ring_of, site_ring
from fedchain.wiring.parties import site_names
from fedchain.wiring.reader_exchange import exchange
from tests.doubles.power import Power, PowerCutError, after, never
from tests.scenarios.genuine import Genuine, check

ROLE, NAME = "verifiers-reader", "simulated"
STEPS = ("make_secret", "create_file", "replace_file", "_remove")


@pytest.fixture
def home(short: Genuine, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(short.home, copy)
    return copy


def opener(home: Path, role: str = ROLE, name: str = NAME) -> Opener:
    return Opener.of(read_secret(key_path(Home(home).keys, role, name)))


def opened_by(reader: Opener, ring: KeyRing, cids: list[Cid]) -> int:
    """How many data keys of a ring a reader opens."""
    opened = 0
    for cid in cids:
        keys = ring.find(cid)
        assert keys is not None
        try:
            reader.data_key(keys, cid.digest)
        except LockedArtifactError:
            continue
        opened += 1
    return opened


def held(ring: KeyRing, home: Path) -> list[Cid]:
    return [cid for cid in open_artifacts(Home(home)).inner.cids() if ring.find(cid) is not None]


def every_ring(home: Path) -> list[KeyRing]:
    opened = Home(home)
    return [ring_of(opened, each) for each in HOLDERS] + [site_ring(opened, each) for each in site_names(opened)]


def mortal(power: Power, name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
    def act(*arguments: Any, **named: Any) -> Any:
        power.pass_moment(f"before {name}")
        result = effect(*arguments, **named)
        power.pass_moment(f"after {name}")
        return result

    return act


@pytest.mark.parametrize(("role", "name"), [(ROLE, NAME), ("aggregator-reader", NAME), ("site-reader", "va")])
def test_the_new_key_opens_what_the_old_one_did_and_the_old_one_nothing(home: Path, role: str, name: str) -> None:
    old = opener(home, role, name)
    ring = site_ring(Home(home), name) if role == "site-reader" else ring_of(Home(home), role.removesuffix("-reader"))  # type: ignore[arg-type]
    cids = held(ring, home)
    assert opened_by(old, ring, cids) == len(cids) > 0
    assert exchange(home, role, name) == len(cids)
    new = opener(home, role, name)
    assert new.recipient != old.recipient
    assert (opened_by(new, ring, cids), opened_by(old, ring, cids)) == (len(cids), 0)
    for each in every_ring(home):  # whoever else keeps a wrap for the old key would keep that key alive
        assert opened_by(old, each, held(each, home)) == 0
    assert not list(Home(home).keys.glob("next-*/*")) + list(Home(home).keys.glob("past-*/*"))
    assert check(home, trusted=True).verdict is Verdict.VERIFIED


def test_a_home_goes_on_with_the_new_keys(home: Path) -> None:
    for role in (ROLE, "aggregator-reader"):
        exchange(home, role, NAME)
    cid = open_artifacts(Home(home), "aggregator").put(b"written after the exchange")
    assert open_artifacts(Home(home)).get(cid) == b"written after the exchange"


def test_power_may_fail_at_any_step(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    power, old = Power(), opener(home)
    for step in STEPS:
        monkeypatch.setattr(reader_exchange, step, mortal(power, step, getattr(reader_exchange, step)))
    monkeypatch.setattr(KeyRing, "rewrap", mortal(power, "rewrap", KeyRing.rewrap))
    moments = 0
    while True:
        copy = tmp_path / f"cut-{moments}"
        shutil.copytree(home, copy)
        ring = ring_of(Home(copy), "verifiers")
        cids = held(ring, copy)
        power.restart(after(moments))
        try:
            exchange(copy, ROLE, NAME)
            is_cut = False
        except PowerCutError:
            is_cut = True
        power.restart(never)
        assert opened_by(opener(copy), ring, cids) == len(cids)  # whatever has happened, the key in its place opens all
        if is_cut:
            exchange(copy, ROLE, NAME)
        assert opened_by(opener(copy), ring, cids) == len(cids)
        assert opened_by(old, ring, cids) == 0
        shutil.rmtree(copy)
        if not is_cut:
            break
        moments += 1
    assert moments > 10


@pytest.mark.parametrize(("role", "name"), [("device", "va"), (ROLE, "nobody"), ("site-reader", "nobody")])
def test_what_is_no_reading_key_of_the_home_is_refused(home: Path, role: str, name: str) -> None:
    with pytest.raises(InputError, match="a reading key of this home"):
        exchange(home, role, name)
