"""FedAvg by Flower's simulation on Ray, with its message API: one core a client, two clients at a time."""

from __future__ import annotations

import functools
import sys
import time

import torch
from torch import nn

from experiments.engine.peers.rounds import asked, module, report
from experiments.engine.workloads import BATCH, RATE, Workload


@functools.cache
def data_of(workload: Workload) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the clients' rows, made once a process."""
    torch.set_num_threads(1)
    return workload.data()


def main() -> None:
    """Run the rounds."""
    workload, rounds, _ = asked()
    flwr, apps = module("flwr.app"), module("flwr.serverapp")
    client = module("flwr.clientapp").ClientApp()
    server = apps.ServerApp()
    seconds: list[float] = []

    @client.train()
    def train(message, context):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - Flower's
        net = workload.module()
        net.load_state_dict(message.content["arrays"].to_torch_state_dict())
        x, y = data_of(workload)[int(context.node_config["partition-id"])]
        optimizer = torch.optim.SGD(net.parameters(), RATE)
        for batch in torch.split(torch.randperm(len(y)), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(net(x[batch]), y[batch]))
            optimizer.step()
        content = {
            "arrays": flwr.ArrayRecord(net.state_dict()),
            "metrics": flwr.MetricRecord({"num-examples": len(y)}),
        }
        return flwr.Message(content=flwr.RecordDict(content), reply_to=message)

    class Timed(module("flwr.serverapp.strategy").FedAvg):  # type: ignore[misc]
        def configure_train(self, *arguments: object) -> object:
            self.began = time.perf_counter()
            return super().configure_train(*arguments)

        def aggregate_train(self, *arguments: object) -> object:
            result = super().aggregate_train(*arguments)
            seconds.append(time.perf_counter() - self.began)
            if result[0] is None:
                raise RuntimeError("no client answered")
            return result

    @server.main()
    def serve(grid, _context):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - Flower's
        strategy = Timed(
            fraction_train=workload.cohort / workload.registered, fraction_evaluate=0.0,
            min_train_nodes=workload.cohort, min_available_nodes=workload.registered,
        )  # fmt: skip
        arrays = flwr.ArrayRecord(workload.module().state_dict())
        strategy.start(grid=grid, initial_arrays=arrays, num_rounds=rounds)

    module("flwr.simulation").run_simulation(
        server_app=server, client_app=client, num_supernodes=workload.registered,
        backend_config={"client_resources": {"num_cpus": 1.0, "num_gpus": 0.0}},
    )  # fmt: skip
    report(seconds)
    sys.exit(0)


if __name__ == "__main__":
    main()
