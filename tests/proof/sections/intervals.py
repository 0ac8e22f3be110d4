"""Drawn rates: whether the intervals hold what they claim, and how honest the top of a list is."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import drawn, shrinking
from tests.proof.sections.words import percent, ratio, share, size, table

SIZES = (300, 1_000, 10_000)
GRIDS = ((7, 300), (7, 1_000), (24, 1_000), (24, 10_000))
_NAMES = {"null": "all alike", "planted": "one doubled", "drawn": "drawn from a beta law"}


def report(results: Results) -> Report:
    """The section."""
    rows = [
        Row(
            figure=f"Drawn rates: 90 % intervals that hold the truth, {size(cohort)} leads",
            value=_coverage(results, cohort, "covered"),
            naive=_coverage(results, cohort, "naive_covered"),
            low=0.85,
            high=0.95,
            show=percent,
        )
        for cohort in SIZES
    ]
    rows += [
        Row(
            figure=f"Drawn rates: the top of a list says / its true rate, {size(cohort)} leads",
            value=_mean(results, cohort, "top_ratio"),
            naive=_mean(results, cohort, "naive_top_ratio"),
            show=ratio,
        )
        for cohort in SIZES
    ]
    rows += [
        Row(
            figure=f"Drawn rates: root mean square error of a rate, {size(cohort)} leads",
            value=_mean(results, cohort, "squared_error") ** 0.5,
            naive=_mean(results, cohort, "naive_squared_error") ** 0.5,
            show=lambda value: f"{100 * value:.2f} points",
        )
        for cohort in SIZES
    ]
    return Report(
        text=(
            "Every title level, industry, size, country, source, weekday, pain point, call to "
            "action, angle and subject line gets an effect of its own, drawn from a normal law "
            f"with a standard deviation of {drawn.SPREAD} log-odds. That is what real data look "
            "like: hardly anything is exactly equal, hardly anything doubles. Counted are the "
            "intervals of all segments with at least five leads or touches, not of chosen ones. "
            "The naive interval is the textbook one (rate ± 1.645 standard errors)."
        ),
        rows=rows,
        pictures=[_picture(results)],
        after=(
            "The estimator alone, on counts drawn directly (segments of about equal size, base "
            "rate 8 %). The doubled segment, an outlier among equals, is pulled towards the "
            "others, so its own interval holds the truth less often; that is the price of not "
            "believing every outlier, and is reported, not bounded.\n\n" + _table(results)
        ),
    )


def _mean(results: Results, cohort: int, figure: str) -> float:
    return float(np.mean(results.values(f"drawn-{cohort}", figure)))


def _coverage(results: Results, cohort: int, figure: str) -> float:
    case = f"drawn-{cohort}"
    return float(sum(results.values(case, figure)) / sum(results.values(case, "intervals")))


def _picture(results: Results) -> Picture:
    figure, axes = charts.panels(2)
    labels = [size(cohort) for cohort in SIZES]
    charts.bars(
        axes[0],
        labels,
        {
            "CIS": ([_coverage(results, n, "covered") for n in SIZES], charts.CIS),
            "naive": ([_coverage(results, n, "naive_covered") for n in SIZES], charts.NAIVE),
        },
    )
    axes[0].axhspan(0.85, 0.95, color=charts.QUIET, alpha=0.25, zorder=0)
    axes[0].set_ylim(0.6, 1.02)
    charts.title(axes[0], "intervals that hold the truth")
    axes[0].set_xlabel("leads")
    charts.bars(
        axes[1],
        labels,
        {
            "CIS": ([_mean(results, n, "top_ratio") for n in SIZES], charts.CIS),
            "naive": ([_mean(results, n, "naive_top_ratio") for n in SIZES], charts.NAIVE),
        },
        percent=False,
    )
    axes[1].axhline(1, color=charts.INK, linewidth=1)
    charts.title(axes[1], "top of a list: stated / true rate")
    axes[1].set_xlabel("leads")
    axes[1].legend(loc="upper right", fontsize=9, frameon=False)
    return Picture(
        name="intervals",
        caption="Left: share of the 90 % intervals that hold the true rate; the grey band is the "
        "bound. Right: what is stated of the best of a list against its true rate; whoever picks "
        "the highest raw rate picks luck.",
        figure=figure,
    )


def _table(results: Results) -> str:
    lines = []
    for segments, leads in GRIDS:
        case = f"shrinking-{segments}-{leads}"
        for truth in shrinking.TRUTHS:
            line = [f"{segments} segments, {size(leads)} leads, {_NAMES[truth]}"]
            for method in ("cis", "naive"):
                text = percent(float(np.mean(results.values(case, f"{truth}.{method}"))))
                if truth == "planted":
                    text += f" ({percent(share(results.values(case, f'outlier.{method}')))})"
                line.append(text)
            lines.append(line)
    return table(("intervals that hold the truth (of the doubled one)", "CIS", "naive"), lines)


SECTION = Section(
    name="intervals",
    title="Intervals that hold what they claim",
    cases=[
        *(
            Case(
                name=f"drawn-{cohort}",
                measure=partial(drawn.measure, cohort=cohort),
                share=0.5 if cohort > 1_000 else 1.0,
            )
            for cohort in SIZES
        ),
        *(
            Case(
                name=f"shrinking-{segments}-{leads}",
                measure=partial(shrinking.measure, segments=segments, leads=leads),
            )
            for segments, leads in GRIDS
        ),
    ],
    report=report,
)
