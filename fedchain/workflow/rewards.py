"""Rewards, re-derived: the score report of a federation from its audited rounds and the store, by anyone.

The score of an update is what its round's model is worth on the donated rows, less what it is worth with that update
left out: its weight stays in the divisor, so that an update of zeros is worth exactly nothing. Of updates with one
digest only the lightest counts, in the model that is scored, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fedchain.core.aggregation import ExactSum, ModelOutOfRangeError, RunAll
from fedchain.core.cid import Cid
from fedchain.core.digest import Digest
from fedchain.core.envelope import Envelope, update_digest
from fedchain.core.errors import IntegrityError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import RewardTerms, RunManifest
from fedchain.core.population import one_update
from fedchain.core.record import LinkKind
from fedchain.core.rewards import RewardHistory, RoundRewards, Share, pays
from fedchain.core.scoring import STATISTIC, ValidationSet, validation_digest, value
from fedchain.core.tensors import IntTensors, TensorSchema, decode
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.run_state import RunState


@dataclass(frozen=True, slots=True)
class PaidUpdate:
    """An update of a round that pays: whose, with what weight, and where its payload lies."""

    client: bytes
    weight: int
    payload_cid: str


@dataclass(frozen=True, slots=True)
class PaidRound:
    """A sealed round of a run that pays."""

    run: RunManifest
    terms: RewardTerms
    round: int
    round_hash: bytes
    base_model_cid: str
    updates: tuple[PaidUpdate, ...]
    is_gone: bool
    """Whether payloads of it were erased or retired, so that nobody can score it any more."""


def paid_rounds(rounds: Sequence[AuditedRound]) -> Iterator[PaidRound]:
    """Yield the audited rounds that pay, in their order."""
    for each in rounds:
        link, terms = each.chained.event.link, each.run_manifest.rewards
        if terms is not None and link.kind is LinkKind.SEALED:
            updates = tuple(
                PaidUpdate(one.signer, one.update.header.message.weight, one.update.payload_cid) for one in each.updates
            )
            base = each.manifest.base_model.cid
            yield PaidRound(each.run_manifest, terms, link.round, each.chained.round_hash, base, updates, each.is_gone)


def rounds_of(run: RunManifest, state: RunState, has: Callable[[Cid], bool]) -> Iterator[PaidRound]:
    """Yield the sealed rounds of one run as its own journal has them: the run's word, nothing is audited.

    `has` tells what is stored still.
    """
    base = run.initial_model
    for number, decided in sorted(state.decided.items()):
        if run.rewards is not None and decided.link.kind is LinkKind.SEALED and number in state.sealed:
            updates = tuple(
                PaidUpdate(one.signer, one.header.message.weight, one.payload_cid) for one in decided.accepted
            )
            is_gone = not all(has(Cid.parse(each.payload_cid)) for each in updates)
            yield PaidRound(run, run.rewards, number, state.sealed[number].round_hash, base.cid, updates, is_gone)
        base = decided.model


def rederive_rewards(
    identity: LedgerIdentity,
    rounds: Iterable[PaidRound],
    store: ArtifactStore,
    run_all: RunAll,
    settled: Mapping[Digest, RoundRewards] | None = None,
) -> RewardHistory:
    """Return what rounds paid, in the order given.

    A history that others are to agree with takes all rounds that were audited without a finding, in ledger order.
    Rounds whose payloads are gone pay what `settled` says of their round hash, else nothing: these are the rounds of
    the report under the vault's final root, which anyone could recompute before it became final.

    Raises:
        IntegrityError: if a run's donated rows are not those that its manifest commits to, or what is settled is
            not about the round.
        MissingArtifactError: if the store lacks a payload, a model or donated rows.
    """
    scorer, earned = _Scorer(store, ModelSeries(store), run_all, {}), dict[bytes, int]()
    known = settled or {}
    paid = tuple(
        _taken_over(each, known[each.round_hash], earned) if each.is_gone
        else _rewards(each, scorer.scores(each), earned)
        for each in rounds
        if not each.is_gone or each.round_hash in known
    )  # fmt: skip
    return RewardHistory(identity.chain_id, identity.rounds_contract, identity.federation, STATISTIC, paid)


def read_validation(run: RunManifest, terms: RewardTerms, store: ArtifactStore) -> ValidationSet:
    """Return a run's donated rows, checked against its manifest.

    Raises:
        IntegrityError: if they are not what the manifest says.
        FormatError: if they are no validation set.
        MissingArtifactError: if the store lacks them.
    """
    data = store.get(Cid.parse(terms.validation.cid))
    if validation_digest(data) != terms.validation.digest:
        raise IntegrityError("donated rows", expected=terms.validation.digest.hex(), got=validation_digest(data).hex())
    rows = ValidationSet.from_bytes(data)
    donors = [each.client for each in terms.donors]
    if donors != sorted(set(donors)) or not set(donors) <= {each.client for each in run.cohort}:
        raise IntegrityError("donors", expected="members of the cohort, sorted", got=f"{len(donors)} others")
    counts, declared = rows.counts(len(donors)), tuple(each.rows for each in terms.donors)
    if counts != declared or terms.statistic != STATISTIC:
        raise IntegrityError(
            "donated rows", expected=f"{declared} by {terms.statistic}", got=f"{counts} by {STATISTIC}"
        )
    return rows


@dataclass(frozen=True, slots=True)
class _Part:
    """What is kept of an update: the client, the digest of its tensors, its weight, and where it lies."""

    client: bytes
    digest: Digest
    weight: int
    payload_cid: str


@dataclass(frozen=True, slots=True)
class _Scores:
    """The value of a round's model, each update's score by its digest, and each client's update digest."""

    value: int
    by_digest: Mapping[Digest, int]
    clients: Mapping[bytes, Digest]


@dataclass(frozen=True, slots=True)
class _Scorer:
    """Scores rounds; donated rows are read once a run, payloads one at a time."""

    store: ArtifactStore
    models: ModelSeries
    run_all: RunAll
    rows: dict[bytes, ValidationSet]

    def scores(self, paid: PaidRound) -> _Scores:
        run = paid.run
        if run.run not in self.rows:
            self.rows[run.run] = read_validation(run, paid.terms, self.store)
        base = decode(self.models.get(Cid.parse(paid.base_model_cid)))
        encoding = FixedPoint(run.fraction_bits, run.width)
        parts = [self._part(each, encoding) for each in paid.updates]
        total = ExactSum(TensorSchema.of(base), self.run_all)
        for each in parts:
            total.add(self._tensors(each.payload_cid), each.weight)
        counted = _lightest(parts)
        for each in parts:
            if each not in counted:
                total.leave_out(self._tensors(each.payload_cid), each.weight)
        trial = _Trial(total, base, encoding, self.rows[run.run])
        whole = trial.value()
        without = {each.digest: self._without(trial, each) for each in counted}
        by_digest = {digest: 0 if whole is None or less is None else whole - less for digest, less in without.items()}
        return _Scores(whole or 0, by_digest, {each.client: each.digest for each in parts})

    def _without(self, trial: _Trial, part: _Part) -> int | None:
        tensors = self._tensors(part.payload_cid)
        trial.total.leave_out(tensors, part.weight)
        try:
            return trial.value()
        finally:
            trial.total.put_back(tensors, part.weight)

    def _part(self, update: PaidUpdate, encoding: FixedPoint) -> _Part:
        digest = update_digest(encoding.fraction_bits, encoding.width, self._update(update.payload_cid))
        return _Part(update.client, digest, update.weight, update.payload_cid)

    def _update(self, payload_cid: str) -> bytes:
        return Envelope.from_bytes(self.store.get(Cid.parse(payload_cid))).update

    def _tensors(self, payload_cid: str) -> IntTensors:
        return one_update(decode(self._update(payload_cid)))


@dataclass(frozen=True, slots=True)
class _Trial:
    """A sum of updates whose model can be valued."""

    total: ExactSum
    base: IntTensors
    encoding: FixedPoint
    rows: ValidationSet

    def value(self) -> int | None:
        """Return the value of the model as the sum stands; None where a parameter would leave the range."""
        try:
            model = self.total.apply_to(self.base, self.encoding)
        except ModelOutOfRangeError:
            return None
        return value(model, self.rows, self.encoding.fraction_bits)


def _lightest(parts: Sequence[_Part]) -> list[_Part]:
    """Of the updates with one digest the one with the least weight, and of equal weights the first by address."""
    kept: dict[Digest, _Part] = {}
    for each in sorted(parts, key=lambda part: (part.weight, part.client)):
        kept.setdefault(each.digest, each)
    return list(kept.values())


def _rewards(paid: PaidRound, scores: _Scores, earned: dict[bytes, int]) -> RoundRewards:
    """Return what a round paid, and add it to what each client has earned."""
    shares: list[Share] = []
    for client, pay in sorted(pays(paid.terms.pool_per_round, scores.by_digest, scores.clients).items()):
        earned[client] = earned.get(client, 0) + pay
        shares.append(Share(client, scores.by_digest[scores.clients[client]], pay, earned[client]))
    return RoundRewards(
        run=paid.run.run,
        round=paid.round,
        round_hash=paid.round_hash,
        validation=paid.terms.validation.digest,
        pool=paid.terms.pool_per_round,
        value=scores.value,
        shares=tuple(shares),
    )


def _taken_over(paid: PaidRound, settled: RoundRewards, earned: dict[bytes, int]) -> RoundRewards:
    """Return what a round paid by a report, and add it to what each client has earned."""
    about = (paid.run.run, paid.round, paid.terms.validation.digest, paid.terms.pool_per_round)
    if (settled.run, settled.round, settled.validation, settled.pool) != about:
        raise IntegrityError(f"the final report on round {paid.round}", expected=about, got="another round")
    clients, pays_ = [each.client for each in paid.updates], [each.pay for each in settled.shares]
    if sorted(clients) != [each.client for each in settled.shares] or min(pays_) < 0 or sum(pays_) > settled.pool:
        raise IntegrityError(
            f"the final report on round {paid.round}", expected=f"{len(clients)} clients, {settled.pool} in all",
            got=f"{len(pays_)} clients, {sum(pays_)} in all",
        )  # fmt: skip
    shares: list[Share] = []
    for each in settled.shares:
        earned[each.client] = earned.get(each.client, 0) + each.pay
        shares.append(Share(each.client, each.score, each.pay, earned[each.client]))
    return replace(settled, shares=tuple(shares))


def paying_runs(rounds: Sequence[AuditedRound]) -> Iterator[tuple[RunManifest, RewardTerms]]:
    """Yield each run that pays with its terms, once, in ledger order."""
    seen: set[bytes] = set()
    for run in (each.run_manifest for each in rounds):
        if run.rewards is not None and run.run not in seen:
            seen.add(run.run)
            yield run, run.rewards
