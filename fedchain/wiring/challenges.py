"""The challenges of a home: two contracts on its chain, named in a file beside it, and the acts of whoever uses them.

The federation's operator deploys them at first use and relays what is shown; nothing of it needs the operator's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.challenges import EvmChallengeBook, check_book, deploy_book
from fedchain.adapters.evm.funding import Payer, check_funds
from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.site_database import SiteDatabase
from fedchain.core import document
from fedchain.core.challenges import PromiseState
from fedchain.core.digest import hex32
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import InputError
from fedchain.core.privacy import epsilon_of
from fedchain.core.signatures import recover
from fedchain.core.task import SignedPromise
from fedchain.ports.challenges import BookIdentity, ChallengeBook, Exposure, Freeze, Omission
from fedchain.ports.clock import Clock
from fedchain.ports.site_state import Evidence
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.home_chain import clock_of, read_home_chain, require_chain, written_home_chain
from fedchain.wiring.models import ANSWER_WINDOW_S
from fedchain.wiring.parties import parties_of, read_ledger, site_names
from fedchain.wiring.record import read_trust
from fedchain.workflow.challenges import Chronicle, answer_to, equivocations, overspends
from fedchain.workflow.signing import Acted, Announce, Signing, Tally

NEEDS: Final = "a challenge"
_DEPLOYMENT_GAS: Final = 7_000_000


@dataclass(frozen=True, slots=True)
class BookStanding:
    """What was challenged, exposed and frozen so far."""

    omissions: tuple[Omission, ...]
    exposures: tuple[Exposure, ...]
    freezes: tuple[Freeze, ...]


@dataclass(frozen=True, slots=True)
class _Desk:
    """A home's record beside its open book of challenges."""

    home: Home
    chronicle: Chronicle
    book: ChallengeBook
    clock: Clock
    announce: Announce

    def act(self, sentence: str, send: Callable[[], bytes]) -> Acted:
        signing = Signing("anyone", sentence)
        self.announce(signing)
        return Acted(signing, send())

    def open_omissions(self) -> list[Omission]:
        return [each for each in self.book.omissions() if each.state is PromiseState.CHALLENGED]


def standing(home: Path) -> BookStanding:
    """Return what was challenged, exposed and frozen.

    Raises:
        InputError: if the home has no chain, or another contract stands where it says.
    """
    opened = open_home(home)
    require_chain(opened, NEEDS)
    identity = _known(opened)
    if identity is None:
        return BookStanding((), (), ())
    with read_home_chain(opened, identity.chain_id) as node:
        check_book(node, identity)
        book = EvmChallengeBook(node, identity)
        return BookStanding(tuple(book.omissions()), tuple(book.exposures()), tuple(book.freezes()))


def overspend(home: Path, announce: Announce) -> tuple[Acted, ...]:
    """Freeze every dataset that has a sealed update above its lifetime grant; nothing where none has.

    Raises:
        InputError: if the home has no chain.
    """
    with _desk(home, announce) as desk:
        frozen = {each.dataset for each in desk.book.freezes() if each.is_frozen}
        done: list[Acted] = []
        for shown in overspends(desk.chronicle):
            message = shown.header.message
            if message.dataset not in frozen:
                sentence = (
                    f"freeze dataset {hex32(message.dataset)}: its update in round {message.round} of run "
                    f"{hex32(message.run)} says epsilon {epsilon_of(message.micro_epsilon_total):g}, "
                    f"and its site granted {epsilon_of(shown.grant):g}"
                )
                done.append(desk.act(sentence, partial(desk.book.challenge_overspend, shown)))
        return tuple(done)


def equivocation(home: Path, announce: Announce, one: Path, other: Path) -> tuple[Acted, ...]:
    """Expose whoever signed two hashes of one round, by two trust files; nothing where nobody did.

    Raises:
        InputError: if a file is no trust file of this ledger.
    """
    with _desk(home, announce) as desk:
        first, second = read_trust(one), read_trust(other)
        rounds = desk.chronicle.identity.rounds
        known = {(each.signer, each.run, each.round) for each in desk.book.exposures()}
        done: list[Acted] = []
        for shown in equivocations(rounds, first, second):
            receipt = shown.one
            if (shown.signer, receipt.run, receipt.round) not in known:
                sentence = (
                    f"expose {hex32(shown.signer)}: it signed two hashes of round {receipt.round} of run "
                    f"{hex32(receipt.run)}, {hex32(receipt.round_hash)} and {hex32(shown.other.round_hash)}"
                )
                done.append(desk.act(sentence, partial(desk.book.prove_equivocation, shown)))
        return tuple(done)


def omission(home: Path, announce: Announce, site: str, run: bytes, round_: int) -> tuple[Acted, ...]:
    """Demand that the promise that a site holds for a round is shown to be kept; nothing where that was demanded.

    Raises:
        InputError: if the site or its promise is unknown, or the promise can still be kept.
    """
    with _desk(home, announce) as desk:
        promised = _promise(desk.home, site, run, round_)
        promise = promised.promise
        if promise in [each.promise for each in desk.book.omissions()]:
            return ()
        if desk.clock.now() <= promise.seal_by:
            raise InputError("the promise can still be kept", expected=f"after {promise.seal_by}", got=desk.clock.now())
        signer = recover(signing_digest(desk.chronicle.identity.rounds, promise), promised.signature)
        sentence = (
            f"demand of aggregator {hex32(signer)} to show the update {hex32(promise.leaf)} in round {round_} of run "
            f"{hex32(run)}, as it promised {site}"
        )
        return (desk.act(sentence, partial(desk.book.challenge_omission, promised, signer)),)


def answer(home: Path, announce: Announce) -> Tally:
    """Answer every open challenge from the record; what it knows nothing of is named as missing.

    Raises:
        InputError: if the home has no chain.
    """
    with _desk(home, announce) as desk:
        done: list[Acted] = []
        missing: list[str] = []
        for each in desk.open_omissions():
            found = answer_to(desk.chronicle, each.promise)
            what = f"update {hex32(each.promise.leaf)} of round {each.promise.round} of run {hex32(each.promise.run)}"
            if desk.clock.now() >= each.answer_by or found is None:
                missing.append(f"{what}: {'the time is over' if found else 'the record knows nothing of it'}")
                continue
            sentence = f"show what became of {what}, from the sealed round"
            done.append(desk.act(sentence, partial(desk.book.answer, found)))
        return Tally(tuple(done), "; ".join(missing))


def conclude(home: Path, announce: Announce) -> tuple[Acted, ...]:
    """State of every open challenge whose time is over that nobody answered.

    Raises:
        InputError: if the home has no chain.
    """
    with _desk(home, announce) as desk:
        return tuple(
            desk.act(
                f"state that nobody showed the update {hex32(each.promise.leaf)} promised for round "
                f"{each.promise.round} of run {hex32(each.promise.run)}",
                partial(desk.book.conclude, each.promise),
            )
            for each in desk.open_omissions()
            if desk.clock.now() >= each.answer_by
        )


@contextmanager
def _desk(home: Path, announce: Announce) -> Iterator[_Desk]:
    opened = open_home(home)
    require_chain(opened, NEEDS)
    with locked(opened):
        with read_ledger(opened) as ledger:
            chronicle = Chronicle.of(ledger, open_artifacts(opened, "aggregator"))
        operator, identity = parties_of(opened).operator, chronicle.identity
        with written_home_chain(opened, identity.chain_id, NEEDS) as node:
            known = _known(opened)
            if known is None:
                check_funds(node, [Payer("operator", operator.address, _DEPLOYMENT_GAS)])
                known = deploy_book(node, operator, identity.rounds_contract, ANSWER_WINDOW_S)
                replace_file(_path(opened), document.to_bytes(known))
            check_book(node, known)
            yield _Desk(opened, chronicle, EvmChallengeBook(node, known, operator), clock_of(opened, node), announce)


def _promise(home: Home, site: str, run: bytes, round_: int) -> SignedPromise:
    names: Sequence[str] = site_names(home)
    if site not in names:
        raise InputError("--site", expected=" or ".join(names), got=site[:80])
    with closing(SiteDatabase(home.site(site) / "site.sqlite")) as state:
        kept = state.kept(Evidence.PROMISE, run, round_)
    if kept is None:
        raise InputError(f"{site} holds no promise", got=f"round {round_} of run {hex32(run)}")
    return document.from_bytes(SignedPromise, kept)


def _known(home: Home) -> BookIdentity | None:
    path = _path(home)
    with explained(path):
        return document.from_bytes(BookIdentity, path.read_bytes()) if path.exists() else None


def _path(home: Home) -> Path:
    return home.chain.parent / "challenges.json"
