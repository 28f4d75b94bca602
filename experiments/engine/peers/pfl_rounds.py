"""FedAvg by pfl's simulated backend; under torchrun on as many workers as it starts."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import nn

from experiments.engine.peers.rounds import asked, module, report
from experiments.engine.workloads import BATCH, RATE


class Net(nn.Module):
    """The workload's model with the two functions that pfl asks for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        outputs: torch.Tensor = self.inner(x)
        return outputs

    def loss(self, x: torch.Tensor, y: torch.Tensor, eval: bool = False) -> torch.Tensor:  # noqa: A002, ARG002 - the signature is pfl's
        """Return the mean loss."""
        return nn.functional.cross_entropy(self(x), y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor, eval: bool = True) -> dict[str, Any]:  # noqa: A002, ARG002 - the signature is pfl's
        """Return no metrics: training is what is measured."""
        return {}


def main() -> None:
    """Run the rounds."""
    workload, rounds, _ = asked()
    data = [module("pfl.data.dataset").Dataset((x, y)) for x, y in workload.data()]
    seconds: list[float] = []
    last = [0.0]

    class Timer(module("pfl.callback.base").TrainingProcessCallback):  # type: ignore[misc]
        def after_central_iteration(self, *_: object, **__: object) -> tuple[bool, Any]:
            now = time.perf_counter()
            seconds.append(now - last[0])
            last[0] = now
            return False, module("pfl.metrics").Metrics()

    sampler = module("pfl.data.sampling").get_user_sampler("random", list(range(len(data))))
    federated = module("pfl.data.federated_dataset").FederatedDataset(lambda user: data[user], sampler)
    backend = module("pfl.aggregate.simulate").SimulatedBackend(federated, federated)
    net = Net(workload.module())
    model = module("pfl.model.pytorch").PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), 1.0))
    hyper = module("pfl.hyperparam.base")
    train = hyper.NNTrainHyperParams(local_num_epochs=1, local_learning_rate=RATE, local_batch_size=BATCH)
    never = 10**6
    params = module("pfl.algorithm.base").NNAlgorithmParams(rounds, never, workload.cohort, None)
    algorithm = module("pfl.algorithm.federated_averaging").FederatedAveraging()
    last[0] = time.perf_counter()
    algorithm.run(params, backend, model, train, None, [Timer()], send_metrics_to_platform=False)
    if os.environ.get("RANK", "0") == "0":
        report(seconds)


if __name__ == "__main__":
    main()
