from __future__ import annotations

from collections.abc import Iterator
from random import Random

from fedchain.core.cid import CHUNK_BYTES, Cid, cid_of
from fedchain.core.errors import UnreachableError
from fedchain.ports.store import Replica
from fedchain.workflow.replication import audit, repair, standing
from tests.doubles.store import MemoryStore

ARTIFACTS = [b"one", b"two", Random(3).randbytes(3 * CHUNK_BYTES)]


class SilentStore(MemoryStore):
    def cids(self) -> Iterator[Cid]:
        raise UnreachableError("it gives no answer")

    def get(self, cid: Cid) -> bytes:
        raise UnreachableError(f"it gives no answer to {cid}")


def replicas(*stores: MemoryStore) -> list[Replica]:
    return [Replica("abc"[number], store, is_written=True) for number, store in enumerate(stores)]


def sound() -> MemoryStore:
    store = MemoryStore()
    for data in ARTIFACTS:
        store.put(data)
    return store


def test_standing_counts_what_others_list() -> None:
    lacking = sound()
    del lacking.artifacts[cid_of(b"one")]
    rows = standing(replicas(sound(), lacking, SilentStore()))
    assert [(row.name, row.artifacts, row.missing, row.fault) for row in rows] == [
        ("a", 3, 0, ""), ("b", 2, 1, ""), ("c", 0, 0, "it gives no answer"),
    ]  # fmt: skip


def test_sound_replicas_have_no_findings() -> None:
    outcome = audit(replicas(sound(), sound()), 10, Random(1).randrange)
    assert outcome.sampled == 20
    assert outcome.findings == ()


def test_an_audit_of_nothing_samples_nothing() -> None:
    assert audit(replicas(MemoryStore()), 10, Random(1).randrange).sampled == 0


def test_an_audit_finds_what_a_replica_lost_and_what_it_has_damaged() -> None:
    lost, damaged = sound(), sound()
    del lost.artifacts[cid_of(b"one")]
    damaged.artifacts[cid_of(b"two")] = b"tow"
    outcome = audit(replicas(sound(), lost, damaged), 40, Random(1).randrange)
    assert {(each.replica, each.cid, each.is_silent) for each in outcome.findings} == {
        ("b", cid_of(b"one").text, False),
        ("c", cid_of(b"two").text, False),
    }


def test_an_audit_asks_for_every_chunk_sooner_or_later() -> None:
    asked: set[int] = set()

    class Noting(MemoryStore):
        def chunk(self, cid: Cid, choose: object) -> bytes:
            data = super().chunk(cid, choose)  # type: ignore[arg-type]  # it is what audit gives
            asked.add(cid_of(data).digest[0])
            return data

    store = Noting()
    store.put(ARTIFACTS[2])
    audit(replicas(store), 60, Random(1).randrange)
    assert len(asked) == 3


def test_a_silent_replica_is_one_finding() -> None:
    outcome = audit(replicas(sound(), SilentStore()), 10, Random(1).randrange)
    assert [(each.replica, each.is_silent) for each in outcome.findings] == [("b", True)]


def test_a_repair_copies_what_a_replica_lacks() -> None:
    lacking = sound()
    del lacking.artifacts[cid_of(b"one")]
    outcome = repair(replicas(lacking, sound()), reads_all=False)
    assert [(each.replica, each.cid) for each in outcome.mended] == [("a", cid_of(b"one").text)]
    assert outcome.findings == ()
    assert lacking.artifacts == sound().artifacts


def test_a_repair_that_reads_all_mends_what_is_damaged() -> None:
    damaged, other = sound(), sound()
    damaged.artifacts[cid_of(b"two")] = b"tow"
    other.artifacts[cid_of(b"one")] = b"eno"
    assert repair(replicas(damaged, other), reads_all=False).mended == ()
    outcome = repair(replicas(damaged, other), reads_all=True)
    assert {(each.replica, each.cid) for each in outcome.mended} == {
        ("a", cid_of(b"two").text),
        ("b", cid_of(b"one").text),
    }
    assert damaged.artifacts == other.artifacts == sound().artifacts


def test_what_nobody_has_sound_is_left_as_a_finding_and_copied_nowhere() -> None:
    damaged, lacking = sound(), sound()
    damaged.artifacts[cid_of(b"two")] = b"tow"
    del lacking.artifacts[cid_of(b"two")]
    outcome = repair(replicas(damaged, lacking), reads_all=True)
    assert outcome.mended == ()
    assert {(each.replica, each.cid) for each in outcome.findings} == {
        ("a", cid_of(b"two").text),
        ("b", cid_of(b"two").text),
    }
    assert cid_of(b"two") not in lacking.artifacts


def test_a_repair_goes_on_without_a_silent_replica_and_says_so() -> None:
    lacking = MemoryStore()
    outcome = repair(replicas(lacking, SilentStore(), sound()), reads_all=False)
    assert lacking.artifacts == sound().artifacts
    assert [(each.replica, each.is_silent) for each in outcome.findings] == [("b", True)]


def test_a_replica_that_is_only_read_is_a_source_and_never_a_target() -> None:
    old, written = sound(), MemoryStore()
    pair = [Replica("written", written, is_written=True), Replica("old", old, is_written=False)]
    written.put(b"new")
    repair(pair, reads_all=True)
    assert set(written.artifacts) == {*map(cid_of, ARTIFACTS), cid_of(b"new")}
    assert cid_of(b"new") not in old.artifacts
