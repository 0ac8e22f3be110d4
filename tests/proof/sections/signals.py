"""Conversions that come late, opens and replies by machines."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import delays, engagement
from tests.proof.sections.words import days, percent, ratio, share, table

_SPEEDS = {"quick": "days", "slow": "weeks"}


def report(results: Results) -> Report:
    """The section."""
    rows = []
    for speed, words in _SPEEDS.items():
        case = f"delays-{speed}"
        rows.append(
            Row(
                figure=f"Industry new since 60 days, conversions within {words}: lift "
                "(median, truth 1)",
                value=float(np.median(results.values(case, "lift"))),
                naive=float(np.median(results.values(case, "everybody_lift"))),
                low=0.9,
                high=1.1,
                show=ratio,
            )
        )
        rows.append(
            Row(
                figure=f"Industry new since 60 days, conversions within {words}: "
                "runs that call it a winner",
                value=share(results.values(case, "winner")),
                high=0.10,
                show=percent,
            )
        )
    truth = results.of("delays-slow")[0]["true_days_80"]
    rows.append(
        Row(
            figure=f"Slow conversions: days until four of five have come (truth {truth:.1f})",
            value=float(np.mean(results.values("delays-slow", "days_80"))),
            naive=float(np.mean(results.values("delays-slow", "naive_days_80"))),
            low=truth - 1.0,
            high=truth + 1.0,
            show=days,
        )
    )
    rows += [
        Row(
            figure="Machines that open: open rate / rate of opens by people",
            value=_against(results, "engagement-marked", "open_rate"),
            naive=_against(results, "engagement-marked", "naive_open_rate"),
            low=0.98,
            high=1.02,
            show=ratio,
        ),
        Row(
            figure="Machines that open and hide what they are (half of them): the same",
            value=_against(results, "engagement-unmarked", "open_rate"),
            naive=_against(results, "engagement-unmarked", "naive_open_rate"),
            show=ratio,
        ),
        Row(
            figure="Automatic replies: median minutes to the first reply / of people",
            value=_against(results, "engagement-marked", "reply_minutes"),
            naive=_against(results, "engagement-marked", "naive_reply_minutes"),
            low=0.98,
            high=1.02,
            show=ratio,
        ),
    ]
    return Report(
        text=(
            "*New is not better.* An industry is contacted for the first time 60 days before the "
            "run and converts like all others, once within days of the answer (median 1.5), once "
            "within weeks (median 12). CIS compares leads that were all followed for the same "
            "time; naive is converted / contacted of whoever is there.\n\n"
            "*Machines are not people.* Privacy proxies fetch the mails of 35 % of the leads, link "
            "scanners and automatic replies add to it. CIS counts what its rules leave: known "
            "names of proxies and scanners, opens within a minute, replies that are automatic by "
            "their kind. A proxy that hides its name and waits for hours cannot be told from a "
            "person by anybody who sees only the open; the second open rate says what that costs, "
            "and why replies, not opens, are what CIS learns from."
        ),
        rows=rows,
        pictures=[_picture(results)],
        after=_table(results),
    )


def _against(results: Results, case: str, figure: str) -> float:
    name = figure.removeprefix("naive_")
    pairs = [(seed[figure], seed[f"true_{name}"]) for seed in results.of(case)]
    return float(np.mean([value for value, _ in pairs]) / np.mean([true for _, true in pairs]))


def _picture(results: Results) -> Picture:
    figure, axes = charts.panels(2)
    labels, values, colours = [], [], []
    for speed, words in _SPEEDS.items():
        for name, label, colour in (
            ("everybody_lift", "all\ncontacted", charts.NAIVE),
            ("ended_lift", "ended\nonly", charts.QUIET),
            ("lift", "CIS", charts.CIS),
        ):
            labels.append(f"{label}\n({words})")
            values.append(results.values(f"delays-{speed}", name))
            colours.append(colour)
    charts.boxes(axes[0], labels, values, colours)
    axes[0].tick_params(axis="x", labelsize=7.5)
    axes[0].axhline(1, color=charts.INK, linewidth=1)
    axes[0].axhspan(0.9, 1.1, color=charts.QUIET, alpha=0.25, zorder=0)
    charts.title(axes[0], "lift of the new industry (truth 1)")
    kinds = ("engagement-marked", "engagement-unmarked")
    charts.bars(
        axes[1],
        ["known machines", "half hidden"],
        {
            "truth": ([_mean(results, k, "true_open_rate") for k in kinds], charts.QUIET),
            "CIS": ([_mean(results, k, "open_rate") for k in kinds], charts.CIS),
            "naive": ([_mean(results, k, "naive_open_rate") for k in kinds], charts.NAIVE),
        },
    )
    axes[1].set_ylim(0, 0.8)
    charts.title(axes[1], "open rate")
    axes[1].legend(fontsize=9, frameon=False, ncols=3, loc="upper center")
    return Picture(
        name="signals",
        caption="Left: what three ways of counting say of an industry that is merely new. Right: "
        "share of the mails opened by people, as counted.",
        figure=figure,
    )


def _mean(results: Results, case: str, figure: str) -> float:
    return float(np.mean(results.values(case, figure)))


def _table(results: Results) -> str:
    rows = [
        (
            words,
            *(f"{_mean(results, 'engagement-marked', f'{kind}{name}'):.1f}" for kind in kinds),
        )
        for name, words in (
            ("minutes", "median minutes to the first open"),
            ("reply_minutes", "median minutes to the first reply"),
        )
        for kinds in (("true_", "", "naive_"),)
    ]
    return table(("known machines", "truth", "CIS", "machines counted"), rows)


SECTION = Section(
    name="signals",
    title="Late conversions, and machines that open and answer",
    cases=[
        *(
            Case(
                name=f"delays-{speed}",
                measure=partial(delays.measure, cohort=1_500, slow=speed == "slow"),
            )
            for speed in _SPEEDS
        ),
        Case(
            name="engagement-marked",
            measure=partial(engagement.measure, cohort=1_000, unmarked=0.0),
        ),
        Case(
            name="engagement-unmarked",
            measure=partial(engagement.measure, cohort=1_000, unmarked=0.5),
        ),
    ],
    report=report,
)
