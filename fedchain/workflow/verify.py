"""The verifier: given a ledger and a store, re-derive the lineage and say how strongly each claim holds.

It trusts neither the aggregator nor the store: every hash, root, signature, model and privacy total is computed from
bytes. Without a head that is pinned from elsewhere the best verdict is "self-consistent", because whoever owns the
ledger can rebuild it as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from fedchain.core.aggregation import RunAll
from fedchain.core.erasure import SignedDeletion
from fedchain.core.errors import FormatError, InputError, IntegrityError, LockedArtifactError, MissingArtifactError
from fedchain.core.lineage import Contribution, DonatedRows, Lineage, LineageRound, Population, Release, Taint, Verdict
from fedchain.core.population import RosterOpening
from fedchain.core.record import LinkKind
from fedchain.core.rejection import Reason
from fedchain.core.trust import TrustFile
from fedchain.ports.ledger import Ledger
from fedchain.ports.models import ModelRegistry
from fedchain.ports.store import ArtifactStore
from fedchain.ports.training import Accountant
from fedchain.workflow.audit_chain import ChainedLink, audit_chain
from fedchain.workflow.audit_pins import audit_heads, audit_trust, check_identity
from fedchain.workflow.audit_privacy import audit_privacy
from fedchain.workflow.audit_releases import audit_releases
from fedchain.workflow.audit_report import Report
from fedchain.workflow.audit_round import AuditedRound, RoundAuditor
from fedchain.workflow.rewards import paying_runs, read_validation
from fedchain.workflow.stepping import Rules, no_rules
from fedchain.workflow.taint import datasets_behind, taints_of, withdrawals


@dataclass(frozen=True, slots=True)
class Audit:
    """What a verification gives: the lineage that it tells of, the rounds behind it, and the CIDs that they name."""

    lineage: Lineage
    rounds: tuple[AuditedRound, ...]
    named: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a verification reads and computes with."""

    ledger: Ledger
    store: ArtifactStore
    accountant: Accountant
    run_all: RunAll
    deletions: Sequence[SignedDeletion] = ()
    models: ModelRegistry | None = None
    roles: Mapping[int, str] = field(default_factory=dict[int, str])
    """The registry of models, where there is one, and what its roles are called."""
    retired: Set[str] = frozenset()
    """CIDs of payloads and refused replies whose retention has ended, as the home says whose store is read."""
    rules: Rules = no_rules
    """Strategies of experimenters' own whose code the verifying party has, and trusts."""

    def verify(
        self,
        *,
        run: bytes | None = None,
        heads: Sequence[bytes] = (),
        trust: TrustFile | None = None,
        scrub: bool = False,
    ) -> Lineage:
        """Re-derive every run (or the given one); with `scrub`, also every artifact that no record names.

        Raises:
            InputError: if the run is unknown or the trust file is for another ledger.
        """
        return self.audit(run=run, heads=heads, trust=trust, scrub=scrub).lineage

    def audit(
        self,
        *,
        run: bytes | None = None,
        heads: Sequence[bytes] = (),
        trust: TrustFile | None = None,
        scrub: bool = False,
    ) -> Audit:
        """Verify, and also return the rounds that were audited."""
        report = Report()
        identity = self.ledger.identity()
        if trust is not None:
            check_identity(identity, trust)
        links = audit_chain(self.ledger, report)
        pinned = audit_heads(links, heads, report)
        if trust is not None:
            for pinned_run, round_ in audit_trust(links, trust, report).items():
                pinned[pinned_run] = max(round_, pinned.get(pinned_run, 0))
        auditor = RoundAuditor(identity, self.store, report, self.run_all, self.deletions, self.retired, self.rules)
        audited = [auditor.audit(each) for each in links if run in (None, each.event.link.run)]
        rounds = [each for each in audited if each is not None]
        if run is not None and not audited and not report.findings:
            raise InputError("run", expected="a run of this ledger", got=run.hex())
        audit_privacy(rounds, self.accountant, report)
        self._audit_validation(rounds, auditor.named, report)
        if scrub:
            self._scrub(auditor.named, report)
        releases: tuple[Release, ...] = ()
        if self.models is not None and run is None and rounds:
            releases = audit_releases(self.models, self.roles, rounds, report)
        verdict = _verdict(links, run, pinned, report)
        shown = _shown(rounds)
        lineage = Lineage(verdict, shown, report.claims(), tuple(report.findings), _pins(pinned), releases)
        return Audit(lineage, tuple(rounds), frozenset(auditor.named))

    def _audit_validation(self, rounds: Sequence[AuditedRound], named: set[str], report: Report) -> None:
        for run, terms in paying_runs(rounds):
            named.add(terms.validation.cid)
            try:
                read_validation(run, terms, self.store)
            except (IntegrityError, FormatError, MissingArtifactError) as error:
                report.fails("validation", run=run.run, round_=1, expected="the donated rows of the run", got=error)
            except LockedArtifactError:
                report.holds("unopened record")
            else:
                report.holds("validation")

    def _scrub(self, named: set[str], report: Report) -> None:
        for cid in self.store.cids():
            if cid.text in named:
                continue
            try:
                for _ in self.store.chunks(cid):
                    pass
            except LockedArtifactError:  # nobody here can read it; its bytes were verified before that was said
                report.holds("artifact")
            except IntegrityError as error:
                report.fails("artifact", run=b"", round_=0, expected=cid.text, got=error)
            else:
                report.holds("artifact")


def _verdict(links: Sequence[ChainedLink], run: bytes | None, pinned: dict[bytes, int], report: Report) -> Verdict:
    if report.findings:
        return Verdict.FINDINGS
    pinned_verdict = Verdict.VERIFIED if report.is_open else Verdict.ANCHORED
    newest = {each.event.link.run: each.event.link.round for each in links if run in (None, each.event.link.run)}
    is_pinned = bool(newest) and all(pinned.get(each, 0) >= round_ for each, round_ in newest.items())
    return pinned_verdict if is_pinned else Verdict.SELF_CONSISTENT


def _pins(pinned: dict[bytes, int]) -> tuple[str, ...]:
    return tuple(f"run 0x{run.hex()} up to round {round_}" for run, round_ in pinned.items())


def _shown(rounds: Sequence[AuditedRound]) -> tuple[LineageRound, ...]:
    withdrawn = withdrawals(rounds[0].chained.registry.present) if rounds else {}
    behind = datasets_behind(rounds)
    return tuple(
        _round(each, taints_of(behind[each.chained.event.link.run, each.chained.event.link.round], withdrawn))
        for each in rounds
    )


def _population(opening: RosterOpening | None) -> Population | None:
    if opening is None:
        return None
    return Population(opening.roster.root.hex(), opening.roster.clients, opening.roster.drawn)


def _round(audited: AuditedRound, taints: tuple[Taint, ...]) -> LineageRound:
    event, manifest, terms = audited.chained.event, audited.manifest, audited.run_manifest.rewards
    return LineageRound(
        run=event.link.run.hex(),
        round=event.link.round,
        kind=LinkKind(event.link.kind).name.lower(),
        round_hash=audited.chained.round_hash.hex(),
        transaction=event.transaction.hex(),
        base_model=event.link.base_model.hex(),
        model_digest=event.link.model_digest.hex(),
        model_cid=manifest.model.cid,
        contributions=tuple(
            Contribution(
                client=each.signer.hex(),
                organisation=each.member.organisation.hex(),
                dataset=each.member.dataset.hex(),
                weight=each.update.header.message.weight,
                micro_epsilon_total=each.update.header.message.micro_epsilon_total,
                run_micro_epsilon=each.update.header.dp.run_micro_epsilon,
                population=_population(each.member.roster),
            )
            for each in audited.updates
        ),
        rejections=tuple(f"{each.reason}: {Reason(each.reason).words}" for each in manifest.rejected),
        donated=() if terms is None else tuple(DonatedRows(each.client.hex(), each.rows) for each in terms.donors),
        taints=taints,
        initial_file=audited.initial_file,
    )
