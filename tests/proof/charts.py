"""Charts of the page: one look for all, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

INK: Final = "#1f2933"
QUIET: Final = "#9aa5b1"
CIS: Final = "#0b6e99"
NAIVE: Final = "#d9822b"
BOUND: Final = "#b42318"

_STYLE: Final[Any] = {  # the stub wants one literal type a key
    "font.size": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "figure.dpi": 110,
}


def save(figure: Figure, file: Path) -> None:
    """Write a picture that holds nothing but the picture."""
    with mpl.rc_context(_STYLE):
        figure.savefig(file, dpi=110, metadata={"Software": None}, bbox_inches="tight")


def panels(count: int = 1, width: float = 7.6, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A figure with panels beside each other."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = [figure.add_subplot(1, count, place + 1) for place in range(count)]
        for axis in axes:
            axis.set_axisbelow(True)
    return figure, axes


def bars(
    axes: Axes,
    labels: Sequence[str],
    series: Mapping[str, tuple[Sequence[float], str]],
    *,
    percent: bool = True,
) -> None:
    """Groups of bars with their values above them.

    Args:
        axes: where to draw.
        labels: of the groups.
        series: name -> (values, colour).
        percent: values are shares.
    """
    wide = 0.8 / len(series)
    place = np.arange(len(labels), dtype=float)
    for number, (name, (values, colour)) in enumerate(series.items()):
        at = place + (number - (len(series) - 1) / 2) * wide
        drawn = axes.bar(at, values, wide * 0.92, color=colour, label=name)
        texts = [f"{value:.0%}" if percent else f"{value:.2f}" for value in values]
        axes.bar_label(drawn, texts, padding=2, fontsize=8)
    axes.set_xticks(place, labels)
    if percent:
        percent_axis(axes.yaxis)


def title(axes: Axes, words: str) -> None:
    """What a panel shows, above its left corner."""
    axes.set_title(words, loc="left", fontsize=10.5, color=INK)


def percent_axis(axis: Axis) -> None:
    """Let an axis count in per cent."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def bound(axes: Axes, at: float, words: str) -> None:
    """A line across at a bound, with its name in the legend."""
    axes.axhline(at, color=BOUND, linewidth=1.2, linestyle="--", label=words)


def boxes(
    axes: Axes, labels: Sequence[str], values: Sequence[Sequence[float]], colours: Sequence[str]
) -> None:
    """Middle half of the seeds as a box, nine tenths as whiskers, the median as a line."""
    drawn = axes.boxplot(
        [list(each) for each in values],
        tick_labels=list(labels),
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        widths=0.55,
        medianprops={"color": INK, "linewidth": 1.6},
        boxprops={"edgecolor": QUIET},
        whiskerprops={"color": QUIET},
        capprops={"color": QUIET},
    )
    for box, colour in zip(drawn["boxes"], colours, strict=True):
        box.set_facecolor(colour)
        box.set_alpha(0.75)


def legend(axes: Axes, **where: Any) -> None:
    """The legend, outside of the data."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, fontsize=9, frameon=False, **where
    )
