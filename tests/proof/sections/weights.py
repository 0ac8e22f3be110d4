"""The five weights of the score: they move when they should, and stay when they should."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.proof import charts
from tests.proof.cases import Case, Picture, Report, Results, Row, Section
from tests.proof.scenarios import weights
from tests.proof.sections.words import percent, ratio, share, table

DEFAULT_AUTHORITY = 0.25
_TRUTHS = {
    "noise": ("noise", "nothing predicts"),
    "defaults": ("defaults true, slope 4", "the defaults are right"),
    "slope3": ("authority, slope 3", "authority alone counts, slope 3"),
    "slope5": ("authority, slope 5", "authority alone counts, slope 5"),
}
_SETTINGS = (
    ("noise", 400, None, 0.05),
    ("defaults", 400, None, 0.08),
    ("slope3", 400, 0.85, None),
    ("slope5", 400, 0.97, None),
    ("slope3", 1_000, 0.97, None),
)
"""Truth, leads, and the bounds on the share that goes live."""


def _name(truth: str, leads: int) -> str:
    return f"weights-{truth}-{leads}"


def report(results: Results) -> Report:
    """The section."""
    rows = [
        Row(
            figure=f"Weights, {_TRUTHS[truth][1]}, {leads} leads: new weights go live",
            value=share(results.values(_name(truth, leads), "promoted")),
            low=low,
            high=high,
            show=percent,
        )
        for truth, leads, low, high in _SETTINGS
    ]
    rows.append(
        Row(
            figure="Weights, authority alone counts, slope 3, 400 leads: its weight rises",
            value=_above(results, "slope3", 400),
            low=0.95,
            show=percent,
        )
    )
    lines = [
        (
            f"{_TRUTHS[truth][1]}, {leads} leads",
            percent(share(results.values(_name(truth, leads), "promoted"))),
            percent(_above(results, truth, leads)),
            ratio(float(np.mean(results.values(_name(truth, leads), "authority")))),
        )
        for truth, leads, _, _ in _SETTINGS
    ]
    head = ("truth", "goes live", "fitted authority above .25", "its mean")
    return Report(
        text=(
            "Leads with known components and an 8 % rate: once nothing predicts the outcome, once "
            "the default weights are exactly right, once only authority counts. The gate is to "
            "leave good defaults alone and to let through what is truly better. A naive optimiser "
            "has no gate: whatever it fits goes live in every run."
        ),
        rows=rows,
        pictures=[_picture(results)],
        after=table(head, lines),
    )


def _above(results: Results, truth: str, leads: int) -> float:
    found = results.values(_name(truth, leads), "authority")
    return share(weight > DEFAULT_AUTHORITY for weight in found)


def _picture(results: Results) -> Picture:
    figure, (axes,) = charts.panels(height=2.8)
    labels = [
        f"{_TRUTHS[truth][1].replace(', ', ',' + chr(10))}\n{leads} leads"
        for truth, leads, _, _ in _SETTINGS
    ]
    values = [results.values(_name(truth, leads), "authority") for truth, leads, _, _ in _SETTINGS]
    colours = [charts.QUIET, charts.QUIET, charts.CIS, charts.CIS, charts.CIS]
    charts.boxes(axes, labels, values, colours)
    axes.tick_params(axis="x", labelsize=8)
    axes.axhline(DEFAULT_AUTHORITY, color=charts.INK, linewidth=1)
    axes.set_ylim(0, 0.55)
    axes.set_ylabel("fitted weight of authority")
    return Picture(
        name="weights",
        caption="Weight of authority as fitted, before the gate; the line is its default, .50 the "
        "most it may get.",
        figure=figure,
    )


SECTION = Section(
    name="weights",
    title="The five weights",
    cases=[
        Case(
            name=_name(truth, leads),
            measure=partial(weights.measure, truth=_TRUTHS[truth][0], leads=leads),
        )
        for truth, leads, _, _ in _SETTINGS
    ],
    report=report,
)
