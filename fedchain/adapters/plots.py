"""Pictures of runs as SVG: metrics by round and site, privacy against utility.

The bytes are a function of the figures and of Matplotlib's release: no date, no random ids, text as outlines, no
setting of the user's. Colours are those of Okabe and Ito (2008), which the colour-blind tell apart, with a marker each.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedchain.adapters.round_metrics import OVERALL, RoundMetrics
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import MICRO
from fedchain.core.progress import IS_HIGHER_BETTER

MAX_SITES: Final = 7
"""With more, one colour a site tells nothing: they become a band from the worst to the best."""

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
_SOURCE: Final = "test rows of the sites (simulation)"
_UNITS: Final = {
    "accuracy": "accuracy, share of rows",
    "auprc": "AUPRC, area from 0 to 1",
    "auroc": "AUROC, area from 0 to 1",
    "log_loss": "log loss, nats a row",
    "mae": "mean absolute error, units of the label",
    "rmse": "RMSE, units of the label",
}

Curve: TypeAlias = dict[int, float]
"""One metric by round."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is drawn of a run: its name, the metric that it is watched by, and its rounds; `note` stands below."""

    name: str
    metric: str
    metrics: RoundMetrics
    note: str = ""

    def curve(self, client: str, metric: str) -> Curve:
        """Return a client's metric by round, where it is defined."""
        found = {n: each.get(client, {}).get(metric) for n, each in sorted(self.metrics.by_round.items())}
        return {n: value for n, value in found.items() if value is not None}

    def epsilon(self) -> dict[int, float]:
        """Return the most that any site has spent after each round; none where no noise bounds it."""
        found = {n: max(each.values(), default=0) for n, each in sorted(self.metrics.spent.items())}
        return {n: micro / MICRO for n, micro in found.items() if micro != UNBOUNDED}

    @property
    def clients(self) -> list[str]:
        """The sites that have metrics, sorted."""
        return sorted({who for each in self.metrics.by_round.values() for who in each} - {OVERALL})

    @property
    def names(self) -> list[str]:
        """The metrics that are there, the watched one first."""
        found = {name for each in self.metrics.by_round.values() for some in each.values() for name in some}
        return sorted(found & _UNITS.keys(), key=lambda name: (name != self.metric, name))


def pictures(stories: Sequence[Story]) -> dict[str, bytes]:
    """Return SVG files by name: of one run its metrics and its privacy, of several how they compare."""
    if len(stories) == 1:
        return {"metrics.svg": by_site(stories[0]), "privacy.svg": by_privacy(stories)}
    return {"metrics.svg": by_run(stories), "privacy.svg": by_privacy(stories)}


def by_site(story: Story) -> bytes:
    """Draw each metric by round: a line a site, and all test rows together in black."""
    names = story.names

    def draw(axes: Sequence[Axes]) -> None:
        for one, metric in zip(axes, names, strict=True):
            _sites(one, story, metric)
            overall = story.curve(OVERALL, metric)
            one.plot(list(overall), list(overall.values()), color="black", linewidth=2.5, marker=".", label="all sites")
            _by_round(one, metric)

    return _figure(f"Metrics by round and site, {story.name}", story.note, (names, draw))


def by_run(stories: Sequence[Story]) -> bytes:
    """Draw the watched metric of all test rows by round, a line a run."""
    metrics = list(dict.fromkeys(each.metric for each in stories))

    def draw(axes: Sequence[Axes]) -> None:
        for one, metric in zip(axes, metrics, strict=True):
            for place, story in enumerate(each for each in stories if each.metric == metric):
                curve = story.curve(OVERALL, metric)
                _line(one, list(curve), list(curve.values()), (place, story.name))
            _by_round(one, metric)

    return _figure("Metrics by round, all sites together", _notes(stories), (metrics, draw))


def by_privacy(stories: Sequence[Story]) -> bytes:
    """Draw the watched metric of all test rows against the epsilon that was spent for it, a point a round."""
    metrics = list(dict.fromkeys(each.metric for each in stories))

    def draw(axes: Sequence[Axes]) -> None:
        for one, metric in zip(axes, metrics, strict=True):
            for place, story in enumerate(each for each in stories if each.metric == metric):
                _spending(one, story, place)
            one.set_xlabel("epsilon spent in the run, the most of any site")
            one.set_ylabel(_UNITS[metric])
            _legend(one, "no differential privacy:\nepsilon is unbounded")

    return _figure("Privacy against utility, all sites together", _notes(stories), (metrics, draw))


def _spending(axes: Axes, story: Story, place: int) -> None:
    curve, epsilon = story.curve(OVERALL, story.metric), story.epsilon()
    rounds = [n for n in curve if n in epsilon]
    if not rounds:
        return
    xs, ys = [epsilon[n] for n in rounds], [curve[n] for n in rounds]
    _line(axes, xs, ys, (place, story.name))
    for n in dict.fromkeys((rounds[0], rounds[-1])):
        axes.annotate(
            f"round {n}", (epsilon[n], curve[n]), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    axes.margins(0.12)


def _sites(axes: Axes, story: Story, metric: str) -> None:
    curves = {client: story.curve(client, metric) for client in story.clients}
    if len(curves) <= MAX_SITES:
        for place, (client, curve) in enumerate(curves.items()):
            _line(axes, list(curve), list(curve.values()), (place, client))
        return
    rounds = sorted({n for curve in curves.values() for n in curve})
    ranges = [[curve[n] for curve in curves.values() if n in curve] for n in rounds]
    label = f"{len(curves)} sites, worst to best"
    axes.fill_between(rounds, [min(e) for e in ranges], [max(e) for e in ranges], color="#bbbbbb", label=label)


def _line(axes: Axes, xs: Sequence[float], ys: Sequence[float], which: tuple[int, str]) -> None:
    if not xs:
        return
    place, label = which
    colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
    size = 5 if len(xs) <= 50 else 0
    axes.plot(xs, ys, color=colour, marker=marker, markersize=size, linewidth=1.4, label=label.replace("_", " "))


def _by_round(axes: Axes, metric: str) -> None:
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    better = "higher" if IS_HIGHER_BETTER[metric] else "lower"
    axes.set_ylabel(f"{_UNITS[metric]} ({better} is better)")
    _legend(axes, "not defined on these test rows")


def _legend(axes: Axes, otherwise: str) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    else:
        axes.text(0.5, 0.5, otherwise, ha="center", va="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])


def _figure(title: str, note: str, content: tuple[Sequence[str], Callable[[Sequence[Axes]], None]]) -> bytes:
    """Draw panels side by side, three in a row at most, under one title."""
    panels, draw = content
    columns = max(1, min(3, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    with _style():
        figure = Figure(figsize=(6.2 * columns, 3.8 * rows + 0.9), layout="constrained")
        FigureCanvasSVG(figure)
        axes = [figure.add_subplot(rows, columns, place + 1) for place in range(len(panels))]
        draw(axes)
        figure.suptitle(title, fontsize=13)
        figure.supxlabel(f"Computed on {_SOURCE}. {note}".strip(), fontsize=8, color="#444444")
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return data.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rc("font", family="DejaVu Sans", size=10)
        mpl.rc("text", parse_math=False)  # names are text, whatever they hold
        mpl.rc("svg", hashsalt="fedchain", fonttype="path")
        mpl.rc("axes", grid=True, axisbelow=True)
        mpl.rc("axes.spines", top=False, right=False)
        mpl.rc("grid", color="#dddddd")
        yield


def _notes(stories: Sequence[Story]) -> str:
    return " ".join(dict.fromkeys(each.note for each in stories if each.note))
