"""The embedded chain as a file that any Ethereum client could execute again: its genesis and its blocks, in RLP.

One JSON object a line. The first is {"chain_id", "header", "accounts": {address: balance}}: block 0 by its header and
by the accounts that its state root covers. Each other one is {"block"}. Bytes are hex, integers decimal strings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import rlp

from fedchain.adapters.evm.chain import EmbeddedChain


def export_chain(chain: EmbeddedChain, funded: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a chain whose genesis gave wei to the addresses `funded`, and to none besides.

    Raises:
        InputError: if the chain's file is damaged.
    """
    genesis = chain.block(0)
    accounts = {each.hex(): str(balance) for each in sorted(set(funded)) if (balance := chain.balance(each, 0))}
    yield json.dumps(
        {"chain_id": str(chain.chain_id), "header": rlp.encode(genesis.header).hex(), "accounts": accounts}
    )
    for number in range(1, chain.head().block_number + 1):
        yield json.dumps({"block": rlp.encode(chain.block(number)).hex()})
