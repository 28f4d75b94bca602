"""The trust file of a simulated federation, grown with each run's receipts."""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.adapters.files import replace_file
from fedchain.adapters.home import Home
from fedchain.adapters.locks import in_turn
from fedchain.core import document
from fedchain.core.errors import FormatError
from fedchain.core.trust import Pin, TrustFile
from fedchain.ports.ledger import LedgerIdentity
from fedchain.wiring.record import read_trust
from fedchain.workflow.summarise import trust_file


def write_trust(home: Home, identity: LedgerIdentity, pins: Sequence[Pin]) -> None:
    """Add a run's pins to the home's trust file; what it says of other runs stays, and nothing is written for nothing.

    Runs that end at once wait for each other, so that none loses another's pins.

    Raises:
        InputError: if the file that is there cannot be read: it may be the only copy of what a reviewer pins on.
    """
    with in_turn(home.trust.with_name(f"{home.trust.name}.lock")):
        earlier: tuple[Pin, ...] = ()
        if home.trust.exists():
            old = read_trust(home.trust)
            if _ledger_of(old) != (identity.chain_id, identity.rounds_contract):
                raise FormatError(f"{home.trust} is for another ledger", remedy="move it away and repeat the command")
            earlier = old.pins
        runs = {pin.run for pin in pins}
        grown = trust_file(identity, [*(pin for pin in earlier if pin.run not in runs), *pins])
        if grown.pins != earlier:
            replace_file(home.trust, document.to_bytes(grown) + b"\n")


def _ledger_of(trust: TrustFile) -> tuple[int, bytes]:
    return trust.chain_id, trust.rounds_contract
