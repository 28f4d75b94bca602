"""Pins: only receipts of trusted keys over exactly this round hash pin a round, and only on this ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.errors import InputError
from fedchain.core.lineage import Verdict
from fedchain.core.messages import RoundReceipt
from fedchain.core.trust import Pin, SignedReceipt, TrustFile
from fedchain.ports.signer import Signer
from tests.doubles.signer import NamedSigner
from tests.scenarios.federation import IDENTITY
from tests.workflow.forgery import finished

OTHER = b"\x0f" * 32
STRANGER = NamedSigner("a stranger")


def receipt(signer: Signer, pin: Pin, domain: Domain = IDENTITY.rounds) -> SignedReceipt:
    message = RoundReceipt(IDENTITY.federation, pin.run, pin.round, pin.round_hash)
    return SignedReceipt(signer.address, signer.sign(signing_digest(domain, message)))


def with_last_pin(trust: TrustFile, change: Callable[[Pin], Pin]) -> TrustFile:
    return replace(trust, pins=(*trust.pins[:-1], change(trust.pins[-1])))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"chain_id": 1}, "chain id: expected 1, got 31337"),
        ({"registry_contract": b"\x0f" * 20}, "registry contract"),
        ({"rounds_contract": b"\x0f" * 20}, "ledger contract"),
        ({"federation": OTHER}, "federation"),
        ({"format": "fedchain/trust/2"}, "trust file: expected fedchain/trust/1"),
        ({"note": "real independence"}, "trust file: expected fedchain/trust/1, simulated independence"),
    ],
)
def test_a_trust_file_for_another_ledger_is_an_input_error_and_not_a_finding(
    changes: dict[str, object], told: str
) -> None:
    new = finished()
    with pytest.raises(InputError, match=told):
        new.verify(trust=replace(new.trust(), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda pin: replace(pin, receipts=()), "no receipt"),
        (lambda pin: replace(pin, receipts=(receipt(STRANGER, pin),)), "a receipt of 0x" + STRANGER.address.hex()),
        (lambda pin: replace(pin, receipts=(*pin.receipts, receipt(STRANGER, pin))), "a receipt of 0x"),
        (
            lambda pin: replace(pin, receipts=(replace(receipt(STRANGER, pin), signer=pin.receipts[0].signer),)),
            "a receipt of 0x" + STRANGER.address.hex(),
        ),
        (lambda pin: replace(pin, receipts=(replace(pin.receipts[0], signature=b""),)), "65 or 128 bytes"),
        (lambda pin: replace(pin, receipts=(replace(pin.receipts[0], signature=bytes(65)),)), "v of 27 or 28"),
    ],
    ids=["no receipt", "a stranger's", "a stranger's beside the others", "in another's name", "empty", "zeros"],
)
def test_a_pin_without_the_receipts_of_trusted_keys_is_a_finding_and_pins_nothing(
    change: Callable[[Pin], Pin], told: str
) -> None:
    new = finished()
    run = new.plan.manifest.run
    lineage = new.verify(trust=with_last_pin(new.trust(), change))
    assert lineage.verdict is Verdict.FINDINGS
    assert {(finding.claim, finding.round, finding.run) for finding in lineage.findings} == {("receipt", 3, run.hex())}
    assert all(told in finding.got for finding in lineage.findings)
    assert lineage.pinned == (f"run 0x{run.hex()} up to round 2",)


@pytest.mark.parametrize(
    "change",
    [
        lambda pin: replace(pin, round_hash=OTHER),
        lambda pin: replace(pin, round=9),
        lambda pin: replace(pin, run=OTHER),
    ],
    ids=["another hash", "another round", "another run"],
)
def test_receipts_over_something_else_pin_nothing(change: Callable[[Pin], Pin]) -> None:
    new = finished()
    lineage = new.verify(trust=with_last_pin(new.trust(), change))
    assert lineage.verdict is Verdict.FINDINGS
    assert {finding.claim for finding in lineage.findings} == {"receipt"}


def test_receipts_signed_for_another_contract_pin_nothing() -> None:
    new = finished()
    elsewhere = Domain(IDENTITY.chain_id, b"\x0f" * 20)
    trust = with_last_pin(
        new.trust(), lambda pin: replace(pin, receipts=(receipt(new.members[0].device, pin, elsewhere),))
    )
    assert {finding.claim for finding in new.verify(trust=trust).findings} == {"receipt"}


def test_a_key_that_the_reviewer_does_not_trust_vouches_for_nothing() -> None:
    new = finished()
    trust = new.trust()
    lineage = new.verify(trust=replace(trust, keys=trust.keys[1:]))
    assert lineage.verdict is Verdict.FINDINGS
    assert {finding.round for finding in lineage.findings} == {1, 2, 3}


def test_a_co_signed_round_that_the_ledger_tells_otherwise_names_both_hashes() -> None:
    new = finished()
    trust = new.trust()
    forged = OTHER
    members = [each.device for each in new.members]

    def change(pin: Pin) -> Pin:
        other = replace(pin, round_hash=forged)
        return replace(other, receipts=tuple(receipt(each, other) for each in members))

    lineage = new.verify(trust=with_last_pin(trust, change))
    (finding,) = lineage.findings
    assert (finding.claim, finding.round, finding.expected) == ("receipt", 3, "0x" + forged.hex())
    assert finding.got == "0x" + new.links()[-1].round_hash.hex()


def test_a_co_signed_round_that_the_ledger_does_not_have_is_a_finding() -> None:
    new = finished()
    trust = new.trust()
    extra = Pin(OTHER, 1, OTHER, ())
    extra = replace(extra, receipts=(receipt(new.members[0].device, extra),))
    lineage = new.verify(trust=replace(trust, pins=(*trust.pins, extra)))
    (finding,) = lineage.findings
    assert (finding.run, finding.round, finding.got) == (OTHER.hex(), 1, "no such round")


def test_every_good_receipt_is_counted_as_attested() -> None:
    new = finished()
    trust = new.trust()
    one_each = replace(trust, pins=tuple(replace(pin, receipts=pin.receipts[:1]) for pin in trust.pins))
    claims = {claim.name: claim.instances for claim in new.verify(trust=one_each).claims}
    assert claims["receipt"] == 3


def test_a_trust_file_without_pins_pins_nothing() -> None:
    new = finished()
    lineage = new.verify(trust=replace(new.trust(), pins=()))
    assert (lineage.verdict, lineage.pinned) == (Verdict.SELF_CONSISTENT, ())
