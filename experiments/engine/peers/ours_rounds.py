"""The engine on two workers, timed by the same program as the peers."""

from __future__ import annotations

import numpy as np
import torch

from experiments.engine.ours import in_workers
from experiments.engine.peers.rounds import asked, report, timed
from fedchain.adapters.training.engine.recipe import Rows, flat


def main() -> None:
    """Run the rounds."""
    workload, rounds = asked()
    rows = Rows.of(workload.data(), torch.float32)
    base = flat(list(workload.module().parameters()))
    contender, pool = in_workers(workload, rows, 2, is_private=False)
    rng = np.random.default_rng(3)

    def round_() -> None:
        cohort = rng.choice(workload.registered, workload.cohort, replace=False).tolist()
        base.add_(contender.total(base, cohort), alpha=1 / workload.cohort)

    report(timed(round_, rounds))
    pool.close()


if __name__ == "__main__":
    main()
