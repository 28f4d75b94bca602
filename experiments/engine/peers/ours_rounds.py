"""The engine, on workers or in this process, timed by the same program as the peers.

Workers are started before torch is imported here, so that all load it at the same time; see `crew`.
"""

from __future__ import annotations

import importlib
import sys

from fedchain.adapters.training.engine.crew import Crew


def main() -> None:
    """Start the workers, if the command line asks for more than one process, and run the rounds."""
    processes = int(sys.argv[3])
    crew = Crew(processes) if processes > 1 else None
    importlib.import_module("experiments.engine.peers.ours_timed").run(crew)


if __name__ == "__main__":
    main()
