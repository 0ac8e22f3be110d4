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
from cis_server.domain.envelope import Envelope, FlagEffect, KnownUnits
from cis_server.domain.patterns import (
    HowPattern,
    Pattern,
    SequencePatterns,
    SequenceRate,
)
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.recommendations import (
    EvidenceBasis,
    Recommendation,
    RecommendationKind,
)
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.domain.what_pattern import Angles, LengthBin, OptimalLength, WhatPattern
from cis_server.learning.comparisons import comparisons
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


def _rate(n: int, k: int, **estimate: float) -> RateEstimate:
    return RateEstimate(
        rate=k / n, adjusted_rate=k / n, low=0.8 * k / n, high=1.2 * k / n, sample=n, converted=k,
        **{"q_value": 0.01, **estimate},
    )  # fmt: skip


ALL = KnownUnits(units=1000, converted=50, coverage=1.0)
TENTH = KnownUnits(units=1000, converted=50, coverage=0.1)
"""The same thousand among ten thousand."""


def _what(
    verdict: Verdict, n: int, k: int, known: KnownUnits = ALL, **estimate: float
) -> dict[PatternType, Pattern]:
    """A pattern with one angle, in 1 000 messages of which 50 converted."""
    about = Envelope(
        type=PatternType.WHAT, as_of=AS_OF, window_start=AS_OF - dt.timedelta(days=90),
        window_end=AS_OF, method="", sample_size=10_000, n_converted=400, unit="touches",
        baseline_conversion_rate=0.04, confidence=0.5, known={"angles": known},
    )  # fmt: skip
    segment = SegmentRate(value="roi", estimate=_rate(n, k, **estimate), verdict=verdict)
    empty = WhatPattern(
        envelope=about, subject_patterns=None, pain_points=None, ctas=None,
        angles=Angles(rankings=(segment,)), optimal_length={}, personalization_lift={},
        template_performance=None, ab_test_insights=None, link_effectiveness=None,
        ai_model_performance=None, question_effect=None, attachment_effect=None,
    )  # fmt: skip
    return {PatternType.WHAT: empty}


def month() -> pl.DataFrame:
    """Touches of the last 30 days."""
    return data("effects").activities.filter(
        pl.col("action") == "sent", pl.col("occurred_at") > AS_OF - dt.timedelta(days=30)
    )


def test_a_losing_element_is_dropped_for_what_it_costs() -> None:
    (one,) = recommend(_what(Verdict.LOSING, 400, 8), data("effects"))
    assert one.element == {"angle": "roi", "change": "use_less"}
    # 42.5 of 601 others, halves being the usual correction; one in a hundred is false.
    cost = (42.5 / 601 - 0.02) * 0.4 * month().height * 0.99
    assert one.expected == pytest.approx(cost, rel=0.03)
    assert "Doing without it" in one.text


def test_too_few_on_either_side_propose_nothing() -> None:
    for n in (29, 971):
        assert recommend(_what(Verdict.WINNING, n, 20), data("effects")) == ()
    assert len(recommend(_what(Verdict.WINNING, 30, 20), data("effects"))) == 1


def test_what_is_known_of_a_tenth_changes_a_tenth() -> None:
    for verdict in (Verdict.LOSING, Verdict.WINNING):
        (whole,) = recommend(_what(verdict, 400, 8), data("effects"))
        (tenth,) = recommend(_what(verdict, 400, 8, TENTH), data("effects"))
        assert tenth.expected == pytest.approx(whole.expected / 10, abs=0.001)
        assert tenth.evidence == whole.evidence


def test_the_others_are_those_of_which_it_is_known() -> None:
    (one,) = recommend(_what(Verdict.WINNING, 850, 48, TENTH, adjusted_lift=2.0), data("effects"))
    assert one.evidence.other_sample == 150
    assert "of the other 150" in one.evidence_text
    assert "Using it everywhere" in one.text
    gain = (48 / 850) * 0.5 * 0.15 * 0.1 * month().height * 0.99
    assert one.expected == pytest.approx(gain, rel=0.03)
    assert recommend(_what(Verdict.WINNING, 980, 49, TENTH), data("effects")) == ()


def test_a_property_known_of_few_messages_changes_those() -> None:
    (what,) = _what(Verdict.UNDECIDED, 10, 1).values()
    assert isinstance(what, WhatPattern)
    effect = FlagEffect(
        value="recent_news", present=_rate(500, 60), absent=_rate(500, 20), lift=3.0,
        verdict=Verdict.WINNING, unknown=9000,
    )  # fmt: skip
    told = dataclasses.replace(what, personalization_lift={"recent_news": effect})
    (one,) = recommend({PatternType.WHAT: told}, data("effects"))
    assert one.evidence.other_sample == 500
    gain = (60 / 500 - 20.5 / 501) * 0.5 * 0.1 * month().height * 0.99
    assert one.expected == pytest.approx(gain, rel=0.03)


def test_a_length_changes_the_messages_of_its_channel() -> None:
    (what,) = _what(Verdict.UNDECIDED, 10, 1).values()
    assert isinstance(what, WhatPattern)
    best = LengthBin(length_min=10, length_max=50, estimate=_rate(200, 30), verdict=Verdict.WINNING)
    length = OptimalLength(
        optimal_words=30, optimal_chars=None, range_min=10, range_max=50, unit="words",
        verdict=Verdict.WINNING, bins=(best,),
    )  # fmt: skip
    half = KnownUnits(units=1000, converted=50, coverage=0.5)
    told = dataclasses.replace(
        what,
        envelope=dataclasses.replace(what.envelope, known={"length.linkedin": half}),
        optimal_length={"linkedin": length},
    )
    (one,) = recommend({PatternType.WHAT: told}, data("effects"))
    sent = month().filter(pl.col("channel") == "linkedin").height
    assert 0 < sent < month().height / 2
    gain = (30 / 200 - 20.5 / 801) * 0.2 * 0.5 * sent * 0.99
    assert one.expected == pytest.approx(gain, rel=0.03)


def test_a_sequence_is_compared_with_leads_that_got_as_far() -> None:
    how = patterns("effects")[PatternType.HOW]
    assert isinstance(how, HowPattern)
    segment = SegmentRate(value="email→sms", estimate=_rate(300, 45), verdict=Verdict.WINNING)
    found = SequenceRate(channels=("email", "sms"), sequence="email→sms", segment=segment)
    told = dataclasses.replace(
        how,
        channel_effectiveness=(),
        first_touch_effectiveness=None,
        sequence_patterns=SequencePatterns(
            winning_sequences=(found,), sequences=(found,), three_channel=()
        ),
        envelope=dataclasses.replace(
            how.envelope,
            sample_size=20_000,
            known={
                "sequence_2": KnownUnits(units=1000, converted=80, coverage=0.05),
                # The window hides how the paths of the other half began.
                "first_channel": KnownUnits(units=10_000, converted=400, coverage=0.5),
            },
        ),
    )
    (one,) = recommend({PatternType.HOW: told}, data("effects"))
    assert one.evidence.other_sample == 700
    leads = data("effects").leads.filter(
        pl.col("first_contacted_at") > AS_OF - dt.timedelta(days=30)
    )
    gain = (45 / 300 - 35.5 / 701) * 0.3 * 0.1 * leads.height * 0.99
    assert one.expected == pytest.approx(gain, rel=0.03)


def test_every_compared_block_knows_among_whom() -> None:
    """Of one message in two the content is not known; everything found is compared within it."""
    given = data("effects")
    kept = pl.col("activity_id").hash(1) % 2 == 0
    half = dataclasses.replace(
        given, activities=given.activities.with_columns(content=pl.when(kept).then("content"))
    )
    outcomes = run_detectors(half)
    what, how = outcomes[PatternType.WHAT].pattern, outcomes[PatternType.HOW].pattern
    assert isinstance(what, WhatPattern)
    assert isinstance(how, HowPattern)
    found = comparisons(what, None, how)
    assert {each.key for each in found} >= {
        *("subject_patterns", "pain_points", "ctas", "angles", "optimal_length"),
        *("template_performance", "ai_model_performance", "personalization_lift"),
        *("first_touch_effectiveness", "channel_effectiveness", "sequence_patterns"),
    }
    for one in found:
        if one.key in ("angles", "optimal_length", "question_effect"):
            assert one.coverage == pytest.approx(0.5, abs=0.05), one.key
        if one.key == "subject_patterns":  # E-mails alone have one.
            assert one.coverage < 0.45
        if one.key in ("channel_effectiveness", "first_touch_effectiveness"):
            assert one.coverage == 1.0
        if one.key == "sequence_patterns":
            assert one.total < how.envelope.sample_size or one.coverage == 1.0


def test_a_pattern_stored_without_its_populations_is_read_and_proposes_nothing_of_them() -> None:
    (what,) = _what(Verdict.WINNING, 400, 40).values()
    content = what.to_json()
    del content["envelope"]["known"]
    old = WhatPattern.from_json(content)
    assert old.angles == what.angles
    assert recommend({PatternType.WHAT: old}, data("effects")) == ()


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
