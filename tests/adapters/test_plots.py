"""The pictures of runs: titles, axes and names are there, and the bytes are a function of the figures."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl

from fedchain.adapters.plots import MAX_SITES, Story, pictures
from fedchain.adapters.round_metrics import RoundMetrics
from fedchain.core.messages import UNBOUNDED


def story(name: str, sites: int = 3, *, spent: int | None = 1_000_000) -> Story:
    metrics = RoundMetrics(Path("metrics.jsonl"))
    for n in (1, 2, 3):
        names = [f"site-{place}" for place in range(sites)]
        metrics.by_round[n] = {each: {"auroc": 0.5 + n / 10, "rows": 9.0} for each in names}
        metrics.by_round[n]["overall"] = {"auroc": 0.5 + n / 8, "accuracy": 0.7, "rows": 27.0}
        metrics.spent[n] = dict.fromkeys(names, UNBOUNDED if spent is None else n * spent)
    return Story(name, "auroc", metrics, "Epsilon is at delta 1e-05.")


def words(picture: bytes) -> str:
    """The text of a picture: outlines, with what they say in comments."""
    ElementTree.fromstring(picture)  # noqa: S314 - our own bytes
    return "\n".join(re.findall(r"<!-- (.*?) -->", picture.decode()))


def test_one_runs_pictures_say_what_they_show_with_units() -> None:
    drawn = pictures([story("heart, run 0xab")])
    assert sorted(drawn) == ["metrics.svg", "privacy.svg"]
    for each in (
        "Metrics by round and site, heart, run 0xab", "AUROC, area from 0 to 1 (higher is better)", "round",
        "accuracy, share of rows (higher is better)", "site-0", "site-2", "all sites", "Computed on test rows",
    ):  # fmt: skip
        assert each in words(drawn["metrics.svg"])
    for each in ("Privacy against utility", "epsilon spent in the run, the most of any site", "delta 1e-05", "round 3"):
        assert each in words(drawn["privacy.svg"])


def test_several_runs_are_compared_by_name_and_hostile_names_are_text() -> None:
    drawn = pictures([story("a"), story("$\\frac{x} --> <script>")])
    for each in drawn.values():
        assert "<script" not in each.decode()
        assert "frac" in words(each)


def test_many_sites_are_a_band() -> None:
    text = words(pictures([story("many", MAX_SITES + 1)])["metrics.svg"])
    assert f"{MAX_SITES + 1} sites, worst to best" in text
    assert "site-0" not in text


def test_a_run_without_privacy_says_so_in_the_place_of_points() -> None:
    assert "no differential privacy" in words(pictures([story("plain", spent=None)])["privacy.svg"])


def test_the_bytes_depend_on_the_figures_alone() -> None:
    before = pictures([story("heart")])
    with mpl.rc_context({"font.size": 30.0, "svg.hashsalt": None, "axes.facecolor": "red"}):
        assert pictures([story("heart")]) == before
    assert pictures([story("hearts")]) != before
