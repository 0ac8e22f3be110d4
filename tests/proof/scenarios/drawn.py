"""Every rate is drawn: the truth is never exactly no difference, and seldom a large one."""

from __future__ import annotations

import numpy as np

from cis_server.demo import catalogue, writing
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.detectors.what import detect_what
from cis_server.detectors.when import detect_when
from cis_server.detectors.who import detect_who
from tests.proof import naive
from tests.proof.cases import Figures
from tests.proof.reading import Against, against_truth
from tests.proof.simulated import (
    BASE_RATE,
    CLIENT,
    EVERYTHING_LISTED,
    STEADY,
    leads_for,
    observed,
)

SPREAD = 0.4
"""Standard deviation of the drawn log-odds: two of three values lie within 0.67 to 1.5 times the
odds of the middle one."""


def drawn_effects(seed: int) -> Effects:
    """Log-odds of every value of ten dimensions, drawn from a normal law."""
    rng = np.random.default_rng([seed, 20_260_420])

    def draw(names: list[str]) -> dict[str, float]:
        return dict(zip(names, rng.normal(0.0, SPREAD, len(names)).tolist(), strict=True))

    return Effects(
        title_levels=draw(sorted({row.level for row in catalogue.TITLES})),
        industries=draw([name for name, _ in catalogue.INDUSTRIES]),
        size_ranges=draw([row[0] for row in catalogue.SIZE_RANGES]),
        countries=draw(sorted({row.country for row in catalogue.PLACES})),
        attributes=draw([f"crm_source={name}" for name, _ in catalogue.CRM_SOURCES]),
        weekdays=dict(enumerate(rng.normal(0.0, SPREAD, 7).tolist(), 1)),
        pain_points=draw([name for name, _ in writing.PAIN_POINTS]),
        ctas=draw([name for name, *_ in writing.CTAS]),
        angles=draw([name for name, _ in writing.ANGLES]),
        subjects=draw([name for name, _ in writing.SUBJECTS]),
    )


def measure(seed: int, *, cohort: int) -> Figures:
    """Intervals against drawn rates, and how far the top of each list is from what it says."""
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=BASE_RATE,
        outreach=STEADY,
        effects=drawn_effects(seed),
    )
    dataset, run, truth = observed(spec, seed)
    found: list[Against] = []
    for detect in (detect_who, detect_when, detect_what):
        pattern = detect(dataset, settings=EVERYTHING_LISTED, run=run)
        found += against_truth(pattern, truth)
    found = [each for each in found if each.estimate.sample >= naive.MINIMUM]
    true = np.array([each.true.rate for each in found])
    adjusted = np.array([each.estimate.adjusted_rate for each in found])
    raw = np.array([each.estimate.rate for each in found], dtype=float)
    tops = [_top_errors([e for e in found if e.dimension == name]) for name in _dimensions(found)]
    return {
        "intervals": len(found),
        "covered": sum(each.estimate.low <= each.true.rate <= each.estimate.high for each in found),
        "naive_covered": sum(bool(naive.covers(e.estimate, e.true.rate)) for e in found),
        "width": float(np.mean([each.estimate.high - each.estimate.low for each in found])),
        "naive_width": float(np.mean([high - low for low, high in map(_naive, found)])),
        "squared_error": float(np.mean(np.square(adjusted - true))),
        "naive_squared_error": float(np.mean(np.square(raw - true))),
        "top_ratio": float(np.mean([ratio for ratio, _ in tops])),
        "naive_top_ratio": float(np.mean([ratio for _, ratio in tops])),
    }


def _dimensions(found: list[Against]) -> list[str]:
    return sorted({each.dimension for each in found})


def _naive(each: Against) -> tuple[float, float]:
    return naive.interval(each.estimate) or (0.0, 0.0)


def _top_errors(found: list[Against]) -> tuple[float, float]:
    """Stated rate / true rate of the first of the list: by lower end, and by raw rate.

    To twelve decimals: true rates are means over leads that several threads add up in any order.
    """
    first = max(found, key=lambda e: (e.estimate.low, e.estimate.sample, e.value))
    raw = max(found, key=lambda e: (e.estimate.rate or 0.0, e.estimate.sample, e.value))
    return (
        round(first.estimate.adjusted_rate / first.true.rate, 12),
        round((raw.estimate.rate or 0.0) / raw.true.rate, 12),
    )
