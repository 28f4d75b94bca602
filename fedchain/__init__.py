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

The bytes that are hashed and signed stand in docs/format.md, the words in docs/glossary.md, the reasons in docs/adr/.
"""

__version__ = "0.1.0"
