"""Do the replicas still have what they confirmed: who lacks what, chunks read back at random, copies from the sound.

A node that confirmed an artifact may lose it later, or say that it has it when it does not. So an audit believes no
list: it asks for chunks that nobody can foresee, and hashes them. Of a share f of lost or damaged artifacts, s samples
miss all with probability (1 - f)^s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from fedchain.core.cid import Cid
from fedchain.core.errors import FedchainError, InputError, IntegrityError, MissingArtifactError, UnreachableError
from fedchain.ports.store import Replica

FAULTS: Final = (InputError, IntegrityError, UnreachableError)


@dataclass(frozen=True, slots=True)
class ReplicaStanding:
    """What one replica says that it has: `missing` counts what others list and it does not; `fault` if it is silent."""

    name: str
    is_written: bool
    artifacts: int
    missing: int
    fault: str


@dataclass(frozen=True, slots=True)
class ReplicaFinding:
    """A replica does not give an artifact that it should have."""

    replica: str
    cid: str
    fault: str
    is_silent: bool


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """How many chunks were read back, and what did not come."""

    sampled: int
    findings: tuple[ReplicaFinding, ...]


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """What was copied to which replica (by CID), and what could not be mended."""

    mended: tuple[ReplicaFinding, ...]
    findings: tuple[ReplicaFinding, ...]


def standing(replicas: Sequence[Replica]) -> tuple[ReplicaStanding, ...]:
    """Compare the lists of the replicas."""
    listed = _listed(replicas)
    known = set[Cid]().union(*(each for each in listed if not isinstance(each, FedchainError)))
    return tuple(
        ReplicaStanding(replica.name, replica.is_written, 0, 0, str(found))
        if isinstance(found, FedchainError)
        else ReplicaStanding(
            replica.name, replica.is_written, len(found), len(known - found) if replica.is_written else 0, ""
        )
        for replica, found in zip(replicas, listed, strict=True)
    )


def audit(replicas: Sequence[Replica], samples: int, choose: Callable[[int], int]) -> AuditOutcome:
    """Read back `samples` chunks of each replica that is written to.

    `choose(n)` gives a number below n that no replica can foresee. What is drawn from is what any replica lists, so
    that one that leaves artifacts out is found, too.
    """
    listed = [each for each in _listed(replicas) if not isinstance(each, FedchainError)]
    known = sorted(set[Cid]().union(*listed), key=lambda cid: cid.text)
    findings: list[ReplicaFinding] = []
    sampled = 0
    for replica in replicas if known else ():
        if not replica.is_written:
            continue
        for _ in range(samples):
            cid = known[choose(len(known))]
            sampled += 1
            fault = _fault(partial(replica.store.chunk, cid, choose))
            if fault is not None:
                findings.append(_finding(replica, cid, fault))
                if findings[-1].is_silent:
                    break
    return AuditOutcome(sampled, tuple(findings))


def repair(replicas: Sequence[Replica], *, reads_all: bool) -> RepairOutcome:
    """Copy to each replica that is written to what it lacks; with `reads_all`, also what it has damaged."""
    listed = _listed(replicas)
    known = sorted(
        set[Cid]().union(*(each for each in listed if not isinstance(each, FedchainError))), key=lambda cid: cid.text
    )
    mended: list[ReplicaFinding] = []
    findings: list[ReplicaFinding] = []
    for replica, found in zip(replicas, listed, strict=True):
        if not replica.is_written:
            continue
        if isinstance(found, FedchainError):
            findings.append(ReplicaFinding(replica.name, "", str(found), is_silent=True))
            continue
        for cid in known:
            fault = _needs(replica, cid, is_listed=cid in found, reads_all=reads_all)
            if fault is None:
                continue
            others = [each for each in replicas if each.name != replica.name]
            left = _copied(cid, others, replica)
            if left is None:
                mended.append(_finding(replica, cid, fault))
            else:
                findings.append(_finding(replica, cid, left))
    return RepairOutcome(tuple(mended), tuple(findings))


def _needs(replica: Replica, cid: Cid, *, is_listed: bool, reads_all: bool) -> FedchainError | None:
    if not is_listed:
        return MissingArtifactError(f"artifact {cid} is missing")
    return _fault(lambda: _read(replica.store.chunks(cid))) if reads_all else None


def _copied(cid: Cid, sources: Sequence[Replica], target: Replica) -> FedchainError | None:
    """Copy an artifact from the first replica that has it sound; return why none did it."""
    left: FedchainError = MissingArtifactError(f"artifact {cid} is in no other replica")
    for source in sources:
        fault = _fault(partial(_copy, cid, source, target))
        if fault is None:
            return None
        if not isinstance(fault, MissingArtifactError):
            left = fault
    return left


def _copy(cid: Cid, source: Replica, target: Replica) -> None:
    target.store.put_stream(source.store.chunks(cid))


def _fault(call: Callable[[], object]) -> FedchainError | None:
    try:
        call()
    except FAULTS as error:
        return error
    return None


def _read(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        pass


def _listed(replicas: Sequence[Replica]) -> list[set[Cid] | FedchainError]:
    found: list[set[Cid] | FedchainError] = []
    for replica in replicas:
        try:
            found.append(set(replica.store.cids()))
        except FAULTS as error:
            found.append(error)
    return found


def _finding(replica: Replica, cid: Cid, fault: FedchainError) -> ReplicaFinding:
    is_silent = not isinstance(fault, MissingArtifactError | IntegrityError)
    return ReplicaFinding(replica.name, cid.text, str(fault), is_silent)
