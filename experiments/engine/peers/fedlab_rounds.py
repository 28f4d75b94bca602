"""FedAvg by FedLab's serial trainer and synchronous server."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import MagicMock

from torch.utils.data import DataLoader, TensorDataset

from experiments.engine.peers.rounds import asked, module, report, timed
from experiments.engine.workloads import RATE


def main() -> None:
    """Run the rounds."""
    workload, rounds, _ = asked()
    for name in ("torchvision", "torchvision.transforms", "torchvision.datasets"):
        sys.modules[name] = MagicMock()  # what its datasets want, and nothing here
    data = [TensorDataset(x, y) for x, y in workload.data()]

    class Clients:
        def get_dataloader(self, client: int, batch_size: int) -> DataLoader[Any]:
            return DataLoader(data[client], batch_size, shuffle=True)

    trainer = module("fedlab.contrib.algorithm.basic_client").SGDSerialClientTrainer(workload.module(), len(data))
    trainer.setup_dataset(Clients())
    trainer.setup_optim(1, 32, RATE)
    server = module("fedlab.contrib.algorithm.basic_server").SyncServerHandler(
        workload.module(), rounds, workload.cohort / workload.registered
    )
    server.num_clients = len(data)

    def round_() -> None:
        trainer.local_process(server.downlink_package, server.sample_clients())
        for package in trainer.uplink_package:
            server.load(package)

    report(timed(round_, rounds))


if __name__ == "__main__":
    main()
