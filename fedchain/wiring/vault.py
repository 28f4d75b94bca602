"""The vault of a home: on its chain, named in a file in the home.

The federation's operator deploys it, is its guardian and relays claims; the aggregator is its distributor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.vault import EvmRewardVault, check_vault, deploy_vault
from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home
from fedchain.config import RewardsConfig
from fedchain.core import document
from fedchain.core.errors import InputError
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.rewards import AssetKind, RewardVault, VaultIdentity, VaultTerms
from fedchain.ports.signer import Signer
from fedchain.wiring.home_chain import read_home_chain, written_home_chain
from fedchain.wiring.parties import Parties

KINDS: Final = {"credits": AssetKind.CREDITS, "native": AssetKind.NATIVE, "erc20": AssetKind.ERC20}
_NEEDS: Final = "a vault"


def terms_of(agreed: RewardsConfig, identity: LedgerIdentity, parties: Parties) -> VaultTerms:
    """Return the terms of the vault that a run's configuration asks for."""
    return VaultTerms(
        federation=identity.federation,
        distributor=parties.aggregator.address,
        guardian=parties.operator.address,
        asset=bytes(20) if agreed.token is None else bytes.fromhex(agreed.token.removeprefix("0x")),
        asset_kind=KINDS[agreed.asset],
        dispute_window_s=agreed.dispute_window_s,
    )


@contextmanager
def read_vault(home: Home) -> Iterator[RewardVault | None]:
    """Open the home's vault for reading; None before the first proposal.

    Raises:
        InputError: if the vault is not where the home says.
    """
    identity = known_vault(home)
    if identity is None:
        yield None
        return
    with read_home_chain(home, identity.chain_id) as node:
        check_vault(node, identity)
        yield EvmRewardVault(node, identity)


@contextmanager
def written_vault(home: Home, chain_id: int, sender: Signer) -> Iterator[RewardVault]:
    """Open the home's vault for writing as one sender.

    Raises:
        InputError: if there is no vault yet, or it is not where the home says.
    """
    identity = known_vault(home)
    if identity is None:
        raise InputError("no vault yet", expected=_path(home), got="no such file", remedy="`fedchain rewards propose`")
    with written_home_chain(home, chain_id, _NEEDS) as node:
        check_vault(node, identity)
        yield EvmRewardVault(node, identity, sender)


def ensure_vault(home: Home, chain_id: int, terms: VaultTerms, deployer: Signer) -> None:
    """Deploy the home's vault where it is missing, and note where it is.

    Raises:
        InputError: if there is no chain, or the home's vault has other terms.
    """
    known = known_vault(home)
    if known is not None and known.terms != terms:
        raise InputError(
            "the federation's vault has other terms", expected=known.terms, got=terms,
            remedy="keep rewards.asset, rewards.token and rewards.dispute_window_s of its first run",
        )  # fmt: skip
    if known is None:
        with written_home_chain(home, chain_id, _NEEDS) as node:
            replace_file(_path(home), document.to_bytes(deploy_vault(node, deployer, terms)))


def known_vault(home: Home) -> VaultIdentity | None:
    """Return the vault that the home names, or None.

    Raises:
        InputError: if the file cannot be read.
    """
    path = _path(home)
    with explained(path):
        return document.from_bytes(VaultIdentity, path.read_bytes()) if path.exists() else None


def _path(home: Home) -> Path:
    return home.chain.parent / "vault.json"
