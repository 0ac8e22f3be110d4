"""Channels that only look good because of whom they are used on."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import channels
from tests.proof.sections.words import percent, ratio, share, size, table

CASE = "channels-4000"
NAMES = ("email", "linkedin", "voice")
"""Texts go to hot leads alone: a dozen a run, too few to be compared."""


def _lifts(results: Results, channel: str, kind: str) -> list[float]:
    found = (seed["channels"].get(channel, {}).get(kind) for seed in results.of(CASE))
    return [value for value in found if value is not None]


def report(results: Results) -> Report:
    """The section."""
    rows = [
        Row(
            figure=f"Tier decides the channel, no channel effect: lift of {name} "
            "(median of the runs)",
            value=float(np.median(_lifts(results, name, "stratified"))),
            naive=float(np.median(_lifts(results, name, "raw"))),
            low=0.9,
            high=1.1,
            show=ratio,
        )
        for name in NAMES
    ]
    rows.append(
        Row(
            figure="Tier decides the channel, no channel effect: runs with a winning channel",
            value=share(results.values(CASE, "winner")),
            naive=share(_raw_winner(results)),
            high=0.10,
            show=percent,
        )
    )
    return Report(
        text=(
            "Hot leads convert several times as often as cold ones and are the only ones that are "
            "called and texted; the channel itself changes nothing. Raw rates credit the telephone "
            "with what the leads brought along. `stratified_lift` compares touches within the same "
            "score tier and touch number; `adjusted_lift` is the same, shrunk. 4 000 leads."
        ),
        rows=rows,
        pictures=[_picture(results)],
        after=table(
            (
                "channel",
                "touches a run",
                "raw lift",
                "stratified: median",
                "mean",
                "adjusted: median",
            ),
            (
                [
                    name,
                    size(round(np.mean(_lifts(results, name, "touches")))),
                    ratio(float(np.median(_lifts(results, name, "raw")))),
                    ratio(float(np.median(_lifts(results, name, "stratified")))),
                    ratio(float(np.mean(_lifts(results, name, "stratified")))),
                    ratio(float(np.median(_lifts(results, name, "adjusted")))),
                ]
                for name in NAMES
            ),
        ),
    )


def _raw_winner(results: Results) -> list[bool]:
    """Whether the raw lift of some channel is 1.2 or more: what a report would recommend."""
    return [
        any((seed["channels"].get(name, {}).get("raw") or 0) >= 1.2 for name in NAMES)
        for seed in results.of(CASE)
    ]


def _picture(results: Results) -> Picture:
    figure, (axes,) = charts.panels()
    labels, values, colours = [], [], []
    for name in NAMES:
        for kind, words, colour in (
            ("raw", "raw", charts.NAIVE),
            ("stratified", "CIS", charts.CIS),
        ):
            labels.append(f"{name}\n{words}")
            values.append(_lifts(results, name, kind))
            colours.append(colour)
    charts.boxes(axes, labels, values, colours)
    axes.axhspan(0.9, 1.1, color=charts.QUIET, alpha=0.25, zorder=0)
    axes.axhline(1, color=charts.INK, linewidth=1)
    axes.set_ylabel("lift against the other channels")
    return Picture(
        name="confounding",
        caption="Lift of each channel over the runs (box: the middle half, whiskers: nine tenths). "
        "The truth is 1 for all; the band is the bound on the median.",
        figure=figure,
    )


SECTION = Section(
    name="channels",
    title="Channels that look good because of whom they are used on",
    cases=[Case(name=CASE, measure=partial(channels.measure, cohort=4_000))],
    report=report,
)
