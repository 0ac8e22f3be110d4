"""HOW: channels compared with tier and touch number held fixed."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from detector_frames import AS_OF, dataset, frame, outreach

from cis_server.detectors import InsufficientData, detect_how
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import HowPattern
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import PatternStatus, Verdict

Draw = Callable[[np.random.Generator, int], np.ndarray]

TIERS = {"tier": lambda rng, size: rng.choice(np.array(["hot", "warm", "cold"]), size)}


def by_tier(lead: dict[str, np.ndarray], hot: float, warm: float, cold: float) -> np.ndarray:
    return np.select([lead["tier"] == "hot", lead["tier"] == "warm"], [hot, warm], cold)


def hot_leads_are_called(rng: np.random.Generator, lead: dict[str, np.ndarray]) -> np.ndarray:
    share = by_tier(lead, 0.8, 0.4, 0.1)[:, None]
    return np.where(rng.random((share.size, 5)) < share, "voice", "email")


def confounded(seed: int, leads: int, effect: float = 1.0) -> Dataset:
    """Tier drives both conversion and channel; `effect` is what a call itself does."""
    return outreach(
        seed=seed,
        leads=leads,
        columns=TIERS,
        plan=hot_leads_are_called,
        hazard=lambda lead, _touch, channel: (
            by_tier(lead, 0.08, 0.03, 0.01) * np.where(channel == "voice", effect, 1.0)
        ),
    )


def value(segments: tuple[SegmentRate, ...], name: str) -> SegmentRate:
    return next(s for s in segments if s.value == name)


def every_segment(pattern: HowPattern) -> list[SegmentRate]:
    sequences = pattern.sequence_patterns
    first = pattern.first_touch_effectiveness
    return [
        *pattern.channel_effectiveness,
        *pattern.touch_effectiveness,
        *(first.rates if first else ()),
        *(s.segment for s in (sequences.sequences if sequences else ())),
        *(s for segments in pattern.tier_channel_effectiveness.values() for s in segments),
    ]


def test_channels_that_follow_the_tier_have_no_lift_of_their_own() -> None:
    pattern = detect_how(confounded(seed=1, leads=20_000))
    for segments in (pattern.channel_effectiveness, pattern.touch_effectiveness):
        raw = {s.value: s.estimate.rate for s in segments}
        if segments is pattern.touch_effectiveness:
            assert raw["voice"] > 2 * raw["email"]
        for segment in segments:
            assert 0.9 <= segment.estimate.stratified_lift <= 1.1
            assert 0.9 <= segment.estimate.adjusted_lift <= 1.1
            assert segment.verdict is Verdict.UNDECIDED
    assert pattern.first_touch_effectiveness is not None
    for segment in pattern.first_touch_effectiveness.rates:
        assert 0.9 <= segment.estimate.stratified_lift <= 1.1
    assert pattern.multi_channel_lift is not None
    assert pattern.multi_channel_lift.recommendation == "unknown"
    assert pattern.multi_channel_lift.multi_channel_lift == pytest.approx(1.0, abs=0.1)


def test_nothing_wins_where_only_the_tier_matters() -> None:
    runs = [detect_how(confounded(seed=seed, leads=1000)) for seed in range(30)]
    verdicts = [{s.verdict for s in every_segment(run)} for run in runs]
    assert sum(Verdict.WINNING in found for found in verdicts) <= 6
    assert sum(Verdict.LOSING in found for found in verdicts) <= 6


def test_a_channel_that_works_is_found_within_the_tiers() -> None:
    pattern = detect_how(confounded(seed=2, leads=8000, effect=2.0))
    voice = value(pattern.touch_effectiveness, "voice")
    assert voice.verdict is Verdict.WINNING
    assert voice.estimate.stratified_lift == pytest.approx(2.0, rel=0.15)
    assert value(pattern.touch_effectiveness, "email").verdict is Verdict.LOSING
    assert pattern.touch_effectiveness[0].value == "voice"
    assert value(pattern.channel_effectiveness, "voice").verdict is Verdict.WINNING
    assert {"hot", "warm", "cold"} == set(pattern.tier_channel_effectiveness)
    warm = pattern.tier_channel_effectiveness["warm"]
    assert warm[0].value == "voice"


def test_winners_keep_the_law() -> None:
    pattern = detect_how(confounded(seed=2, leads=8000, effect=2.0))
    baseline = pattern.envelope.baseline_conversion_rate
    for segment in pattern.channel_effectiveness:
        if segment.verdict is Verdict.WINNING:
            assert segment.estimate.q_value <= 0.10
            assert segment.estimate.low > baseline
        if segment.verdict is Verdict.LOSING:
            assert segment.estimate.high < baseline
        assert segment.estimate.rate == pytest.approx(
            segment.estimate.converted / segment.estimate.sample, abs=1e-6
        )


def test_early_answers_do_not_make_single_channels_look_good() -> None:
    """Every touch works alike; leads that convert at touch 1 have used one channel only."""
    data = outreach(seed=3, leads=8000, hazard=0.1, channels=("email", "voice", "linkedin"))
    found = detect_how(data).multi_channel_lift
    assert found is not None
    assert found.single is not None
    assert found.multi is not None
    assert found.single_channel_rate > found.multi_channel_rate
    assert found.multi.stratified_lift == pytest.approx(1.0, abs=0.12)
    assert found.recommendation == "unknown"
    assert [b.channels for b in found.buckets] == ["1", "2", "3"]


def test_several_channels_are_recommended_when_changing_helps() -> None:
    def hazard(lead: dict[str, np.ndarray], touch: int, _channel: np.ndarray) -> np.ndarray:
        changed = (lead["route"][:, :touch] != lead["route"][:, :1]).any(axis=1)
        return np.where(changed, 0.05, 0.02)

    def routes(rng: np.random.Generator, size: int) -> np.ndarray:
        one = rng.random((size, 1)) < 0.5
        mixed = rng.choice(np.array(["email", "voice"]), (size, 5))
        return np.where(one, mixed[:, :1], mixed)

    drawn = routes(np.random.default_rng(0), 4000)
    data = outreach(
        seed=4,
        leads=4000,
        plan=lambda _rng, _lead: drawn,
        hazard=lambda _lead, touch, channel: hazard({"route": drawn}, touch, channel),
    )
    found = detect_how(data).multi_channel_lift
    assert found is not None
    assert found.recommendation == "multi"
    assert found.multi_channel_lift > 1.5


def alternating(
    leads: int,
    single: float,
    multi: float,
    *,
    share: float = 0.5,
    columns: dict[str, Draw] | None = None,
) -> Dataset:
    """The first share of the leads gets mails only, the others mails and calls in turn.

    `single` is the hazard of the former, `multi` that of the latter from the second touch on.
    """
    several = np.arange(leads) >= round(share * leads)
    drawn = np.full((leads, 5), "email", dtype="<U8")
    drawn[several, 1::2] = "voice"
    return outreach(
        seed=8,
        leads=leads,
        columns=columns,
        plan=lambda _rng, _lead: drawn,
        hazard=lambda _lead, touch, _channel: np.where(
            several, multi if touch > 0 else 0.0, single
        ),
    )


def test_single_channels_that_never_convert_speak_for_several() -> None:
    """A rate of nought has no ratio to compare with; that is no ratio of one, nor no answer."""
    found = detect_how(alternating(2000, 0.0, 0.05)).multi_channel_lift
    assert found is not None
    assert found.single.converted == 0
    assert found.single.sample >= 900
    assert found.multi.converted > 50
    assert found.multi.stratified_low is None
    assert found.recommendation == "multi"
    assert found.multi_channel_lift > 2


def test_several_channels_that_never_convert_speak_for_one() -> None:
    found = detect_how(alternating(2000, 0.03, 0.0)).multi_channel_lift
    assert found is not None
    assert found.multi.converted == 0
    assert found.recommendation == "single"


def test_nought_of_few_speaks_for_nothing() -> None:
    """Nought of forty beside one in twenty-five is what chance gives."""
    found = detect_how(alternating(1500, 0.0, 0.01, share=0.03)).multi_channel_lift
    assert found is not None
    assert found.single.sample >= 30
    assert found.single.converted == 0
    assert found.multi.converted >= 30
    assert found.recommendation == "unknown"


def test_nought_speaks_for_nothing_where_the_tier_may_be_the_reason() -> None:
    """Single-channel leads are cold but for five, and no cold lead got several channels."""
    columns = {"tier": lambda _rng, size: np.where(np.arange(size) < 995, "cold", "hot")}
    found = detect_how(alternating(2000, 0.0, 0.05, columns=columns)).multi_channel_lift
    assert found is not None
    assert (found.single.sample, found.single.converted) == (1000, 0)
    assert found.multi.converted > 100
    assert found.recommendation == "unknown"


def test_under_thirty_on_a_side_nothing_is_recommended() -> None:
    plan = np.full((400, 5), "email", dtype="<U8")
    plan[:20, 2:] = "voice"
    data = outreach(seed=5, leads=400, plan=lambda _rng, _lead: plan, hazard=0.05)
    found = detect_how(data).multi_channel_lift
    assert found is not None
    assert found.recommendation == "unknown"
    assert found.multi_channel_lift is None


def test_sequences_are_compared_among_leads_that_got_as_far() -> None:
    plans = np.array(
        [["email", "voice", "email", "voice"], ["voice", "email", "email", "email"]], dtype="<U8"
    )
    which = np.random.default_rng(6).integers(0, 2, 4000)

    def hazard(_lead: dict[str, np.ndarray], touch: int, _channel: np.ndarray) -> np.ndarray:
        return np.where((which == 0) & (touch >= 3), 0.10, 0.03)

    data = outreach(
        seed=6, leads=4000, touches=4, plan=lambda _rng, _lead: plans[which], hazard=hazard
    )
    pattern = detect_how(data)
    found = pattern.sequence_patterns
    assert found is not None
    three = {s.sequence: s.segment for s in found.three_channel}
    assert three["email→voice→email"].verdict is Verdict.WINNING
    assert three["voice→email→email"].verdict is Verdict.LOSING
    assert found.winning_sequences[0].channels[:2] == ("email", "voice")
    assert all(s.segment.verdict is Verdict.WINNING for s in found.winning_sequences)
    assert all(2 <= len(s.channels) <= 6 for s in found.sequences)
    reached = data.activities.filter(pl.col("touch_number") == 3).height
    assert sum(s.estimate.sample for s in three.values()) == reached
    assert pattern.envelope.known["sequence_3"].units == reached
    assert pattern.envelope.known["first_channel"].coverage == 1.0
    steps = {(t.from_channel, t.to_channel): t.estimate for t in pattern.channel_transitions}
    assert steps["voice", "email"].sample + steps["email", "voice"].sample > 0
    assert ("linkedin", "email") not in steps


def test_a_comparison_of_some_units_is_on_their_own_scale() -> None:
    """Second touches convert fifteen times as often as first ones, and only they follow one."""
    rng = np.random.default_rng(11)
    leads, activities = [], []
    for number in range(1500):
        first, second = rng.random() < 0.02, rng.random() < 0.3
        ended = AS_OF - dt.timedelta(days=150 if first else 146)
        lead = {"lead_id": f"lead-{number:04d}", "tier": "hot", "status": "exhausted"}
        if first or second:
            lead |= {"status": "converted", "converted_at": ended}
        leads.append(lead)
        for place, won in enumerate([first] if first else [False, second]):
            activities.append(
                {
                    "activity_id": f"{number}.{place}",
                    "lead_id": lead["lead_id"],
                    "channel": ("email", "sms")[int(rng.integers(2))],
                    "action": "sent",
                    "occurred_at": AS_OF - dt.timedelta(days=151 - 4 * place),
                    "time_precision": "instant",
                    "touch_number": place + 1,
                    "converting": won,
                }
            )
    steps = detect_how(dataset(leads=leads, activities=activities)).channel_transitions
    assert len(steps) == 4
    for step in steps:
        assert step.estimate.rate is not None
        assert step.estimate.low < step.estimate.rate < step.estimate.high
        assert step.estimate.lift == pytest.approx(1.0, abs=0.15)


def test_credits_add_to_the_conversions_and_bookings_to_one() -> None:
    pattern = detect_how(confounded(seed=7, leads=2000))
    assert pattern.attribution is not None
    assert sum(c.conversions for c in pattern.attribution.channels) == pytest.approx(
        pattern.attribution.conversions, abs=0.01
    )
    assert pattern.attribution.conversions == pattern.envelope.n_converted
    assert all(c.low <= c.share <= c.high for c in pattern.attribution.channels)
    assert sum(pattern.booking_channel_distribution.values()) == pytest.approx(1, abs=1e-5)


def test_email_engagement_is_per_lead_and_up_to_the_conversion() -> None:
    data = outreach(seed=8, leads=1500, channels=("email",), hazard=0.04, touches=3)
    won = data.leads.select("lead_id", won=pl.col("converted_at").is_not_null())
    number = pl.col("lead_id").str.slice(5).cast(pl.Int64)
    opens = pl.when(pl.col("won")).then(number % 10 < 8).otherwise(number % 10 < 3)
    activities = (
        data.activities.join(won, on="lead_id")
        .with_columns(
            human_opened_at=pl.when(opens & (pl.col("touch_number") == 1)).then(
                pl.col("occurred_at") + pl.duration(minutes=45)
            ),
        )
        .with_columns(
            minutes_to_open=pl.when(pl.col("human_opened_at").is_not_null()).then(45.0),
            # After the conversion: tells nothing about it.
            human_clicked_at=pl.when(pl.col("won") & pl.col("converting")).then(
                pl.col("occurred_at") + pl.duration(days=3)
            ),
        )
        .drop("won")
    )
    found = detect_how(replace(data, activities=activities)).email_engagement_correlation
    assert found is not None
    assert found.sample_size == 1500
    assert found.click_rate == 0
    assert found.conversion_rate_if_clicked is None
    assert found.open_conversion_lift > 2
    assert found.avg_time_to_open_converted_minutes == 45
    assert any("open convert" in line for line in found.insights)


def test_conversations_count_those_followed_and_no_automatic_replies() -> None:
    data = confounded(seed=9, leads=300)
    threads = [
        {
            "thread_id": f"t{i}",
            "lead_id": f"lead-{i:06d}",
            "channel": "email" if i < 40 else "voice",
            "status": "active" if i < 10 else "resolved",
            "outcome": "meeting_booked" if 10 <= i < 20 else None,
            "created_at": AS_OF - dt.timedelta(days=50),
            "message_count": 4,
            "our_message_count": 2,
            "their_message_count": 2,
        }
        for i in range(42)
    ]
    # A machine answered too in most threads, and in one nobody else did.
    for row in threads[5:40]:
        row["message_count"], row["their_message_count"] = 5, 3
    machine = threads[39] | {
        "thread_id": "machine",
        "message_count": 2,
        "our_message_count": 1,
        "their_message_count": 1,
    }
    threads.append(machine)
    messages = [
        {
            "thread_id": f"t{i}",
            "direction": direction,
            "sentiment": "positive" if i % 2 else "neutral",
            "sent_at": AS_OF - dt.timedelta(days=20 if i < 10 else 49),
            "response_minutes": minutes,
        }
        for i in range(42)
        for direction, minutes in (("inbound", 30.0), ("outbound", 500.0))
    ]
    messages += [
        {
            "thread_id": name,
            "direction": "inbound",
            "intent": "out_of_office",
            "sentiment": "neutral",
            "sent_at": AS_OF - dt.timedelta(days=19),
            "response_minutes": 0.0,
        }
        for name in (*(f"t{i}" for i in range(5, 40)), "machine")
    ]
    pattern = detect_how(
        replace(data, threads=frame("threads", threads), messages=frame("messages", messages))
    )
    assert set(pattern.channel_conversation_quality) == {"email"}
    email = pattern.channel_conversation_quality["email"]
    assert email.thread_count == 40
    assert email.conversion_rate == pytest.approx(10 / 30, abs=1e-6)
    assert email.estimate.sample == 30
    assert (email.avg_messages_per_thread, email.avg_lead_messages) == (4.0, 2.0)
    assert email.avg_lead_response_minutes == 30.0
    assert {(s.sentiment, s.count) for s in email.sentiment_distribution} == {
        ("positive", 20),
        ("neutral", 20),
    }


def test_the_kind_of_line_is_a_fact_of_the_channel_when_it_varies() -> None:
    number = pl.col("lead_id").str.slice(5).cast(pl.Int64)

    def line(mobile: str, landline: str) -> pl.Expr:
        return (
            pl.when(number % 2 == 0)
            .then(pl.lit(json.dumps({"contact": mobile, "words": 3})))
            .otherwise(pl.lit(json.dumps({"contact": landline})))
        )

    data = outreach(seed=10, leads=2000, channels=("voice",))
    varied = data.activities.with_columns(content=line("Cellular", "telephone"))
    pattern = detect_how(replace(data, activities=varied))
    (fact,) = pattern.channel_attributes
    assert fact.attribute == "voice.contact"
    assert {s.value for s in fact.segments} == {"cellular", "telephone"}
    imported = varied.with_columns(
        content=pl.concat_str(pl.lit('{"attributes": '), "content", pl.lit("}"))
    )
    facts = detect_how(replace(data, activities=imported)).channel_attributes
    assert [f.attribute for f in facts] == ["voice.contact"]
    assert facts[0].segments == fact.segments
    constant = data.activities.with_columns(content=line("cellular", "cellular"))
    assert detect_how(replace(data, activities=constant)).channel_attributes == ()


def test_a_single_channel_has_a_rate_and_nothing_to_compare_with() -> None:
    pattern = detect_how(outreach(seed=11, leads=1000, channels=("voice",), hazard=0.03))
    (voice,) = pattern.channel_effectiveness
    assert voice.verdict is Verdict.UNDECIDED
    assert voice.estimate.low < voice.estimate.rate < voice.estimate.high
    assert voice.estimate.stratified_lift is None
    assert voice.estimate.q_value is None


def test_too_few_touched_leads_are_a_finding() -> None:
    data = confounded(seed=1, leads=500)
    with pytest.raises(InsufficientData, match="0 touched leads with an outcome"):
        detect_how(replace(data, activities=data.activities.clear()))


def test_a_broken_block_is_an_error_and_the_others_stand() -> None:
    data = confounded(seed=1, leads=500)
    broken = replace(data, threads=data.threads.drop("status"))
    pattern = detect_how(broken)
    status = {b.block: b for b in pattern.envelope.blocks}
    assert status["channel_conversation_quality"].status is PatternStatus.ERROR
    assert "status" in status["channel_conversation_quality"].reason
    assert pattern.channel_effectiveness == detect_how(data).channel_effectiveness
