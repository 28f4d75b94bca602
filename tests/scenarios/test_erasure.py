"""Erasing a round of a real home: no key is left anywhere, nothing opens, and the rest of the record verifies."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import fedchain.wiring.erasure
from fedchain.adapters.erasure_files import ErasureFiles
from fedchain.adapters.home import Home
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.eip712 import signing_digest
from fedchain.core.encryption import WrappedKeys
from fedchain.core.errors import LockedArtifactError, MissingArtifactError, PolicyError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import RoundManifest
from fedchain.core.retention import HoldReason
from fedchain.core.signatures import recover
from fedchain.wiring.confidential import HOLDERS, open_artifacts, ring_of, site_ring
from fedchain.wiring.erasure import erase
from fedchain.wiring.keeping import hold
from fedchain.wiring.parties import read_ledger, site_names
from fedchain.workflow.erasing import EraseRequest
from tests.doubles.power import Power, PowerCutError, after, never
from tests.scenarios.genuine import Genuine, check


@dataclass(frozen=True)
class Secrets:
    """What must be gone: raw data keys, salts, and each reader's wrapped keys, of the payloads named."""

    cids: tuple[Cid, ...]
    values: tuple[bytes, ...]


@pytest.fixture
def home(short: Genuine, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(short.home, copy)
    return copy


def whole_round(home: Path, *clients: str) -> EraseRequest:
    (run,) = (each.name for each in Home(home).runs.iterdir())
    return EraseRequest(run, (1,), clients, 7)


def payloads(home: Path) -> tuple[Cid, ...]:
    store = open_artifacts(Home(home))
    found: list[Cid] = []
    for cid in store.cids():
        content = store.get(cid)
        if b'"fedchain/round/2"' in content:
            manifest = document.from_bytes(RoundManifest, content)
            found += [Cid.parse(each.payload_cid) for each in manifest.accepted]
    assert len(found) == 4
    return tuple(found)


def secrets_of(home: Path) -> Secrets:
    opened, cids, values = Home(home), payloads(home), list[bytes]()
    store = open_artifacts(opened, "aggregator")
    rings = [ring_of(opened, each) for each in HOLDERS] + [site_ring(opened, each) for each in site_names(opened)]
    for cid in cids:
        values.append(store.get(cid)[16:48])
        found = [keys for ring in rings if (keys := ring.find(cid)) is not None]
        assert len(found) == 4
        for keys in found:
            assert isinstance(keys, WrappedKeys)
            values += [each.wrapped for each in keys.keys]
        assert store.opener is not None
        values.append(store.opener.data_key(found[0], cid.digest))
    return Secrets(cids, tuple(values))


def everything(home: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def encodings(value: bytes) -> Iterator[bytes]:
    yield value
    yield value.hex().encode()
    yield base64.b64encode(value).rstrip(b"=")[:-1]


def left(secrets: Secrets, home: Path) -> int:
    """How many values are there, whole or in part: a database may cut one at the end of a page."""
    stored = everything(home)
    parts = [[value[start : start + 16] for start in range(0, len(value), 16)] for value in secrets.values]
    return sum(any(each in stored for part in value for each in encodings(part)) for value in parts)


def counted(lineage: Lineage) -> dict[str, int]:
    return {each.name: each.instances for each in lineage.claims}


def test_after_erasing_a_round_no_key_is_left_and_the_rest_verifies(home: Path) -> None:
    before, secrets = counted(check(home, trusted=True)), secrets_of(home)
    wrapped = sum(len(value) == 80 for value in secrets.values)
    assert left(secrets, home) == wrapped  # raw keys and salts are on no disk to begin with
    done = erase(home, whole_round(home))
    assert left(secrets, home) == 0
    for holder in HOLDERS:
        for cid in secrets.cids:
            with pytest.raises(MissingArtifactError):
                open_artifacts(Home(home), holder).get(cid)
    assert len(done.receipts) == 4 * len(secrets.cids)
    lineage = check(home, trusted=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.ANCHORED, ())
    after = counted(lineage)
    assert (after["erased payload"], after["unopened model"]) == (4, 1)
    assert not {"payload", "model", "unopened payload"} & after.keys()
    same = ("chain", "manifest", "configuration", "update", "receipt", "validation", "unprotected")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_a_copy_of_the_ciphertext_opens_no_more(home: Path) -> None:
    inner = open_artifacts(Home(home)).inner
    copies = [(cid, inner.get(cid)) for cid in payloads(home)]
    erase(home, whole_round(home))
    for cid, data in copies:
        assert inner.put(data) == cid
        for holder in HOLDERS:
            with pytest.raises(LockedArtifactError, match="its keys were erased"):
                open_artifacts(Home(home), holder).get(cid)
    assert counted(check(home, trusted=True))["erased payload"] == 4


def test_every_receipt_is_signed_by_its_reader(home: Path) -> None:
    done = erase(home, whole_round(home))
    with read_ledger(Home(home)) as ledger:
        identity = ledger.identity()
    for each in done.receipts:
        assert recover(signing_digest(identity.rounds, each.receipt), each.signature) == each.signer
        assert (each.receipt.reason, each.receipt.round) == (7, 1)
    clients = {each.client for order in done.orders for each in order.payloads}
    assert clients < {each.signer for each in done.receipts}
    assert len({each.receipt.reader for each in done.receipts}) == 4 + 3


def test_erasing_twice_is_erasing_once(home: Path) -> None:
    first = erase(home, whole_round(home))
    files = {path: path.read_bytes() for path in Home(home).erasures.rglob("*.receipt")}
    assert len(files) == len(first.receipts)
    erase(home, whole_round(home))
    assert {path: path.read_bytes() for path in Home(home).erasures.rglob("*.receipt")} == files
    assert check(home, trusted=True).verdict is Verdict.ANCHORED


def test_fewer_clients_than_hide_each_other_are_refused_and_told_why(home: Path) -> None:
    with pytest.raises(PolicyError, match="difference of the round's two models, less the updates that are left"):
        erase(home, whole_round(home, "va"))
    assert check(home, trusted=True).verdict is Verdict.VERIFIED
    erase(home, whole_round(home, "va", "cleveland"))
    after = counted(check(home, trusted=True))
    assert (after["erased payload"], after["payload"], after["unopened model"]) == (2, 2, 1)
    erase(home, whole_round(home, "switzerland"))  # with the two before it
    assert counted(check(home, trusted=True))["erased payload"] == 3


def test_what_is_held_as_evidence_is_not_erased(home: Path) -> None:
    (run,) = (each.name for each in Home(home).runs.iterdir())
    held = hold(home, run, HoldReason.AUDIT)
    with pytest.raises(PolicyError, match=f"is held: got a hold on the model of round {held.round}"):
        erase(home, whole_round(home))
    assert check(home, trusted=True).verdict is Verdict.VERIFIED
    assert not Home(home).erasures.exists()


def test_missing_without_a_receipt_is_a_finding(home: Path) -> None:
    erase(home, whole_round(home))
    for path in Home(home).erasures.rglob("*.receipt"):
        path.unlink()
    assert check(home, trusted=True).verdict is Verdict.FINDINGS


@pytest.mark.parametrize("field", ["federation", "run", "round", "payload_cid", "reader", "reason", "at"])
def test_an_altered_receipt_is_none(home: Path, field: str) -> None:
    erase(home, whole_round(home))
    files = ErasureFiles(Home(home).erasures)
    for each in files.receipts():
        value = getattr(each.receipt, field)
        other: dict[str, Any] = {field: value + 1 if isinstance(value, int) else value[::-1]}
        (path,) = Home(home).erasures.glob(f"*/{each.receipt.payload_cid.hex()}-{each.receipt.reader.hex()}.receipt")
        path.write_bytes(document.to_bytes(replace(each, receipt=replace(each.receipt, **other))))
    lineage = check(home, trusted=True)
    assert lineage.verdict is Verdict.FINDINGS
    assert {each.claim for each in lineage.findings} == {"payload"}


def test_a_receipt_of_another_hospital_is_none(home: Path) -> None:
    done = erase(home, whole_round(home))
    for each in done.receipts:
        if each.signer not in {one.client for order in done.orders for one in order.payloads}:
            continue
        (path,) = Home(home).erasures.glob(f"*/{each.receipt.payload_cid.hex()}-{each.receipt.reader.hex()}.receipt")
        path.unlink()  # the aggregator's own words are left
    assert check(home, trusted=True).verdict is Verdict.FINDINGS


@pytest.mark.slow
def test_an_erasure_that_was_killed_anywhere_is_finished_by_the_next(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Cut before and after every durable effect: each erased ring, receipt, removed artifact and journal entry."""
    secrets, power = secrets_of(home), Power()
    for cls, name in (
        (fedchain.wiring.erasure.RingHolder, "erase"),
        (ErasureFiles, "begin"),
        (ErasureFiles, "keep"),
        (ErasureFiles, "finish"),
    ):
        monkeypatch.setattr(cls, name, mortal(power, name, getattr(cls, name)))
    moments = 0
    while True:
        copy = tmp_path / f"cut-{moments}"
        shutil.copytree(home, copy)
        power.restart(after(moments))
        try:
            erase(copy, whole_round(copy))
            is_cut = False
        except PowerCutError:
            is_cut = True
        power.restart(never)
        assert check(copy, trusted=True).verdict in (Verdict.VERIFIED, Verdict.ANCHORED)
        erase(copy, whole_round(copy))
        assert left(secrets, copy) == 0
        assert counted(check(copy, trusted=True))["erased payload"] == 4
        assert not ErasureFiles(Home(copy).erasures).unfinished()
        shutil.rmtree(copy)
        if not is_cut:
            break
        moments += 3
    assert moments > 30


def mortal(power: Power, name: str, effect: object) -> object:
    def act(*args: object) -> object:
        power.pass_moment(f"before {name}")
        assert callable(effect)
        result = effect(*args)
        power.pass_moment(f"after {name}")
        return result

    return act
