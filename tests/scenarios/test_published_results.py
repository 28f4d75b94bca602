"""What others have published of our data is reached: FLamby's accuracies, and AI4I's ranking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fedchain.adapters.training.evaluation import measures, predict
from fedchain.adapters.training.models import initial
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.cli.compose import compose
from fedchain.core.aggregation import ExactSum
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.tensors import TensorSchema
from fedchain.ports.training import LocalRound
from fedchain.wiring.bench import open_bench
from fedchain.workflow.stepping import optimiser_of

Outputs = list[npt.NDArray[np.float64]]
ENCODING = FixedPoint()
FED_ADAM = (
    "strategy=fedadam", "strategy.updates=100", "strategy.batch_size=4", "strategy.learning_rate=0.01",
    "strategy.server_learning_rate=0.01", "strategy.second_momentum=0.999", "strategy.tau=1e-8",
)  # fmt: skip


def outcome(*overrides: str, alone: int | None = None) -> dict[str, dict[str, float]]:
    """Train as a run does, updates in integers and the server's state in its bits, without a record."""
    config = compose(overrides)
    bench = open_bench(config, Path.cwd())
    training, optimiser, state = bench.training(config), optimiser_of(config.strategy), None
    partitions = bench.partitions if alone is None else bench.partitions[alone : alone + 1]
    model = ENCODING.quantise(initial(training.model, training.model_options, config.seed, bench.makers))
    for number in range(1, config.rounds + 1):
        total, base = ExactSum(TensorSchema.of(model)), ENCODING.dequantise(model)
        for each in partitions:
            batches = batches_per_epoch(each.card.nominal_size, training.batch_size)
            release = Release(0, batches, training.steps(batches))
            local = LocalRound(training, release, number, each.card.nominal_size)
            update = TorchTrainer(each, makers=bench.makers).train(base, local)
            total.add(ENCODING.quantise(update), each.card.nominal_size)
        if optimiser is None:
            model = total.apply_to(model, ENCODING)
        else:
            model, state = optimiser.step(model, total.mean(), state, ENCODING)
    last, options = ENCODING.dequantise(model), training.model_options
    outputs = [predict(training.model, options, last, each.test_x, bench.makers) for each in bench.partitions]
    found = {
        each.name: measures("binary", some, each.test_y) for each, some in zip(bench.partitions, outputs, strict=True)
    }
    labels = np.concatenate([each.test_y for each in bench.partitions])
    return found | {"overall": measures("binary", np.concatenate(outputs), labels)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "published"),
    [((), (0.731, 0.719, 0.650, 0.640)), (FED_ADAM, (0.752, 0.746, 0.738, 0.667))],
    ids=["fedavg", "fedadam"],
)
def test_flambys_accuracies_are_those_that_it_reports(strategy: tuple[str, ...], published: tuple[float, ...]) -> None:
    """Means over the five seeds of FLamby's benchmark, at each hospital within .01."""
    runs = [
        outcome("experiment=heart_flamby", *strategy, f"model.options.seed={seed}", f"seed={seed}")
        for seed in range(42, 47)
    ]
    hospitals = ("cleveland", "hungarian", "switzerland", "va")
    means = [float(np.mean([run[name]["accuracy"] for run in runs])) for name in hospitals]
    assert means == pytest.approx(published, abs=0.01)


@pytest.mark.slow
def test_a_federated_ranking_of_machines_is_good_and_helps_the_smallest_line() -> None:
    together, alone = outcome("experiment=ai4i"), outcome("experiment=ai4i", alone=2)
    assert together["overall"]["auroc"] >= 0.95
    assert together["line-h"]["auroc"] > alone["line-h"]["auroc"]
    assert "accuracy" not in together["overall"]
