"""Getting a transaction into the chain once: over crashes, silence, lost or stuck transactions, and reorganisations.

The order is journal, send, confirm. What is journaled may be sent any number of times, because a nonce enters a chain
once; what falls out in a reorganisation is sent again as it was, before anything new. Only a receipt says that a
transaction is in the chain, never a nonce: receipts may lag behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from web3 import Web3

from fedchain.adapters.evm.abi import Contract
from fedchain.adapters.evm.answers import prefixed, warn
from fedchain.adapters.evm.chain_view import ChainView
from fedchain.adapters.evm.fees import FeePolicy, Fees
from fedchain.adapters.evm.intents import Intent, Intents, Place, account_of, intents_in_memory
from fedchain.adapters.evm.shipments import Shipment, Watch, fell_out, place_of
from fedchain.adapters.evm.transactions import Request, signed, signed_again
from fedchain.adapters.evm.waiting import Deadline, Stopwatch, SystemStopwatch
from fedchain.core.errors import RejectedTransactionError, UnreachableError
from fedchain.ports.signer import Signer

_MOST_NONCES: Final = 3
_NO_CONTRACT: Final = Contract(b"", (), {}, {}, {}, {})
_PLAIN_TRANSFER_GAS: Final = 21_000
_SPARE_GAS_PERCENT: Final = 25
"""Nodes estimate exactly, and what is estimated on one block runs on a later one. Unused gas is not paid."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How long and how deep: times in seconds, depths in blocks.

    A transaction counts as confirmed when `confirmations` blocks hold it, its own included, and is watched until
    `buried_after` do. One that no node knows is sent again after `resend_after_s`; one that stays unmined is offered
    more after `stuck_after_s`.
    """

    timeout_s: float = 120.0
    poll_s: float = 0.05
    confirmations: int = 1
    buried_after: int = 1
    resend_after_s: float = 5.0
    stuck_after_s: float = 60.0
    fees: FeePolicy = field(default_factory=FeePolicy)

    def __post_init__(self) -> None:
        if not 1 <= self.confirmations <= self.buried_after:
            raise ValueError(f"expected 1 <= confirmations <= buried_after, got {self}")


class Sender:
    """Sends for any number of keys over one node. Threads and, with a file of intents, processes may share a key."""

    def __init__(
        self,
        web3: Web3,
        rules: Rules,
        *,
        intents: Intents | None = None,
        stopwatch: Stopwatch | None = None,
        say: Callable[[str], None] = warn,
    ) -> None:
        self._chain = ChainView(web3)
        self._rules = rules
        self._intents = intents or intents_in_memory()
        self._stopwatch = stopwatch or SystemStopwatch()
        self._say = say
        self._said = ""

    def send(self, signer: Signer, contract: Contract, request: Request) -> Any:  # noqa: ANN401  # web3's receipt
        """Return the receipt of the confirmed transaction, which succeeded.

        A request that is in the journal and not in the chain is taken up again instead of being sent twice.

        Raises:
            RejectedTransactionError: if the contract refuses it, with its error, or the node does.
            UnreachableError: if there is no answer, no confirmation, or no fee under the cap, until the deadline.
        """
        deadline = Deadline(self._stopwatch, self._rules.timeout_s)
        account = account_of(self._chain.chain_id(), signer.address)
        shipment = Shipment(signer, contract, request, account, deadline)
        for _ in range(_MOST_NONCES):
            receipt = self._confirmed(shipment, self._journaled(shipment))
            if receipt is not None:
                self._check(shipment, receipt)
                return receipt
        raise UnreachableError(
            "transaction found no nonce", got=f"{_MOST_NONCES} that others took", remedy="use this key here only"
        )

    def price(self) -> int:
        """Return the wei per gas that a new transaction would offer at most; the cap while the market is above it."""
        fees = self._rules.fees.offer(*self._chain.market())
        return self._rules.fees.cap if fees is None else fees.max_fee

    def settle(self, signer: Signer) -> None:
        """Return when all that is journaled of a key stands in the chain; what fell out or got lost is sent again.

        Raises:
            UnreachableError: if there is no answer, or no confirmation, until the deadline.
        """
        deadline = Deadline(self._stopwatch, self._rules.timeout_s)
        account = account_of(self._chain.chain_id(), signer.address)
        shipment = Shipment(signer, _NO_CONTRACT, Request(signer.address, b""), account, deadline)
        with self._intents.exclusive(deadline):
            self._settled(shipment)
        for intent in self._intents.of(account):
            if not self._is_confirmed(intent):
                self._confirmed(shipment, intent)

    # choosing a nonce

    def _journaled(self, shipment: Shipment) -> Intent:
        while True:
            with self._intents.exclusive(shipment.deadline):
                fallen = self._settled(shipment)
                intents = self._intents.of(shipment.account)
                same = [i for i in intents if i.call == shipment.call and not self._is_confirmed(i)]
                found = same[0] if same else None if fallen else self._new(shipment)
                if found is not None:
                    return found
            for intent in fallen:  # what comes next may rest on them
                self._confirmed(shipment, intent)

    def _is_confirmed(self, intent: Intent) -> bool:
        return intent.place is not None and self._chain.is_deep(intent.place, self._rules.confirmations)

    def _settled(self, shipment: Shipment) -> list[Intent]:
        """Send what is journaled and not in the chain; return what had been in it and fell out."""
        intents = self._intents.of(shipment.account)
        places = [intent.place for intent in intents if intent.place is not None]
        last = max(places, key=lambda place: place.block, default=None)
        is_intact = last is None or self._chain.is_canonical(last)
        fallen: list[Intent] = []
        for intent in intents:
            if intent.place is not None and is_intact:
                continue
            receipt = self._chain.receipt(intent.attempts)
            self._intents.place(shipment.account, intent.nonce, None if receipt is None else place_of(receipt))
            if receipt is None:
                if intent.place is not None:
                    self._say(fell_out(intent))
                    fallen.append(intent)
                self._broadcast_again(intent)
        return fallen

    def _new(self, shipment: Shipment) -> Intent | None:
        """Journal and send under the next nonce; return None if it is another's by now."""
        gas = self._chain.gas(shipment.contract, shipment.parameters()) * (100 + _SPARE_GAS_PERCENT) // 100
        pending = self._chain.count(shipment.signer.address, "pending")
        nonces = [intent.nonce for intent in self._intents.of(shipment.account)]
        nonce = max([pending, *(each + 1 for each in nonces)])
        for gap in sorted(set(range(pending, nonce)) - set(nonces)):
            self._fill(shipment, gap)
        attempt = signed(shipment.signer, shipment.chain_id, nonce, shipment.request, (gas, self._fees(shipment)))
        intent = Intent(nonce, shipment.call, (attempt,))
        self._intents.add(shipment.account, intent)
        try:
            self._chain.broadcast(attempt)
        except RejectedTransactionError:
            if self._chain.is_known(attempt):
                return intent
            self._intents.remove(shipment.account, nonce)
            if self._chain.count(shipment.signer.address, "latest") <= nonce or shipment.deadline.is_past():
                raise
            self._say_once(f"nonce {nonce} was taken by another transaction: the next one is tried")
            shipment.deadline.wait(self._rules.poll_s)
            return None
        return intent

    def _fill(self, shipment: Shipment, nonce: int) -> None:
        """Take a nonce that no transaction has, with an empty transfer to self, so that those after it can be mined."""
        self._say(f"nonce {nonce} is missing: it is filled with an empty transfer")
        request = Request(shipment.signer.address, b"")
        fees = self._fees(shipment)
        attempt = signed(shipment.signer, shipment.chain_id, nonce, request, (_PLAIN_TRANSFER_GAS, fees))
        intent = Intent(nonce, request.digest(), (attempt,))
        self._intents.add(shipment.account, intent)
        self._broadcast_again(intent)

    def _fees(self, shipment: Shipment) -> Fees:
        is_said = False
        while True:
            base_fee, tip = self._chain.market()
            fees = self._rules.fees.offer(base_fee, tip)
            if fees is not None:
                return fees
            expected, got = f"at most {self._rules.fees.cap} wei per gas", f"{base_fee} and a tip of {tip}"
            if shipment.deadline.is_past():
                raise UnreachableError(
                    "fees stay above the cap", expected=expected, got=got, remedy="wait, or raise it"
                )
            if not is_said:
                self._say(f"fees are above the cap, waiting: expected {expected}, got {got}")
                is_said = True
            shipment.deadline.wait(self._rules.poll_s)

    # waiting for a receipt

    def _confirmed(self, shipment: Shipment, intent: Intent) -> Any:  # noqa: ANN401  # web3's receipt
        """Return the receipt once it is deep enough; None if another transaction took the nonce."""
        watch = Watch(intent, self._stopwatch.now())
        while True:
            watch.intent = self._intents.find(shipment.account, intent.nonce) or watch.intent
            receipt = self._chain.receipt(watch.intent.attempts)
            if receipt is not None:
                place = place_of(receipt)
                if place != watch.intent.place:
                    self._intents.place(shipment.account, intent.nonce, place)
                if self._chain.is_deep(place, self._rules.confirmations):
                    self._forget(shipment, place)
                    return receipt
            elif self._is_lost(shipment, watch):
                self._intents.remove(shipment.account, intent.nonce)
                return None
            if shipment.deadline.is_past():
                raise UnreachableError(
                    "transaction is not confirmed",
                    expected=f"{self._rules.confirmations} blocks within {self._rules.timeout_s:g} s",
                    got=f"{'some' if receipt is not None else 'none'} for nonce {intent.nonce}",
                    remedy="repeat the command: what is journaled is taken up again, once",
                )
            shipment.deadline.wait(self._rules.poll_s)

    def _is_lost(self, shipment: Shipment, watch: Watch) -> bool:
        """See to a transaction without a receipt; return whether its nonce was used for another one."""
        now = self._stopwatch.now()
        if watch.intent.place is not None:
            self._say(fell_out(watch.intent))
            self._intents.place(shipment.account, watch.intent.nonce, None)
            self._broadcast_again(watch.intent)
        elif now - watch.looked_at >= self._rules.resend_after_s:
            watch.looked_at = now
            if not any(self._chain.is_known(attempt) for attempt in watch.intent.attempts):
                was_passed = watch.is_passed
                watch.is_passed = self._chain.count(shipment.signer.address, "latest") > watch.intent.nonce
                if was_passed and watch.is_passed:  # twice, because receipts lag behind the nonce
                    return True
                self._broadcast_again(watch.intent)
        if now - watch.attempted_at >= self._rules.stuck_after_s:
            watch.attempted_at = now
            self._hurry(shipment, watch.intent)
        return False

    def _hurry(self, shipment: Shipment, intent: Intent) -> None:
        """Offer more for a stuck transaction, as far as the cap allows, and fill the nonces that hold it up."""
        with self._intents.exclusive(shipment.deadline):
            present = self._intents.find(shipment.account, intent.nonce)
            if present is None or len(present.attempts) > len(intent.attempts):
                return  # another process saw to it
            taken = {each.nonce for each in self._intents.of(shipment.account)}
            for gap in sorted(set(range(self._chain.count(shipment.signer.address, "pending"), intent.nonce)) - taken):
                self._fill(shipment, gap)
            last = intent.attempts[-1]
            fees = self._rules.fees.replacement(last.fees, *self._chain.market())
            if fees is None:
                self._say(f"transaction 0x{last.hash.hex()} is stuck, and a higher fee would pass the cap: waiting")
                return
            self._say(f"transaction 0x{last.hash.hex()} is stuck: offering {fees.max_fee} wei per gas for its nonce")
            attempt = signed_again(shipment.signer, last, fees)
            self._intents.add_attempt(shipment.account, intent.nonce, attempt)
            self._broadcast_again(Intent(intent.nonce, intent.call, (attempt,)))

    def _check(self, shipment: Shipment, receipt: Any) -> None:  # noqa: ANN401  # web3's receipt
        if receipt["status"] == 1:
            return
        # Another transaction came between; the same call now says why.
        self._chain.call(shipment.contract, shipment.parameters(), receipt["blockNumber"])
        raise RejectedTransactionError("transaction failed", got=prefixed(bytes(receipt["transactionHash"])))

    def _forget(self, shipment: Shipment, place: Place) -> None:
        buried = place.block + self._rules.confirmations - self._rules.buried_after
        self._intents.forget_up_to(shipment.account, buried)

    def _broadcast_again(self, intent: Intent) -> None:
        for attempt in reversed(intent.attempts):
            try:
                self._chain.broadcast(attempt)
            except RejectedTransactionError as error:  # known already, or too late: its receipt will tell
                self._say_once(f"transaction 0x{attempt.hash.hex()} was sent again: {error}")
            else:
                return

    def _say_once(self, line: str) -> None:
        if line != self._said:
            self._say(line)
            self._said = line
