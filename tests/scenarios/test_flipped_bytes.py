"""One flipped bit anywhere in a store, a trust file or a chain: `verify` says so, and what it says names the place.

Bytes that carry no claim stand in unclaimed_bytes.json; everything else is flipped. The quick tests take random
positions, the slow ones every byte of every artifact and of the trust file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import Home
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.cli.exits import Exit, exit_of_error, exit_of_verdict
from fedchain.cli.main import main
from fedchain.core import document
from fedchain.core.aggregation import serially
from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, Cid
from fedchain.core.errors import FedchainError, InputError, IntegrityError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import RoundManifest, RunManifest
from fedchain.ports.ledger import Ledger, LinkEvent
from fedchain.wiring.record import read_trust
from fedchain.workflow.verify import Verifier
from tests.scenarios.forge import Forgery, read_history, told_in_memory
from tests.scenarios.genuine import Genuine, check

SIDECAR: Final = ".dag"
UNCLAIMED: Final[dict[str, list[str]]] = json.loads(Path(__file__).with_name("unclaimed_bytes.json").read_bytes())
"""Files of a home that `verify` reads, with the members in them that carry no claim."""
