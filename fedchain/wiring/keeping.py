"""Keeping house in the embedded store of a home: what may go, what is wrong, how full it is, and what is held.

Whoever removes holds the home's lock, so no run is under way; what an earlier one left unfinished is in its journal.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.files import explained
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.retention_files import note_hold, note_removals, read_holds, read_policy
from fedchain.adapters.store_files import Flaw, flaws, stored, usage
from fedchain.adapters.store_quota import read_quota, write_quota
from fedchain.adapters.system import SystemClock
from fedchain.core import document
from fedchain.core.cid import DAG_PB, RAW, Cid
from fedchain.core.errors import InputError
from fedchain.core.manifest import RoundManifest
from fedchain.core.record import LinkKind
from fedchain.core.retention import (
    DAY_S,
    HOLD_FORMAT,
    REMOVALS_FORMAT,
    Hold,
    HoldEvent,
    HoldReason,
    Removal,
    Removals,
    RetentionPolicy,
    Why,
    digests_in,
)
from fedchain.ports.journal import Entry
from fedchain.ports.ledger import LinkEvent
from fedchain.ports.models import VersionStatus
from fedchain.ports.store import ArtifactStore, Replica
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.models import read_models
from fedchain.wiring.parties import read_ledger
from fedchain.wiring.stores import LOCAL, replicas_of
from fedchain.wiring.vault import read_vault
from fedchain.workflow.keeping import (
    Anchors,
    Collected,
    Held,
    HeldModel,
    Marks,
    StoreFlaw,
    StoreUsage,
    Terms,
    marks_of,
)

_FAULTS: Final = frozenset({Flaw.DAMAGED})


def collect(home: Path, *, is_dry: bool) -> Collected:
    """Remove what nothing needs; with `is_dry` only tell.

    Raises:
        InputError: if the home is in use, or has no ledger.
        IntegrityError: if a document or journal that could name artifacts cannot be read; nothing is removed then.
    """
    opened = open_home(home)
    with ExitStack() as stack:
        if not is_dry:
            stack.enter_context(locked(opened))
        policy, now = read_policy(opened), SystemClock().now()
        links, store = _links(opened), EmbeddedStore(opened.store)
        marks = marks_of(open_artifacts(opened), _anchors(opened, links))
        marks.require_complete()
        terms = Terms(policy, _held(opened, links, policy, now), now)
        removed, kept = _removable(opened, marks, terms)
        elsewhere = list(_expired_elsewhere(opened, marks, terms))
        here = {each.cid for each in removed}
        removed += tuple(each for each in dict.fromkeys(one for _, one in elsewhere) if each.cid not in here)
        if is_dry:
            return Collected(removed, kept, is_swept=False)
        if removed:
            note_removals(opened, Removals(REMOVALS_FORMAT, now, policy, removed))
        gone = tuple(each for each in removed if store.remove_older(Cid.parse(each.cid), _before(each.why, terms)))
        for replica, each in elsewhere:
            replica.store.remove(Cid.parse(each.cid))
        return Collected(gone, kept + len(removed) - len(gone), store.tidy())


def scrub(home: Path) -> tuple[StoreFlaw, ...]:
    """Read every file of the store and every document of the record, and return what is wrong.

    Raises:
        InputError: if the home has no ledger, or the store cannot be read.
        IntegrityError: if a journal is damaged.
    """
    opened = open_home(home)
    policy, now = read_policy(opened), SystemClock().now()
    links, store = _links(opened), EmbeddedStore(opened.store)
    everywhere = open_artifacts(opened)
    marks = marks_of(everywhere, _anchors(opened, links))
    terms = Terms(policy, _held(opened, links, policy, now), now)
    found = [
        StoreFlaw(each.flaw.value, each.path, each.detail, _needs(marks, each.cid), each.flaw in _FAULTS)
        for each in flaws(opened.store, store)
    ]
    missing = [cid for cid in marks.of if marks.kept(cid, terms) and not everywhere.has(cid)]
    found += [StoreFlaw("missing", each.text, "no file", _needs(marks, each), is_fault=True) for each in missing]
    unnamed = [each for each in stored(opened.store) if marks.why_removed(each.cid, terms) is Why.UNNAMED]
    found += [StoreFlaw(Why.UNNAMED, each.cid.text, f"{each.size} bytes", (), is_fault=False) for each in unnamed]
    return tuple(found)


def measure(home: Path) -> StoreUsage:
    """Return how full the store is."""
    opened = open_home(home)
    with explained(opened.root):
        free = shutil.disk_usage(opened.root).free
    return StoreUsage(sum(1 for _ in stored(opened.store)), usage(opened.store), read_quota(opened.store), free)


def set_quota(home: Path, limit: int | None) -> StoreUsage:
    """Set the store's quota in bytes, or take it away, and return how full it is."""
    opened = open_home(home)
    with locked(opened):
        write_quota(opened.store, limit)
    return measure(home)


def hold(home: Path, model: str, reason: HoldReason) -> HeldModel:
    """Keep all that a model rests on, whatever the policy says.

    Raises:
        InputError: if the record has no such model.
    """
    return _noted(open_home(home), model, reason, is_held=True)


def release(home: Path, model: str, reason: HoldReason) -> HeldModel:
    """End a hold; releasing what is not held changes nothing.

    Raises:
        InputError: if the record has no such model.
    """
    return _noted(open_home(home), model, reason, is_held=False)


def holds(home: Path) -> tuple[HeldModel, ...]:
    """Return every model that is or was held."""
    return tuple(_row(each) for each in read_holds(open_home(home)))


def _noted(home: Home, model: str, reason: HoldReason, *, is_held: bool) -> HeldModel:
    with locked(home):
        event = HoldEvent(is_held, reason, SystemClock().now())
        chosen = _round_of(home, model)
        if not is_held and not any(_is_of(each, chosen) for each in read_holds(home)):
            return _row(chosen)
        return _row(note_hold(home, chosen, event))


def _is_of(one: Hold, other: Hold) -> bool:
    return (one.run, one.round) == (other.run, other.round)


def _row(hold_: Hold) -> HeldModel:
    return HeldModel(hold_.model.hex(), hold_.run.hex(), hold_.round, hold_.events)


def _round_of(home: Home, model: str) -> Hold:
    """Return the hold, without a decision yet, of a run's newest model or of the model with this digest or CID."""
    wanted = model.removeprefix("0x")
    store = open_artifacts(home)
    sealed = [each.link for each in _links(home) if each.link.kind is LinkKind.SEALED]
    found = [each for each in sealed if wanted in (each.run.hex(), each.model_digest.hex())]
    if not found and wanted.startswith("b"):
        found = [each for each in sealed if _model_cid(store, each.manifest_digest) == wanted]
    if not found:
        raise InputError(
            "MODEL", expected="a run, or the CID or digest of a model of this record", got=model[:100],
            remedy="`fedchain runs` has them",
        )  # fmt: skip
    return Hold(HOLD_FORMAT, found[-1].run, found[-1].round, found[-1].model_digest, ())


def _model_cid(store: ArtifactStore, manifest_digest: bytes) -> str:
    cid = next((cid for codec in (RAW, DAG_PB) if store.has(cid := Cid(codec, manifest_digest))), None)
    return "" if cid is None else document.from_bytes(RoundManifest, store.get(cid)).model.cid


def _links(home: Home) -> list[LinkEvent]:
    with read_ledger(home) as ledger:
        return [each for each in ledger.events() if isinstance(each, LinkEvent)]


def _anchors(home: Home, links: list[LinkEvent]) -> Anchors:
    return Anchors(links, dict(_journals(home)), frozenset(_digests(home)))


def _journals(home: Home) -> Iterator[tuple[bytes, tuple[Entry, ...]]]:
    with explained(home.runs):
        folders = sorted(home.runs.iterdir()) if home.runs.is_dir() else []
    for folder in folders:
        path = home.journal(folder.name)
        if path.exists():
            yield _run_of(folder), read_journal(path)


def _run_of(folder: Path) -> bytes:
    try:
        return bytes.fromhex(folder.name)
    except ValueError as error:
        raise InputError("a folder of runs", expected="the id of a run", got=folder) from error


def _digests(home: Home) -> Iterator[bytes]:
    """What is named by its digest alone: reports of votes and of rewards, manifests of versions."""
    folder = home.root / "ballots"
    with explained(folder):
        for path in sorted(folder.rglob("*.json")) if folder.is_dir() else ():
            yield from digests_in(path.read_bytes())
    with read_vault(home) as vault:
        yield from () if vault is None else (each.report for each in vault.proposals())
    with read_models(home) as models:
        yield from () if models is None else (each.version.bundle for each in models.registry.versions())


def _held(home: Home, links: list[LinkEvent], policy: RetentionPolicy, now: int) -> list[Held]:
    found = [Held(each.run, each.round) for each in read_holds(home) if each.is_held]
    rounds = {each.round_hash: Held(each.link.run, each.link.round) for each in links}
    with read_models(home) as models:
        if models is None:
            return found
        for each in models.registry.versions():
            status = models.registry.status(each.version_id)
            if each.version.round_hash in rounds and _is_in_its_life(status, policy, now):
                found.append(rounds[each.version.round_hash])
    return found


def _is_in_its_life(status: VersionStatus, policy: RetentionPolicy, now: int) -> bool:
    """Whether all that a version rests on must be kept: while it may be used or decided about, and some days after."""
    if policy.released_days is None or not status.approved_until:
        return True
    return now < status.approved_until + policy.released_days * DAY_S


def _removable(home: Home, marks: Marks, terms: Terms) -> tuple[tuple[Removal, ...], int]:
    removable: list[Removal] = []
    kept = 0
    for each in stored(home.store):
        why = marks.why_removed(each.cid, terms)
        if why is not None and each.changed_at < _before(why, terms):
            removable.append(Removal(each.cid.text, why, each.size))
        else:
            kept += 1
    return tuple(removable), kept


def _expired_elsewhere(home: Home, marks: Marks, terms: Terms) -> Iterator[tuple[Replica, Removal]]:
    """What nodes keep of what may go. What nobody here names is left alone there: it may be somebody else's."""
    expired = [cid for cid in marks.of if marks.why_removed(cid, terms) is Why.EXPIRED]
    for replica in replicas_of(home):
        if replica.name != LOCAL:
            yield from ((replica, Removal(cid.text, Why.EXPIRED, 0)) for cid in expired if replica.store.has(cid))


def _before(why: Why, terms: Terms) -> int:
    """Return the second since which an artifact must not have been put again."""
    return terms.now - (terms.policy.unnamed_days * DAY_S if why is Why.UNNAMED else 0)


def _needs(marks: Marks, cid: Cid | None) -> tuple[str, ...]:
    return tuple(sorted({each.words for each in marks.of.get(cid, ())})) if cid is not None else ()
