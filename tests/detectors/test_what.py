"""WHAT: planted content is found, nothing is found where nothing is, missing is missing."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from detector_frames import dataset, outreach, shuffled

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.demo.truth import Effects, LengthPeak
from cis_server.detectors import DetectorSettings, InsufficientData, detect_what, population
from cis_server.detectors.what_content import TouchContent
from cis_server.domain.content import PERSONALISATION
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.patterns import WhatPattern
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import PatternStatus, Verdict

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
PLANTED = Effects(
    pain_points={"scaling": 0.8, "cost": -0.9},
    ctas={"worth 15 minutes": 0.7, "let me know": -0.8},
    angles={"social_proof": 0.7},
    subjects={"quick_question": 0.8, "idea_for": -0.8},
    personalisation={"recent_news": 0.7},
    templates={"email-2": 0.8, "email-4": -0.8},
    ab_variants={"B": 0.5},
    length={"email": LengthPeak(words=60, width_words=12, log_odds=1.0)},
    touch_hazard=(0.0, 0.3, -0.3),
)


def simulated(seed: int, leads: int, effects: Effects | None = None, **outreach_: Any) -> Dataset:
    spec = ClientSpec(
        client_id="acme",
        leads=leads,
        outreach=Outreach(history_days=200, **outreach_),
        effects=effects or Effects(),
    )
    window = Window(start=AS_OF - dt.timedelta(days=300), as_of=AS_OF)
    return to_dataset(simulate([spec], seed=seed, as_of=AS_OF), "acme", window)


@pytest.fixture(scope="module")
def planted_data() -> Dataset:
    return simulated(21, 16_000, PLANTED)


@pytest.fixture(scope="module")
def planted(planted_data: Dataset) -> WhatPattern:
    return detect_what(planted_data)


def names(segments: Any) -> list[str]:
    return [segment.value for segment in segments]


def segment(segments: tuple[SegmentRate, ...], value: str) -> SegmentRate:
    return next(each for each in segments if each.value == value)


def verdicts(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every verdict in the stored JSON, with where it stands."""
    if isinstance(data, Mapping):
        if "verdict" in data:
            yield f"{path}/{data.get('value', '')}", data["verdict"]
        for key, value in data.items():
            yield from verdicts(value, f"{path}/{key}")
    elif isinstance(data, list):
        for value in data:
            yield from verdicts(value, path)


def test_planted_words_are_found_and_no_others(planted: WhatPattern) -> None:
    assert planted.pain_points is not None
    assert planted.ctas is not None
    assert planted.angles is not None
    assert planted.subject_patterns is not None
    assert names(planted.pain_points.effective) == ["scaling"]
    assert names(planted.pain_points.ineffective) == ["cost"]
    assert len(planted.pain_points.undecided) == 6
    assert names(planted.ctas.effective) == ["worth 15 minutes"]
    assert names(planted.ctas.ineffective) == ["let me know"]
    assert planted.ctas.by_type["time_specific"].adjusted_lift > 1.3
    assert planted.ctas.by_type["passive"].adjusted_lift < 0.8
    assert planted.angles.rankings[0].value == "social_proof"
    assert planted.angles.rankings[0].verdict is Verdict.WINNING
    assert "quick_question" in names(planted.subject_patterns.winning)
    assert "idea_for" in names(planted.subject_patterns.losing)


def test_ratios_are_those_planted(planted: WhatPattern) -> None:
    """At rates this small log-odds and log rates nearly agree."""
    assert planted.pain_points is not None
    (scaling,) = planted.pain_points.effective
    others = 1 / 7 * (6 + np.exp(-0.9))
    expected = np.exp(0.8) / others
    assert scaling.estimate.stratified_lift == pytest.approx(expected, rel=0.12)
    assert scaling.estimate.adjusted_lift == pytest.approx(expected, rel=0.15)
    assert scaling.share_all == pytest.approx(1 / 8, abs=0.01)
    assert scaling.share_converting is not None
    assert scaling.share_converting > 1.6 * scaling.share_all


def test_personalisation_templates_and_models(planted: WhatPattern) -> None:
    effects = planted.personalization_lift
    assert set(effects) == set(PERSONALISATION)
    assert effects["recent_news"].verdict is Verdict.WINNING
    assert effects["recent_news"].lift == pytest.approx(np.exp(0.7), rel=0.15)
    for name in set(PERSONALISATION) - {"recent_news"}:
        assert effects[name].verdict is Verdict.UNDECIDED
        assert effects[name].lift == pytest.approx(1.0, abs=0.15)
    assert effects["first_name"].unknown == 0
    assert effects["industry_specific"].unknown > 0
    templates = planted.template_performance
    assert templates is not None
    assert "acme-email-2" in names(templates.top_templates[:2])
    assert templates.bottom_templates[0].value == "acme-email-4"
    assert not set(names(templates.top_templates)) & set(names(templates.bottom_templates))
    assert templates.total_templates_analyzed == 20
    models = planted.ai_model_performance
    assert models is not None
    assert (models.best_model, models.best_prompt) == (None, None)
    assert len(models.model_rankings) == 2
    assert len(models.prompt_rankings) == 3


def test_a_best_length_is_the_planted_one_and_not_what_is_sent(planted: WhatPattern) -> None:
    email = planted.optimal_length["email"]
    assert email.verdict is Verdict.WINNING
    assert email.unit == "words"
    assert email.optimal_words == pytest.approx(60, abs=12)
    assert email.range_min is not None
    assert email.range_max is not None
    assert email.range_min <= email.optimal_words <= email.range_max
    assert email.optimal_chars is None
    ends = [(each.length_min, each.length_max) for each in email.bins]
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ends))
    sms = planted.optimal_length["sms"]
    assert sms.unit == "characters"
    assert sms.verdict is Verdict.UNDECIDED
    assert (sms.optimal_words, sms.optimal_chars, sms.range_min) == (None, None, None)


def test_the_experiment_is_counted_by_lead(planted_data: Dataset, planted: WhatPattern) -> None:
    insights = planted.ab_test_insights
    assert insights is not None
    (test,) = insights.test_insights
    assert (test.best_variant, test.worst_variant) == ("B", "A")
    assert test.conclusion == "winner"
    assert [arm.verdict for arm in test.arms] == [Verdict.WINNING, Verdict.LOSING]
    assert test.sequence_low is not None
    assert 0 < test.sequence_low < test.rate_difference_low
    leads = planted_data.activities.filter(pl.col("ab_test_id").is_not_null())["lead_id"].n_unique()
    assert sum(arm.estimate.sample for arm in test.arms) <= leads
    # Several mails went to a lead; its conversion counts once.
    assert test.arms[0].estimate.rate > 2 * planted.envelope.baseline_conversion_rate


def test_each_channel_has_blocks_of_its_own(planted: WhatPattern) -> None:
    assert {"email", "linkedin", "voice"} <= set(planted.by_channel)
    email, voice = planted.by_channel["email"], planted.by_channel["voice"]
    assert sum(p.envelope.sample_size for p in planted.by_channel.values()) <= (
        planted.envelope.sample_size
    )
    assert email.by_channel == {}
    assert set(email.optimal_length) == {"email"}
    assert email.optimal_length["email"] == planted.optimal_length["email"]
    assert email.template_performance is not None
    assert email.template_performance.total_templates_analyzed == 4
    assert email.ab_test_insights == planted.ab_test_insights
    assert voice.ab_test_insights is None
    assert voice.subject_patterns is None
    assert email.pain_points is not None
    assert "scaling" in names(email.pain_points.effective)
    # Thin channels lean on the others.
    assert voice.pain_points is not None
    everything = (*voice.pain_points.effective, *voice.pain_points.undecided)
    assert segment(everything, "scaling").estimate.adjusted_lift > 1.3


def test_nothing_wins_where_nothing_matters() -> None:
    found = 0
    for seed in range(24):
        pattern = detect_what(simulated(seed, 1200, tier_confounding=0.5))
        found += any(v != "undecided" for _, v in verdicts(pattern.to_json()))
        assert pattern.link_effectiveness is not None
        assert pattern.link_effectiveness.recommendation == "unknown"
    assert found <= 4


def test_content_that_follows_channel_and_tier_has_no_effect_of_its_own() -> None:
    """Hot leads are called, and calls speak of time: not the words, the lead converts."""

    def hazard(lead: dict[str, np.ndarray], _touch: int, channel: np.ndarray) -> np.ndarray:
        return np.where(lead["tier"] == "hot", 0.08, 0.02) * np.where(channel == "voice", 2, 1)

    data = outreach(
        seed=4,
        leads=6000,
        columns={"tier": lambda rng, n: rng.choice(np.array(["hot", "cold"]), n)},
        hazard=hazard,
    )
    data = with_content(data, seed=1, likely=pl.col("channel") == "voice")
    pattern = detect_what(data)
    assert pattern.pain_points is not None
    everything = pattern.pain_points.undecided
    time = next(each for each in everything if each.value == "time").estimate
    assert time.lift > 1.15
    assert time.stratified_low < 1 < time.stratified_high
    assert time.stratified_lift == pytest.approx(1.0, abs=0.1)
    assert not pattern.pain_points.effective


def test_what_opens_a_sequence_is_not_blamed_for_being_first() -> None:
    """First messages convert less whatever they say; last-touch credit alone would blame them."""
    data = outreach(
        seed=5,
        leads=6000,
        hazard=lambda _lead, touch, channel: np.full(channel.size, 0.01 if touch == 1 else 0.05),
    )
    pattern = detect_what(with_content(data, seed=2, likely=pl.col("touch_number") == 1))
    assert pattern.pain_points is not None
    time = next(p for p in pattern.pain_points.undecided if p.value == "time").estimate
    assert time.lift < 0.8
    assert time.stratified_lift == pytest.approx(1.0, abs=0.15)


def with_content(data: Dataset, *, seed: int, likely: pl.Expr) -> Dataset:
    """Snapshots that name "time" mostly where `likely` holds, and "cost" elsewhere."""
    rng = np.random.default_rng(seed)
    draw = pl.Series(rng.random(data.activities.height))
    text = '{"word_count": 30, "char_count": 150, "pain_points_used": [%s], "has_question": true}'
    content = (
        pl.when(draw < pl.when(likely).then(0.8).otherwise(0.2))
        .then(pl.lit(text % '"time"'))
        .otherwise(pl.lit(text % '"cost"'))
    )
    return replace(data, activities=data.activities.with_columns(content=content))


def test_missing_is_missing_and_not_false() -> None:
    data = simulated(5, 3000)
    third = pl.int_range(pl.len()) % 3 == 0
    part = replace(
        data,
        activities=data.activities.with_columns(
            content=pl.when(~third).then("content"),
            links=pl.when(~third).then("links").otherwise(0),
        ),
    )
    whole, found = detect_what(data), detect_what(part)
    assert found.envelope.sample_size == whole.envelope.sample_size
    effect = found.personalization_lift["first_name"]
    assert effect.present is not None
    assert effect.absent is not None
    assert effect.unknown == pytest.approx(found.envelope.sample_size / 3, rel=0.02)
    assert effect.present.sample + effect.absent.sample + effect.unknown == (
        found.envelope.sample_size
    )
    links = found.link_effectiveness
    assert links is not None
    assert links.effect is not None
    assert links.effect.unknown == effect.unknown
    assert found.attachment_effect is None
    status = {b.block: b.status for b in found.envelope.blocks}
    assert status["attachment_effect"] is PatternStatus.INSUFFICIENT_DATA
    assert status["question_effect"] is PatternStatus.OK
    bare = detect_what(replace(data, activities=data.activities.with_columns(content=None)))
    assert bare.pain_points is None
    assert bare.question_effect is None
    assert bare.optimal_length == {}
    assert bare.template_performance is not None


def test_messages_of_which_nothing_is_known_are_no_pattern() -> None:
    data = simulated(7, 1500)
    unknown = ("content", "template_id", "ab_test_id", "ab_variant", "ai_model", "prompt_version")
    bare = replace(
        data,
        activities=data.activities.with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in unknown), links=pl.lit(0, pl.Int64)
        ),
    )
    with pytest.raises(InsufficientData, match="nothing is known") as finding:
        detect_what(bare)
    assert finding.value.sample > finding.value.converted > 0
    # One template is something to tell, even if there is nothing to compare it with.
    one = bare.activities.with_columns(template_id=pl.lit("spring"))
    assert detect_what(replace(bare, activities=one)).envelope.sample_size == finding.value.sample


SNAPSHOTS = (
    '{"cta_type": "soft_ask", "cta_used": "quick call", "link_count": 2, "word_count": 9,'
    ' "has_attachment": true, "pain_points_used": ["time", "cost", "time"]}',
    '{"cta_type": null, "cta_used": null, "link_count": 0, "word_count": 5,'
    ' "has_attachment": false, "pain_points_used": []}',
    '{"cta_used":"say \\"hi\\"","word_count":7,"has_attachment":null}',
    '{"contact": "cellular"}',
    None,
    '{"pain_points_used": "time", "cta_used": 3, "word_count": "x"}',
)


def test_snapshots_are_read_as_they_are_written() -> None:
    touches = pl.DataFrame({"content": SNAPSHOTS, "links": [0, 0, 3, 0, 0, 0]})
    content = TouchContent(touches, DetectorSettings())
    pains = content.listed("pain_points_used")
    assert pains.values == ("cost", "time")
    assert list(zip(pains.unit.tolist(), pains.code.tolist(), strict=True)) == [(0, 0), (0, 1)]
    assert pains.known.tolist() == [True, True, False, False, False, False]
    cta = content.word("cta_used")
    assert cta.values == ("quick call", 'say "hi"')
    assert cta.known.tolist() == [True, True, True, False, False, False]
    types = content.word_type(cta, "cta_type")
    assert types.values == ("soft_ask",)
    assert types.code.tolist() == [0, -1]
    attached = content.flag("has_attachment")
    assert attached.known.tolist() == [True, True, False, False, False, False]
    links = content.link_count()
    assert links.known.tolist() == [True, True, True, False, False, False]
    assert [links.values[code] for code in links.code] == ["2", "0", "3"]
    nothing = TouchContent(
        touches.with_columns(content=pl.lit(None, pl.String)), DetectorSettings()
    )
    assert nothing.listed("angles").values == ()
    assert not nothing.word("cta_used").known.any()


def test_links_and_questions() -> None:
    data = simulated(6, 6000)
    won = pl.col("converting") & (pl.col("channel") == "email")
    # Conversions are moved to mails with links: those of mails without are taken away.
    plain = pl.col("links") == 0
    activities = data.activities.with_columns(converting=pl.col("converting") & ~(won & plain))
    pattern = detect_what(replace(data, activities=activities))
    links = pattern.by_channel["email"].link_effectiveness
    assert links is not None
    assert links.recommendation == "include_links"
    assert links.links_lift > 3
    assert links.without_links_rate < links.with_links_rate
    assert names(links.by_count) == ["0", "1", "2"]
    assert links.optimal_link_count in (1, 2)
    assert pattern.question_effect is not None
    assert pattern.question_effect.verdict is Verdict.UNDECIDED


def test_same_data_same_bytes(planted_data: Dataset) -> None:
    small = replace(
        planted_data,
        activities=planted_data.activities.filter(pl.col("lead_id").hash(seed=1) % 4 == 0),
    )
    first = json.dumps(detect_what(small).to_json(), allow_nan=False)
    for seed in (1, 2):
        assert json.dumps(detect_what(shuffled(small, seed)).to_json()) == first
    assert WhatPattern.from_json(json.loads(first)).to_json() == json.loads(first)


def test_winners_keep_the_law(planted: WhatPattern) -> None:
    seen = 0
    for pattern in (planted, *planted.by_channel.values()):
        baseline = pattern.envelope.baseline_conversion_rate
        assert pattern.pain_points is not None
        for each in (*pattern.pain_points.effective, *pattern.pain_points.ineffective):
            seen += 1
            assert each.estimate.q_value <= 0.10
            assert each.estimate.sample >= 30
            if each.verdict is Verdict.WINNING:
                assert each.estimate.low > baseline
            else:
                assert each.estimate.high < baseline
    assert seen >= 3


KEYS = {
    "subject_patterns": {"winning", "losing"},
    "pain_points": {"effective", "ineffective"},
    "ctas": {"effective", "by_type"},
    "angles": {"rankings"},
    "template_performance": {"top_templates", "bottom_templates", "total_templates_analyzed"},
    "ab_test_insights": {"test_insights", "total_tests_analyzed"},
    "link_effectiveness": {
        "with_links_rate",
        "without_links_rate",
        "links_lift",
        "optimal_link_count",
        "recommendation",
    },
    "ai_model_performance": {"best_model", "model_rankings", "best_prompt", "prompt_rankings"},
}


def test_every_key_is_produced(planted: WhatPattern) -> None:
    stored = planted.to_json()
    for key, inner in KEYS.items():
        assert inner <= set(stored[key]), key
    for length in stored["optimal_length"].values():
        assert {"optimal_words", "range_min", "range_max"} <= set(length)
    assert {effect["value"] for effect in stored["personalization_lift"].values()} == set(
        PERSONALISATION
    )
    assert stored["question_effect"]["value"] == "question"
    for pain in stored["pain_points"]["undecided"]:
        assert {"share_all", "share_converting"} <= set(pain)


def test_a_broken_dimension_is_an_error_and_the_others_stand() -> None:
    data = simulated(7, 1500)
    broken = replace(data, activities=data.activities.drop("template_id", "ab_variant"))
    pattern = detect_what(broken)
    status = {b.block: b.status for b in pattern.envelope.blocks}
    assert status["template_performance"] is PatternStatus.ERROR
    assert status["ab_test_insights"] is PatternStatus.ERROR
    assert pattern.template_performance is None
    assert status["pain_points"] is PatternStatus.OK
    no_content = detect_what(replace(data, activities=data.activities.drop("content")))
    status = {b.block: b.status for b in no_content.by_channel["email"].envelope.blocks}
    assert status["pain_points"] is PatternStatus.ERROR
    assert no_content.ai_model_performance is not None


def test_too_few_touches_are_a_finding() -> None:
    data = simulated(8, 40)
    with pytest.raises(InsufficientData, match="converted, 10 needed"):
        detect_what(data)


def test_a_new_template_is_not_blamed_for_conversions_that_take_long() -> None:
    """Two equal templates, one of them sent for seventy days; conversions take 25 days."""
    verdicts = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        age = rng.uniform(0, 175, 6000)
        delay = rng.exponential(25.0, age.size)
        won = (rng.random(age.size) < 0.1) & (delay <= age)
        new = (age < 70) & (rng.random(age.size) < 0.5)
        lead_id = [f"l{i:05d}" for i in range(age.size)]
        sent = [AS_OF - dt.timedelta(days=days) for days in age]
        found = detect_what(
            dataset(
                as_of=AS_OF,
                start=AS_OF - dt.timedelta(days=180),
                leads={
                    "lead_id": lead_id,
                    "status": np.where(won, "converted", "exhausted").tolist(),
                    "first_contacted_at": sent,
                    "converted_at": [
                        at + dt.timedelta(days=days) if converts else None
                        for at, days, converts in zip(sent, delay, won, strict=True)
                    ],
                },
                activities={
                    "activity_id": lead_id,
                    "lead_id": lead_id,
                    "channel": ["email"] * age.size,
                    "action": ["sent"] * age.size,
                    "occurred_at": sent,
                    "time_precision": ["instant"] * age.size,
                    "touch_number": [1] * age.size,
                    "converting": won.tolist(),
                    "template_id": np.where(new, "new", "old").tolist(),
                    "content": ['{"word_count": 50}'] * age.size,
                },
            )
        )
        assert found.template_performance is not None
        verdicts += [s.verdict for s in found.template_performance.top_templates]
    assert sum(verdict is not Verdict.UNDECIDED for verdict in verdicts) <= 2


def test_open_touches_are_not_failures() -> None:
    data = simulated(9, 2000)
    run = population(data, DetectorSettings())
    pattern = detect_what(data)
    assert run.touches.height > run.resolved_touches.height
    assert pattern.envelope.sample_size == run.resolved_touches.height
