"""The loop that one writes by hand, on one process or several, timed by the same program as the peers."""

from __future__ import annotations

from experiments.engine.bare import Loop, Processes
from experiments.engine.peers.rounds import asked, averaged, report, timed


def main() -> None:
    """Run the rounds."""
    workload, rounds, processes = asked()
    if processes == 1:
        report(timed(averaged(workload, Loop(workload.module(), workload.data()).total), rounds))
        return
    pool = Processes(workload, processes)
    report(timed(averaged(workload, pool.total), rounds))
    pool.close()


if __name__ == "__main__":
    main()
