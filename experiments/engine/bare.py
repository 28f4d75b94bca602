"""What the engine is measured against: the client loop that one writes by hand, in one process and in several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import nn

from experiments.engine.workloads import BATCH, RATE, Workload


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """One module and the clients' rows; a round gives the new model's parameters, flat."""

    module: nn.Module
    rows: Sequence[tuple[torch.Tensor, torch.Tensor]]

    def total(self, base: torch.Tensor, clients: Sequence[int]) -> torch.Tensor:
        """Return the sum of the clients' updates."""
        parameters: list[torch.Tensor] = list(self.module.parameters())
        sizes = [each.numel() for each in parameters]
        starts = [piece.view_as(each) for piece, each in zip(torch.split(base, sizes), parameters, strict=True)]
        total = [torch.zeros_like(each) for each in parameters]
        for client in clients:
            self._train(parameters, starts, *self.rows[client])
            with torch.no_grad():
                torch._foreach_add_(total, parameters)
                torch._foreach_sub_(total, starts)
        return torch.cat([each.flatten() for each in total])

    def _train(
        self, parameters: list[torch.Tensor], starts: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor
    ) -> None:
        with torch.no_grad():
            torch._foreach_copy_(parameters, starts)
        for batch in torch.split(torch.randperm(len(y)), BATCH):
            loss = nn.functional.cross_entropy(self.module(x[batch]), y[batch])
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-RATE)


class Processes:
    """The same loop on several processes, which add their clients' updates up before they answer."""

    def __init__(self, workload: Workload, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends: list[Connection] = []
        self._workers = []
        for _ in range(workers):
            here, there = context.Pipe()
            worker = context.Process(target=serve, args=(workload, there), daemon=True)
            worker.start()
            self._ends.append(here)
            self._workers.append(worker)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [each.pid for each in self._workers if each.pid is not None]

    def total(self, base: torch.Tensor, clients: Sequence[int]) -> torch.Tensor:
        """Return the sum of the clients' updates."""
        for number, end in enumerate(self._ends):
            end.send_bytes(base.numpy().tobytes())
            end.send(list(clients[number :: len(self._ends)]))
        answers = [torch.frombuffer(bytearray(end.recv_bytes()), dtype=torch.float32) for end in self._ends]
        return torch.stack(answers).sum(0)

    def close(self) -> None:
        """End the workers."""
        for end, worker in zip(self._ends, self._workers, strict=True):
            end.close()
            worker.join()


def serve(workload: Workload, end: Connection) -> None:
    """Answer rounds until the other end closes."""
    torch.set_num_threads(1)
    loop = Loop(workload.module(), workload.data())
    while True:
        try:
            base = torch.frombuffer(bytearray(end.recv_bytes()), dtype=torch.float32)
        except EOFError:
            return
        end.send_bytes(loop.total(base, end.recv()).numpy().tobytes())


Round = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
"""A round: from the base model and the cohort to the sum of its updates."""
