"""The event chain, replayed: every registry head and every round hash computed anew, every gap a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError
from fedchain.core.messages import ConsentGrant, RegistryMessage
from fedchain.core.record import LinkContext, LinkKind, head_slot, round_hash
from fedchain.core.registry import check_authority
from fedchain.ports.ledger import Ledger, LedgerEvent, LedgerIdentity, LinkEvent, RegistryEvent
from fedchain.workflow.audit_report import Report
from fedchain.workflow.registry_history import RegistryHistory


@dataclass(frozen=True, slots=True)
class ChainedLink:
    """A link with the hash that the verifier computed, and the registry: `actions` were recorded before the link."""

    event: LinkEvent
    round_hash: bytes
    registry: RegistryHistory
    actions: int


def audit_chain(ledger: Ledger, report: Report) -> list[ChainedLink]:
    """Replay all events and return the links, in ledger order.

    What contradicts the heads that are read after the events is a fault only if no event came in between.
    """
    events = ledger.events()
    while True:
        attempt = Report()
        links = _audit_events(ledger, events, attempt)
        earlier, events = events, ledger.events() if attempt.findings else events
        if events == earlier:
            report.include(attempt)
            return links


def _audit_events(ledger: Ledger, events: Sequence[LedgerEvent], report: Report) -> list[ChainedLink]:
    registry = RegistryHistory()
    links = _replay(ledger.identity(), events, registry, report)
    head = ledger.registry_head()
    if head != registry.present.head:
        report.fails("registry", run=b"", round_=0, expected=head, got=registry.present.head)
    _audit_slots(ledger, links, report)
    return links


def _replay(
    identity: LedgerIdentity, events: Sequence[LedgerEvent], registry: RegistryHistory, report: Report
) -> list[ChainedLink]:
    newest: dict[bytes, ChainedLink] = {}
    links: list[ChainedLink] = []
    for event in events:
        match event:
            case RegistryEvent():
                _audit_action(identity, registry, event, report)
            case LinkEvent():
                links.append(_audit_link(identity, registry, event, newest, report))
    return links


def _audit_action(identity: LedgerIdentity, registry: RegistryHistory, event: RegistryEvent, report: Report) -> None:
    message = event.message
    try:
        is_signed = check_authority(registry.present, identity.registry, message, event.signature)
        _check_federation(identity, message)
        registry.apply(message, event.at)
    except (IntegrityError, KeyError) as error:
        claim = "consent" if isinstance(error, IntegrityError) and "signature" in error.what else "registry"
        report.fails(claim, run=b"", round_=0, expected="an action that the contract's rules allow", got=error)
        return
    report.holds("registry")
    if is_signed:
        report.holds("consent")


def _check_federation(identity: LedgerIdentity, message: RegistryMessage) -> None:
    """Refuse a grant for another federation, as the contract does; the replayed state does not know its own."""
    if isinstance(message, ConsentGrant) and message.federation != identity.federation:
        raise IntegrityError("grant", expected="one for this federation", got=f"0x{message.federation.hex()}")


def _audit_link(
    identity: LedgerIdentity,
    registry: RegistryHistory,
    event: LinkEvent,
    newest: dict[bytes, ChainedLink],
    report: Report,
) -> ChainedLink:
    link = event.link
    before = newest.get(link.run)
    last, previous = (0, ZERO) if before is None else (before.event.link.round, before.round_hash)
    context = LinkContext(identity.rounds, identity.federation, previous, registry.present.head)
    computed = round_hash(link, context)
    newest[link.run] = chained = ChainedLink(event, computed, registry, registry.size())
    if before is not None and before.event.link.kind is LinkKind.CLOSED:
        report.fails("chain", run=link.run, round_=link.round, expected=f"the end at round {last}", got="another link")
    elif link.round != last + 1:
        report.fails("chain", run=link.run, round_=last + 1, expected=f"round {last + 1}", got=f"round {link.round}")
    elif event.previous_hash != previous:
        report.fails("chain", run=link.run, round_=link.round, expected=previous, got=event.previous_hash)
    elif computed != event.round_hash:
        report.fails("chain", run=link.run, round_=link.round, expected=computed, got=event.round_hash)
    else:
        report.holds("chain")
    return chained


def _audit_slots(ledger: Ledger, links: Sequence[ChainedLink], report: Report) -> None:
    newest = {each.event.link.run: each for each in links}
    for run, each in newest.items():
        link = each.event.link
        expected = head_slot(link.round, each.round_hash, closed=link.kind is LinkKind.CLOSED)
        kept = ledger.head_slot(run)
        if kept != expected:
            asked = f"links up to the head 0x{kept.hex()} that the ledger keeps"
            got = f"links that end with round {link.round} at 0x{expected.hex()}"
            report.fails("chain", run=run, round_=link.round + 1, expected=asked, got=got)
