"""Charts of a run's report as SVG text, drawn by matplotlib without a display.

The same figures give the same text, so that a report can be compared with one made again: ids of
SVG elements come from a fixed salt, and no chart carries a date.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INK: Final = "#1f2933"
LEARNED: Final = "#0b6e99"
DEFAULT: Final = "#9aa5b1"
BOUND: Final = "#c2410c"

_STYLE: Final[Any] = {  # the stub wants one literal type a key
    "svg.hashsalt": "cis",
    "svg.fonttype": "path",
    "font.size": 9.5,
    "axes.edgecolor": DEFAULT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One bin of a calibration curve."""

    predicted: float
    """Mean probability, 0..1."""
    observed: float
    """Share that converted, 0..1."""
    n: int


def calibration_chart(points: Sequence[CurvePoint]) -> str:
    """Observed against predicted; true probabilities lie on the diagonal. At least one point."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(4.6, 3.6)
        top = 1.08 * max(max(point.predicted, point.observed) for point in points) or 1.0
        axes.plot([0, top], [0, top], color=DEFAULT, linewidth=1, label="true probabilities")
        most = max(point.n for point in points)
        axes.plot(
            [point.predicted for point in points],
            [point.observed for point in points],
            color=LEARNED,
            linewidth=1.2,
        )
        axes.scatter(
            [point.predicted for point in points],
            [point.observed for point in points],
            s=[16 + 44 * point.n / most for point in points],
            color=LEARNED,
            label="leads, in tenths",
            zorder=3,
        )
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="predicted", ylabel="observed")
        _percent(axes, both=True)
        axes.legend(loc="upper left")
        return _svg(figure)


def lift_chart(lifts: Mapping[float, float]) -> str:
    """Share of the conversions found among the best leads.

    Args:
        lifts: share of leads, 0..1, high scores first -> conversion rate among them / base rate.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(4.6, 3.6)
        shares = sorted(share for share in lifts if 0.0 < share < 1.0)
        found = [min(1.0, share * lifts[share]) for share in shares]
        axes.plot([0, 1], [0, 1], color=DEFAULT, linewidth=1, label="in any order")
        axes.plot(
            [0.0, *shares, 1.0],
            [0.0, *found, 1.0],
            color=LEARNED,
            linewidth=1.6,
            marker="o",
            markersize=4,
            label="by the model",
        )
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="leads worked on, best first", ylabel="conversions"
        )
        _percent(axes, both=True)
        axes.legend(loc="lower right")
        return _svg(figure)


def weights_chart(
    names: Sequence[str],
    before: Sequence[float],
    learned: Sequence[float],
    low: Sequence[float] | None,
    high: Sequence[float] | None,
) -> str:
    """Weights in force before beside the learned ones with their 90 % intervals.

    Args:
        names: of the components, in order; the other sequences are as long.
        before: in force before the run.
        learned: fitted.
        low, high: bounds of the learned ones; None where there are none.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(6.4, 2.9)
        rows = range(len(names))
        if low is not None and high is not None:
            axes.hlines(rows, low, high, color=LEARNED, linewidth=5, alpha=0.25, label="90 %")
        axes.scatter(before, rows, color=DEFAULT, marker="|", s=190, linewidth=2.5, label="before")
        axes.scatter(learned, rows, color=LEARNED, s=38, zorder=3, label="learned")
        axes.set_yticks(list(rows), [name.replace("_", " ") for name in names])
        axes.set(xlim=(0, 0.55), ylim=(len(names) - 0.4, -0.6), xlabel="weight")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        return _svg(figure)


def drift_chart(indices: Mapping[str, float], limit: float) -> str:
    """How far each feature, and the score, has moved from what the model was trained on.

    Args:
        indices: name -> population stability index, at least 0; at least one.
        limit: index above which a shift counts as drift.
    """
    with mpl.rc_context(_STYLE):
        names = sorted(indices, key=lambda name: (-indices[name], name))
        figure, axes = _axes(6.4, 0.8 + 0.27 * len(names))
        values = [indices[name] for name in names]
        colours = [BOUND if value > limit else LEARNED for value in values]
        axes.barh(range(len(names)), values, 0.62, color=colours)
        axes.axvline(limit, color=BOUND, linewidth=1, linestyle="--")
        axes.text(limit, -0.75, f" drift above {limit:g}", color=BOUND, va="center", fontsize=8.5)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set(
            xlim=(0, 1.15 * max(*values, limit)),
            ylim=(len(names) - 0.4, -1.2),
            xlabel="population stability index",
        )
        return _svg(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _percent(axes: Axes, *, both: bool) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    # More labels than these run into each other.
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if both:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _svg(figure: Figure) -> str:
    """The element alone: a page embeds it, so the prologue of a file has no place in it."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=nothing, transparent=True)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
