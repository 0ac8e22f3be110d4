"""Nothing is planted: whatever is found is false."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from cis_server.demo.specs import ClientSpec
from cis_server.detectors.runner import DetectorOutcome, run_detectors
from cis_server.domain.dataset import FRAMES, Dataset
from cis_server.domain.patterns import WhenPattern, WhoPattern
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.domain.what_pattern import WhatPattern
from tests.proof import naive
from tests.proof.cases import Figures
from tests.proof.reading import against_truth, judged_segments
from tests.proof.simulated import (
    BASE_RATE,
    CLIENT,
    EVERYTHING_LISTED,
    STEADY,
    leads_for,
    observed,
)

Outcomes = Mapping[PatternType, DetectorOutcome]


def measure(seed: int, *, cohort: int, shuffle: bool) -> Figures:
    """All six detectors over a client in which nothing matters.

    Args:
        seed: of the simulation.
        cohort: leads that count, about.
        shuffle: run them again over the same rows in another order, and compare the bytes.
    """
    spec = ClientSpec(
        client_id=CLIENT, leads=leads_for(cohort), base_rate=BASE_RATE, outreach=STEADY
    )
    dataset, _, truth = observed(spec, seed)
    outcomes = run_detectors(dataset, settings=EVERYTHING_LISTED)
    covered, naively, hazards = [], [], []
    for outcome in outcomes.values():
        if isinstance(outcome.pattern, WhoPattern | WhenPattern | WhatPattern):
            for found in against_truth(outcome.pattern, truth):
                estimate, true = found.estimate, found.true.rate
                covered.append(bool(estimate.low <= true <= estimate.high))
                held = naive.covers(estimate, true)
                if held is not None:
                    naively.append(held)
        if isinstance(outcome.pattern, WhenPattern):
            hazards = [
                (
                    touch.hazard.adjusted_rate / float(true),
                    bool(touch.hazard.low <= true <= touch.hazard.high),
                )
                for touch, true in zip(outcome.pattern.touch_hazard, truth.hazard, strict=False)
            ]
    figures: dict[str, object] = {
        "intervals": len(covered),
        "covered": sum(covered),
        "naive_intervals": len(naively),
        "naive_covered": sum(naively),
        "hazard_ratio": [ratio for ratio, _ in hazards],
        "hazard_covered": [held for _, held in hazards],
        "converting_share": _converting_share(outcomes),
        "detectors": {kind.value: _false(outcome) for kind, outcome in outcomes.items()},
    }
    if shuffle:
        again = run_detectors(shuffled(dataset, seed), settings=EVERYTHING_LISTED)
        figures["identical"] = stored(outcomes) == stored(again)
    return figures


def _false(outcome: DetectorOutcome) -> dict[str, object] | None:
    if outcome.pattern is None:
        return None
    segments = [s for s in judged_segments(outcome.pattern) if s.estimate.sample > 0]
    baseline = outcome.pattern.envelope.baseline_conversion_rate
    return {
        "segments": len(segments),
        "lists": len({segment.path for segment in segments}),
        "winners": sum(segment.verdict is Verdict.WINNING for segment in segments),
        "losers": sum(segment.verdict is Verdict.LOSING for segment in segments),
        "naive_winners": naive.winners(segments, baseline),
    }


def _converting_share(outcomes: Outcomes) -> list[float] | None:
    """Share of conversions by touch number: what a naive look at the winners shows.

    None where too few converted for a pattern.
    """
    pattern = outcomes[PatternType.WHEN].pattern
    if not isinstance(pattern, WhenPattern):
        return None
    return [pattern.converting_touch_distribution.get(f"touch_{t}", 0.0) for t in range(1, 6)]


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The same rows, every frame in another order."""
    return replace(
        dataset,
        **{
            name: getattr(dataset, name).sample(fraction=1.0, shuffle=True, seed=seed + 1)
            for name in FRAMES
        },
    )


def stored(outcomes: Outcomes) -> dict[str, str]:
    """The bytes each pattern would be stored as."""
    return {
        kind.value: json.dumps(outcome.pattern.to_json(), allow_nan=False)
        for kind, outcome in outcomes.items()
        if outcome.pattern is not None
    }
