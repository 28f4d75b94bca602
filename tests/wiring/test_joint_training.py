"""A simulated round: all sites are charged, then trained together; each is handed its own update, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.modules import Makers
from fedchain.config import SimulationConfig
from fedchain.core.envelope import Envelope
from fedchain.core.errors import PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, decode, encode
from fedchain.ports.cohort import Reply
from fedchain.ports.training import LocalRound
from fedchain.wiring.bench import Bench
from fedchain.wiring.joint_training import JointCohort, JointTrainer, JointTraining, opened_training
from fedchain.workflow.site import Site
from tests.doubles.cohort import DirectCohort
from tests.doubles.power import PowerCutError
from tests.doubles.training import NamedTrainer
from tests.scenarios.genuine import SMALL
from tests.workflow.hospital import MODEL, World, world

NAMES = ("a", "b", "c")
BASE = FixedPoint().dequantise(decode(MODEL))


@dataclass(slots=True)
class Together:
    """An engine that trains as `NamedTrainer` "engine-NAME" does; `before` is called first."""

    calls: list[dict[str, LocalRound]] = field(default_factory=list[dict[str, LocalRound]])
    dies: bool = False
    charged: list[int] = field(default_factory=list[int])
    worlds: Mapping[str, World] = field(default_factory=dict[str, World])

    def train(self, base: FloatTensors, rounds: Mapping[str, LocalRound]) -> Mapping[str, FloatTensors]:
        self.calls.append(dict(rounds))
        self.charged = [len(each.state.charged) for each in self.worlds.values()]
        if self.dies:
            raise PowerCutError
        return {name: NamedTrainer(f"engine-{name}").train(base, local) for name, local in rounds.items()}


@dataclass(slots=True)
class Simulated:
    """Three sites of an engine; `start` is what a process does that begins anew."""

    worlds: dict[str, World]
    engine: Together = field(default_factory=Together)

    def start(self) -> tuple[list[Site], JointCohort]:
        self.engine.worlds = self.worlds
        joint = JointTraining(self.engine)
        sites = [self._site(name, each, joint) for name, each in self.worlds.items()]
        return sites, JointCohort(DirectCohort(sites), sites, joint)

    def round(self, answered: frozenset[int] = frozenset(), number: int = 1) -> dict[int, Reply]:
        _, cohort = self.start()
        task = self.worlds["a"].task(number)
        return {reply.node: reply for replies in cohort.train(task, MODEL, answered) for reply in replies}

    def _site(self, name: str, here: World, joint: JointTraining) -> Site:
        site = here.site
        trainer = JointTrainer(name, joint, NamedTrainer(f"own-{name}"))
        return replace(site, name=name, dataset=replace(site.dataset, trainer=trainer))


@pytest.fixture
def simulated() -> Simulated:
    return Simulated({name: world() for name in NAMES})


def trained_by(who: str, reply: Reply, local: LocalRound) -> bool:
    expected = encode(FixedPoint().quantise(NamedTrainer(who).train(BASE, local)))
    return Envelope.from_bytes(reply.payload).update == expected


def test_every_site_is_charged_before_the_engine_trains_and_once_for_all(simulated: Simulated) -> None:
    replies = simulated.round()
    assert simulated.engine.charged == [1, 1, 1]
    (rounds,) = simulated.engine.calls
    assert list(rounds) == list(NAMES)
    for node, name in enumerate(NAMES, start=1):
        assert trained_by(f"engine-{name}", replies[node], rounds[name])
        assert len(simulated.worlds[name].state.charged) == 1


def test_a_site_over_its_grant_is_left_out_and_says_why(simulated: Simulated) -> None:
    simulated.worlds["b"] = world(grant=1.0)
    replies = simulated.round()
    assert list(simulated.engine.calls[0]) == ["a", "c"]
    assert "the privacy grant of b does not cover" in replies[2].error
    assert not simulated.worlds["b"].state.charged
    assert trained_by("engine-a", replies[1], simulated.engine.calls[0]["a"])


def test_an_engine_that_dies_loses_no_charge_and_the_next_attempt_makes_no_second(simulated: Simulated) -> None:
    simulated.engine.dies = True
    with pytest.raises(PowerCutError):
        simulated.round()
    assert not any(each.state.releases for each in simulated.worlds.values())
    before = [dict(each.state.charged) for each in simulated.worlds.values()]
    assert [len(each) for each in before] == [1, 1, 1]
    simulated.engine.dies = False
    assert not any(reply.error for reply in simulated.round().values())
    assert [dict(each.state.charged) for each in simulated.worlds.values()] == before


def test_who_answered_or_released_is_not_trained_again(simulated: Simulated) -> None:
    sites, _ = simulated.start()
    released = sites[1].contribute(simulated.worlds["b"].task(), MODEL)
    replies = simulated.round(answered=frozenset({3}))
    assert list(simulated.engine.calls[-1]) == ["a"]
    assert replies.keys() == {1, 2}
    assert replies[2].payload == released.payload


def test_where_everybody_released_nothing_is_trained(simulated: Simulated) -> None:
    simulated.round()
    simulated.round()
    assert len(simulated.engine.calls) == 1


@pytest.mark.parametrize(("rounds", "processes"), [(5, 1), (10**6, 2)], ids=["little work", "much work"])
def test_processes_are_started_where_the_work_is_worth_it(
    rounds: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    asked: list[int] = []
    make = CohortEngine.__init__

    def made(engine: CohortEngine, partitions: Mapping[str, Partition], workers: int, makers: Makers) -> None:
        asked.append(workers)
        make(engine, partitions, workers, makers=makers)

    monkeypatch.setattr(CohortEngine, "__init__", made)
    training = LocalTraining("logistic", {"inputs": "13"}, 2, 32, "0.5", "off", 10_000_000, "1.0", rounds, 1)
    for config in (SimulationConfig(None), SimulationConfig(None, workers=3), SimulationConfig(None, engine="sites")):
        with opened_training(replace(SMALL, simulation=config), Bench(load_heart()), training) as trained:
            assert (trained.joint is None) is (config.engine == "sites")
    assert asked == [processes, 3]


def test_preparing_twice_charges_once_and_a_refusal_charges_nothing() -> None:
    here = world()
    first, again = (here.site.prepare(here.task(), MODEL) for _ in range(2))
    assert first == again
    assert first is not None
    assert here.contribute().header.dp.noise_multiplier_e6 == first.release.noise_multiplier_e6
    assert len(here.state.charged) == 1
    assert here.site.prepare(here.task(), MODEL) is None
    poor = world(grant=1.0)
    with pytest.raises(PolicyError, match="does not cover this training"):
        poor.site.prepare(poor.task(), MODEL)
    assert not poor.state.charged


def test_an_update_is_handed_out_once_and_only_for_its_own_base_and_release(simulated: Simulated) -> None:
    local = simulated.worlds["a"].site.prepare(simulated.worlds["a"].task(), MODEL)
    assert local is not None
    joint = JointTraining(simulated.engine)
    joint.train(BASE, {"a": local})
    moved = {name: each + 1e-9 for name, each in BASE.items()}
    assert joint.fetch("a", moved, local) is None
    assert joint.fetch("a", BASE, replace(local, round=2)) is None
    assert joint.fetch("a", BASE, replace(local, release=replace(local.release, steps=9))) is None
    assert joint.fetch("b", BASE, local) is None
    update = joint.fetch("a", {name: each.copy() for name, each in BASE.items()}, local)
    assert update is not None
    np.testing.assert_array_equal(update["bias"], NamedTrainer("engine-a").train(BASE, local)["bias"])
    assert joint.fetch("a", BASE, local) is None


def test_a_site_that_fetched_its_update_trains_by_itself_afterwards(simulated: Simulated) -> None:
    local = simulated.worlds["a"].site.prepare(simulated.worlds["a"].task(), MODEL)
    assert local is not None
    joint = JointTraining(simulated.engine)
    joint.train(BASE, {"a": local})
    trainer = JointTrainer("a", joint, NamedTrainer("own"))
    seen = [trainer.train(BASE, local)["bias"] for _ in range(2)]
    assert not np.array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[1], NamedTrainer("own").train(BASE, local)["bias"])
