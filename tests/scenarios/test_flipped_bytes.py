"""One flipped bit in a store, a trust file or a chain: `verify` says so, and its findings name the very rounds.

The quick tests take random positions and the real ledger, the slow ones every byte. What carries no claim stands in
unclaimed_bytes.json (file, first and last byte, why), is less than 1% of all, and is the only thing not flipped.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.adapters.home import Home
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core import document
from fedchain.core.cid import RAW, Cid
from fedchain.core.errors import FedchainError, InputError, IntegrityError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import RunManifest
from fedchain.ports.ledger import LinkEvent
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.record import read_trust
from tests.scenarios.forge import Forgery, History, Stage, judged, read_history, told_in_memory
from tests.scenarios.genuine import Genuine, check

pytestmark = pytest.mark.slow

Places = set[tuple[str, int]]

SIDECAR: Final = ".dag"
SHARES: Final = 4
"""Parts that a sweep is cut into, for several workers."""
DEPLOYMENTS: Final = 2
"""Blocks at the beginning of a chain that hold the contracts."""
READ_OF_AN_EVENT: Final = ("address", "data", "topic0", "transaction_hash")
READ_OF_A_LINK: Final = (*READ_OF_AN_EVENT, "topic2", "topic3")
"""Columns that the ledger reads; other indexed members repeat what stands in the data, or name the federation."""
STRIDE: Final = 100_003
"""Between two positions that the slow test takes of an artifact beyond 1 MiB; a prime, so that no pattern is met."""


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Bytes of a file, from `first` to `last`, that say nothing."""

    file: str
    first: int
    last: int
    why: str


_LIST: Final = Path(__file__).with_name("unclaimed_bytes.json")
UNCLAIMED: Final = [Unclaimed(**each) for each in json.loads(_LIST.read_bytes())]


@dataclass(frozen=True, slots=True)
class Vault:
    """A copy of a genuine home with the rounds that depend on each artifact."""

    home: Path
    places: dict[str, Places]
    intact: Lineage

    @property
    def artifacts(self) -> list[Path]:
        """The files of the store, sidecars among them."""
        return sorted(path for path in Home(self.home).store.glob("?/*") if path.is_file())

    def rounds_of(self, artifact: Path) -> Places:
        return self.places[artifact.name.removesuffix(SIDECAR)]


@contextmanager
def flipped(path: Path, position: int, bit: int) -> Iterator[None]:
    """Flip one bit of a file for a while."""
    assert not any(each.file == path.name and each.first <= position <= each.last for each in UNCLAIMED)
    flip(path, position, bit)
    try:
        yield
    finally:
        flip(path, position, bit)


def flip(path: Path, position: int, bit: int) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def places_of(lineage: Lineage) -> Places:
    assert all(finding.claim for finding in lineage.findings)
    return {(finding.run, finding.round) for finding in lineage.findings}


def dependents(history: History) -> dict[str, Places]:
    """Which rounds name each artifact, read from the documents themselves."""
    found: dict[str, Places] = {}
    for event in history.events:
        if not isinstance(event, LinkEvent):
            continue
        manifest = history.manifest(event.link)
        run = document.from_bytes(RunManifest, history.store.get(Cid.parse(manifest.run_manifest)))
        named = [
            Cid(RAW, event.link.manifest_digest).text, manifest.run_manifest, run.config.cid, run.initial_model.cid,
            manifest.base_model.cid, manifest.model.cid, *(each.policy.cid for each in run.cohort),
            *(each.payload_cid for each in manifest.accepted), *(each.evidence_cid for each in manifest.rejected),
        ]  # fmt: skip
        if run.rewards is not None and manifest.round == 1:  # looked at once a run
            named.append(run.rewards.validation.cid)
        for cid in named:
            found.setdefault(cid, set()).add((manifest.run.hex(), manifest.round))
    return found


def vault_of(genuine: Genuine, folder: Path) -> Vault:
    shutil.copytree(genuine.home, folder / "home")
    return Vault(folder / "home", dependents(read_history(genuine.home)), check(genuine.home, trusted=True))


@pytest.fixture(scope="module")
def vault(genuine: Genuine, tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return vault_of(genuine, tmp_path_factory.mktemp("vault"))


@pytest.fixture(scope="module")
def large_vault(large: Genuine, tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return vault_of(large, tmp_path_factory.mktemp("large-vault"))


@pytest.fixture(scope="module")
def short_vault(short: Genuine, tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return vault_of(short, tmp_path_factory.mktemp("short-vault"))


@pytest.fixture(scope="module")
def short_stage(short: Genuine) -> Stage:
    """The ledger of the short run in memory: sweeping every byte verifies thousands of times."""
    return told_in_memory(read_history(short.home), Forgery())


def test_what_carries_no_claim_is_less_than_one_byte_in_a_hundred(short_vault: Vault) -> None:
    files = [*short_vault.artifacts, Home(short_vault.home).trust]
    assert 100 * sum(each.last - each.first + 1 for each in UNCLAIMED) < sum(path.stat().st_size for path in files)


def test_every_artifact_of_a_home_is_named_by_a_round(vault: Vault, large_vault: Vault) -> None:
    for each in (vault, large_vault):
        assert {path.name.removesuffix(SIDECAR) for path in each.artifacts} == each.places.keys()
    assert any(path.suffix == SIDECAR for path in large_vault.artifacts)


@settings(max_examples=80)
@given(data=st.data(), bit=st.integers(0, 7))
def test_a_flipped_bit_of_an_artifact_is_a_finding_in_every_round_that_names_it(
    vault: Vault, data: st.DataObject, bit: int
) -> None:
    artifact = data.draw(st.sampled_from(vault.artifacts))
    with flipped(artifact, data.draw(st.integers(0, artifact.stat().st_size - 1)), bit):
        assert places_of(check(vault.home, trusted=True)) == vault.rounds_of(artifact)


@settings(max_examples=30)
@given(data=st.data(), bit=st.integers(0, 7))
def test_a_flipped_bit_of_an_artifact_beyond_one_chunk_or_of_its_sidecar_is_a_finding(
    large_vault: Vault, data: st.DataObject, bit: int
) -> None:
    artifact = data.draw(st.sampled_from(large_vault.artifacts))
    with flipped(artifact, data.draw(st.integers(0, artifact.stat().st_size - 1)), bit):
        assert places_of(check(large_vault.home, trusted=True)) == large_vault.rounds_of(artifact)


@settings(max_examples=40)
@given(data=st.data(), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_trust_file_is_a_finding_or_makes_it_none(
    vault: Vault, data: st.DataObject, bit: int
) -> None:
    trust = Home(vault.home).trust
    with flipped(trust, data.draw(st.integers(0, trust.stat().st_size - 1)), bit):
        assert says_so(lambda: check(vault.home, trusted=True), "receipt")


def says_so(judge: Callable[[], Lineage], claim: str) -> bool:
    """Whether a verification ends with findings of this claim alone, or with one clear line."""
    try:
        lineage = judge()
    except InputError as error:
        return len(str(error).splitlines()) == 1
    return lineage.verdict is Verdict.FINDINGS and {finding.claim for finding in lineage.findings} == {claim}


# -- the chain's file -----------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_chain_never_passes_for_other_content(vault: Vault, share: float, bit: int) -> None:
    chain = Home(vault.home).chain
    with flipped(chain, int(share * chain.stat().st_size), bit):
        assert is_told_or_intact(vault)


def is_told_or_intact(vault: Vault) -> bool:
    """Whether damage is told, or touched nothing that a verification reads: old states, free pages."""
    try:
        lineage = check(vault.home, trusted=True)
    except FedchainError as error:
        return len(str(error).splitlines()) == 1
    return lineage.verdict is Verdict.FINDINGS or lineage == vault.intact


@settings(max_examples=30)
@given(data=st.data(), bit=st.integers(0, 7))
def test_a_flipped_bit_in_what_the_ledger_returns_of_an_event_is_told(
    vault: Vault, data: st.DataObject, bit: int
) -> None:
    with rewritten(Home(vault.home).chain) as sql:
        rows = sql.execute("SELECT block, position, topic3 FROM logs WHERE block > ?", (DEPLOYMENTS,)).fetchall()
        block, position, round_ = data.draw(st.sampled_from(rows))
        column = data.draw(st.sampled_from(READ_OF_AN_EVENT if round_ is None else READ_OF_A_LINK))
        where = f"WHERE block = {block} AND position = {position}"
        (value,) = sql.execute(f"SELECT {column} FROM logs {where}").fetchone()  # noqa: S608  # names of this file
        altered = bytearray(value)
        altered[data.draw(st.integers(0, len(value) - 1))] ^= 1 << bit
        sql.execute(f"UPDATE logs SET {column} = ? {where}", (bytes(altered),))  # noqa: S608
        sql.close()
        assert is_told(vault)


def test_an_event_deleted_from_the_chain_is_a_finding(vault: Vault) -> None:
    chain = Home(vault.home).chain
    with closing(sqlite3.connect(chain)) as sql:
        rows = sql.execute("SELECT block, position FROM logs WHERE block > ?", (DEPLOYMENTS,)).fetchall()
    assert rows
    for row in rows:
        with rewritten(chain) as sql:
            sql.execute("DELETE FROM logs WHERE (block, position) = (?, ?)", row)
            sql.close()
            assert check(vault.home, trusted=False).verdict is Verdict.FINDINGS


@contextmanager
def rewritten(chain: Path) -> Iterator[sqlite3.Connection]:
    """Let a test write into a chain's tables; afterwards the file is as before."""
    before = chain.read_bytes()
    sql = sqlite3.connect(chain, isolation_level=None)
    try:
        yield sql
    finally:
        sql.close()
        for each in chain.parent.glob("chain.sqlite-*"):
            each.unlink()
        chain.write_bytes(before)


def is_told(vault: Vault) -> bool:
    try:
        return check(vault.home, trusted=True).verdict is Verdict.FINDINGS
    except FedchainError as error:
        return len(str(error).splitlines()) == 1


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_ends_with_exit_1_and_names_round_and_claim(
    vault: Vault, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    (event, *_) = (each for each in history.events if isinstance(each, LinkEvent) and each.link.round == 2)
    manifest = history.manifest(event.link)
    claims = {
        Cid(RAW, event.link.manifest_digest).text: "manifest",
        manifest.run_manifest: "configuration",
        manifest.model.cid: "model",
        manifest.accepted[0].payload_cid: "payload",
    }
    for artifact in vault.artifacts:
        if artifact.name not in claims:
            continue
        with flipped(artifact, 7, 0):
            assert main(["verify", "--home", str(vault.home)]) == Exit.FINDINGS
        assert f"round 2 of run 0x{manifest.run.hex()}: claim '{claims[artifact.name]}'" in capsys.readouterr().out


def test_the_command_ends_with_exit_2_where_a_trust_file_cannot_be_read(
    vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = Home(vault.home).trust
    with flipped(trust, 0, 0):
        assert main(["verify", "--home", str(vault.home), "--trust", str(trust)]) == Exit.INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert str(trust) in line


# -- every byte -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", range(SHARES))
def test_no_byte_of_any_artifact_can_be_flipped_unnoticed(short_vault: Vault, short_stage: Stage, share: int) -> None:
    store, trust = open_artifacts(Home(short_vault.home)), read_trust(Home(short_vault.home).trust)
    for artifact in short_vault.artifacts:
        for position in range(share, artifact.stat().st_size, SHARES):
            with flipped(artifact, position, position % 8):
                lineage = judged(short_stage.ledger, store, trust)
            assert places_of(lineage) == short_vault.rounds_of(artifact), (artifact.name, position)


@pytest.mark.parametrize("share", range(SHARES))
def test_no_byte_of_a_trust_file_can_be_flipped_unnoticed(short_vault: Vault, short_stage: Stage, share: int) -> None:
    trust, store = Home(short_vault.home).trust, short_stage.store
    for position in range(share, trust.stat().st_size, SHARES):
        with flipped(trust, position, position % 8):
            assert says_so(lambda: judged(short_stage.ledger, store, read_trust(trust)), "receipt"), position


def test_no_byte_of_a_sidecar_can_be_flipped_without_its_artifact_being_refused(large_vault: Vault) -> None:
    store = open_artifacts(Home(large_vault.home))
    for sidecar in (path for path in large_vault.artifacts if path.suffix == SIDECAR):
        for position in range(sidecar.stat().st_size):
            with flipped(sidecar, position, position % 8), pytest.raises(IntegrityError):
                store.get(Cid.parse(sidecar.stem))


def test_no_place_of_a_large_artifact_that_is_tried_can_be_flipped_unnoticed(large_vault: Vault) -> None:
    for artifact in large_vault.artifacts:
        for position in range(artifact.stat().st_size - 1, 0, -STRIDE):
            with flipped(artifact, position, position % 8):
                lineage = check(large_vault.home, trusted=True)
            assert places_of(lineage) == large_vault.rounds_of(artifact), (artifact.name, position)


@pytest.mark.parametrize("share", range(SHARES))
def test_hundreds_of_places_of_the_chain_never_pass_for_other_content(short_vault: Vault, share: int) -> None:
    chain, draw = Home(short_vault.home).chain, random.Random(share)
    for _ in range(400 // SHARES):
        position, bit = draw.randrange(chain.stat().st_size), draw.randrange(8)
        with flipped(chain, position, bit):
            assert is_told_or_intact(short_vault), (position, bit)
