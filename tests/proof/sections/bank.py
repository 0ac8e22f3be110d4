"""A real campaign: conversion probabilities beside scikit-learn, judged on later people.

The figures are measured by `tests/bench/bank_propensity.py`, which needs the data set; they stand
in a file beside the proof, so that the page can be made without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.proof.cases import Report, Results, Row, Section
from tests.proof.sections.words import percent, ratio, size, table

FILE: Final = Path(__file__).parents[1] / "bank-marketing.json"
REFUSING: Final = ("calibration_slope", "drift")
"""The gates that are to refuse the model of the split by time."""


def report(_: Results) -> Report:
    """The section; nothing of it is simulated."""
    return of(json.loads(FILE.read_text(encoding="utf-8")))


def of(found: Mapping[str, Any]) -> Report:
    """The section about figures as `bank_propensity.measured` gives them."""
    few = found["few"]
    earlier, later = found["rates"]
    return Report(
        text=(
            f"Nothing is simulated here: Bank Marketing, {size(found['people'])} people whom a "
            "bank called between 2008 and 2010, in the order of their last call, without "
            "`duration`, which nobody knows before a call. Models are fitted on the first 70 % and "
            f"judged on the last 30 %; {percent(earlier)} of the former and {percent(later)} of "
            f"the latter took the deposit, so that an order by chance has a PR-AUC of {later:.3f}. "
            "Beside CIS stands scikit-learn's `LogisticRegression()` on the same features. Of "
            f"{few['people']} people drawn from the first 70 % it sees only these, as a client "
            f"alone would; CIS adds what {few['clients']} other clients share, into which the rest "
            "of the first 70 % is cut: at random, or by time, so that each has a season of its own."
        ),
        rows=list(_rows(found)),
        after="\n\n".join([_table(found), _refusal(found)]),
    )


def _rows(found: Mapping[str, Any]) -> Iterator[Row]:
    both = found["all"]
    yield Row(
        figure="A real campaign, fitted on all of the past: PR-AUC less scikit-learn's",
        value=both["cis"] - both["scikit_learn"],
        low=-0.01,
        show=lambda value: f"{value:+.4f}",
    )
    for name, words in (("at_random", "alike"), ("by_time", "of other seasons")):
        yield Row(
            figure=f"A real campaign, {found['few']['people']} people beside other clients "
            f"{words}: PR-AUC above scikit-learn's",
            value=_gain(found, name),
            low=0.10,
            show=percent,
        )
    yield Row(
        figure="A real campaign, random split: calibration slope",
        value=found["random_split"]["slope"],
        low=0.8,
        high=1.2,
        show=ratio,
    )
    yield Row(
        figure="A real campaign whose people change: calibration and drift refuse the model",
        value=float(set(REFUSING) <= {gate["name"] for gate in _refusing(found)}),
        low=1.0,
        show=lambda value: "yes" if value else "no",
    )


def _table(found: Mapping[str, Any]) -> str:
    both, few = found["all"], found["few"]
    theirs = _mean(found, "theirs")
    drawn = [
        (
            f"{words}, mean of {len(few['draws'])} draws",
            f"{_mean(found, name):.4f}",
            f"{theirs:.4f}",
            f"{100 * _gain(found, name):+.1f} %",
        )
        for name, words in (
            ("at_random", f"{few['people']} people, other clients cut at random"),
            ("by_time", f"{few['people']} people, other clients cut by time"),
            ("pool_alone", "no people of one's own, other clients cut at random"),
        )
    ]
    all_of_them = (
        "all of the first 70 %",
        f"{both['cis']:.4f}",
        f"{both['scikit_learn']:.4f}",
        f"{100 * (both['cis'] / both['scikit_learn'] - 1):+.1f} %",
    )
    head = ("fitted on", "PR-AUC of CIS", "of scikit-learn", "difference")
    return table(head, [all_of_them, *drawn])


def _refusal(found: Mapping[str, Any]) -> str:
    slope = found["random_split"]
    names = " and ".join(f"`{gate['name']}`" for gate in _refusing(found)) or "no gate"
    gates = "\n".join(
        f"- `{gate['name']}` {'passes' if gate['passed'] else '**refuses**'}: {gate['text']}."
        for gate in found["by_time"]["gates"]
    )
    return (
        "The order of these people is found, but the probabilities must not be used: the bank "
        "called other people in 2010 than in 2008. A manager is told so by the report of the run. "
        f"Its status is `{found['by_time']['status']}`, refused by {names}:\n\n{gates}\n\nOn a "
        f"random split, where nothing changes, the calibration slope is {slope['slope']:.2f} "
        f"(90 % interval {slope['low']:.2f} to {slope['high']:.2f})."
    )


def _refusing(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [gate for gate in found["by_time"]["gates"] if not gate["passed"]]


def _mean(found: Mapping[str, Any], name: str) -> float:
    return float(np.mean([draw[name] for draw in found["few"]["draws"]]))


def _gain(found: Mapping[str, Any], name: str) -> float:
    return _mean(found, name) / _mean(found, "theirs") - 1.0


SECTION = Section(name="bank", title="A real campaign", cases=[], report=report)
