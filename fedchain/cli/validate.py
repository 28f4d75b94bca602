"""From the resolved configuration to the frozen dataclasses: every wrong key, type and range as a line of its own.

pydantic checks types and ranges strictly (a whole number is accepted where a real one is expected, a quoted number is
not); keys that the dataclasses do not have are looked for here, since pydantic drops them silently.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fedchain.config import FLOWER, ExperimentConfig, LedgerConfig, StoreConfig, decimal_text
from fedchain.core.errors import InputError

_EXPECTED: Final = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "dataclass_type": "a group of keys",
    "string_too_short": "text that is not empty",
}
_RANGES: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_REMEDIES: Final = {"privacy.epsilon": "to train without privacy choose privacy=off"}
_ENDPOINT: Final = re.compile("https?://[^/@]+(/|$)")
_MULTIADDR: Final = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/[0-9A-Za-z.:_-]+/tcp/[0-9]{1,5}(/https?)?")
_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{40}")
_OPEN_GROUPS: Final = ("data", "model", "strategy")
"""Groups with options that only code of one's own knows."""
_LARGEST_SEED: Final = 2**53
_MEANS: Final = ("fedavg", "fedprox", "scaffold")
"""Strategies whose next model is the base and the mean update."""


def validated(resolved: Mapping[str, object]) -> ExperimentConfig:
    """Return the configuration.

    Raises:
        ExceptionGroup: of InputError, one for each thing that is wrong.
    """
    errors = [unknown_key(path) for path in _leaves(resolved) if path not in field_paths()]
    try:
        config = TypeAdapter(ExperimentConfig).validate_json(json.dumps(_with_texts(resolved)), strict=True)
    except ValidationError as error:
        errors += [_explained(each) for each in error.errors()]
        raise ExceptionGroup("the configuration", errors) from error
    errors += _contradictions(config)
    if errors:
        raise ExceptionGroup("the configuration", errors)
    return config


def _with_texts(resolved: Mapping[str, object]) -> dict[str, object]:
    """Return the configuration with each option of one's own as text, as the record has it."""
    groups = dict(resolved)
    for name in _OPEN_GROUPS:
        group = groups.get(name)
        if isinstance(group, dict) and isinstance(group.get("options"), dict):
            texts = {option: _option_text(value) for option, value in group["options"].items()}
            groups[name] = {**group, "options": texts}
    return groups


def _option_text(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return decimal_text(value) if isinstance(value, float) else str(value) if isinstance(value, int) else value


@cache
def field_paths() -> tuple[str, ...]:
    """Return every key of the configuration, dotted, in the order of the dataclasses."""
    return tuple(_paths(ExperimentConfig, ""))


def is_option(key: str) -> bool:
    """Whether a key is an option of one's own: whatever data or a model of one's own takes."""
    group, _, name = key.partition(".options.")
    return group in _OPEN_GROUPS and bool(name) and "." not in name


def unknown_key(path: str, groups: Iterable[str] = ()) -> InputError:
    """Return the error for a key that does not exist, with the nearest one that does."""
    section = f"{path.partition('.')[0]}."
    near = [each for each in field_paths() if each.startswith(section)]
    known = (*field_paths(), *(group for group in groups if not near))
    by_last = {each.rpartition(".")[2]: each for each in reversed(known)}
    last = difflib.get_close_matches(path.rpartition(".")[2], by_last, n=1, cutoff=0.7)
    whole = difflib.get_close_matches(path, known, n=1, cutoff=0.7)
    nearest = by_last[last[0]] if last else whole[0] if whole else ""
    if nearest:
        remedy = f"did you mean {nearest}?"
    elif near:
        remedy = f"the keys there are {', '.join(near)}"
    else:
        remedy = "docs/configuration.md lists the keys"
    return InputError(f"unknown key {path[:80]}", remedy=remedy)


def _paths(cls: type, prefix: str) -> Iterator[str]:
    for name, kind in typing.get_type_hints(cls).items():
        group = next((each for each in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(each)), None)
        if group is not None:
            yield from _paths(cast("type", group), f"{prefix}{name}.")
        else:
            yield prefix + name


def _leaves(value: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Every path of the resolved configuration; a group of keys where a value belongs counts as the value."""
    for key, item in value.items():
        path = f"{prefix}{key}"
        is_group = any(each.startswith(f"{path}.") for each in field_paths())
        if is_group and isinstance(item, dict):
            yield from _leaves(item, f"{path}.")
        elif not is_group:
            yield path


def _explained(error: ErrorDetails) -> InputError:
    path = ".".join(str(each) for each in error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return InputError(f"{path} is missing", expected="a value", remedy="see docs/configuration.md")
    if kind == "json_invalid":
        return InputError("the configuration is not UTF-8 text", got=context.get("error"))
    if kind in _RANGES:
        bound, words = _RANGES[kind]
        expected = f"{words} {_number(context[bound])}"
    elif kind == "literal_error":
        expected = str(context["expected"])
    else:
        expected = _EXPECTED.get(kind, error["msg"])
    remedy = _REMEDIES.get(path) if kind in _RANGES else None
    return InputError(path, expected=expected, got=_short(error["input"]), remedy=remedy)


def _contradictions(config: ExperimentConfig) -> list[InputError]:
    """What no single field can say."""
    errors = list(_own_contradictions(config))
    if (config.model.name == "mlp") != (config.model.hidden > 0):
        errors.append(
            InputError(
                "model.hidden",
                expected="at least 1 for mlp, 0 for others",
                got=f"{config.model.hidden} for {config.model.name}",
                remedy="choose model=mlp" if config.model.hidden else "choose model=logistic",
            )
        )
    if (config.ledger.name == "log") != (config.ledger.chain_id == 0):
        errors.append(
            InputError(
                "ledger.chain_id",
                expected="0 for log, which is no chain; at least 1 for embedded and rpc",
                got=f"{config.ledger.chain_id} for {config.ledger.name}",
            )
        )
    errors += _node_contradictions(config.ledger)
    errors += _store_contradictions(config.store)
    token = config.rewards.token
    is_token = config.rewards.asset == "erc20"
    if is_token != (token is not None) or (token is not None and not _ADDRESS.fullmatch(token)):
        expected = "the token's address (0x and 40 hexadecimal digits) for erc20, else null"
        errors.append(InputError("rewards.token", expected=expected, got=f"{_short(token)} for {config.rewards.asset}"))
    shuffle = config.simulation.shuffle_replies
    if shuffle is not None and not 0 <= shuffle < _LARGEST_SEED:
        expected = "null, or a seed from 0 to 2^53 - 1"
        errors.append(InputError("simulation.shuffle_replies", expected=expected, got=shuffle))
    return errors


def _own_contradictions(config: ExperimentConfig) -> Iterator[InputError]:
    """What names code of one's own belongs to the choice "custom", and a model of one's own cannot be scored."""
    own: tuple[tuple[str, str, str | None, bool], ...] = (
        ("model", config.model.name, config.model.target, bool(config.model.options or config.model.frozen)),
        ("data", config.data.name, config.data.target, bool(config.data.options)),
        ("strategy", config.strategy.name, config.strategy.target, bool(config.strategy.options)),
    )
    for group, name, target, has_more in own:
        if (name in ("custom", FLOWER)) != (target is not None) or (has_more and target is None):
            expected, got = "module:name for custom, and nothing of one's own else", f"{_short(target)} for {name}"
            yield InputError(
                f"{group}.target", expected=expected, got=got, remedy=f"choose {group}.name=custom with it"
            )
    is_scorable = config.model.name not in ("custom", FLOWER) and config.model.task == "binary"
    if config.rewards.mode == "donated" and not (is_scorable and config.strategy.name in _MEANS):
        got = f"{config.model.name}, {config.model.task}, {config.strategy.name}"
        yield InputError(
            "rewards need a model that can be scored in integers, and a mean of updates",
            expected="logistic or mlp with model.task=binary, strategy fedavg, fedprox or scaffold", got=got,
            remedy="choose rewards=off",
        )  # fmt: skip
    if (config.strategy.name == "fedprox") != (config.strategy.proximal > 0):
        expected, got = (
            "more than 0 for fedprox, 0 for others",
            f"{config.strategy.proximal:g} for {config.strategy.name}",
        )
        yield InputError("strategy.proximal", expected=expected, got=got, remedy="choose strategy=fedprox")
    if config.strategy.name == "scaffold" and config.strategy.updates == 0:
        yield InputError(
            "strategy.updates", expected="at least 1 for scaffold: as many steps for every client", got=0,
            remedy="say how many batches a round has, such as strategy.updates=20",
        )  # fmt: skip
    odd = next((name for name in (*config.model.frozen, *config.model.options) if not name or "," in name), None)
    if odd is not None:
        yield InputError("names in model.frozen and model.options", expected="no comma, not empty", got=_short(odd))


def _node_contradictions(ledger: LedgerConfig) -> Iterator[InputError]:
    node = ledger.node
    if (ledger.name == "rpc") != (node is not None):
        got = f"{'null' if node is None else 'a group of keys'} for {ledger.name}"
        yield InputError("ledger.node", expected="its keys for rpc, else null", got=got, remedy="choose ledger=rpc")
    if node is None:
        return
    hosts = [each for each in node.endpoints if not _ENDPOINT.match(each)]
    if hosts:  # an address may carry a key, so none is shown
        yield InputError("ledger.node.endpoints", expected="http(s)://HOST[:PORT][/PATH]", got=f"{len(hosts)} others")
    count = len(node.endpoints)
    if len(set(node.endpoints)) < count or not (node.quorum == 1 or count / 2 < node.quorum <= count):
        expected, got = "1, or a majority of different endpoints", f"{node.quorum} of {len(set(node.endpoints))}"
        yield InputError("ledger.node.quorum", expected=expected, got=got)
    if node.buried_after < node.confirmations:
        expected = f"at least the {node.confirmations} of ledger.node.confirmations"
        yield InputError("ledger.node.buried_after", expected=expected, got=node.buried_after)
    if node.max_tip_gwei > node.max_fee_gwei:
        expected = f"at most the {node.max_fee_gwei} of ledger.node.max_fee_gwei"
        yield InputError("ledger.node.max_tip_gwei", expected=expected, got=node.max_tip_gwei)


def _store_contradictions(store: StoreConfig) -> Iterator[InputError]:
    nodes = store.nodes
    if (store.name == "kubo") != (nodes is not None):
        got = f"{'null' if nodes is None else 'a group of keys'} for {store.name}"
        yield InputError("store.nodes", expected="its keys for kubo, else null", got=got, remedy="choose store=kubo")
    if nodes is None:
        return
    others = [each for each in nodes.addresses if not _MULTIADDR.fullmatch(each)]
    if others:
        expected = "/ip4/127.0.0.1/tcp/5001/http, or /dns/HOST/tcp/PORT/https"
        yield InputError("store.nodes.addresses", expected=expected, got=_short(others[0]))
    most = len(set(nodes.addresses)) + nodes.keep_local
    if len(set(nodes.addresses)) < len(nodes.addresses) or nodes.quorum > most:
        expected, got = (
            "at most the number of different nodes, the home included if it keeps",
            f"{nodes.quorum} of {most}",
        )
        yield InputError("store.nodes.quorum", expected=expected, got=got)
    if len(nodes.authorization_files) not in {0, len(nodes.addresses)}:
        expected = f"none, or one for each of the {len(nodes.addresses)} addresses"
        yield InputError("store.nodes.authorization_files", expected=expected, got=len(nodes.authorization_files))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:80]}..."
