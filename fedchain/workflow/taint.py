"""What a withdrawn consent taints: every model whose lineage holds an update of that dataset, and all that came of it.

Computed from audited rounds and the registry's events alone, so that any verifier finds the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from fedchain.core.lineage import Taint
from fedchain.core.record import LinkKind
from fedchain.core.registry import RegistryState
from fedchain.workflow.audit_round import AuditedRound

RoundKey: TypeAlias = tuple[bytes, int]
"""A run and a round of it."""


def datasets_behind(rounds: Sequence[AuditedRound]) -> dict[RoundKey, frozenset[bytes]]:
    """Return the datasets whose updates the model of each round came from; `rounds` are in ledger order.

    Ancestry goes by model digest, so a run that starts from another run's model inherits its datasets.
    """
    of_model: dict[bytes, frozenset[bytes]] = {}
    behind: dict[RoundKey, frozenset[bytes]] = {}
    for each in rounds:
        link = each.chained.event.link
        found = of_model.get(link.base_model, frozenset())
        if link.kind is LinkKind.SEALED:  # the updates of an aborted round are in no model
            found |= {update.member.dataset for update in each.updates}
        of_model[link.model_digest] = of_model.get(link.model_digest, frozenset()) | found
        behind[link.run, link.round] = of_model[link.model_digest]
    return behind


def withdrawals(state: RegistryState) -> dict[bytes, int]:
    """Return the datasets without consent and the second of their withdrawal; a newer grant ends a withdrawal."""
    return {
        dataset: consent.withdrawn_at for dataset, consent in state.consents.items() if consent.withdrawn_at is not None
    }


def taints_of(datasets: frozenset[bytes], withdrawn: Mapping[bytes, int]) -> tuple[Taint, ...]:
    """Return what taints a model that came from these datasets, oldest withdrawal first."""
    found = [Taint(dataset.hex(), withdrawn[dataset]) for dataset in datasets & withdrawn.keys()]
    return tuple(sorted(found, key=lambda each: (each.since, each.dataset)))
