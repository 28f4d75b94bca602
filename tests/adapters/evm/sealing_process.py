"""A process that seals one round after the other until it is killed, and says what was confirmed to it.

Run as `python -m tests.adapters.evm.sealing_process CHAIN_FILE`; prints one line a confirmed seal.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.system import SystemClock
from fedchain.core.digest import ZERO
from fedchain.core.record import LinkKind, RoundLink
from tests.doubles.evm import AGGREGATOR, deployed

RUN: Final = b"\x77" * 32
LINK: Final = RoundLink(RUN, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0)


def seal_for_ever(path: Path) -> None:
    """Go on after the last round that the chain at `path` has."""
    with deployed(path, SystemClock()) as contracts:
        ledger = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
        previous = ZERO
        for number in count(1):
            previous = ledger.seal(replace(LINK, round=number), previous).round_hash
            sys.stdout.write(f"{number} {previous.hex()}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    seal_for_ever(Path(sys.argv[1]))
