"""Peaks around midnight, and the days on which clocks change."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import clocks, timing
from tests.proof.sections.words import hours, percent, size, table

SIZES = (1_000, 3_000)


def report(results: Results) -> Report:
    """The section."""
    rows = [
        Row(
            figure=f"Peak at midnight: error of the hour found (mean), {size(cohort)} leads",
            value=float(np.mean(results.values(f"midnight-{cohort}", "error"))),
            naive=float(np.mean(results.values(f"midnight-{cohort}", "naive_error"))),
            high=1.0 if cohort == SIZES[-1] else None,
            show=hours,
        )
        for cohort in SIZES
    ]
    touches, right, frozen, universal = (
        sum(results.values("clocks", name))
        for name in ("touches", "right", "frozen_right", "utc_right")
    )
    rows.append(
        Row(
            figure="Within two days of a clock change: touches put in the right hour and weekday",
            value=right / touches,
            naive=frozen / touches,
            low=1.0,
            show=percent,
        )
    )
    return Report(
        text=(
            "Mails go out round the clock; those sent between 22:00 and 02:00 of the reader's own "
            "time are up to four times as likely to bring the conversion. CIS smooths on the "
            "circle and takes the top of the day. Naive is the hour with the highest raw rate; "
            "worse still is the median hour of the converting mails, for which 23:00 and 01:00 "
            "are far apart. The other half of the section looks at touches around 8 March "
            "(America), 29 March (Europe) and 5 April 2026 (Australia, New Zealand), against "
            "Python's own zone rules; naive is the offset of January kept for the year."
        ),
        rows=rows,
        pictures=[_picture(results)],
        after=_table(results, universal / touches, touches),
    )


def _picture(results: Results) -> Picture:
    figure, axes = charts.panels(2)
    days = np.array(results.values("midnight-3000", "day"))
    order = [*range(12, 24), *range(12)]
    middle = np.median(days, axis=0)[order]
    low, high = np.quantile(days, [0.05, 0.95], axis=0)[:, order]
    axes[0].fill_between(range(24), low, high, color=charts.CIS, alpha=0.2)
    axes[0].plot(range(24), middle, color=charts.CIS, linewidth=2)
    axes[0].set_xticks(range(0, 24, 4), [f"{order[place]}:00" for place in range(0, 24, 4)])
    charts.percent_axis(axes[0].yaxis)
    axes[0].set_ylim(bottom=0)
    charts.title(axes[0], "rate of a mail by local hour")
    edges = np.arange(-0.5, 13.5)
    for name, label, colour in (
        ("error", "CIS", charts.CIS),
        ("median_error", "median hour of winners", charts.NAIVE),
    ):
        errors = results.values("midnight-3000", name)
        counts = np.histogram(errors, edges)[0] / len(errors)
        shift = -0.2 if name == "error" else 0.2
        axes[1].bar(np.arange(13) + shift, counts, 0.4, color=colour, label=label)
    charts.percent_axis(axes[1].yaxis)
    charts.title(axes[1], "hours between the peak found and midnight")
    axes[1].legend(fontsize=9, frameon=False)
    return Picture(
        name="midnight",
        caption="3 000 leads, peak planted at midnight. Left: median and nine tenths of the runs. "
        "Right: how far off the hour is that would be recommended.",
        figure=figure,
    )


def _table(results: Results, universal: float, touches: int) -> str:
    lines = []
    for cohort in SIZES:
        case = f"midnight-{cohort}"
        for name, words in (
            ("error", "CIS, top of the smoothed day"),
            ("naive_error", "hour with the highest raw rate"),
            ("median_error", "median hour of the converting mails"),
        ):
            errors = np.array(results.values(case, name))
            lines.append(
                (
                    f"{words}, {size(cohort)} leads",
                    hours(float(errors.mean())),
                    percent(float((errors <= 1).mean())),
                )
            )
    found = table(("peak at midnight", "mean error", "within one hour"), lines)
    return (
        f"{found}\n\nClock changes: {size(touches)} touches were looked at; in UTC "
        f"{percent(universal)} of them would be in the right hour."
    )


SECTION = Section(
    name="clock",
    title="Hours on the reader's clock",
    cases=[
        *(
            Case(name=f"midnight-{cohort}", measure=partial(timing.measure, cohort=cohort, hour=0))
            for cohort in SIZES
        ),
        Case(name="clocks", measure=partial(clocks.measure, cohort=1_000)),
    ],
    report=report,
)
