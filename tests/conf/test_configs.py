"""Every file of conf/ composes to a valid configuration, alone and in every pair of experiment and privacy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fedchain.cli.compose import CONF, choices_of, compose
from fedchain.cli.validate import field_paths

CHOICES = choices_of(CONF)
EVERY_CHOICE = [(group, choice) for group, options in CHOICES.items() for choice in options]
PAIRS = [(experiment, privacy) for experiment in CHOICES["experiment"] for privacy in CHOICES["privacy"]]
FILES = sorted(CONF.glob("*/*.yaml"))


def test_the_groups_are_the_documented_ones() -> None:
    assert sorted(CHOICES) == [
        "data", "debug", "encryption", "experiment", "ledger", "model", "privacy", "rewards", "simulation", "store",
        "strategy",
    ]  # fmt: skip
    assert CHOICES["privacy"] == ["dp", "off"]
    assert {"heart", "heart_mlp"} <= set(CHOICES["experiment"])


def test_the_bare_command_is_the_heart_experiment() -> None:
    assert compose([]) == compose(["experiment=heart"])


@pytest.mark.parametrize(("group", "choice"), EVERY_CHOICE)
def test_every_choice_makes_a_valid_configuration(group: str, choice: str) -> None:
    plain = [] if group == "rewards" else ["rewards=off"]  # which a server optimiser cannot be paid by
    config = compose([f"{group}={choice}", *plain])
    assert len(config.digest()) == 32


@pytest.mark.parametrize(("experiment", "privacy"), PAIRS)
def test_every_experiment_composes_with_every_privacy(experiment: str, privacy: str) -> None:
    config = compose([f"experiment={experiment}", f"privacy={privacy}"])
    assert config.experiment == experiment
    assert config.privacy.mode == privacy


def test_experiments_differ_in_their_digest() -> None:
    digests = {compose([f"experiment={experiment}", f"privacy={privacy}"]).digest() for experiment, privacy in PAIRS}
    assert len(digests) == len(PAIRS)


def test_the_heart_experiment_is_private_and_has_five_rounds_or_more() -> None:
    config = compose(["experiment=heart"])
    assert config.rounds >= 5
    assert (config.privacy.mode, config.privacy.epsilon, config.privacy.delta) == ("dp", 8.0, 1e-5)
    assert config.model.name == "logistic"


@pytest.mark.parametrize("experiment", ["heart", "heart_mlp"])
def test_heart_pays_for_public_rows_and_nothing_else_pays_unless_it_says_so(experiment: str, tmp_path: Path) -> None:
    assert compose([f"experiment={experiment}"]).rewards.mode == "donated"
    assert compose([f"experiment={experiment}", "rewards=off"]).rewards.mode == "off"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\nexperiment: own\n")
    assert compose(["experiment=own"], tmp_path).rewards.mode == "off"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name == "experiment"], ids=lambda path: path.stem
)
def test_an_experiment_is_named_after_its_file_and_has_its_command_on_top(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# @package _global_\n")
    assert f"#   fedchain run experiment={path.stem}\n" in text
    assert yaml.safe_load(text)["experiment"] == path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_says_in_a_comment_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_every_field_has_its_value_in_a_file_and_none_in_the_code() -> None:
    bare, on_nodes = compose([]), compose(["ledger=rpc", "store=kubo"])
    for path in field_paths():
        value: object = on_nodes if path.startswith(("ledger.node.", "store.nodes.")) else bare
        for name in path.split("."):
            value = getattr(value, name)
        assert value is None or isinstance(value, int | float | str | tuple | dict)
    for file in sorted((CONF / "ledger").glob("*.yaml")):
        assert set(yaml.safe_load(file.read_text())) == {"name", "chain_id", "node"}
    for file in sorted((CONF / "store").glob("*.yaml")):
        assert set(yaml.safe_load(file.read_text())) == {"name", "nodes", "snapshot_every"}


def test_how_a_node_is_reached_is_no_part_of_the_artifact() -> None:
    one, other = (compose(["ledger=rpc", f"ledger.node.endpoints=[https://node.example/{key}]"]) for key in "ab")
    assert one != other
    assert one.digest() == other.digest()
    assert b"node" not in one.canonical()
    assert b'"ledger":{"chain_id":1337,"name":"embedded"}' in compose([]).canonical()


def test_how_the_nodes_of_a_store_are_reached_is_no_part_of_the_artifact() -> None:
    one, other = (compose(["store=kubo", f"store.nodes.addresses=[/dns/{name}/tcp/5001/https]"]) for name in "ab")
    assert one != other
    assert one.digest() == other.digest()
    assert b'"store":{"name":"kubo","snapshot_every":8}' in one.canonical()
    assert b'"store":{"name":"embedded","snapshot_every":8}' in compose([]).canonical()


def test_the_command_line_wins_over_the_experiment() -> None:
    config = compose(["experiment=heart_mlp", "model=logistic", "privacy.epsilon=3", "rounds=7"])
    assert (config.model.name, config.privacy.epsilon, config.rounds) == ("logistic", 3.0, 7)


def test_a_whole_number_is_a_real_one_with_the_same_digest() -> None:
    assert compose(["privacy.epsilon=8"]).digest() == compose(["privacy.epsilon=8.0"]).digest()


def test_a_try_out_is_one_round_of_one_small_batch_whatever_the_experiment_wants() -> None:
    for experiment in ("heart", "ai4i"):
        config = compose([f"experiment={experiment}", "debug=on"])
        assert (config.debug.mode, config.rounds, config.strategy.updates, config.strategy.batch_size) == (
            "on",
            1,
            1,
            8,
        )
        assert config.privacy.epsilon == 1.0
    assert compose(["debug=on", "rounds=3"]).rounds == 3
    assert compose(["experiment=heart"]).debug.mode == "off"
