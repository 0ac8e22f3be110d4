"""A/B tests that are looked at all the time."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import peeking
from tests.proof.sections.words import percent, size, table

_METHODS = {
    "found_at": ("CIS, always-valid sequence", charts.CIS),
    "tested_at": ("usual test, p < .05 at any look", charts.NAIVE),
    "lost_at": ("expected loss < 1 % of the rate", charts.QUIET),
}


def _named(results: Results, case: str, method: str, by: int = peeking.PER_ARM) -> float:
    """Share of the tests in which a winner has been named by so many leads an arm."""
    runs = results.of(case)
    return float(np.mean([run[method] is not None and run[method] <= by for run in runs]))


def report(results: Results) -> Report:
    """The section."""
    rows = [
        Row(
            figure="A/A test looked at every 250 leads an arm up to 5 000: a winner is named",
            value=_named(results, "peeking-equal", "found_at"),
            naive=_named(results, "peeking-equal", "tested_at"),
            high=0.05,
            show=percent,
        ),
        Row(
            figure="One arm half as good again (8 % against 12 %): a winner by 5 000 an arm",
            value=_named(results, "peeking-better", "found_at"),
            naive=_named(results, "peeking-better", "tested_at"),
            low=0.9,
            show=percent,
        ),
    ]
    lines = [
        (
            words,
            percent(_named(results, "peeking-equal", name)),
            percent(_named(results, "peeking-better", name)),
            _median(results, name),
        )
        for name, (words, _) in _METHODS.items()
    ]
    head = ("method", "equal arms", "half as good again", "median leads an arm until then")
    return Report(
        text=(
            "Two arms, 8 % each, looked at twenty times. A test that is meant for one look at the "
            "end, looked at twenty times, names a winner far more often than it promises. The "
            "verdict of CIS rests on a confidence sequence, which holds at all looks together; it "
            "takes more leads until a true difference is certain."
        ),
        rows=rows,
        pictures=[_picture(results)],
        after=table(head, lines),
    )


def _median(results: Results, method: str) -> str:
    found = results.values("peeking-better", method)
    return size(int(np.median(found))) if found else "–"


def _picture(results: Results) -> Picture:
    figure, axes = charts.panels(2)
    looks = range(0, peeking.PER_ARM + 1, peeking.LOOK_EVERY)
    for panel, case, title in (
        (axes[0], "peeking-equal", "equal arms: winners named"),
        (axes[1], "peeking-better", "half as good again: winners named"),
    ):
        for name, (words, colour) in _METHODS.items():
            shares = [_named(results, case, name, by) for by in looks]
            panel.step(looks, shares, where="post", color=colour, linewidth=2, label=words)
        panel.set_ylim(0, 1.02)
        charts.title(panel, title)
        panel.set_xlabel("leads an arm")
        charts.percent_axis(panel.yaxis)
    axes[0].axhline(0.05, color=charts.BOUND, linestyle="--", linewidth=1.2, label="bound 5 %")
    axes[0].legend(fontsize=8, frameon=False, loc="upper left")
    return Picture(
        name="peeking",
        caption="Share of the tests in which a winner has been named so far.",
        figure=figure,
    )


SECTION = Section(
    name="experiments",
    title="A/B tests that are looked at all the time",
    cases=[
        Case(name="peeking-equal", measure=partial(peeking.measure, lift=1.0)),
        Case(name="peeking-better", measure=partial(peeking.measure, lift=1.5)),
    ],
    report=report,
)
