"""Federated learning whose lineage a stranger can recompute.

Hospitals train one model without sharing rows. Each keeps its data, spends a privacy budget that it granted itself, and
signs the integers that it sends. Every round ends in one link of a hash chain on a ledger, so that anyone who holds the
artifacts and one round hash from elsewhere can re-derive every global model and say how strongly each claim holds.

The package is read from the inside out; imports go down only:

* `fedchain.core`: integers in, bytes and digests out. Exact aggregation, Merkle trees, round hashes, the claims.
* `fedchain.ports`, `fedchain.config`: what the workflow asks of the world, and the choices of an experiment.
* `fedchain.workflow`: one round as one straight path, and the verifier that walks it again without trusting it.
* `fedchain.adapters`: the world: store, ledger, Flower, Opacus, MLflow.
* `fedchain.wiring`: the one place that names adapters.
* `fedchain.cli`: the verbs `run`, `runs`, `verify`, `lineage`.
* `fedchain.api`: the same from Python; its words are the names of this package: `fedchain.federate(...)`.

The bytes that are hashed and signed stand in docs/format.md, the words in docs/glossary.md, the reasons in docs/adr/.
"""

from __future__ import annotations

import importlib
from typing import Final

__version__ = "0.1.0"

_PUBLIC: Final = {
    "Columns": "fedchain.adapters.datasets.own",
    "DataPolicy": "fedchain.core.policy",
    "Federated": "fedchain.api",
    "Partition": "fedchain.adapters.datasets.partition",
    "Roll": "fedchain.adapters.datasets.population",
    "dirichlet": "fedchain.adapters.datasets.partitioners",
    "evenly": "fedchain.adapters.datasets.partitioners",
    "federate": "fedchain.api",
    "make_partition": "fedchain.adapters.datasets.own",
    "make_population": "fedchain.adapters.datasets.population",
    "read_csv": "fedchain.adapters.datasets.own",
    "read_policy": "fedchain.adapters.datasets.own",
    "sandbox": "fedchain.adapters.datasets.own",
    "shards": "fedchain.adapters.datasets.partitioners",
    "split_arrays": "fedchain.adapters.datasets.own",
}
"""The words for scripts and notebooks (their types are in the stub beside this file), each with its module."""


def __getattr__(name: str) -> object:
    """Return a public word, imported when it is wanted: torch and Flower take seconds, and verbs do not need them."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fedchain' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
