"""Wrong input of the configuration: one line each, with what was expected, what came and what to do."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.cli.compose import compose
from fedchain.config import ExperimentConfig
from fedchain.core.errors import InputError
from fedchain.workflow.audit_config import read_config


def lines_of(*overrides: str, config_dir: Path | None = None) -> list[str]:
    """The messages that the overrides end in."""
    lines: list[str] = []
    try:
        compose(overrides, config_dir)
    except* InputError as group:
        lines = [str(each) for each in group.exceptions]
    return lines


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("strategy.learnin_rate=3", "unknown key strategy.learnin_rate; did you mean strategy.learning_rate?"),
        ("+strategy.learnin_rate=3", "unknown key strategy.learnin_rate; did you mean strategy.learning_rate?"),
        ("epsilon=3", "unknown key epsilon; did you mean privacy.epsilon?"),
        ("privacy.eps=3", "unknown key privacy.eps; did you mean privacy.epsilon?"),
        ("modell=mlp", "unknown key modell; did you mean model?"),
        ("store.colour=3", "unknown key store.colour; the keys there are store.name"),
        ("colour=3", "unknown key colour; docs/configuration.md lists the keys"),
        ("rounds.first=3", "unknown key rounds.first; docs/configuration.md lists the keys"),
        ("hydra.searchpath=[x]", "hydra.searchpath is Hydra's own: expected a key of the experiment"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_one(override: str, message: str) -> None:
    (line,) = lines_of(override)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "experiment=hart",
            (
                "unknown choice for experiment: expected ai4i or heart or heart_flamby or heart_mlp or thyroid or"
                " turbofan, got 'hart'"
            ),
        ),
        ("privacy=none", "unknown choice for privacy: expected dp or off, got 'none'"),
        ("privacy=null", "unknown choice for privacy: expected dp or off, got None"),
        (
            "data=[heart]",
            "unknown choice for data: expected ai4i or heart or heart_flamby or thyroid or turbofan, got ['heart']",
        ),
        ("model=3", "unknown choice for model: expected cnn or logistic or mlp, got 3"),
    ],
)
def test_an_unknown_choice_comes_with_the_choices(override: str, message: str) -> None:
    assert lines_of(override) == [message]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=five", 'rounds: expected a whole number, got "five"'),
        ("rounds='5'", 'rounds: expected a whole number, got "5"'),
        ("rounds=2.5", "rounds: expected a whole number, got 2.5"),
        ("rounds=true", "rounds: expected a whole number, got true"),
        ("rounds=null", "rounds: expected a whole number, got null"),
        ("rounds=[1]", "rounds: expected a whole number, got [1]"),
        ("privacy.epsilon='8'", 'privacy.epsilon: expected a number, got "8"'),
        ("privacy.delta=true", "privacy.delta: expected a number, got true"),
        ("data.directory=3", "data.directory: expected text, got 3"),
        ("data.directory={a: 1}", 'data.directory: expected text, got {"a": 1}'),
        ("data.split=''", 'data.split: expected text that is not empty, got ""'),
        ("simulation.shuffle_replies=yes", 'simulation.shuffle_replies: expected a whole number, got "yes"'),
        ("model.name=cnn", "model.name: expected 'custom', 'flower', 'logistic' or 'mlp', got \"cnn\""),
    ],
)
def test_a_wrong_type_is_named_with_the_right_one(override: str, message: str) -> None:
    assert lines_of(override) == [message]


NO_PRIVACY = "; to train without privacy choose privacy=off"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("privacy.epsilon=0", f"privacy.epsilon: expected more than 0, got 0{NO_PRIVACY}"),
        ("privacy.epsilon=-1", f"privacy.epsilon: expected more than 0, got -1{NO_PRIVACY}"),
        ("privacy.epsilon=inf", f"privacy.epsilon: expected at most 1000, got Infinity{NO_PRIVACY}"),
        ("privacy.epsilon=nan", f"privacy.epsilon: expected at most 1000, got NaN{NO_PRIVACY}"),
        ("privacy.delta=0", "privacy.delta: expected at least 1e-12, got 0"),
        ("privacy.delta=1", "privacy.delta: expected at most 0.1, got 1"),
        ("rounds=0", "rounds: expected at least 1, got 0"),
        ("seed=-1", "seed: expected at least 0, got -1"),
        ("seed=9007199254740992", "seed: expected less than 9007199254740992, got 9007199254740992"),
        ("strategy.learning_rate=0", "strategy.learning_rate: expected more than 0, got 0"),
        ("strategy.learning_rate=nan", "strategy.learning_rate: expected less than 1000000, got NaN"),
        (
            "simulation.shuffle_replies=-1",
            "simulation.shuffle_replies: expected null, or a seed from 0 to 2^53 - 1, got -1",
        ),
        (
            "model.hidden=8",
            "model.hidden: expected at least 1 for mlp, 0 for others, got 8 for logistic; choose model=mlp",
        ),
    ],
)
def test_a_value_out_of_range_is_named_with_the_range(override: str, message: str) -> None:
    assert lines_of(override) == [message]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ledger.node.endpoints=[]"], "ledger.node.endpoints: expected "),
        (["ledger.node.endpoints=[ftp://secret.example]"], "expected http(s)://HOST[:PORT][/PATH], got 1 others"),
        (["ledger.node.endpoints=[http://me:secret@a.example]"], "expected http(s)://HOST[:PORT][/PATH], got 1 others"),
        (["ledger.node.endpoints=[http://a,http://a]"], "ledger.node.quorum: expected 1, or a majority of different"),
        (["ledger.node.endpoints=[http://a,http://b]", "ledger.node.quorum=3"], "got 3 of 2"),
        (["ledger.node.endpoints=[http://a,http://b,http://c,http://d]", "ledger.node.quorum=2"], "got 2 of 4"),
        (["ledger.node.confirmations=65"], "ledger.node.buried_after: expected at least the 65 of"),
        (["ledger.node.max_fee_gwei=49"], "ledger.node.max_tip_gwei: expected at most the 49 of"),
        (["ledger.node.poll_ms=0"], "ledger.node.poll_ms: expected at least 10, got 0"),
        (["ledger.chain_id=0"], "ledger.chain_id: expected 0 for log, which is no chain; at least 1"),
        (
            ["ledger.name=embedded"],
            "ledger.node: expected its keys for rpc, else null, got a group of keys for embedded",
        ),
    ],
)
def test_settings_of_a_node_that_cannot_be_are_one_line_without_a_secret(overrides: list[str], message: str) -> None:
    (line,) = lines_of("ledger=rpc", *overrides)
    assert message in line
    assert "secret" not in line


def test_a_node_of_a_ledger_that_has_none_is_one_line() -> None:
    (line,) = lines_of("ledger.node.quorum=1")
    assert "ledger.node" in line


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["store.nodes.addresses=[]"], "store.nodes.addresses: expected "),
        (
            ["store.nodes.addresses=[http://a:5001]"],
            "store.nodes.addresses: expected /ip4/127.0.0.1/tcp/5001/http, or ",
        ),
        (["store.nodes.quorum=2"], "store.nodes.quorum: expected at most the number of different nodes"),
        (["store.nodes.quorum=3", "store.nodes.keep_local=true"], "got 3 of 2"),
        (["store.nodes.addresses=[/dns/a/tcp/1,/dns/a/tcp/1]"], "got 1 of 1"),
        (["store.nodes.authorization_files=[a,b]"], "expected none, or one for each of the 1 addresses, got 2"),
        (
            ["store.name=embedded"],
            "store.nodes: expected its keys for kubo, else null, got a group of keys for embedded",
        ),
    ],
)
def test_settings_of_a_store_that_cannot_be_are_one_line(overrides: list[str], message: str) -> None:
    (line,) = lines_of("store=kubo", *overrides)
    assert message in line


@pytest.mark.parametrize("override", ["heart", "", "=", "a=[1", "rounds", "\udcff=1", "data.split=\udcff", "a=1\nb=2"])
def test_what_is_no_override_is_told_with_an_example(override: str) -> None:
    (line,) = lines_of(override)
    assert line.startswith("override: expected key=value, got ")
    assert line.endswith("write key=value, such as experiment=heart or privacy.epsilon=3")


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("seed=1,2", "add --multirun for a run of each value"),
        ("seed=range(3)", "add --multirun for a run of each value"),
        ("privacy=dp,off", "add --multirun for a run of each value"),
        ("~seed", "write it as key=value"),
        ("data@model=heart", "write it as key=value"),
    ],
)
def test_sweeps_deletions_and_packages_are_refused(override: str, remedy: str) -> None:
    (line,) = lines_of(override)
    assert line == f"override {override}: expected one value for one key; {remedy}"


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(lines_of("privacy.epsilon=0", "rounds=0", "strategy.epochs=x")) == 3
    assert len(lines_of("epsilonn=0", "data=x")) == 2


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${ oc.env:HOME }", "${oc.decode:1}", "${hydra:runtime.cwd}"])
def test_a_configuration_cannot_read_the_environment(value: str) -> None:
    (line,) = lines_of(f"data.directory={value}")
    assert "expected values that are written down" in line or "cannot be composed" in line
    assert os.environ.get("HOME", "/root") + "\n" not in line + "\n"


@pytest.mark.parametrize("override", ["privacy.epsilon=${nope}", "seed=???", "data.split=${data.split}"])
def test_a_value_that_refers_to_nothing_is_one_line(override: str) -> None:
    (line,) = lines_of(override)
    assert line.startswith("the configuration cannot be composed: got ")
    assert "\n" not in line


def test_a_value_may_refer_to_another(tmp_path: Path) -> None:
    assert compose(["privacy.epsilon=${seed}", "seed=3"]).privacy.epsilon == 3.0


def extension(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


@pytest.mark.parametrize("name", ["plain", "with space", "comma,", "a=b", "[list]", "ümlaut"])
def test_a_folder_of_the_user_adds_choices(tmp_path: Path, name: str) -> None:
    folder = extension(tmp_path / name, "experiment/mine", "# @package _global_\nexperiment: mine\nrounds: 9\n")
    config = compose(["experiment=mine", "privacy=off"], folder)
    assert (config.experiment, config.rounds, config.privacy.mode) == ("mine", 9, "off")
    assert (
        "expected ai4i or heart or heart_flamby or heart_mlp or mine or thyroid or turbofan"
        in lines_of("experiment=x", config_dir=folder)[0]
    )


def test_an_unknown_key_in_a_file_of_the_user_is_found(tmp_path: Path) -> None:
    folder = extension(tmp_path, "experiment/mine", "# @package _global_\nexperiment: mine\nstrategy: {epoch: 3}\n")
    assert lines_of("experiment=mine", config_dir=folder) == [
        "unknown key strategy.epoch; did you mean strategy.epochs?"
    ]


def test_a_whole_unknown_section_is_found(tmp_path: Path) -> None:
    folder = extension(tmp_path, "experiment/mine", "# @package _global_\nexperiment: mine\nextra: {a: {b: 1}}\n")
    assert lines_of("experiment=mine", config_dir=folder) == ["unknown key extra; docs/configuration.md lists the keys"]


def test_a_missing_key_is_found(tmp_path: Path) -> None:
    folder = extension(tmp_path, "privacy/bare", "mode: dp\nepsilon: 1\ndelta: 1e-5\n")
    lines = lines_of("privacy=bare", config_dir=folder)
    assert lines == ["privacy.max_grad_norm is missing: expected a value; see docs/configuration.md"]


def test_a_broken_file_of_the_user_is_named(tmp_path: Path) -> None:
    folder = extension(tmp_path, "experiment/broken", "a: [")
    (line,) = lines_of("experiment=broken", config_dir=folder)
    assert "broken.yaml" in line
    assert "\n" not in line


def test_a_file_that_would_never_be_read_is_refused(tmp_path: Path) -> None:
    folder = extension(tmp_path, "privacy/dp", "mode: off\n")
    (line,) = lines_of(config_dir=folder)
    assert "privacy/dp.yaml would be hidden by fedchain's own file of that name" in line


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    (line,) = lines_of(config_dir=tmp_path / "none")
    assert line == f"--config-dir: expected a folder with Hydra groups, got {tmp_path / 'none'}"


@pytest.mark.parametrize("name", ["a'b", "${oc.env:HOME}", "a\\b"])
def test_a_folder_that_hydra_cannot_take_is_refused(tmp_path: Path, name: str) -> None:
    folder = extension(tmp_path / name, "experiment/mine", "# @package _global_\nexperiment: mine\n")
    (line,) = lines_of("experiment=mine", config_dir=folder)
    assert "without quotes, backslashes, $ and braces" in line


def test_composing_leaves_nothing_behind_for_the_next(tmp_path: Path) -> None:
    before = compose([])
    lines_of("experiment=nothing")
    lines_of("seed=???")
    assert compose([]) == before


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_text_ends_in_anything_but_a_configuration_or_a_line(text: str) -> None:
    for override in (text, f"data.directory={text}", f"privacy.epsilon={text}"):
        lines = lines_of(override)
        assert all(line for line in lines)
        if not lines:
            assert isinstance(compose([override]), ExperimentConfig)


def test_an_option_of_ones_own_is_taken_as_text_whether_a_file_names_it_or_not() -> None:
    own = ["model.name=custom", "model.target='mine:Net'", "rewards=off"]
    config = compose([*own, "model.options.hidden=16", "model.options.rate=1e-3", "model.options.deep=true"])
    assert config.model.options == {"hidden": "16", "rate": "0.001", "deep": "true"}
    assert read_config(config.canonical()) == config
    assert lines_of("model.options.a.b=1") != []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.name=custom", "rewards=off"), "model.target: expected module:name for custom"),
        (("model.target='mine:Net'", "rewards=off"), "model.target: expected module:name for custom"),
        (("strategy.name=custom", "rewards=off"), "strategy.target: expected module:name for custom"),
        (("strategy.target='mine:step'",), "strategy.target: expected module:name for custom"),
        (("strategy.options.limit=3",), "strategy.target: expected module:name for custom"),
        (
            ("strategy.name=custom", "strategy.target='mine:step'", "rewards=donated"),
            "rewards need a model that can be",
        ),
        (("data.options.rows=3",), "data.target: expected module:name for custom"),
        (("strategy=fedadam", "rewards=donated"), "rewards need a model that can be scored in integers"),
        (("model.task=regression", "rewards=donated"), "rewards need a model that can be scored in integers"),
        (("strategy=scaffold", "strategy.updates=0"), "strategy.updates: expected at least 1 for scaffold"),
        (("strategy.proximal=0.1",), "strategy.proximal: expected more than 0 for fedprox, 0 for others"),
    ],
)
def test_what_does_not_fit_together_is_one_line(overrides: tuple[str, ...], message: str) -> None:
    (line,) = lines_of(*overrides)
    assert line.startswith(message)


def test_where_a_file_lies_is_no_part_of_the_record_and_what_is_in_it_is(tmp_path: Path) -> None:
    one, two = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    one.write_bytes(b"a model")
    two.write_bytes(b"a model")
    configs = [compose([f"model.initial={path}", f"data.directory={path.parent}"]) for path in (one, two)]
    assert configs[0].digest() == configs[1].digest() != compose([]).digest()
    assert configs[0].model.initial == str(one)
    assert str(tmp_path) not in configs[0].canonical().decode()
    sha256 = hashlib.sha256(b"a model").hexdigest()
    assert read_config(configs[0].canonical()).model.initial_sha256 == sha256
    two.write_bytes(b"another model")
    assert compose([f"model.initial={two}"]).digest() != configs[0].digest()
    with pytest.raises(InputError, match=f"there.safetensors is another file: expected sha256 {sha256}, got "):
        compose([f"model.initial={two}", f"model.initial_sha256={sha256}"])
    with pytest.raises(InputError, match=r"model.initial_sha256: expected a file in model.initial, got none"):
        compose([f"model.initial_sha256={sha256}"])
