"""One peak of the day, around midnight or before noon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cis_server.demo.specs import ALL_HOURS, ClientSpec
from cis_server.demo.truth import Effects, WeekPeak
from cis_server.detectors.when import detect_when
from tests.proof import naive
from tests.proof.cases import Figures
from tests.proof.simulated import CLIENT, EVERYTHING_LISTED, STEADY, leads_for, observed

MAILS = replace(
    STEADY,
    hour_weights=ALL_HOURS,
    sequences={("email",) * 5: 1.0, ("linkedin", "email", "email", "linkedin", "email"): 1.0},
)
"""Sent round the clock; calls and texts would keep to civil hours."""


def measure(seed: int, *, cohort: int, hour: int) -> Figures:
    """Where the top of the smoothed day is, where the raw rates and the mean winner have it."""
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=0.10,
        outreach=MAILS,
        effects=Effects(peaks=(WeekPeak(hour=hour, width_hours=1.5, log_odds=1.4),)),
    )
    dataset, run, _ = observed(spec, seed)
    when = detect_when(dataset, settings=EVERYTHING_LISTED, run=run)
    assert when.surface is not None
    weight = np.array(when.surface.effective_sample).reshape(7, 24)
    rate = np.array(when.surface.rate).reshape(7, 24)
    day = (rate * weight).sum(axis=0) / weight.sum(axis=0)
    top = naive.best((h.segment.value, h.segment.estimate) for h in when.best_hours)
    touches = run.resolved_touches.filter("hour_known").filter("success")
    median = float(np.median(touches["local_hour"].to_numpy()))
    winning = [h.hour for h in when.best_hours if h.segment.verdict.value == "winning"]
    return {
        "error": apart(float(day.argmax()), hour),
        "naive_error": apart(float(top or 0), hour),
        "median_error": apart(median, hour),
        "winning_error": max((apart(h, hour) for h in winning), default=None),
        "day": [round(float(value), 5) for value in day],
    }


def apart(one: float, other: float) -> float:
    """Hours between two times of day, the short way round."""
    away = abs(one - other) % 24
    return min(away, 24 - away)
