"""Where nothing matters: false winners, coverage, a flat hazard, the same bytes."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import null
from tests.proof.sections.words import percent, ratio, share, size, table

SIZES = (300, 1_000, 10_000)
DETECTORS = ("who", "what", "when", "how", "funnel")


def _case(cohort: int) -> Case:
    measure = partial(null.measure, cohort=cohort, shuffle=False)
    return Case(name=f"null-{cohort}", measure=measure, share=0.5 if cohort > 1_000 else 1.0)


def _flagged(results: Results, cohort: int, detector: str, figure: str) -> list[bool]:
    """Per run in which the detector had enough data, whether it counted any such thing."""
    runs = (seed["detectors"].get(detector) for seed in results.of(f"null-{cohort}"))
    return [run[figure] > 0 for run in runs if run is not None]


def report(results: Results) -> Report:
    """The section."""
    rows = []
    for detector in DETECTORS:
        worst = max(SIZES, key=lambda n: share(_flagged(results, n, detector, "winners")))
        rows.append(
            Row(
                figure=f"Nothing matters: runs of {detector.upper()} with a false winner "
                f"(worst of three sizes, {size(worst)} leads)",
                value=share(_flagged(results, worst, detector, "winners")),
                naive=share(_flagged(results, worst, detector, "naive_winners")),
                high=0.10,
                show=percent,
            )
        )
    for cohort in SIZES:
        case = f"null-{cohort}"
        rows.append(
            Row(
                figure=f"Nothing matters: 90 % intervals that hold the truth, {size(cohort)} leads",
                value=_coverage(results, case, ""),
                naive=_coverage(results, case, "naive_"),
                low=0.85,
                show=percent,
            )
        )
    ratios = np.array(results.values("null-1000", "hazard_ratio"))
    shown = results.values("null-1000", "converting_share")
    shares = np.array([share for share in shown if share is not None])
    geometric = np.exp(np.log(ratios[:, -1]).mean() - np.log(ratios[:, 0]).mean())
    rows += [
        Row(
            figure="Every touch works alike: hazard of touch 5 / hazard of touch 1",
            value=float(geometric),
            naive=float(shares[:, -1].mean() / shares[:, 0].mean()),
            low=0.9,
            high=1.1,
            show=ratio,
        ),
        Row(
            figure="Same rows in another order: runs with the same bytes",
            value=share(results.values("order-1000", "identical")),
            low=1.0,
            show=percent,
        ),
    ]
    return Report(
        text=(
            "Eight of a hundred leads convert, whoever they are, whatever they are sent and "
            "whenever. About 600 segments are judged in every run. A winner is false by "
            "construction. The naive method calls the top of every list a winner when its raw rate "
            "is above the average. CONVERSATION is left out here: in the simulator people who are "
            "interested answer otherwise than people who are not, so its findings are true."
        ),
        rows=rows,
        pictures=[_false_winners(results), _hazards(ratios, shares)],
        after=_table(results),
    )


def _coverage(results: Results, case: str, prefix: str) -> float:
    covered = sum(results.values(case, f"{prefix}covered"))
    return float(covered / sum(results.values(case, f"{prefix}intervals")))


def _false_winners(results: Results) -> Picture:
    figure, (axes,) = charts.panels()
    colours = ("#8cc5dc", charts.CIS, "#063f58")
    charts.bars(
        axes,
        [name.upper() for name in DETECTORS],
        {
            f"{size(cohort)} leads": (
                [share(_flagged(results, cohort, name, "winners")) for name in DETECTORS],
                colour,
            )
            for cohort, colour in zip(SIZES, colours, strict=True)
        },
    )
    charts.bound(axes, 0.10, "bound 10 %")
    axes.set_ylabel("runs with a false winner")
    axes.set_ylim(0, 0.16)
    charts.legend(axes)
    return Picture(
        name="false-winners",
        caption="Share of runs with any false winner, by detector and number of leads. The naive "
        "method names one in practically every run and would fill the chart ten times over.",
        figure=figure,
    )


def _hazards(ratios: np.ndarray, shares: np.ndarray) -> Picture:
    figure, axes = charts.panels(2)
    touches = [str(touch) for touch in range(1, ratios.shape[1] + 1)]
    charts.boxes(axes[0], touches, list(ratios.T), [charts.CIS] * len(touches))
    axes[0].axhline(1, color=charts.QUIET, linewidth=1)
    charts.title(axes[0], "CIS: estimated / true hazard")
    axes[0].set_xlabel("touch")
    axes[0].set_ylim(0.4, 1.8)
    charts.boxes(axes[1], touches, list(shares.T), [charts.NAIVE] * len(touches))
    charts.title(axes[1], "naive: share of the conversions")
    axes[1].set_xlabel("touch")
    axes[1].set_ylim(0, 0.45)
    return Picture(
        name="flat-hazard",
        caption="Every touch works equally well here. CIS says so; the share of conversions by "
        "touch falls, because fewer and fewer leads are still there to convert.",
        figure=figure,
    )


def _table(results: Results) -> str:
    lines = []
    for cohort in SIZES:
        for name in DETECTORS:
            winners = _flagged(results, cohort, name, "winners")
            losers = _flagged(results, cohort, name, "losers")
            either = [one or other for one, other in zip(winners, losers, strict=True)]
            lines.append(
                (
                    f"{name.upper()}, {size(cohort)} leads",
                    str(len(winners)),
                    percent(share(winners)),
                    percent(share(losers)),
                    percent(share(either)),
                )
            )
    head = ("detector", "runs with enough data", "any winner", "any loser", "either")
    return table(head, lines)


SECTION = Section(
    name="nothing",
    title="Nothing matters, and nothing is found",
    cases=[
        *(_case(cohort) for cohort in SIZES),
        Case(
            name="order-1000",
            measure=partial(null.measure, cohort=1_000, shuffle=True),
            share=0.25,
        ),
    ],
    report=report,
)
