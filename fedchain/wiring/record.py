"""Reading a home: its runs, its trust file, and the verification of its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.erasure_files import ErasureFiles
from fedchain.adapters.files import explained
from fedchain.adapters.home import Home, open_home
from fedchain.adapters.retention_files import read_retired
from fedchain.adapters.threads import run_all_on
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.core import document
from fedchain.core.errors import FormatError, InputError
from fedchain.core.lineage import Lineage
from fedchain.core.trust import TrustFile
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.models import ROLES, read_models
from fedchain.wiring.own_rules import LoadedRules, OwnRule
from fedchain.wiring.parties import read_ledger
from fedchain.workflow.stepping import Rules, no_rules
from fedchain.workflow.verify import Audit, Verifier


def verify(home: Path, *, run: str | None, heads: Sequence[str], trust: Path | None, scrub: bool) -> Lineage:
    """Re-derive the lineage that a home records. Ids and heads are hex, with or without 0x.

    Raises:
        InputError: if the home, the trust file or an identifier cannot be read.
    """
    return Trusting(()).verify(home, run=run, heads=heads, trust=trust, scrub=scrub)


@dataclass(frozen=True, slots=True)
class Trusting:
    """A verifier that runs strategies of somebody's own, whose code it has and trusts."""

    strategies: Sequence[OwnRule]

    def verify(self, home: Path, *, run: str | None, heads: Sequence[str], trust: Path | None, scrub: bool) -> Lineage:
        """Re-derive the lineage, as `verify` does.

        Raises:
            InputError: as `verify`, or if no run has one of the strategies as it is here.
        """
        rules = LoadedRules(self.strategies)
        lineage = _audit(open_home(home), _Question(run, tuple(heads), trust, scrub), rules).lineage
        if not lineage.findings:  # a record that does not hold may not have come to naming its strategy
            rules.check_used()
        return lineage


@dataclass(frozen=True, slots=True)
class _Question:
    """What is verified, and against what."""

    run: str | None
    heads: tuple[str, ...]
    trust: Path | None
    scrub: bool


def audit(opened: Home, *, run: str | None, heads: Sequence[str], trust: Path | None, scrub: bool) -> Audit:
    """Verify as above, and also return the rounds that were audited.

    Raises:
        InputError: if the home, the trust file or an identifier cannot be read.
    """
    return _audit(opened, _Question(run, tuple(heads), trust, scrub), no_rules)


def _audit(opened: Home, asked: _Question, rules: Rules) -> Audit:
    trusted = None if asked.trust is None else read_trust(asked.trust)
    deletions = ErasureFiles(opened.erasures).receipts()
    with read_ledger(opened) as ledger, read_models(opened) as models:
        registry = None if models is None else models.registry
        store = open_artifacts(opened)
        verifier = Verifier(
            ledger, store, PrvAccountant(), run_all_on(1), deletions, registry, ROLES, read_retired(opened), rules
        )
        return verifier.audit(
            run=None if asked.run is None else _bytes32("run", asked.run),
            heads=[_bytes32("--head", head) for head in asked.heads],
            trust=trusted,
            scrub=asked.scrub,
        )


def read_trust(path: Path) -> TrustFile:
    """Return a trust file.

    Raises:
        InputError: if it is missing or is no trust file.
    """
    with explained(path):
        if not path.exists():
            raise InputError("trust file", expected=path, got="no such file", remedy="check the path")
        data = path.read_bytes()
    try:
        return document.from_bytes(TrustFile, data.rstrip(b"\n"))
    except FormatError as error:
        raise FormatError(f"{path} is no trust file", got=error) from error


def _bytes32(what: str, text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise InputError(what, expected="64 hex digits", got=repr(text)[:80])
    return value
