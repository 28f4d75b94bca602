"""What a log can do beyond the port: show that it only grew, and that an entry is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.log.file import LogReader, LogWriter, create_log
from fedchain.adapters.log.ledger import LogLedger
from fedchain.adapters.log.state import Signed, check_head
from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.history_tree import check_consistency, check_inclusion
from tests.adapters.log.test_file import AGGREGATOR, LINK, LOG, TERMS
from tests.doubles.clock import ManualClock


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LogLedger]:
    create_log(tmp_path / "log", LOG, ManualClock(), TERMS)
    with closing(LogWriter(tmp_path / "log", LOG, ManualClock())) as log:
        yield LogLedger(log, (log, AGGREGATOR))


def grow(ledger: LogLedger, rounds: int) -> list[Signed]:
    """Seal rounds; return the tree heads after each."""
    previous, heads = ZERO, [ledger.tree_head()]
    for number in range(1, rounds + 1):
        previous = ledger.seal(replace(LINK, round=number), previous).round_hash
        heads.append(ledger.tree_head())
    return heads


def test_a_log_has_no_chain_and_is_known_by_its_key(ledger: LogLedger) -> None:
    identity = ledger.identity()
    assert (identity.chain_id, identity.federation) == (0, TERMS.federation)
    assert identity.registry == identity.rounds
    assert identity.rounds.contract == LOG.address


def test_every_head_is_signed_and_consistent_with_every_later_one(ledger: LogLedger) -> None:
    heads = grow(ledger, 8)
    for signed in heads:
        check_head(ledger.identity().rounds, signed)
    plain = [signed.head for signed in heads]
    for first in plain:
        for second in plain[first.size - 1 :]:
            proof = ledger.consistency(first.size, second.size)
            check_consistency((first.size, first.root), (second.size, second.root), proof)


def test_a_head_of_another_key_or_other_content_is_refused(ledger: LogLedger) -> None:
    signed = ledger.tree_head()
    for wrong in (
        replace(signed, head=replace(signed.head, size=9)),
        replace(signed, head=replace(signed.head, root=ZERO)),
        replace(signed, head=replace(signed.head, at=signed.head.at + 1)),
        replace(signed, signature=bytes(65)),
    ):
        with pytest.raises(IntegrityError):
            check_head(ledger.identity().rounds, wrong)


def test_a_log_that_was_told_anew_is_not_consistent_with_the_head_that_somebody_kept(
    ledger: LogLedger, tmp_path: Path
) -> None:
    kept = grow(ledger, 3)[2].head
    create_log(tmp_path / "other", LOG, ManualClock(), TERMS)
    with closing(LogWriter(tmp_path / "other", LOG, ManualClock())) as log:
        other = LogLedger(log, (log, AGGREGATOR))
        other.seal(replace(LINK, model_digest=b"\x77" * 32), ZERO)
        grown = grow_from(other, 2)
        with pytest.raises(IntegrityError):
            check_consistency(
                (kept.size, kept.root),
                (grown.head.size, grown.head.root),
                other.consistency(kept.size, grown.head.size),
            )


def grow_from(ledger: LogLedger, first: int) -> Signed:
    """Seal three rounds after those that are there; return the last head."""
    for number in range(first, first + 3):
        found = ledger.find(LINK.run, number - 1)
        assert found is not None
        ledger.seal(replace(LINK, round=number), found.round_hash)
    return ledger.tree_head()


def test_a_transaction_is_a_leaf_that_proves_itself(ledger: LogLedger) -> None:
    head = grow(ledger, 5)[-1].head
    for index, event in enumerate(ledger.events(), 1):
        check_inclusion(event.transaction, index, head.size, head.root, ledger.inclusion(index, head.size))


def test_proofs_about_entries_that_are_not_there_are_refused(ledger: LogLedger) -> None:
    grow(ledger, 2)
    for first, second in ((0, 3), (3, 4), (3, 2)):
        with pytest.raises(InputError):
            ledger.consistency(first, second)
    for index, size in ((3, 3), (0, 4), (-1, 3)):
        with pytest.raises(InputError):
            ledger.inclusion(index, size)


def test_a_reader_sees_the_same_and_cannot_seal(ledger: LogLedger, tmp_path: Path) -> None:
    grow(ledger, 2)
    reader = LogLedger(LogReader(tmp_path / "log", LOG.address))
    assert reader.events() == ledger.events()
    assert reader.head_slot(LINK.run) == ledger.head_slot(LINK.run)
    found = reader.find(LINK.run, 2)
    assert found == ledger.find(LINK.run, 2)
    assert found is not None
    with pytest.raises(InputError, match="no key to seal with"):
        reader.seal(replace(LINK, round=3), found.round_hash)
    assert reader.seal(found.link, found.previous_hash).round_hash == found.round_hash
