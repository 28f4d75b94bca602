"""Strategies of one's own, loaded on purpose: by who runs one, and by who verifies and trusts its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedchain.adapters.identity import strategy_digest
from fedchain.adapters.targets import load, own_code, sources_of
from fedchain.adapters.training.modules import arguments_of
from fedchain.core.errors import InputError
from fedchain.core.own_rule import Arrays, OwnStrategy, Rule


@dataclass(frozen=True, slots=True, eq=False)
class OwnRule:
    """A function that makes the next model, under its target, with the digest of the files behind it."""

    target: str
    step: Callable[..., Any]
    sources: bytes

    @classmethod
    def of(cls, target: str, step: Callable[..., Any]) -> OwnRule:
        """Return a function as a rule.

        Raises:
            InputError: if it has no source.
        """
        return cls(target, step, strategy_digest(sources_of(step)))

    @classmethod
    def load(cls, target: str, folder: Path) -> OwnRule:
        """Import what a target names; `folder` is searched first.

        Raises:
            InputError: if it is not there, or fails while it is imported.
        """
        return cls.of(target, load(target, folder))

    def is_of(self, own: OwnStrategy) -> bool:
        """Whether a run's manifest means this very code."""
        return (own.target, own.sources) == (self.target, self.sources)

    def with_options(self, options: dict[str, str]) -> Rule:
        """Return the rule that calls the function with a run's options."""
        arguments = arguments_of(options)

        def rule(base: Arrays, mean: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
            with own_code(self.target):
                made: tuple[Arrays, Arrays] = self.step(base, mean, state, **arguments)
            return made

        return rule


@dataclass(slots=True, eq=False)
class LoadedRules:
    """The rules that were loaded, for runs by what their manifests name; `_met` is what manifests named so far."""

    loaded: Sequence[OwnRule]
    _met: list[OwnStrategy] = field(default_factory=list[OwnStrategy])

    def __call__(self, own: OwnStrategy) -> Rule | None:
        """Return the rule that a manifest names, None where its code, as it was then, is not loaded."""
        self._met.append(own)
        return next((each.with_options(own.options) for each in self.loaded if each.is_of(own)), None)

    def check_used(self) -> None:
        """Refuse rules that no manifest named: whoever gave them wanted models to be recomputed.

        Raises:
            InputError: naming the target and, where only the files differ, both digests.
        """
        for each in self.loaded:
            named = [own for own in self._met if own.target == each.target]
            if not any(map(each.is_of, named)):
                expected = f"files of digest 0x{named[0].sources.hex()}" if named else "a run under this strategy"
                got = f"0x{each.sources.hex()}" if named else "none in the record"
                raise InputError(
                    f"the strategy {each.target} is not the recorded one", expected=expected, got=got,
                    remedy="start fedchain in a folder that holds the files of the run",
                )  # fmt: skip
