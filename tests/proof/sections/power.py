"""What is there is found: one doubling alone, then causes of every kind at once."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import funnel, planted, power
from tests.proof.sections.words import count, percent, ratio, share, size, table

SIZES = (300, 1_000, 10_000)
LEAST = {1_000: 0.5, 10_000: 0.9}
OF_THE_REST, OVERALL = 0.096, 0.08
FUNNELS = (4_000, 12_000)


def report(results: Results) -> Report:
    """The section."""
    rows = [
        Row(
            figure=f"A doubled rate on a fifth of the leads is found, {size(cohort)} leads",
            value=share(results.values(f"power-{cohort}", "found")),
            naive=share(results.values(f"power-{cohort}", "first_of_list")),
            low=LEAST.get(cohort),
            show=percent,
        )
        for cohort in SIZES
    ]
    rows += [
        Row(
            figure="The same, 8 % being the rate of all leads together, 1 000 leads",
            value=share(results.values("power-overall-1000", "found")),
            naive=share(results.values("power-overall-1000", "first_of_list")),
            show=percent,
        ),
        Row(
            figure="Other attributes named winners beside it in a run, 1 000 leads",
            value=float(np.mean(results.values("power-1000", "others"))),
            naive=float(np.mean(results.values("power-1000", "naive_winners"))) - 1,
            show=count,
        ),
        Row(
            figure="Adjusted rate of the doubled attribute / its true rate, 1 000 leads",
            value=float(np.mean(results.values("power-1000", "adjusted_ratio"))),
            naive=float(np.mean(results.values("power-1000", "raw_ratio"))),
            show=ratio,
        ),
    ]
    for cohort in SIZES:
        case = f"planted-{cohort}"
        named, true = (sum(results.values(case, f)) for f in ("winners", "true_winners"))
        raw, right = (sum(results.values(case, f)) for f in ("naive_winners", "naive_true_winners"))
        rows.append(
            Row(
                figure="Fifteen causes at once: winners that are truly better, "
                f"{size(cohort)} leads",
                value=true / named if named else None,
                naive=right / raw,
                low=0.9,
                show=percent,
            )
        )
    rows.append(
        Row(
            figure="Fifteen causes at once: the least often found one, 10 000 leads",
            value=min(_found(results, 10_000, name) for name in planted.NAMES),
            naive=min(_found(results, 10_000, name, "naive") for name in planted.NAMES),
            low=0.8,
            show=percent,
        )
    )
    seen = results.of("power-1000")
    carriers = np.mean([seed["carriers"] for seed in seen])
    rate = np.mean([seed["true_rate"] for seed in seen])
    rest = np.mean([seed["true_complement"] for seed in seen])
    evidence = share(results.values("power-1000", "enough_evidence"))
    above = share(results.values("power-1000", "surely_above"))
    margin = 164.5 * float(np.sqrt(0.25 / len(seen)))
    return Report(
        text=(
            f"One attribute of the CRM, carried by {carriers:.0f} of 1 000 leads, converts at "
            f"{percent(float(rate))} against {percent(float(rest))} of the others; WHO does not "
            "know which of some 150 segments it is. Leads are those that count: young and bounced "
            "ones are simulated besides. The naive figure is how often the attribute is at the top "
            "of its own list; the same ranking names a winner in nearly every other list of the "
            "run, so nobody could tell which one to believe."
        ),
        rows=rows,
        pictures=[_picture(results), _causes(results)],
        after=(
            f"At 1 000 leads both conditions of a winner cost something: the evidence suffices "
            f"after the correction for all segments in {percent(evidence)} of the runs, the lower "
            f"end of the interval lies above the client's rate in {percent(above)}. A plain test "
            "of this one attribute alone would find it in more than nine of ten runs; the "
            "difference is what it costs not to be fooled by the other 150. The figure at 1 000 "
            f"leads lies close to its bound, and {len(seen)} runs tell it to ± {margin:.0f} points "
            "only (90 %).\n\n"
            "All fifteen causes at once, found at the usual corrections:\n\n"
            + _table(results)
            + "\n\nWhat FUNNEL finds of the causes of attendance, deals and losses:\n\n"
            + _funnels(results)
        ),
    )


def _picture(results: Results) -> Picture:
    figure, (axes,) = charts.panels()
    charts.bars(
        axes,
        [f"{size(cohort)} leads" for cohort in SIZES],
        {
            "found by CIS": (
                [share(results.values(f"power-{n}", "found")) for n in SIZES],
                charts.CIS,
            ),
            "another attribute named too": (
                [share(results.values(f"power-{n}", "others")) for n in SIZES],
                charts.QUIET,
            ),
        },
    )
    for place, cohort in enumerate(SIZES):
        if cohort in LEAST:
            axes.plot(
                [place - 0.42, place + 0.02],
                [LEAST[cohort]] * 2,
                color=charts.BOUND,
                linestyle="--",
                label="bound" if cohort == 1_000 else None,
            )
    axes.set_ylim(0, 1.1)
    axes.set_ylabel("share of runs")
    charts.legend(axes)
    return Picture(
        name="power",
        caption="How often a doubled rate on a fifth of the leads is named a winner, and how often "
        "anything else is named in the same run.",
        figure=figure,
    )


def _found(results: Results, cohort: int, name: str, figure: str = "found") -> float:
    return share(seed[figure][name] for seed in results.of(f"planted-{cohort}"))


def _causes(results: Results) -> Picture:
    figure, (axes,) = charts.panels(height=4.6)
    place = np.arange(len(planted.NAMES))
    for cohort, colour, mark in zip(
        SIZES, ("#8cc5dc", charts.CIS, "#063f58"), ("o", "s", "D"), strict=True
    ):
        axes.plot(
            [_found(results, cohort, name) for name in planted.NAMES],
            place,
            mark,
            color=colour,
            markersize=7,
            label=f"{size(cohort)} leads",
        )
    axes.set_yticks(place, planted.NAMES)
    axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    charts.percent_axis(axes.xaxis)
    axes.grid(visible=True, axis="both", color="#e4e7eb")
    axes.set_xlabel("runs in which the cause is found")
    charts.legend(axes)
    return Picture(
        name="causes",
        caption="Fifteen causes planted in one client, each worth about a doubling of the rate of "
        "the touches or leads it acts on.",
        figure=figure,
    )


def _table(results: Results) -> str:
    head = ["cause", *(f"{size(n)} leads" for n in SIZES), "raw ranking, 1 000 leads"]
    return table(
        head,
        (
            [
                name,
                *(percent(_found(results, n, name)) for n in SIZES),
                percent(_found(results, 1_000, name, "naive")),
            ]
            for name in planted.NAMES
        ),
    )


def _funnels(results: Results) -> str:
    rows = [
        [
            name,
            *(
                percent(share(seed["found"][name] for seed in results.of(f"funnel-{n}")))
                for n in FUNNELS
            ),
        ]
        for name in funnel.NAMES
    ]
    means = []
    for n in FUNNELS:
        learned = np.mean(results.values(f"funnel-{n}", "win_rate"))
        raw = np.mean(results.values(f"funnel-{n}", "naive_win_rate"))
        means.append(f"{percent(float(learned))} ({percent(float(raw))})")
    rows.append(["share of deals won in the end (won / closed so far)", *means])
    heads = [f"{np.mean(results.values(f'funnel-{n}', 'meetings')):.0f} meetings" for n in FUNNELS]
    return table(["cause", *heads], rows)


SECTION = Section(
    name="power",
    title="What is there is found",
    cases=[
        *(
            Case(
                name=f"power-{cohort}",
                measure=partial(power.measure, cohort=cohort, base_rate=OF_THE_REST),
            )
            for cohort in SIZES
        ),
        Case(
            name="power-overall-1000",
            measure=partial(power.measure, cohort=1_000, base_rate=OVERALL),
        ),
        *(
            Case(
                name=f"planted-{cohort}",
                measure=partial(planted.measure, cohort=cohort),
                share=0.5 if cohort > 1_000 else 1.0,
            )
            for cohort in SIZES
        ),
        *(
            Case(name=f"funnel-{cohort}", measure=partial(funnel.measure, cohort=cohort), share=0.5)
            for cohort in FUNNELS
        ),
    ],
    report=report,
)
