"""A token on a chain: OpenZeppelin's ERC-20 in which anybody mints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.abi import Contract
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.node import Node
from fedchain.ports.signer import Signer

ARTIFACT: Final = Path(__file__).with_name("token.json")
TOKEN: Final = Contract(
    bytecode=bytes.fromhex(json.loads(ARTIFACT.read_text())["bytecode"][2:]),
    constructor=(),
    functions={"mint": ("address", "uint256"), "balanceOf": ("address",)},
    outputs={"balanceOf": ("uint256",)},
    events={},
    errors={},
)


def deploy_token(node: Node, deployer: Signer, *holders: tuple[bytes, int]) -> bytes:
    """Put a token on a chain and mint some for each holder; return its address."""
    address = contract_address(deployer.address, node.nonce(deployer.address))
    node.send(deployer, TOKEN, TOKEN.creation(), None)
    for holder, amount in holders:
        node.send(deployer, TOKEN, TOKEN.call("mint", holder, amount), address)
    return address


def balance(node: Node, token: bytes, holder: bytes) -> int:
    """Return what somebody holds of a token."""
    return int(node.call(token, TOKEN, "balanceOf", holder)[0])
