"""What a pattern says, as flat lists: every estimate with its place, and the truth behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cis_server.demo.truth import TrueRate, Truth
from cis_server.domain.patterns import WhenPattern, WhoPattern
from cis_server.domain.rates import RateEstimate
from cis_server.domain.vocabulary import Verdict
from cis_server.domain.what_pattern import WhatPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One published segment.

    Attributes:
        path: names of the fields that lead to it; segments of one list share it.
        value: of the dimension.
        estimate: rate with interval.
        verdict: winning, losing, undecided.
    """

    path: str
    value: str
    estimate: RateEstimate
    verdict: Verdict


def judged_segments(pattern: Any, path: str = "") -> Iterator[Judged]:
    """Every segment of a pattern that has a verdict, wherever it stands."""
    if isinstance(pattern, tuple | list):
        for item in pattern:
            yield from judged_segments(item, path)
    elif isinstance(pattern, Mapping):
        for key, item in pattern.items():
            yield from judged_segments(item, f"{path}.{key}")
    elif dataclasses.is_dataclass(pattern):
        estimate, verdict = getattr(pattern, "estimate", None), getattr(pattern, "verdict", None)
        if isinstance(verdict, Verdict):
            if estimate is None:
                estimate = getattr(pattern, "present", None)
            if isinstance(estimate, RateEstimate):
                value = str(getattr(pattern, "value", ""))
                yield Judged(path=path, value=value, estimate=estimate, verdict=verdict)
            return
        own = f".{pattern.attribute}" if hasattr(pattern, "attribute") else ""
        for field in dataclasses.fields(pattern):
            inner = getattr(pattern, field.name)
            yield from judged_segments(inner, f"{path}{own}.{field.name}".lstrip("."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """An estimate, its verdict, and the planted truth."""

    dimension: str
    value: str
    estimate: RateEstimate
    verdict: Verdict
    true: TrueRate


def against_truth(pattern: WhoPattern | WhenPattern | WhatPattern, truth: Truth) -> list[Against]:
    """All estimates of a pattern whose true rate the simulator knows."""
    leads, touches = truth.lead_rates, truth.touch_rates
    found: list[Against] = []

    def add(dimension: str, segments: Any, rates: Mapping[str, TrueRate]) -> None:
        known = {_folded(name): rate for name, rate in rates.items()}
        for segment in segments:
            true = known.get(_folded(segment.value))
            if true is not None:
                found.append(
                    Against(
                        dimension=dimension,
                        value=segment.value,
                        estimate=segment.estimate,
                        verdict=segment.verdict,
                        true=true,
                    )
                )

    if isinstance(pattern, WhoPattern):
        add("industry", pattern.industry_rankings, leads["industry"])
        for ranking in pattern.attribute_rankings:
            if ranking.attribute in leads and ranking.attribute != "title":
                add(ranking.attribute, ranking.segments, leads[ranking.attribute])
    elif isinstance(pattern, WhenPattern):
        days = {day.segment.value: str(day.day_of_week) for day in pattern.best_days}
        add(
            "weekday",
            (
                dataclasses.replace(d.segment, value=days[d.segment.value])
                for d in pattern.best_days
            ),
            touches["weekday"],
        )
        add("hour", (hour.segment for hour in pattern.best_hours), touches["hour"])
    else:
        pains, ctas, subjects = pattern.pain_points, pattern.ctas, pattern.subject_patterns
        if pains is not None:
            listed = (*pains.effective, *pains.ineffective, *pains.undecided)
            add("pain_point", listed, touches["pain_point"])
        if ctas is not None:
            add("cta", (*ctas.effective, *ctas.ineffective, *ctas.undecided), touches["cta"])
        if pattern.angles is not None:
            add("angle", pattern.angles.rankings, touches["angle"])
        if subjects is not None:
            listed_subjects = (*subjects.winning, *subjects.losing, *subjects.undecided)
            add("subject", listed_subjects, touches["subject"])
    return found


def _folded(name: str) -> str:
    return name.strip().casefold().replace("–", "-")
