"""Pinned heads: what the verifier knows from elsewhere, held against what the ledger tells."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import FormatError, InputError
from fedchain.core.messages import RoundReceipt
from fedchain.core.signatures import recover
from fedchain.core.trust import SIMULATED, TRUST_FORMAT, Pin, SignedReceipt, TrustFile
from fedchain.ports.ledger import LedgerIdentity
from fedchain.workflow.audit_chain import ChainedLink
from fedchain.workflow.audit_report import Report


def check_identity(identity: LedgerIdentity, trust: TrustFile) -> None:
    """Refuse a trust file that is for another ledger.

    Raises:
        InputError: naming the first difference.
    """
    if (trust.format, trust.note) != (TRUST_FORMAT, SIMULATED):  # what its keys are worth must not be reworded
        raise InputError("trust file", expected=f"{TRUST_FORMAT}, {SIMULATED}", got=f"{trust.format}, {trust.note}")
    pairs = {
        "chain id": (trust.chain_id, identity.chain_id),
        "registry contract": (trust.registry_contract.hex(), identity.registry_contract.hex()),
        "ledger contract": (trust.rounds_contract.hex(), identity.rounds_contract.hex()),
        "federation": (trust.federation.hex(), identity.federation.hex()),
    }
    for name, (expected, got) in pairs.items():
        if expected != got:
            raise InputError(f"the trust file is for another ledger: {name}", expected=expected, got=got)


def audit_trust(links: Sequence[ChainedLink], trust: TrustFile, report: Report) -> dict[bytes, int]:
    """Check every pin with its receipts; return the highest pinned round of each run."""
    found = {(each.event.link.run, each.event.link.round): each.round_hash for each in links}
    pinned: dict[bytes, int] = {}
    for pin in trust.pins:
        if not _receipts_hold(trust, pin, report):
            continue
        got = found.get((pin.run, pin.round))
        if got != pin.round_hash:
            report.fails("receipt", run=pin.run, round_=pin.round, expected=pin.round_hash, got=got or "no such round")
            continue
        pinned[pin.run] = max(pinned.get(pin.run, 0), pin.round)
    return pinned


def audit_heads(links: Sequence[ChainedLink], heads: Sequence[bytes], report: Report) -> dict[bytes, int]:
    """Look every given round hash up; return the highest pinned round of each run."""
    found = {each.round_hash: each.event.link for each in links}
    pinned: dict[bytes, int] = {}
    for head in heads:
        link = found.get(head)
        if link is None:
            report.fails("chain", run=b"", round_=0, expected=f"a round with hash 0x{head.hex()}", got="none")
            continue
        pinned[link.run] = max(pinned.get(link.run, 0), link.round)
    return pinned


def _receipts_hold(trust: TrustFile, pin: Pin, report: Report) -> bool:
    problems = [problem for each in pin.receipts if (problem := _problem(trust, pin, each)) is not None]
    if not pin.receipts:
        problems = ["no receipt"]
    for problem in problems:
        report.fails("receipt", run=pin.run, round_=pin.round, expected="receipts of the trusted keys", got=problem)
    if not problems:
        report.holds("receipt", len(pin.receipts))
    return not problems


def _problem(trust: TrustFile, pin: Pin, receipt: SignedReceipt) -> str | None:
    message = RoundReceipt(trust.federation, pin.run, pin.round, pin.round_hash)
    identity = LedgerIdentity(trust.chain_id, trust.registry_contract, trust.rounds_contract, trust.federation)
    try:
        signer = recover(signing_digest(identity.rounds, message), receipt.signature)
    except FormatError as error:
        return str(error)
    if signer != receipt.signer or signer not in trust.keys:
        return f"a receipt of 0x{signer.hex()}"
    return None
