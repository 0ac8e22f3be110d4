"""Proposals: planted effects are found, noise proposes no change, little data nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from functools import cache

import polars as pl
import pytest
from learning_cases import AS_OF, NOISE

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import Simulation, simulate
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.detectors.runner import run_detectors
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.envelope import Envelope
from cis_server.domain.patterns import Pattern
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.recommendations import (
    EvidenceBasis,
    Recommendation,
    RecommendationKind,
)
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.domain.what_pattern import Angles, WhatPattern
from cis_server.learning.recommendations import (
    LONGEST_EXPERIMENT_DAYS,
    MOST_EXPERIMENTS,
    recommend,
)
from cis_server.stats.experiment_size import leads_per_arm

EFFECTS = ClientSpec(
    client_id="effects",
    leads=4_000,
    base_rate=0.10,
    effects=Effects(
        first_channels={"linkedin": 1.2},
        ab_variants={"B": 1.0},
        personalisation={"recent_news": 1.2},
    ),
)
FEW = ClientSpec(client_id="few", leads=25, base_rate=0.3)


@cache
def simulation() -> Simulation:
    return simulate((EFFECTS, NOISE, FEW), 5, AS_OF)


@cache
def data(client_id: str) -> Dataset:
    window = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)
    return to_dataset(simulation(), client_id, window)


@cache
def patterns(client_id: str) -> dict[PatternType, Pattern]:
    found = run_detectors(data(client_id))
    return {kind: each.pattern for kind, each in found.items() if each.pattern is not None}


@cache
def proposed(client_id: str) -> tuple[Recommendation, ...]:
    return recommend(patterns(client_id), data(client_id))


def about(key: str, change: str = "use_more") -> list[Recommendation]:
    return [
        one
        for one in proposed("effects")
        if one.evidence.key == key and one.element.get("change") == change
    ]


def test_planted_effects_are_proposed() -> None:
    (winner,) = about("ab_test_insights")
    assert winner.basis is EvidenceBasis.EXPERIMENT
    assert winner.kind is RecommendationKind.PROMPT_EDIT
    assert winner.element["variant"] == "B"
    assert 0 < winner.low < winner.expected < winner.high
    first = next(one for one in about("first_touch_effectiveness"))
    assert first.basis is EvidenceBasis.ASSOCIATION
    assert first.kind is RecommendationKind.STEP_ORDER
    assert first.element["first_channel"] == "linkedin"
    assert first.evidence.rate > first.evidence.other_rate
    assert first.evidence.q_value is not None
    assert first.evidence.q_value <= 0.10
    assert "may have another cause" in first.evidence_text
    assert "if the association is the cause" in first.text
    (news,) = about("personalization_lift")
    assert news.element["property"] == "recent_news"
    assert news.kind is RecommendationKind.PROMPT_EDIT


def test_the_winner_of_an_experiment_brings_what_its_leads_would_have_brought() -> None:
    (winner,) = about("ab_test_insights")
    month = data("effects").leads.filter(
        pl.col("first_contacted_at") > AS_OF - dt.timedelta(days=30)
    )
    seen = winner.evidence
    share = seen.other_sample / (seen.sample + seen.other_sample)
    expected = (seen.rate - seen.other_rate) * share * month.height
    assert winner.expected == pytest.approx(expected, rel=0.03)


def test_noise_proposes_no_change() -> None:
    assert {one.kind for one in proposed("noise")} <= {RecommendationKind.EXPERIMENT}


def test_experiments_are_sized_for_their_verdict() -> None:
    found = [one for one in proposed("noise") if one.kind is RecommendationKind.EXPERIMENT]
    assert 0 < len(found) <= MOST_EXPERIMENTS
    assert len({one.evidence.key for one in found}) == len(found)
    for one in found:
        plan = one.power_plan
        assert plan is not None
        assert plan.base_rate is not None
        assert plan.expected_days is not None
        assert plan.leads_per_variant == leads_per_arm(plan.base_rate, plan.minimum_effect)
        assert 0 < plan.expected_days <= LONGEST_EXPERIMENT_DAYS
        # Nothing is changed unless it is better, so it costs nothing.
        assert 0 <= one.low <= one.expected <= one.high


def test_every_proposal_has_its_evidence_and_its_rank() -> None:
    found = proposed("effects")
    assert [one.expected for one in found] == sorted((o.expected for o in found), reverse=True)
    assert len({one.recommendation_id for one in found}) == len(found)
    for one in found:
        assert uuid.UUID(one.recommendation_id).version == 5
        assert one.low <= one.expected <= one.high
        assert min(one.evidence.sample, one.evidence.other_sample) >= 30
        assert one.title
        assert str(one.evidence.sample) in one.evidence_text
        assert Recommendation.from_json(one.to_json()) == one


def test_little_data_proposes_nothing() -> None:
    assert proposed("few") == ()
    assert recommend({}, data("effects")) == ()


def test_the_same_data_propose_the_same_whatever_the_order() -> None:
    given = data("effects")
    turned = dataclasses.replace(
        given, leads=given.leads.reverse(), activities=given.activities.reverse()
    )
    backwards = dict(reversed(patterns("effects").items()))
    assert recommend(backwards, turned) == proposed("effects")


def _what(verdict: Verdict, n: int, k: int, **estimate: float) -> dict[PatternType, Pattern]:
    """A pattern with one angle in 1 000 messages of which 50 converted."""
    rate = RateEstimate(
        rate=k / n, adjusted_rate=k / n, low=0.8 * k / n, high=1.2 * k / n, sample=n, converted=k,
        **{"q_value": 0.01, **estimate},
    )  # fmt: skip
    about = Envelope(
        type=PatternType.WHAT, as_of=AS_OF, window_start=AS_OF - dt.timedelta(days=90),
        window_end=AS_OF, method="", sample_size=1000, n_converted=50, unit="touches",
        baseline_conversion_rate=0.05, confidence=0.5,
    )  # fmt: skip
    segment = SegmentRate(value="roi", estimate=rate, verdict=verdict)
    empty = WhatPattern(
        envelope=about, subject_patterns=None, pain_points=None, ctas=None,
        angles=Angles(rankings=(segment,)), optimal_length={}, personalization_lift={},
        template_performance=None, ab_test_insights=None, link_effectiveness=None,
        ai_model_performance=None, question_effect=None, attachment_effect=None,
    )  # fmt: skip
    return {PatternType.WHAT: empty}


def test_a_losing_element_is_dropped_for_what_it_costs() -> None:
    (one,) = recommend(_what(Verdict.LOSING, 400, 8), data("effects"))
    assert one.element == {"angle": "roi", "change": "use_less"}
    month = data("effects").activities.filter(
        pl.col("action") == "sent", pl.col("occurred_at") > AS_OF - dt.timedelta(days=30)
    )
    # 42.5 of 601 others, halves being the usual correction; one in a hundred is false.
    cost = (42.5 / 601 - 0.02) * 0.4 * month.height * 0.99
    assert one.expected == pytest.approx(cost, rel=0.03)
    assert "Doing without it" in one.text


def test_too_few_on_either_side_propose_nothing() -> None:
    for n in (29, 971):
        assert recommend(_what(Verdict.WINNING, n, 20), data("effects")) == ()
    assert len(recommend(_what(Verdict.WINNING, 30, 20), data("effects"))) == 1


def test_what_strata_contradict_is_not_proposed() -> None:
    confounded = _what(Verdict.WINNING, 400, 40, stratified_lift=0.9)
    assert recommend(confounded, data("effects")) == ()
    held = _what(Verdict.WINNING, 400, 40, stratified_lift=1.1)
    assert len(recommend(held, data("effects"))) == 1


def test_ids_tell_proposals_apart() -> None:
    ids = {
        recommend(_what(verdict, 400, 20), data(client))[0].recommendation_id
        for verdict in (Verdict.WINNING, Verdict.LOSING)
        for client in ("effects", "noise")
    }
    assert len(ids) == 4
