"""The event chain: whatever is dropped, moved, doubled or altered, sealed anew or not, names its round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from fedchain.core.eip712 import signing_digest
from fedchain.core.lineage import Verdict
from fedchain.core.messages import ConsentGrant, ConsentWithdraw, RegisterDevice, RevokeDevice
from fedchain.core.record import LinkKind, RoundLink
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, RegistryEvent, Seal
from fedchain.workflow.audit_chain import audit_chain
from fedchain.workflow.audit_report import Report
from tests.doubles.ledger import MemoryLedger
from tests.scenarios.federation import IDENTITY, Federation
from tests.workflow.forgery import alter_event, finished, relink, repin, reseal

LINKS = (-3, -2, -1)
"""Where the three links stand among the events: the registry's actions came before."""


def found(new: Federation) -> set[tuple[str, int]]:
    lineage = new.verify()
    assert lineage.verdict is (Verdict.FINDINGS if lineage.findings else Verdict.SELF_CONSISTENT)
    return {(finding.claim, finding.round) for finding in lineage.findings}


def drop(index: int) -> Callable[[Federation], None]:
    def act(new: Federation) -> None:
        del new.record.events[index]

    return act


def insert(new: Federation, event: LedgerEvent, index: int = -3) -> None:
    new.record.events.insert(len(new.record.events) + index, event)


def swap(new: Federation) -> None:
    events = new.record.events
    events[-2], events[-3] = events[-3], events[-2]


def go_on(new: Federation) -> None:
    """Put another link after the closing one, sealed as it should be."""
    last = new.links()[-1]
    link = replace(last.link, round=last.link.round + 1)
    new.record.events.append(replace(last, link=link))
    reseal(new)


@pytest.mark.parametrize(
    ("act", "round_"),
    [
        (drop(-3), 1),
        (drop(-2), 2),
        (drop(-1), 3),
        (lambda new: new.record.events.append(new.record.events[-1]), 3),
        (swap, 1),
        (lambda new: alter_event(new, 2, round_hash=b"\x0f" * 32), 2),
        (lambda new: alter_event(new, 2, previous_hash=b"\x0f" * 32), 2),
        (lambda new: alter_event(new, 1, previous_hash=b"\x0f" * 32), 1),
        (lambda new: new.record.slots.update({new.plan.manifest.run: b"\x0f" * 32}), 4),
        (lambda new: new.record.slots.clear(), 4),
        (go_on, 4),
    ],
    ids=[
        "first dropped", "second dropped", "last dropped", "last twice", "two swapped", "other hash",
        "other previous hash", "a predecessor of the first", "other slot", "no slot", "a link after the last",
    ],
)  # fmt: skip
def test_a_fault_of_the_chain_names_the_round(act: Callable[[Federation], None], round_: int) -> None:
    new = finished()
    act(new)
    assert ("chain", round_) in found(new)


@pytest.mark.parametrize(
    "change",
    [
        {"updates_root": b"\x0f" * 32}, {"rejected_root": b"\x0f" * 32}, {"base_model": b"\x0f" * 32},
        {"model_digest": b"\x0f" * 32}, {"manifest_digest": b"\x0f" * 32}, {"accepted": 2}, {"rejected": 5},
        {"kind": LinkKind.ABORTED}, {"run": b"\x0f" * 32},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_altered_member_of_a_link_is_found_as_it_stands_and_when_sealed_anew(change: dict[str, object]) -> None:
    new = finished()
    event = new.links()[1]
    alter_event(new, 2, link=replace(event.link, **change))  # type: ignore[arg-type]
    assert ("chain", 2) in found(new)
    new = finished()
    relink(new, 2, **change)
    assert 2 in {round_ for _, round_ in found(new)}
    assert 2 in {finding.round for finding in new.verify(trust=new.trust()).findings if finding.claim == "receipt"}


def test_a_run_cut_short_and_sealed_anew_contradicts_only_the_pins() -> None:
    new = finished()
    del new.record.events[-2:]
    reseal(new)
    assert found(new) == set()
    lineage = new.verify(trust=new.trust())
    assert lineage.verdict is Verdict.FINDINGS
    assert {(finding.claim, finding.round, finding.got) for finding in lineage.findings} == {
        ("receipt", 2, "no such round"), ("receipt", 3, "no such round"),
    }  # fmt: skip


# ------------------------------------------------------------------ the registry


@pytest.mark.parametrize("remake", [None, reseal, repin], ids=["as it stands", "sealed anew", "manifests made anew"])
@pytest.mark.parametrize("index", range(12))
def test_a_dropped_registry_action_is_a_finding_of_the_registry(
    index: int, remake: Callable[[Federation], None] | None
) -> None:
    new = finished()
    del new.record.events[index]
    if remake is not None:
        remake(new)
    claims = {claim for claim, _ in found(new)}
    # The last action of a site leaves no gap in its nonces: then its updates stand without consent.
    is_last = index in {5, 8, 11} and remake is repin
    assert ("consent" if is_last else "registry") in claims


@pytest.mark.parametrize("act", [Federation.revoke_device, Federation.withdraw_consent], ids=["device", "consent"])
def test_an_action_dated_before_the_one_before_it_is_a_finding(act: Callable[[Federation, int], None]) -> None:
    new = finished()
    act(new, 0)
    new.record.events[-1] = replace(new.record.events[-1], at=1)
    reseal(new)
    assert ("registry", 0) in found(new)


def test_a_grant_for_another_federation_is_a_finding() -> None:
    new = finished()
    grant = replace(new.grant_of(0), nonce=4, federation=b"\x0f" * 32)
    signature = new.members[0].admin.sign(signing_digest(IDENTITY.registry, grant))
    new.record.events.append(RegistryEvent(grant, signature, new.clock.now(), b""))
    reseal(new)
    assert ("registry", 0) in found(new)


def test_an_altered_time_of_an_action_moves_every_hash_after_it() -> None:
    new = finished()
    new.record.events[0] = replace(new.record.events[0], at=1)
    assert {("registry", 0), ("chain", 1)} <= found(new)


def test_an_altered_consent_is_found_by_its_signature_even_when_sealed_anew() -> None:
    new = finished()
    event = new.record.events[5]
    assert isinstance(event, RegistryEvent)
    assert isinstance(event.message, ConsentGrant)
    new.record.events[5] = replace(event, message=replace(event.message, micro_epsilon_grant=2**60))
    reseal(new)
    lineage = new.verify()
    finding = lineage.findings[0]
    assert (finding.claim, finding.round, finding.run) == ("consent", 0, "")
    assert finding.expected == "an action that the contract's rules allow"


def sign_consent(new: Federation, signature: bytes) -> None:
    """Put another signature on the first site's consent."""
    event = new.record.events[5]
    assert isinstance(event, RegistryEvent)
    new.record.events[5] = replace(event, signature=signature)


@pytest.mark.parametrize("signature", [b"\x01", bytes(65), b"\x02" * 64 + b"\x1b"], ids=["short", "zeros", "foreign"])
def test_a_registry_action_with_a_bad_signature_is_a_finding_of_consent(signature: bytes) -> None:
    new = finished()
    sign_consent(new, signature)
    assert ("consent", 0) in found(new)


def test_an_action_without_a_signature_is_not_counted_as_signed() -> None:
    new = finished()
    before = {claim.name: claim.instances for claim in new.verify().claims}
    sign_consent(new, b"")
    lineage = new.verify()
    assert lineage.findings == ()
    after = {claim.name: claim.instances for claim in lineage.claims}
    assert (after["consent"], after["registry"]) == (before["consent"] - 1, before["registry"])


@pytest.mark.parametrize(
    "message",
    [
        lambda _: RegisterDevice(b"\x0f" * 32, b"\x0f" * 20, 1, 2, 1, b"", 1),
        lambda new: RegisterDevice(
            new.members[0].applicant.organisation, new.members[0].device.address, 1, 2, 1, b"", 4
        ),
        lambda _: RevokeDevice(b"\x0f" * 20, 1, 4),
        lambda _: ConsentWithdraw(b"\x0f" * 32, 1, 1, 4),
        lambda new: RevokeDevice(new.members[0].device.address, new.clock.now(), 9),
    ],
    ids=["unknown organisation", "known device", "unknown device", "unknown dataset", "nonce"],
)
def test_an_action_that_the_contract_would_refuse_is_a_finding_of_the_registry(
    message: Callable[[Federation], RegisterDevice | RevokeDevice | ConsentWithdraw],
) -> None:
    new = finished()
    action = message(new)
    signature = new.members[0].admin.sign(signing_digest(IDENTITY.registry, action))
    insert(new, RegistryEvent(action, signature, new.clock.now(), b""))
    reseal(new)
    assert ("registry", 0) in found(new)


# ------------------------------------------------------------------ beside a writer


@dataclass(slots=True)
class Growing:
    """A ledger on which something happens after each of the first reads of its events."""

    ledger: MemoryLedger
    acts: list[Callable[[], object]]
    reads: list[int] = field(default_factory=list[int])

    def identity(self) -> LedgerIdentity:
        return self.ledger.identity()

    def events(self) -> Sequence[LedgerEvent]:
        events = self.ledger.events()
        self.reads.append(len(events))
        if self.acts:
            self.acts.pop(0)()
        return events

    def registry_head(self) -> bytes:
        return self.ledger.registry_head()

    def head_slot(self, run: bytes) -> bytes:
        return self.ledger.head_slot(run)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        return self.ledger.find(run, round_)

    def check_lead(self) -> None:
        self.ledger.check_lead()

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        return self.ledger.seal(link, previous_hash)


def test_what_is_recorded_while_the_verifier_reads_is_no_finding() -> None:
    new = finished()
    last = new.record.events.pop()
    assert isinstance(last, LinkEvent)
    reseal(new)
    ledger = Growing(new.ledger, [lambda: new.ledger.seal(last.link, last.previous_hash), lambda: new.revoke_device(0)])
    report = Report()
    links = audit_chain(ledger, report)
    assert report.findings == []
    assert [each.event.link.round for each in links] == [1, 2, 3]
    assert report.counts["chain"] == 3
    assert ledger.reads == [14, 15, 16]


def test_an_honest_ledger_is_read_once() -> None:
    new = finished()
    ledger = Growing(new.ledger, [])
    audit_chain(ledger, Report())
    assert len(ledger.reads) == 1
