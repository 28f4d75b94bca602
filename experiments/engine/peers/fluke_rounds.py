"""FedAvg by fluke, a round by the steps of its own `CentralizedFL.run`, without progress bars and evaluation."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import MagicMock

from experiments.engine.peers.rounds import asked, module, report, timed
from experiments.engine.workloads import BATCH, RATE, Workload


def main() -> None:
    """Run the rounds."""
    workload, rounds, _ = asked()
    for name in ("", ".models", ".datasets", ".datasets.utils", ".transforms"):
        sys.modules[f"torchvision{name}"] = MagicMock()  # what its data sets want, and nothing here
    loader = module("fluke.data").FastDataLoader
    optimizer = {"name": "SGD", "lr": RATE}
    client = {
        "batch_size": BATCH, "local_epochs": 1, "loss": "CrossEntropyLoss", "optimizer": optimizer,
        "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 1},
    }  # fmt: skip
    settings = {"client": client, "server": {"weighted": True}, "model": workload.module()}
    federation = module("fluke.algorithms.fedavg").FedAVG(workload.registered, _Splitter(workload, loader), settings)
    server = federation.server

    def round_() -> None:
        eligible = server.get_eligible_clients(workload.cohort / workload.registered)
        server.broadcast_model(eligible)
        for each in eligible:
            each.local_update(1)
        server.aggregate(eligible, server.receive_client_models(eligible, state_dict=False))

    report(timed(round_, rounds))


class _Splitter:
    """Gives each client its rows, in the place of fluke's own splitter."""

    def __init__(self, workload: Workload, loader: Any) -> None:  # noqa: ANN401 - a peer's class, which has no types
        self._data, self._loader = workload.data(), loader

    def assign(self, clients: int, batch_size: int) -> tuple[tuple[list[object], list[None]], None]:
        """Return the clients' loaders, no test rows of theirs, and none of the server."""
        classes = 1 + max(int(y.max()) for _, y in self._data)
        loaders = [self._loader(x, y, num_labels=classes, batch_size=batch_size, shuffle=True) for x, y in self._data]
        return (loaders, [None] * clients), None


if __name__ == "__main__":
    main()
