"""A forger who owns ledger and store: whatever is altered, every hash after it is made to fit again.

What no forger has is the sites' keys; where a test signs with one anyway, it is the site itself that lies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedchain.core import document
from fedchain.core.cid import Cid, cid_of
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.manifest import AcceptedUpdate, RoundManifest, RunManifest
from fedchain.core.messages import ClientUpdate
from fedchain.core.privacy import DpParams
from fedchain.core.record import LinkContext, LinkKind, RoundLink, head_slot, next_registry_head, round_hash
from fedchain.ports.cohort import Reply
from fedchain.ports.ledger import LedgerEvent, LinkEvent, RegistryEvent
from fedchain.workflow.outcome import link_of, updates_tree
from fedchain.workflow.rounds import RunPlan
from tests.doubles.cohort import DirectCohort
from tests.scenarios.federation import IDENTITY, Federation, Setup, federation


def finished(setup: Setup | None = None) -> Federation:
    """Return a federation after a run of two rounds with one rejection in the first."""
    new, plan, snapshot = _finished(setup or Setup())
    new.restore(snapshot)
    new.plan, new.cohort = plan, DirectCohort([each.site for each in new.members])
    return new


@functools.cache
def _finished(setup: Setup) -> tuple[Federation, RunPlan, Any]:
    new = federation(setup)
    new.cohort.tamper = lambda task, reply: (
        [Reply(1, 1, b"garbage", b"", ""), reply] if (task.round, reply.node) == (1, 1) else [reply]
    )
    new.run()
    new.clock.forward(3600)
    return new, new.plan, new.snapshot()


def reseal(new: Federation) -> None:
    """Compute every head and every hash anew, whatever the contracts would have said."""
    registry, heads, events = ZERO, dict[bytes, bytes](), list[LedgerEvent]()
    for event in new.record.events:
        match event:
            case RegistryEvent():
                registry = next_registry_head(registry, event.message, event.at)
                events.append(event)
            case LinkEvent():
                previous = heads.get(event.link.run, ZERO)
                context = LinkContext(IDENTITY.rounds, IDENTITY.federation, previous, registry)
                hash_ = round_hash(event.link, context)
                heads[event.link.run] = hash_
                closed = event.link.kind is LinkKind.CLOSED
                new.record.slots[event.link.run] = head_slot(event.link.round, hash_, closed=closed)
                events.append(replace(event, previous_hash=previous, round_hash=hash_))
    new.record.events, new.record.state.head = events, registry


def alter_event(new: Federation, round_: int, **changes: Any) -> None:
    """Alter a link's event and nothing else."""
    index = _index(new, round_)
    new.record.events[index] = replace(new.record.events[index], **changes)


def relink(new: Federation, round_: int, **changes: Any) -> None:
    """Alter the content of a link and seal the run anew."""
    index = _index(new, round_)
    event = new.record.events[index]
    assert isinstance(event, LinkEvent)
    new.record.events[index] = replace(event, link=replace(event.link, **changes))
    reseal(new)


def rewrite(new: Federation, round_: int, change: Callable[[RoundManifest], RoundManifest]) -> None:
    """Put another manifest in a round's place, with the link that it makes, and seal the run anew."""
    manifest = change(new.manifest(round_))
    cid = new.store.put(document.to_bytes(manifest))
    signers = {each.applicant.dataset: each.device.address for each in new.members}
    leaves = [
        (each.header, signers.get(each.header.message.dataset, bytes(20)), each.payload_cid)
        for each in manifest.accepted
    ]
    link = link_of(manifest, cid, updates_tree(IDENTITY.rounds, leaves))
    relink(new, round_, **{name: getattr(link, name) for name in RoundLink.__slots__ if name not in {"run", "round"}})


def repin(new: Federation) -> None:
    """Let every manifest say that it was decided by the registry as it stood when its link was recorded."""
    for event in new.links():
        head = ZERO
        for each in new.record.events[: _index(new, event.link.round)]:
            if isinstance(each, RegistryEvent):
                head = next_registry_head(head, each.message, each.at)
        rewrite(new, event.link.round, lambda manifest, head=head: replace(manifest, registry_head=head))  # type: ignore[misc]


def rewrite_plan(new: Federation, change: Callable[[RunManifest], RunManifest]) -> None:
    """Put another run manifest in its place, as if every site had signed for the run that it makes."""
    told, was = change(new.plan.manifest), new.plan.manifest.run
    cid = new.store.put(document.to_bytes(told)).text
    devices = {each.applicant.dataset: each.device for each in new.members}

    def signed(update: AcceptedUpdate) -> AcceptedUpdate:
        message = replace(update.header.message, run=told.run)
        signature = devices[message.dataset].sign(signing_digest(IDENTITY.rounds, message))
        return replace(update, header=replace(update.header, message=message, signature=signature))

    for event in new.links():
        rewrite(
            new, event.link.round,
            lambda each: replace(each, run=told.run, run_manifest=cid, accepted=tuple(map(signed, each.accepted))),
        )  # fmt: skip
        relink(new, event.link.round, run=told.run)
    new.plan = replace(new.plan, manifest=told, manifest_cid=cid)
    del new.record.slots[was]


def restate(
    new: Federation,
    round_: int,
    member: int,
    message: Callable[[ClientUpdate], ClientUpdate] = lambda message: message,
    dp: Callable[[DpParams], DpParams] = lambda dp: dp,
) -> None:
    """Have a site sign another statement about its update of a round, in the place of its first."""

    def change(update: AcceptedUpdate) -> AcceptedUpdate:
        params = dp(update.header.dp)
        stated = message(replace(update.header.message, dp_params=params.digest()))
        signature = new.members[member].device.sign(signing_digest(IDENTITY.rounds, stated))
        return replace(update, header=replace(update.header, message=stated, dp=params, signature=signature))

    reaccept(new, round_, member, change)


def reaccept(new: Federation, round_: int, member: int, change: Callable[[AcceptedUpdate], AcceptedUpdate]) -> None:
    """Put another accepted update in the place of a member's."""
    dataset = new.members[member].applicant.dataset
    rewrite(
        new,
        round_,
        lambda manifest: replace(
            manifest,
            accepted=tuple(
                change(each) if each.header.message.dataset == dataset else each for each in manifest.accepted
            ),
        ),
    )


def repay(new: Federation, round_: int, member: int, change: Callable[[Envelope], Envelope]) -> None:
    """Have a site sign another payload in the place of its first; the model stays."""
    envelopes = list[Envelope]()

    def state(message: ClientUpdate) -> ClientUpdate:
        cid = next(each for each in new.store.artifacts if each.digest == message.payload_cid)
        envelopes.append(change(Envelope.from_bytes(new.store.artifacts[cid])))
        payload = envelopes[0].to_bytes()
        return replace(message, payload_cid=cid_of(payload).digest, update_commit=envelopes[0].commitment())

    restate(new, round_, member, state)
    cid = new.store.put(envelopes[0].to_bytes()).text
    reaccept(new, round_, member, lambda update: replace(update, payload_cid=cid))


def lose(new: Federation, cid: str) -> None:
    """Take an artifact out of the store."""
    del new.store.artifacts[Cid.parse(cid)]


def damage(new: Federation, cid: str) -> None:
    """Flip a byte of an artifact."""
    data = new.store.artifacts[Cid.parse(cid)]
    new.store.artifacts[Cid.parse(cid)] = data[:-1] + bytes([data[-1] ^ 1])


def _index(new: Federation, round_: int) -> int:
    (index,) = (
        index
        for index, event in enumerate(new.record.events)
        if isinstance(event, LinkEvent) and (event.link.run, event.link.round) == (new.plan.manifest.run, round_)
    )
    return index
