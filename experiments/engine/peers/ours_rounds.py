"""The engine, on workers or in this process, timed by the same program as the peers."""

from __future__ import annotations

import torch

from experiments.engine.ours import in_process, in_workers
from experiments.engine.peers.rounds import asked, averaged, report, timed
from fedchain.adapters.training.engine.recipe import Rows


def main() -> None:
    """Run the rounds."""
    workload, rounds, processes = asked()
    rows = Rows.of(workload.data(), torch.float32)
    if processes == 1:
        report(timed(averaged(workload, in_process(workload, rows, is_private=False).total), rounds))
        return
    contender, pool = in_workers(workload, rows, processes, is_private=False)
    report(timed(averaged(workload, contender.total), rounds))
    pool.close()


if __name__ == "__main__":
    main()
