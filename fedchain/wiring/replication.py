"""The replicas of a home: how they stand, reading back from them, and mending them."""

from __future__ import annotations

import secrets
from pathlib import Path

from fedchain.adapters.home import locked, open_home
from fedchain.wiring.stores import replicas_of
from fedchain.workflow import replication
from fedchain.workflow.replication import AuditOutcome, RepairOutcome, ReplicaStanding


def standing(home: Path) -> tuple[ReplicaStanding, ...]:
    """Return what each replica says that it has.

    Raises:
        InputError: if there is no home.
    """
    return replication.standing(replicas_of(open_home(home)))


def audit(home: Path, samples: int) -> AuditOutcome:
    """Read back random chunks of each replica.

    Raises:
        InputError: if there is no home.
    """
    return replication.audit(replicas_of(open_home(home)), samples, secrets.randbelow)


def repair(home: Path, *, reads_all: bool) -> RepairOutcome:
    """Copy to each replica what it lacks; with `reads_all`, also what it has damaged.

    Raises:
        InputError: if there is no home, or another process changes it.
    """
    opened = open_home(home)
    with locked(opened):
        return replication.repair(replicas_of(opened), reads_all=reads_all)
