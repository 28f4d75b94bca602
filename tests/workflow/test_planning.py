"""Planning: a manifest says in full what will be done, all that it names is in the store, and its price is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedchain.config import config_digest
from fedchain.core import document
from fedchain.core.aggregation import MAX_TOTAL_WEIGHT
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.messages import UNBOUNDED
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.privacy import MICRO, Release
from fedchain.core.tensors import decode, model_digest
from fedchain.workflow.planning import NewRun, Provenance, forecast, local_training, read_plan, write_plan
from tests.doubles.store import MemoryStore
from tests.doubles.training import AddingAccountant
from tests.scenarios.federation import IDENTITY, INITIAL, SALT, Federation, Setup, federation

CONFIG = Setup().config()
POLICY = DataPolicy("rows", "made up", GrantKind.LIFETIME, 8_000_000, 10_000_000, "example", allows_unprotected=False)


def planned(new: Federation) -> NewRun:
    applicants = [each.applicant for each in new.members]
    provenance = Provenance(b"\x01" * 32, b"\x02" * 32, "simulation", 1_800_000_000)
    return NewRun(CONFIG, IDENTITY, SALT, applicants, local_training(CONFIG, 4), INITIAL, provenance)


def test_local_training_says_what_the_configuration_says_in_decimal_text() -> None:
    training = local_training(CONFIG, 13)
    assert (training.model, training.model_options) == ("logistic", {"inputs": "13"})
    assert (training.epochs, training.batch_size, training.learning_rate) == (1, 32, "0.1")
    assert (training.epsilon, training.delta_e12, training.max_grad_norm) == ("4.0", 10_000_000, "1.0")
    assert (training.rounds, training.seed) == (2, 7)


def test_local_training_without_privacy_is_off() -> None:
    assert local_training(Setup(epsilon=None).config(), 13).epsilon == "off"


def test_hidden_units_are_an_option_of_the_models_that_have_them() -> None:
    config = replace(CONFIG, model=replace(CONFIG.model, name="mlp", hidden=8))
    assert local_training(config, 13).model_options == {"inputs": "13", "hidden": "8"}


def test_a_plan_comes_back_as_it_was_written() -> None:
    new, store = federation(), MemoryStore()
    draft = planned(new)
    written = write_plan(draft, store)
    plan = read_plan(store, written.manifest_cid, 600)
    manifest = plan.manifest
    assert (plan.manifest_cid, plan.round_timeout_s) == (written.manifest_cid, 600)
    assert (manifest.federation, manifest.salt, manifest.training) == (IDENTITY.federation, SALT, draft.training)
    assert written.run == manifest.run
    assert (manifest.code_digest, manifest.env_digest, manifest.created_at) == (
        b"\x01" * 32,
        b"\x02" * 32,
        1_800_000_000,
    )
    assert (manifest.rounds, manifest.min_clients, manifest.max_update_norm_e6) == (2, 2, 20 * MICRO)
    assert plan.config_digest == manifest.config.digest == CONFIG.digest()
    assert plan.policies == {each.policy.digest(): each.policy for each in draft.applicants}


def test_all_that_a_manifest_names_is_in_the_store_under_its_digest() -> None:
    new, store = federation(), MemoryStore()
    manifest = read_plan(store, write_plan(planned(new), store).manifest_cid, 600).manifest
    model = store.get(Cid.parse(manifest.initial_model.cid))
    assert model_digest(model) == manifest.initial_model.digest
    assert {name: array.tolist() for name, array in FixedPoint().dequantise(decode(model)).items()} == {
        name: array.tolist() for name, array in INITIAL.items()
    }
    assert [(each.name, each.shape) for each in manifest.tensors] == [("bias", (2,)), ("weight", (2, 2))]
    config = store.get(Cid.parse(manifest.config.cid))
    assert config_digest(config) == manifest.config.digest
    for member in manifest.cohort:
        policy = document.from_bytes(DataPolicy, store.get(Cid.parse(member.policy.cid)))
        assert policy.digest() == member.policy.digest


def test_the_cohort_is_listed_by_device_whatever_the_order_of_the_applicants() -> None:
    new, store = federation(), MemoryStore()
    draft = planned(new)
    first, second = write_plan(draft, store), write_plan(replace(draft, applicants=draft.applicants[::-1]), store)
    assert first == second
    cohort = read_plan(store, first.manifest_cid, 600).manifest.cohort
    assert [each.client for each in cohort] == sorted(each.device for each in draft.applicants)
    by_client = {each.client: (each.organisation, each.dataset, each.nominal_size) for each in cohort}
    assert by_client == {each.device: (each.organisation, each.dataset, each.nominal_size) for each in draft.applicants}


def test_a_model_that_does_not_fit_fixed_point_is_refused() -> None:
    draft = replace(planned(federation()), initial={"bias": np.array([128.0])})
    with pytest.raises(InputError, match="fixed point"):
        write_plan(draft, MemoryStore())


def test_fewer_sites_than_a_round_needs_are_refused_before_they_spend_anything() -> None:
    draft, store = planned(federation()), MemoryStore()
    with pytest.raises(PolicyError, match=r"not enough sites.*strategy\.min_clients=2, got 1"):
        write_plan(replace(draft, applicants=draft.applicants[:1]), store)
    assert store.artifacts == {}


def test_more_rows_than_an_exact_sum_can_weigh_are_refused() -> None:
    draft = planned(federation())
    one, two, three = draft.applicants
    fitting = replace(one, nominal_size=MAX_TOTAL_WEIGHT - two.nominal_size - three.nominal_size)
    write_plan(replace(draft, applicants=[fitting, two, three]), MemoryStore())
    with pytest.raises(InputError, match="rows of all sites together"):
        write_plan(
            replace(draft, applicants=[replace(fitting, nominal_size=fitting.nominal_size + 1), two, three]),
            MemoryStore(),
        )


# ------------------------------------------------------------------ the price


def test_a_forecast_prices_all_rounds_at_the_noise_that_keeps_the_target() -> None:
    price = forecast(local_training(CONFIG, 4), 100, POLICY, [], AddingAccountant())
    # 100 rows in batches of 32 are 4 steps an epoch at rate 1/4: two rounds cost 2 / noise, and the target is 4.
    assert price.release == Release(500_000, 4, 8)
    assert (price.run_micro_epsilon, price.total_micro_epsilon, price.accountant) == (4 * MICRO, 4 * MICRO, "sum")


def test_a_forecast_adds_what_was_spent_before_to_the_total_only() -> None:
    price = forecast(local_training(CONFIG, 4), 100, POLICY, [Release(1_000_000, 2, 6)], AddingAccountant())
    assert (price.run_micro_epsilon, price.total_micro_epsilon) == (4 * MICRO, 7 * MICRO)


def test_a_forecast_without_privacy_is_unbounded() -> None:
    training = local_training(Setup(epsilon=None).config(), 4)
    price = forecast(training, 100, POLICY, [], AddingAccountant())
    assert price.release == Release(0, 4, 8)
    assert (price.run_micro_epsilon, price.total_micro_epsilon) == (UNBOUNDED, UNBOUNDED)


def test_a_run_spends_what_its_forecast_said() -> None:
    new = federation()
    price = forecast(local_training(CONFIG, 4), 100, new.members[0].applicant.policy, [], AddingAccountant())
    new.run()
    last = list(new.members[0].state.charged.values())[-1]
    assert (last.run_micro_epsilon, last.micro_epsilon_total) == (price.run_micro_epsilon, price.total_micro_epsilon)
