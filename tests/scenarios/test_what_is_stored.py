"""The store of a default run gives nothing away; who has the keys re-derives all of it, and who has not says so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import Home
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.keys import key_path
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.encryption import HPKE_AES_256_GCM, is_encrypted
from fedchain.core.envelope import Envelope
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import RoundManifest, RunManifest
from fedchain.core.scoring import ValidationSet
from fedchain.core.tensors import decode
from fedchain.wiring.bench import load_data
from fedchain.wiring.confidential import HOLDERS, open_artifacts, ring_of
from tests.scenarios.genuine import SMALL, Genuine, check

LEAST = 8
"""Bytes of content below which an occurrence in ciphertext would be chance."""


def stored_bytes(home: Path) -> bytes:
    """Every byte of every file in the store, file names included."""
    paths = [path for path in Home(home).store.rglob("*") if path.is_file()]
    assert paths
    return b"\n".join(path.name.encode() + b"\n" + path.read_bytes() for path in paths)


def manifests(home: Path) -> Iterator[RunManifest | RoundManifest]:
    store = open_artifacts(Home(home))
    for cid in store.cids():
        content = store.get(cid)
        if content.startswith(b'{"'):
            if b'"fedchain/round/2"' in content:
                yield document.from_bytes(RoundManifest, content)
            elif b'"fedchain/run/4"' in content:
                yield document.from_bytes(RunManifest, content)


def contents(home: Path) -> Iterator[tuple[str, bytes]]:
    """What must not lie in the store in plain, with what it is."""
    store = open_artifacts(Home(home))
    for manifest in manifests(home):
        yield "a document", document.to_bytes(manifest)[: 4 * LEAST]
        if isinstance(manifest, RunManifest):
            for text in (manifest.experiment, manifest.mode, *(each.name for each in manifest.tensors)):
                yield "a name", text.encode()
            models, updates = [manifest.initial_model], []
            assert manifest.rewards is not None
            rows = ValidationSet.from_bytes(store.get(Cid.parse(manifest.rewards.validation.cid)))
            for row in rows.features:
                yield "a donated row", row.tobytes()
        else:
            models, updates = [manifest.model], [each.payload_cid for each in manifest.accepted]
        plain = [store.get(Cid.parse(each.cid)) for each in models]
        plain += [Envelope.from_bytes(store.get(Cid.parse(cid))).update for cid in updates]
        for data in plain:
            for name, tensor in decode(data).items():
                yield name, tensor.tobytes()
                yield name, np.ascontiguousarray(tensor.reshape(-1)[:2]).tobytes()
    for each in load_data(SMALL.data, Path()):
        yield "a hospital", each.name.encode()
        yield "a dataset", each.policy.dataset_name.encode()


def test_nothing_of_a_default_run_lies_in_its_store_in_plain(short: Genuine) -> None:
    stored = stored_bytes(short.home).lower()
    found = list(contents(short.home))
    kinds = {kind for kind, content in found if len(content) >= LEAST or kind.startswith("a ")}
    assert {"a document", "a name", "a donated row", "a hospital", "a dataset"} < kinds
    for kind, content in found:
        if len(content.strip(b"\0")) >= LEAST or (content.isascii() and len(content) > 4):
            assert content.lower() not in stored, kind
    inner = EmbeddedStore(Home(short.home).store)
    assert all(is_encrypted(inner.get(cid)) for cid in inner.cids())
    assert {each.payload_encryption for each in manifests(short.home) if isinstance(each, RunManifest)} == {
        HPKE_AES_256_GCM
    }


def test_the_scan_finds_what_lies_in_plain(short: Genuine, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(short.home, home)
    store, inner = open_artifacts(Home(home)), EmbeddedStore(Home(home).store)
    for cid in list(inner.cids()):
        inner.put(store.get(cid))
    stored = stored_bytes(home)
    assert {kind for kind, content in contents(short.home) if content in stored} >= {"a document", "a donated row"}


@pytest.fixture
def home(short: Genuine, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(short.home, copy)
    return copy


def counted(lineage: Lineage) -> dict[str, int]:
    return {each.name: each.instances for each in lineage.claims}


def test_a_verifier_without_any_key_says_anchored(home: Path) -> None:
    key_path(Home(home).keys, "verifiers-reader", "simulated").unlink()
    lineage = check(home, trusted=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.ANCHORED, ())
    claims = counted(lineage)
    assert claims["unopened record"] == claims["chain"] == 2
    assert not {"model", "payload", "manifest", "privacy"} & claims.keys()
    assert check(home, trusted=False).verdict is Verdict.SELF_CONSISTENT


def test_a_verifier_without_one_payloads_key_rederives_the_rest(home: Path) -> None:
    (cid, *_) = [
        each.payload_cid for found in manifests(home) if isinstance(found, RoundManifest) for each in found.accepted
    ]
    before = counted(check(home, trusted=True))
    ring_of(Home(home), "verifiers").erase([Cid.parse(cid)])
    lineage = check(home, trusted=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.ANCHORED, ())
    after = counted(lineage)
    assert after["payload"] == before["payload"] - 1
    assert (after["unopened payload"], after["unopened model"]) == (1, 1)
    assert "model" not in after
    assert {name: after[name] for name in ("manifest", "unprotected", "update", "chain")} == {
        name: before[name] for name in ("manifest", "unprotected", "update", "chain")
    }


def test_who_has_another_key_reads_nothing(home: Path) -> None:
    path = key_path(Home(home).keys, "verifiers-reader", "simulated")
    path.write_text("11" * 32 + "\n")
    assert check(home, trusted=True).verdict is Verdict.ANCHORED


def test_ciphertext_of_an_unreadable_payload_is_still_verified(home: Path) -> None:
    key_path(Home(home).keys, "verifiers-reader", "simulated").unlink()
    (link, *_) = [path for path in Home(home).store.rglob("*") if path.is_file() and path.stat().st_size > 3000]
    link.write_bytes(link.read_bytes()[:-1] + b"?")
    assert check(home, trusted=True).verdict is Verdict.FINDINGS


def test_each_group_has_the_keys_of_what_it_may_read(short: Genuine) -> None:
    home = Home(short.home)
    cids = list(EmbeddedStore(home.store).cids())
    for holder in HOLDERS:
        store = open_artifacts(home, holder)
        assert all(store.get(cid) is not None for cid in cids)
    payloads = {
        each.payload_cid
        for found in manifests(short.home)
        if isinstance(found, RoundManifest)
        for each in found.accepted
    }
    for site in ("cleveland", "hungarian", "switzerland", "va"):
        ring = KeyRing(home.site(site) / "keys.sqlite")
        assert len([cid for cid in cids if ring.find(cid) is not None]) == 1
        assert len([cid for cid in payloads if ring.find(Cid.parse(cid)) is not None]) == 1
