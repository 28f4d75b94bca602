"""The rounds of `ours_rounds`: what needs torch."""

from __future__ import annotations

import torch

from experiments.engine.ours import in_process, in_workers
from experiments.engine.peers.rounds import asked, averaged, report, timed
from fedchain.adapters.training.engine.crew import Crew
from fedchain.adapters.training.engine.recipe import Rows


def run(crew: Crew | None) -> None:
    """Run the rounds, on workers where there are any."""
    workload, rounds, _ = asked()
    rows = Rows.of(workload.data(), torch.float32)
    if crew is None:
        report(timed(averaged(workload, in_process(workload, rows, is_private=False).total), rounds))
        return
    contender, pool = in_workers(workload, rows, crew, is_private=False)
    report(timed(averaged(workload, contender.total), rounds))
    pool.close()
