"""From `key=value` on the command line to a checked configuration, through Hydra.

The folder `conf` beside the package is the experiment surface: a folder in it is a choice, a YAML file an option. The
overrides are looked at before Hydra sees them, so that a typo ends in one line with the nearest key or the options.
Nothing of the configuration is ever instantiated, and it may not read the environment: it is recorded, and the same
configuration has to mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

import fedchain
from fedchain.adapters.model_files import digest_of
from fedchain.cli.validate import field_paths, is_option, unknown_key, validated
from fedchain.config import ExperimentConfig
from fedchain.core.errors import InputError

CONF: Final = Path(fedchain.__file__).resolve().parents[1] / "conf"
"""Beside the package, in a checkout and in site-packages alike; no other top-level `conf` can take its place."""

_EXAMPLE: Final = "write key=value, such as experiment=heart or privacy.epsilon=3"


def compose(overrides: Sequence[str], config_dir: Path | None = None) -> ExperimentConfig:
    """Return the configuration of the overrides; `config_dir` adds files to the groups.

    Raises:
        ExceptionGroup: of InputError, one for each thing that is wrong.
    """
    if config_dir is not None:
        _check_folder(config_dir)
    choices = choices_of(CONF, *([config_dir] if config_dir else []))
    errors = [error for text in overrides for error in _faults(text, choices)]
    if errors:
        raise ExceptionGroup("the overrides", errors)
    return _identified(validated(_resolved(overrides, config_dir)))


def _identified(config: ExperimentConfig) -> ExperimentConfig:
    """Return the configuration with the digest of the file that it starts from: the record names it by that.

    Raises:
        InputError: if the file cannot be read, or has another digest than the configuration says.
    """
    model = config.model
    if model.initial is None and model.initial_sha256 is None:
        return config
    if model.initial is None:
        raise InputError("model.initial_sha256", expected="a file in model.initial", got="none", remedy="name both")
    found = digest_of(Path(model.initial))
    if model.initial_sha256 not in (None, found):
        raise InputError(
            f"{model.initial} is another file", expected=f"sha256 {model.initial_sha256}", got=found,
            remedy="restore it, or leave model.initial_sha256 out",
        )  # fmt: skip
    return replace(config, model=replace(model, initial_sha256=found))


def choices_of(*folders: Path) -> dict[str, list[str]]:
    """Return the options of every group, sorted."""
    choices: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.glob("*/*.yaml"):
            choices.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(options) for group, options in choices.items()}


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError("--config-dir", expected="a folder with Hydra groups", got=folder)
    hidden = [path for path in folder.glob("**/*.yaml") if (CONF / path.relative_to(folder)).exists()]
    if hidden:
        raise InputError(
            f"{min(hidden)} would be hidden by fedchain's own file of that name", remedy="give it another name"
        )


def _faults(text: str, choices: Mapping[str, list[str]]) -> Iterator[InputError]:
    """What is wrong with one override, as far as it can be said without composing."""
    override = parsed(text)
    if override is None:
        yield no_override(text)
        return
    key = override.key_or_group
    if override.is_delete() or override.is_sweep_override() or override.package:
        remedy = "add --multirun for a run of each value" if override.is_sweep_override() else "write it as key=value"
        yield InputError(f"override {text[:80]}", expected="one value for one key", remedy=remedy)
    elif key in choices:
        yield from _choice_faults(override, choices[key])
    elif key.startswith("hydra."):
        yield InputError(f"{key[:80]} is Hydra's own", expected="a key of the experiment", remedy=_EXAMPLE)
    elif key not in field_paths() and not is_option(key):
        yield unknown_key(key, tuple(choices))


def no_override(text: str) -> InputError:
    """Return the error of what is no override."""
    return InputError("override", expected="key=value", got=repr(text)[:100], remedy=_EXAMPLE)


def parsed(text: str) -> Override | None:
    """Return an override as Hydra's grammar reads it, None if it does not."""
    try:
        text.encode()
        override = OverridesParser.create().parse_override(text)
    except (HydraException, UnicodeEncodeError):
        return None
    return override if override.key_or_group else None


def _choice_faults(override: Override, options: list[str]) -> Iterator[InputError]:
    value = override.value()
    if value not in options:
        yield InputError(
            f"unknown choice for {override.key_or_group}", expected=" or ".join(options), got=repr(value)[:80]
        )


def _resolved(overrides: Sequence[str], config_dir: Path | None) -> dict[str, object]:
    extra = [] if config_dir is None else [f"hydra.searchpath=[{_quoted(config_dir)}]"]
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            composed = hydra_compose(config_name="config", overrides=[*map(_opened, overrides), *extra])
        _refuse_environment(OmegaConf.to_container(composed, resolve=False))
        return cast("dict[str, object]", OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError("the configuration cannot be composed", got=reason, remedy="mend the file or value") from error


def _opened(text: str) -> str:
    """Return an override of an option of one's own so that Hydra takes it whether a file names the option or not."""
    return f"++{text}" if is_option(text.partition("=")[0].strip()) else text


def _quoted(folder: Path) -> str:
    text = str(folder.resolve())
    if set(text) & set("'\"\\${}"):
        raise InputError("--config-dir", expected="a path without quotes, backslashes, $ and braces", got=text)
    return f"'file://{text}'"


def _refuse_environment(value: object) -> None:
    match value:
        case dict():
            for item in value.values():
                _refuse_environment(item)
        case list():
            for item in value:
                _refuse_environment(item)
        case str() if "${oc." in value.replace(" ", "") or "${hydra" in value.replace(" ", ""):
            raise InputError("the configuration", expected="values that are written down", got=value[:80])
        case _:
            pass
