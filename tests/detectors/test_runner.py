"""All detectors over one dataset: isolation, determinism, storage."""

import json
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from conversation_frames import with_conversations
from detector_frames import outreach, shuffled
from funnel_frames import with_pipeline

from cis_server.detectors import DETECTORS, run_detectors
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import PATTERN_CLASSES
from cis_server.domain.vocabulary import PatternStatus, PatternType


def full(leads: int, seed: int = 1) -> Dataset:
    """Outreach with something in nearly every column."""
    columns = {
        "title": lambda rng, n: rng.choice(np.array(["CEO", "CTO", "Sales Director", ""]), n),
        "industry": lambda rng, n: rng.choice(np.array(["Retail", "Mining", "Energy"]), n),
        "employee_count": lambda rng, n: rng.integers(0, 900, n),
        "is_hiring": lambda rng, n: rng.random(n) < 0.5,
        "tier": lambda rng, n: rng.choice(np.array(["hot", "warm", "cold", "dead"]), n),
        "country": lambda rng, n: rng.choice(np.array(["AU", "NZ"]), n),
        "revenue": lambda rng, n: rng.lognormal(15, 2, n),
        "technologies": lambda rng, n: rng.choice(np.array(["a", "b"]), (n, 2)),
        "objections": lambda rng, n: rng.choice(np.array(["budget", "timing"]), (n, 1)),
        "attributes": lambda rng, n: [
            f'{{"age": "{age}", "x": "{x}"}}'
            for age, x in zip(rng.integers(18, 90, n), rng.integers(0, 3, n), strict=True)
        ],
    }
    data = outreach(seed=seed, leads=leads, columns=columns, channels=("email", "sms", "voice"))
    opened = pl.col("activity_id").hash(seed=1) % 5 == 0
    return replace(
        with_conversations(with_pipeline(data)),
        activities=data.activities.with_columns(
            human_opened_at=pl.when(opened).then(pl.col("occurred_at") + pl.duration(minutes=61)),
            minutes_to_open=pl.when(opened).then(61.123456),
            template_id=pl.when(pl.col("local_hour") % 2 == 0)
            .then(pl.lit("a"))
            .otherwise(pl.lit("b")),
            content=pl.when(pl.col("channel") == "voice").then(
                pl.concat_str(pl.lit('{"contact": "k'), pl.col("local_weekday"), pl.lit('"}'))
            ),
        ),
    )


def stored(data: Dataset) -> dict[PatternType, str]:
    outcomes = run_detectors(data)
    assert {o.status for o in outcomes.values()} == {PatternStatus.OK}
    return {
        kind: json.dumps(outcome.pattern.to_json(), allow_nan=False)
        for kind, outcome in outcomes.items()
        if outcome.pattern is not None
    }


def test_the_same_data_give_the_same_bytes_whatever_the_row_order() -> None:
    data = full(1500)
    first = stored(data)
    assert set(first) == set(DETECTORS)
    for seed in (1, 2):
        assert stored(shuffled(data, seed)) == first
    assert stored(full(1500, seed=2)) != first


def test_patterns_survive_storage() -> None:
    for kind, outcome in run_detectors(full(1200)).items():
        assert outcome.pattern is not None
        text = json.dumps(outcome.pattern.to_json(), allow_nan=False)
        assert PATTERN_CLASSES[kind].from_json(json.loads(text)) == outcome.pattern


def test_no_block_of_full_data_fails() -> None:
    for outcome in run_detectors(full(1200)).values():
        assert outcome.pattern is not None
        errors = [b for b in outcome.pattern.envelope.blocks if b.status is PatternStatus.ERROR]
        assert errors == []


def test_too_little_data_is_told_per_detector() -> None:
    outcomes = run_detectors(full(12))
    assert set(outcomes) == set(DETECTORS)
    for outcome in outcomes.values():
        assert outcome.status is PatternStatus.INSUFFICIENT_DATA
        assert "needed" in outcome.reason
        assert outcome.pattern is None
    assert outcomes[PatternType.WHO].sample == 12


def test_one_detector_that_fails_leaves_the_others() -> None:
    data = full(600)
    broken = replace(data, leads=data.leads.drop("objections", "attributes", "is_hiring"))
    outcomes = run_detectors(broken)
    assert outcomes[PatternType.WHEN].status is PatternStatus.OK
    assert outcomes[PatternType.HOW].status is PatternStatus.OK
    who = outcomes[PatternType.WHO]
    assert who.pattern is not None
    status = {b.block: b.status for b in who.pattern.envelope.blocks}
    assert status["timing_signals"] is PatternStatus.ERROR
    assert status["title_rankings"] is PatternStatus.OK
    unusable = run_detectors(replace(data, activities=data.activities.drop("occurred_at")))
    assert {o.status for o in unusable.values()} == {PatternStatus.ERROR}
    assert all("occurred_at" in o.reason for o in unusable.values())


def test_progress_and_choice_of_detectors() -> None:
    seen: list[tuple[PatternType, float]] = []
    ticks = iter(range(100))
    outcomes = run_detectors(
        full(300),
        types=[PatternType.HOW, PatternType.WHEN],
        progress=lambda kind, share: seen.append((kind, share)),
        timer=lambda: float(next(ticks)),
    )
    assert list(outcomes) == [PatternType.WHEN, PatternType.HOW]
    assert seen == [(PatternType.WHEN, 0.0), (PatternType.HOW, 0.5)]
    assert [o.seconds for o in outcomes.values()] == [1.0, 1.0]


@pytest.mark.slow
def test_a_hundred_thousand_leads_take_seconds() -> None:
    data = full(100_000)
    began = time.process_time()
    outcomes = run_detectors(data)
    assert time.process_time() - began < 20  # of all cores, and of a busy machine
    assert {o.status for o in outcomes.values()} == {PatternStatus.OK}
