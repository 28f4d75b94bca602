"""The releases of a model as `fedchain lineage` tells them: states, who decided, when, until when, how it holds."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.cli.screen import Screen
from fedchain.cli.text import hex_id, short, time_text
from fedchain.core.lineage import CountedVote, Release, Ruling

_NO_VOTES = "a contract relayed the votes: only the registry's word stands for them"


def show_releases(screen: Screen, releases: Sequence[Release], title: str) -> None:
    """Print each version with its state, and the votes behind it."""
    if not releases:
        return
    header = ["version", "state", "since", "approved until", "submitted by"]
    screen.table(title, header, [_state_cells(each) for each in releases])
    cells = [row for each in releases for ruling in each.rulings for row in _ruling_cells(each, ruling)]
    if cells:
        header = ["version", "decided", "at", "by", "organisation", "signed", "until", "holds as"]
        screen.table("Approvals (each by its own claim)", header, cells)


def release_document(release: Release) -> dict[str, object]:
    """Return a version for the JSON document."""
    return {
        "version": hex_id(release.version),
        "model": hex_id(release.model),
        "round_hash": hex_id(release.round_hash),
        "organisation": hex_id(release.organisation),
        "parents": [hex_id(each) for each in release.parents],
        "state": release.state,
        "since": release.since,
        "approved_until": release.approved_until or None,
        "decisions": [_ruling(each) for each in release.rulings],
    }


def _state_cells(each: Release) -> list[str]:
    until = time_text(each.approved_until) if each.approved_until else "-"
    return [short(each.version), each.state, time_text(each.since), until, short(each.organisation)]


def _ruling_cells(release: Release, ruling: Ruling) -> list[list[str]]:
    start = [short(release.version), ruling.decision, time_text(ruling.at)]
    if not ruling.votes:
        return [[*start, _NO_VOTES, "-", "-", "-", ruling.level.value]]
    return [[*start, *_vote_cells(each), ruling.level.value] for each in ruling.votes]


def _vote_cells(vote: CountedVote) -> list[str]:
    who = f"{vote.role} {short(vote.reviewer)}"
    return [who, short(vote.organisation), time_text(vote.signed_at), time_text(vote.valid_until)]


def _ruling(ruling: Ruling) -> dict[str, object]:
    return {
        "decision": ruling.decision,
        "at": ruling.at,
        "transaction": hex_id(ruling.transaction),
        "level": ruling.level.value,
        "votes": [_vote(each) for each in ruling.votes],
    }


def _vote(vote: CountedVote) -> dict[str, object]:
    return {
        "reviewer": hex_id(vote.reviewer),
        "organisation": hex_id(vote.organisation),
        "role": vote.role,
        "signed_at": vote.signed_at,
        "valid_until": vote.valid_until,
        "evidence": hex_id(vote.evidence) if vote.evidence else None,
        "sentence": vote.sentence or None,
    }
