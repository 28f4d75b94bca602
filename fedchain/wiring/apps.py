"""What the two halves of a recorded Flower app share: a site's word about itself, and the site behind a node.

In a simulation all sites lie under one home; a node of the app, wherever Flower runs it, opens its own there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.home import open_home
from fedchain.config import EncryptionConfig
from fedchain.core.policy import DataPolicy, DatasetCard
from fedchain.ports.training import Trainer
from fedchain.wiring.confidential import open_confidential
from fedchain.wiring.hospitals import Admission, admit
from fedchain.wiring.ledger_mark import required_mark
from fedchain.wiring.parties import parties_of
from fedchain.workflow.site import Site

ENCRYPTED: Final = EncryptionConfig("on")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a node says of its site before a run: its dataset, its owner's policy, and the app's files by path.

    `target` names the function that gives the rows.
    """

    name: str
    card: DatasetCard
    policy: DataPolicy
    target: str
    sources: dict[str, str]

    def partition(self) -> Partition:
        """Return the site's part of the data, without the rows, which only the app's own functions touch."""
        none, labels = np.empty(0, np.float32), np.empty(0, np.float32)
        return Partition(self.name, none, labels, none, labels, none, labels, self.card, self.policy)


@contextmanager
def open_site(
    home: Path, partition: Partition, trainer: Trainer, encryption: EncryptionConfig = ENCRYPTED
) -> Iterator[Site]:
    """Open a site's keys and state, with `trainer` in front of its rows.

    Raises:
        InputError: if the home or a key cannot be used.
    """
    opened = open_home(home)
    identity, aggregator = required_mark(opened).identity, parties_of(opened).aggregator.address
    to = Admission(opened, identity, aggregator, lambda _: trainer)
    writer = open_confidential(opened, encryption).writer_of(partition.name)
    hospital = admit(partition, to, writer)
    with closing(hospital.database):
        yield hospital.site
