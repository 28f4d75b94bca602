"""A site's policy for one dataset: a public document whose digest the consent grant names.

The owner of the data declares it, never an experiment. A sandbox policy is for public or synthetic data: its grant
caps each run by itself, and the lifetime total is computed and reported in full all the same.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fedchain.core import document
from fedchain.core.digest import Digest, tagged


class GrantKind(enum.StrEnum):
    """Whether the granted epsilon bounds the lifetime of the dataset or (sandbox) each run."""

    LIFETIME = "lifetime"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """What a site allows to be done with a dataset; `source` says in words where the data come from."""

    dataset_name: str
    source: str
    grant: GrantKind
    micro_epsilon_grant: int
    delta_e12: int
    unit: str
    allows_unprotected: bool

    def digest(self) -> Digest:
        """Return the digest that consents and updates name."""
        return tagged("policy", document.to_bytes(self))

    def unit_digest(self) -> Digest:
        """Return the bytes32 that stands on the ledger for the unit and for what the grant bounds.

        Its text is "<unit>/lifetime", "<unit>/sandbox", either with "/unprotected" where training without privacy is
        allowed. Only under the first may a total above the grant be held against the dataset.
        """
        suffix = "/unprotected" if self.allows_unprotected else ""
        return tagged("privacy-unit", f"{self.unit}/{self.grant}{suffix}".encode())


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What identifies a dataset: its name, the sha256 of its files and its registered nominal size (rows).

    The card stays on the site; the ledger sees its salted commitment.
    """

    name: str
    files: dict[str, str]
    nominal_size: int

    def digest(self) -> Digest:
        """Return the digest beneath the dataset's commitment."""
        return tagged("dataset-card", document.to_bytes(self))
