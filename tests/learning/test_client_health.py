"""Which figures give which warnings, at their bounds."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.health import (
    CalibrationFigures,
    FlowFigures,
    HealthFigures,
    ModelFigures,
    PatternFigures,
    Severity,
    Shift,
    WarningType,
    WeightsFigures,
)
from cis_server.domain.vocabulary import PatternType
from cis_server.learning.drift import category_index
from cis_server.learning.health import client_health

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
NOTHING = HealthFigures(client_id="c")


def said(**figures: Any) -> list[str]:
    health = client_health(dataclasses.replace(NOTHING, **figures), NOW)
    return [warning.type.value for warning in health.warnings]


def pattern(days: float = 10, sample: int = 100, confidence: float = 0.9) -> PatternFigures:
    return PatternFigures(
        type=PatternType.WHO,
        sample_size=sample,
        confidence=confidence,
        valid_until=NOW + days * DAY,
    )


def test_nothing_is_wrong_with_nothing() -> None:
    assert said() == []


@pytest.mark.parametrize(
    ("figures", "warnings"),
    [
        (pattern(3.01), []),
        (pattern(3), ["expiring_soon"]),
        (pattern(0), ["expired"]),
        (pattern(sample=30), []),
        (pattern(sample=29), ["low_sample"]),
        (pattern(confidence=0.5), []),
        (pattern(confidence=0.49), ["low_confidence"]),
    ],
)
def test_patterns(figures: PatternFigures, warnings: list[str]) -> None:
    assert said(patterns=(figures,)) == warnings


def weights(now: float, before: float | None, low: float, high: float) -> WeightsFigures:
    return WeightsFigures(
        model_id="m",
        version=2,
        weights={"authority": now},
        previous=None if before is None else {"authority": before},
        intervals={"authority": (low, high)},
        learned=True,
    )


@pytest.mark.parametrize(
    ("figures", "warnings"),
    [
        (weights(0.45, None, 0.4, 0.5), []),
        (weights(0.451, None, 0.4, 0.5), ["extreme_weight_high"]),
        (weights(0.08, None, 0.0, 0.2), []),
        (weights(0.079, None, 0.0, 0.2), ["extreme_weight_low"]),
        (weights(0.40, 0.25, 0.2, 0.5), []),
        (weights(0.34, 0.25, 0.3, 0.4), []),
        (weights(0.40, 0.25, 0.3, 0.5), ["weight_drift"]),
        (dataclasses.replace(weights(0.5, 0.2, 0.4, 0.6), learned=False), []),
    ],
)
def test_weights(figures: WeightsFigures, warnings: list[str]) -> None:
    assert said(weights=figures) == warnings


def model(recent: float, earlier: float, converted: int = 20) -> ModelFigures:
    return ModelFigures(
        model_id="m",
        version=1,
        target="call_booked",
        pr_auc=0.5,
        recent_pr_auc=recent,
        earlier_pr_auc=earlier,
        recent_converted=converted,
        earlier_converted=converted,
    )


@pytest.mark.parametrize(
    ("figures", "warnings"),
    [
        (model(0.44, 0.44), ["model_drift"]),
        # Once is not for two weeks.
        (model(0.44, 0.46), []),
        (model(0.46, 0.44), []),
        (model(0.2, 0.2, converted=19), []),
    ],
)
def test_model(figures: ModelFigures, warnings: list[str]) -> None:
    assert said(models=(figures,)) == warnings


def test_of_several_models_those_that_drifted_are_named() -> None:
    good, bad = (
        dataclasses.replace(model(now, now), model_id=name, target=name)
        for name, now in (("converted", 0.5), ("call_booked", 0.3))
    )
    health = client_health(dataclasses.replace(NOTHING, models=(good, bad)), NOW)
    assert [version.model_id for version in health.drifted] == ["call_booked"]
    assert "(call booked) had a PR-AUC of 0.500" in health.drifted[0].reason


@pytest.mark.parametrize(
    ("flow", "warnings"),
    [
        (FlowFigures(conversions=1), ["no_converting_touch"]),
        (FlowFigures(conversions=9, marked=1), []),
        (FlowFigures(touches=100, with_content=80), []),
        (FlowFigures(touches=100, with_content=79), ["snapshot_coverage"]),
        (FlowFigures(touches=29), []),
        (FlowFigures(timed=100, with_local_time=70), []),
        (FlowFigures(timed=100, with_local_time=69), ["local_time_coverage"]),
        (FlowFigures(opened=100, machine_only=50), []),
        (FlowFigures(opened=100, machine_only=51), ["machine_opens"]),
    ],
)
def test_flow(flow: FlowFigures, warnings: list[str]) -> None:
    assert said(flow=flow) == warnings


@pytest.mark.parametrize(("top", "warnings"), [(2, []), (1, ["calibration"])])
def test_calibration(top: int, warnings: list[str]) -> None:
    seen = CalibrationFigures(leads=200, converted=20, top_leads=20, top_converted=top)
    assert said(calibration=seen) == warnings


def test_missing_patterns() -> None:
    assert said(conversion_sample_count=9) == []
    health = client_health(dataclasses.replace(NOTHING, conversion_sample_count=10), NOW)
    assert [w.pattern for w in health.warnings] == ["how", "what", "when", "who"]
    assert health.high_count == 4
    many = FlowFigures(meetings=20)
    health = client_health(dataclasses.replace(NOTHING, conversion_sample_count=10, flow=many), NOW)
    assert PatternType.FUNNEL in {w.pattern for w in health.warnings}


def test_stale_runs() -> None:
    new, old = NOW - 8 * DAY, NOW - 8.1 * DAY
    assert said(eligible_since=new) == []
    assert said(eligible_since=old) == ["stale_run"]
    assert said(eligible_since=old, last_success_at=new) == []
    assert said(eligible_since=old, last_success_at=old) == ["stale_run"]
    # Too few conversions: nobody expects it to learn.
    assert said(last_success_at=old) == []


def test_a_shift_needs_leads_on_both_sides() -> None:
    was, is_now = {"a": 99, "b": 1}, {"a": 1, "b": 99}
    assert said(shifts=(Shift(feature="industry", reference=was, current=is_now),)) == ["drift"]
    fewer = {"a": 1, "b": 98}
    assert said(shifts=(Shift(feature="industry", reference=was, current=fewer),)) == []


def test_the_worst_come_first() -> None:
    health = client_health(
        dataclasses.replace(
            NOTHING,
            patterns=(pattern(sample=1), pattern(-1)),
            flow=FlowFigures(conversions=3),
        ),
        NOW,
    )
    assert [w.severity for w in health.warnings] == [Severity.HIGH, Severity.HIGH, Severity.MEDIUM]
    assert {w.type for w in health.warnings[:2]} == {
        WarningType.EXPIRED,
        WarningType.NO_CONVERTING_TOUCH,
    }


COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 500), max_size=8)


@given(COUNTS, COUNTS)
def test_the_index_is_symmetric_and_never_negative(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert category_index(one, other) >= 0.0
    assert category_index(one, other) == pytest.approx(category_index(other, one))
    assert category_index(one, one) == 0.0


def test_the_index_of_a_known_shift() -> None:
    # (.8 - .2) ln 4 twice, the half counted on each side and what chance explains taken off.
    found = category_index({"a": 8000, "b": 2000}, {"a": 2000, "b": 8000})
    assert found == pytest.approx(2 * 0.6 * np.log(4.0), abs=2e-3)


def test_without_a_shift_there_is_no_alarm() -> None:
    rng = np.random.default_rng(11)
    share = np.array([0.3, 0.2, 0.15, 0.12, 0.1, 0.06, 0.04, 0.03])
    alarms = 0
    for _ in range(500):
        one, other = (rng.multinomial(100, share) for _ in range(2))
        counted = [dict(zip("abcdefgh", map(int, it), strict=True)) for it in (one, other)]
        alarms += category_index(counted[0], counted[1]) > 0.2
    assert alarms <= 10
