"""A plan of touches: open channels only, diverse, inside gaps and hours, the same every time."""

from __future__ import annotations

import datetime as dt
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_fakes import NOW, how_pattern, segment, sequence, when_pattern

from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import DecisionRecord
from cis_server.domain.model_info import DEFAULT_MODEL, ModelInfo
from cis_server.domain.patterns import HowPattern, SequenceGap, Transition, WhenPattern
from cis_server.domain.tiers import channels_of_tier
from cis_server.domain.vocabulary import EmailStatus, Source, Tier, Verdict
from cis_server.serving.answers import SequenceAnswer, WhyNot
from cis_server.serving.channel_plan import ChannelPlan, is_diverse
from cis_server.serving.channels import ChannelsRequest, channels_answer
from cis_server.serving.draws import SeededDraws, draws_for
from cis_server.serving.gaps import gap_before
from cis_server.serving.sequence import SequenceMaterial, SequenceRequest, sequence_answer
from cis_server.serving.timing import TimingRequest, timing_answer
from cis_server.serving.timing_plan import DEFAULT_TIMING, TimingPlan
from cis_server.stats.confidence import blend_weight

CLIENT = ClientRecord(client_id="acme", timezone="Europe/Berlin")
DAY = dt.timedelta(days=1)
WELL_KNOWN = ("email", "linkedin", "sms", "voice", "mail")


def info(version: str, confidence: float = 0.9) -> ModelInfo:
    share = blend_weight(confidence)
    return ModelInfo(
        model_version=version,
        source=Source.LEARNED if share >= 1.0 else Source.BLENDED if share > 0 else Source.DEFAULT,
        computed_at=NOW - DAY,
        valid_until=NOW + DAY,
        sample_size=1000,
        confidence=confidence,
    )


def material(
    how: HowPattern | None = None, when: WhenPattern | None = None, mean: float | None = None
) -> SequenceMaterial:
    values: dict[str, object] = {"timing_model": DEFAULT_MODEL, "channels_model": DEFAULT_MODEL}
    if how is not None:
        share = blend_weight(how.envelope.confidence)
        values |= {
            "channels": ChannelPlan(how, share, Source.LEARNED),
            "channels_model": info("h", how.envelope.confidence),
        }
    if when is not None:
        share = blend_weight(when.envelope.confidence)
        values |= {
            "timing": TimingPlan(when, share, Source.LEARNED),
            "timing_model": info("w", when.envelope.confidence),
        }
    return SequenceMaterial(mean_touches=mean, **values)  # type: ignore[arg-type]


def ask(
    known: SequenceMaterial | None = None,
    *,
    now: dt.datetime = NOW,
    client: ClientRecord = CLIENT,
    campaign: CampaignRecord | None = None,
    **fields: object,
) -> tuple[SequenceAnswer, DecisionRecord | None]:
    values: dict[str, object] = {"tier": Tier.HOT, "lead_id": "lead-1", **fields}
    request = SequenceRequest(client_id="acme", **values)  # type: ignore[arg-type]
    return sequence_answer(
        known or material(),
        request,
        client,
        campaign,
        now,
        partial(draws_for, request.lead_id, "acme"),
    )


def channels_of(answer: SequenceAnswer) -> list[str]:
    return [touch.channel for touch in answer.touches]


def gap(touch: int, days: float, low: float, high: float) -> SequenceGap:
    return SequenceGap(
        from_touch=touch,
        to_touch=touch + 1,
        gap_days=days,
        min_days=low,
        max_days=high,
        sample=200,
        learned=True,
    )


def test_nothing_learned_gives_the_default_order_and_six_touches() -> None:
    answer, decision = ask()
    assert channels_of(answer) == ["email", "linkedin", "email", "sms", "voice", "email"]
    assert [touch.touch_number for touch in answer.touches] == [1, 2, 3, 4, 5, 6]
    assert {(touch.source, touch.confidence) for touch in answer.touches} == {(Source.DEFAULT, 0.0)}
    assert answer.estimate is None
    assert answer.model.source is Source.DEFAULT
    assert answer.propensity == 1.0
    assert decision is None
    assert answer.touches[0].gap_days is None
    for number, touch in enumerate(answer.touches[1:], start=2):
        interval = gap_before(number, (), 0.0)
        assert touch.gap_days is not None
        assert interval.min_days <= touch.gap_days


def test_a_closed_channel_is_left_out() -> None:
    cool, _ = ask(tier=Tier.COOL)
    assert set(channels_of(cool)) <= {"email", "linkedin", "mail"}
    campaign = CampaignRecord(campaign_id="c", allocation={"email": 50, "sms": 50, "voice": 0})
    some, _ = ask(campaign=campaign)
    assert set(channels_of(some)) == {"email", "sms"}
    given, _ = ask(available_channels=("linkedin", "sms"))
    assert set(channels_of(given)) == {"linkedin", "sms"}
    lead = Lead(lead_id="l", email="a@b.example", email_status=EmailStatus.VERIFIED)
    reachable, _ = ask(lead=lead)
    assert set(channels_of(reachable)) == {"email"}
    assert len(reachable.touches) == 6


def test_a_suppressed_lead_gets_no_touches_and_the_reason() -> None:
    answer, decision = ask(suppressed=True, suppression_reason="unsubscribed", tier=Tier.DEAD)
    assert answer.touches == ()
    assert answer.why_not is WhyNot.SUPPRESSED
    assert answer.why_not_text == "the lead must not be contacted: unsubscribed"
    assert decision is None


def test_why_there_are_no_touches() -> None:
    dead, _ = ask(tier=Tier.DEAD)
    assert (dead.touches, dead.why_not) == ((), WhyNot.TIER)
    assert "dead" in dead.why_not_text
    nobody, _ = ask(tier=Tier.COLD, lead=Lead(lead_id="l"))
    assert nobody.why_not is WhyNot.CONTACT_DATA
    assert "email: no usable e-mail address" in nobody.why_not_text
    closed, _ = ask(available_channels=("fax",))
    assert closed.touches == ()
    assert closed.why_not is WhyNot.NOT_AVAILABLE


def test_the_winning_sequence_leads_and_is_cut() -> None:
    how = how_pattern(
        overall=(segment("voice", 300, 1000), segment("email", 30, 1000)),
        winning=(sequence(80, 400, "linkedin", "email", "voice"),),
        others=(sequence(60, 400, "linkedin", "email", verdict=Verdict.UNDECIDED),),
    )
    whole, _ = ask(material(how), touch_count=3)
    assert channels_of(whole) == ["linkedin", "email", "voice"]
    assert whole.estimate is not None
    assert whole.estimate.converted == 80
    cut, _ = ask(material(how), touch_count=2)
    assert channels_of(cut) == ["linkedin", "email"]
    assert cut.estimate is not None
    assert cut.estimate.converted == 60, "the rate of what is planned, not of what was cut"


def test_the_winning_sequence_is_extended_by_rates_without_three_in_a_row() -> None:
    how = how_pattern(
        overall=(segment("voice", 300, 1000), segment("email", 30, 1000)),
        winning=(sequence(80, 400, "linkedin", "email", "voice"),),
    )
    answer, _ = ask(material(how), touch_count=7)
    assert channels_of(answer) == [
        "linkedin", "email", "voice", "voice", "email", "voice", "voice",
    ]  # fmt: skip
    assert answer.estimate is not None
    assert answer.estimate.converted == 80


def test_a_sequence_with_a_closed_channel_does_not_lead() -> None:
    how = how_pattern(
        overall=(segment("email", 30, 1000),),
        winning=(sequence(80, 400, "voice", "email"), sequence(50, 400, "linkedin", "email")),
    )
    answer, _ = ask(material(how), tier=Tier.COOL, touch_count=2)
    assert channels_of(answer) == ["linkedin", "email"]


def test_an_undecided_sequence_leads_nobody() -> None:
    how = how_pattern(
        overall=(segment("email", 300, 1000), segment("sms", 20, 1000)),
        others=(sequence(60, 400, "sms", "sms", verdict=Verdict.UNDECIDED),),
    )
    answer, _ = ask(material(how), touch_count=2)
    assert channels_of(answer) == ["email", "email"]
    assert answer.estimate is None


def test_the_plan_goes_on_from_what_was_used() -> None:
    how = how_pattern(
        overall=(segment("email", 300, 1000), segment("sms", 20, 1000)),
        winning=(sequence(80, 400, "linkedin", "email", "voice"),),
    )
    last = NOW - DAY
    answer, _ = ask(material(how), used_channels=("linkedin",), touch_count=2, last_touch_time=last)
    assert channels_of(answer) == ["email", "voice"]
    assert [touch.touch_number for touch in answer.touches] == [2, 3]
    assert answer.touches[0].gap_days == (answer.touches[0].scheduled - last) / DAY
    other, _ = ask(material(how), used_channels=("email", "email"), touch_count=1)
    assert channels_of(other) == ["sms"], "not a third e-mail in a row"


def test_a_hot_lead_is_called_at_the_third_touch_on_enough_evidence() -> None:
    def third(calls: int, tier: Tier = Tier.HOT) -> str:
        how = how_pattern(
            overall=(segment("email", 300, 1000), segment("sms", 200, 1000)),
            tiers={
                "hot": (
                    segment("email", 90, 200),
                    segment("sms", 85, 200),
                    segment("voice", calls // 3, calls),
                )
            },
        )
        answer, _ = ask(material(how), tier=tier, touch_count=3)
        return channels_of(answer)[2]

    assert third(90) == "voice"
    assert third(29) != "voice"
    how = how_pattern(
        tiers={"hot": (segment("email", 90, 200), segment("voice", 30, 90))},
        winning=(sequence(80, 400, "email", "voice", "sms"),),
    )
    answer, _ = ask(material(how), touch_count=3)
    assert channels_of(answer) == ["email", "voice", "sms"], "it calls early enough"


def test_transitions_lead_where_no_rates_are_known() -> None:
    to_sms = Transition(
        from_channel="email", to_channel="sms", estimate=segment("x", 30, 200).estimate
    )
    how = how_pattern(best_first="email", transitions=(to_sms,))
    answer, _ = ask(material(how), touch_count=3)
    assert channels_of(answer)[:2] == ["email", "sms"]
    sources = [touch.source for touch in answer.touches]
    assert sources == [Source.DEFAULT] * 3, "the times are defaults, so the touches are"


@pytest.mark.parametrize(
    ("asked", "mean", "used", "expected"),
    [
        (4, 8.5, (), 4),
        (4, 8.5, ("email",), 4),
        (None, 2.9, (), 3),
        (None, 3.0, (), 4),
        (None, None, (), 6),
        (None, None, ("email", "sms"), 4),
        (None, 1.2, ("email", "sms", "email"), 1),
        (None, 99.0, (), 20),
    ],
)
def test_touch_count(
    asked: int | None, mean: float | None, used: tuple[str, ...], expected: int
) -> None:
    answer, _ = ask(material(mean=mean), touch_count=asked, used_channels=used)
    assert len(answer.touches) == expected


def test_gaps_lie_in_their_learned_interval() -> None:
    days = dict.fromkeys(range(1, 6), (60, 400))
    when = when_pattern(
        days=days, gaps=(gap(1, 9.0, 7.0, 12.0), gap(2, 3.0, 2.0, 5.0), gap(3, 6.0, 4.0, 8.0))
    )
    for start in range(14):
        answer, _ = ask(
            material(when=when), touch_count=4, start_time=NOW + start * DAY, lead_id=f"l{start}"
        )
        gaps = [touch.gap_days for touch in answer.touches[1:]]
        for found, (low, high) in zip(gaps, [(7, 12), (2, 5), (4, 8)], strict=True):
            assert found is not None
            assert low <= found <= high


def test_source_and_confidence_are_those_of_the_weaker_part() -> None:
    how = how_pattern(overall=(segment("email", 300, 1000),), confidence=0.95)
    when = when_pattern(days={2: (60, 400)}, hours={10: (60, 400)}, confidence=0.6)
    answer, _ = ask(material(how, when), touch_count=2)
    assert {(t.source, t.confidence) for t in answer.touches} == {(Source.BLENDED, 0.6)}
    assert answer.model.source is Source.BLENDED
    assert answer.model.confidence == 0.6
    assert answer.model.model_version == "how:h when:w"
    only, _ = ask(material(how), touch_count=2)
    assert {(t.source, t.confidence) for t in only.touches} == {(Source.DEFAULT, 0.0)}
    assert only.model.source is Source.BLENDED


@pytest.mark.parametrize("lead", ["lead-1", "lead-2", "lead-3", "lead-4"])
def test_each_touch_agrees_with_timing_and_channels_asked_one_by_one(lead: str) -> None:
    how = how_pattern(overall=(segment("sms", 300, 1000), segment("email", 30, 1000)))
    when = when_pattern(days={3: (80, 400), 2: (20, 400)}, hours={14: (60, 400), 9: (30, 400)})
    known = material(how, when)
    answer, _ = ask(known, lead_id=lead, touch_count=12)
    used: list[str] = []
    previous: dt.datetime | None = None
    for touch in answer.touches:
        channel, _ = channels_answer(
            known.channels,
            ChannelsRequest(client_id="acme", tier=Tier.HOT, used_channels=tuple(used)),
            CLIENT.policy,
            None,
            known.channels_model,
            NOW,
            SeededDraws("any"),
        )
        assert channel.next_channel == touch.channel
        number = len(used) + 1
        timing, _ = timing_answer(
            known.timing,
            TimingRequest(
                client_id="acme",
                lead_id=lead,
                channel=touch.channel,
                touch_number=number,
                last_touch_time=previous,
                count=1,
            ),
            CLIENT,
            None,
            known.timing_model,
            NOW,
            draws_for(lead, "acme", "timing", touch.channel, str(number), "w"),
        )
        assert touch.scheduled == timing.next_send_time
        used.append(touch.channel)
        previous = touch.scheduled


def test_exploration_draws_among_allowed_plans_and_logs_it() -> None:
    how = how_pattern(
        overall=(segment("email", 30, 400), segment("sms", 28, 400), segment("linkedin", 2, 400)),
        winning=(sequence(40, 400, "email", "linkedin"),),
        others=(sequence(38, 400, "linkedin", "email", verdict=Verdict.UNDECIDED),),
    )
    client = ClientRecord(
        client_id="acme", timezone="UTC", policy=ClientPolicy(exploration_share=0.5)
    )
    chosen: dict[str, int] = {}
    expected: dict[str, float] = {}
    for lead in range(300):
        answer, decision = ask(
            material(how), client=client, tier=Tier.WARM, lead_id=f"l{lead}", touch_count=2
        )
        assert decision is not None
        assert decision.kind == "sequence"
        assert decision.decision_id == answer.decision_id
        assert decision.choice == ",".join(channels_of(answer))
        assert sum(option.propensity for option in decision.options) == pytest.approx(1.0)
        by_choice = {option.choice: option.propensity for option in decision.options}
        assert by_choice[decision.choice] == answer.propensity
        chosen[decision.choice] = chosen.get(decision.choice, 0) + 1
        expected = by_choice
        assert set(channels_of(answer)) <= set(channels_of_tier(Tier.WARM, {}))
    for choice, share in expected.items():
        spread = 4 * (share * (1 - share) / 300) ** 0.5 + 0.005
        assert abs(chosen.get(choice, 0) / 300 - share) < spread
    assert max(expected, key=lambda choice: expected[choice]) == "email,linkedin"


def test_the_same_question_gets_the_same_plan() -> None:
    known = material(how_pattern(overall=(segment("sms", 300, 1000),)))
    first, _ = ask(known)
    again, _ = ask(known, now=NOW + dt.timedelta(minutes=20))
    assert again == first
    other, _ = ask(known, lead_id="lead-2")
    assert other.decision_id != first.decision_id
    assert [t.scheduled for t in other.touches] != [t.scheduled for t in first.touches]


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(
        ["America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC"]
    ),
    minutes=st.integers(0, 60 * 24 * 400),
    used=st.lists(st.sampled_from(WELL_KNOWN), max_size=5).map(tuple),
    open_=st.sets(st.sampled_from(WELL_KNOWN), min_size=1).map(tuple),
    count=st.integers(1, 20),
    rates=st.lists(st.tuples(st.sampled_from(WELL_KNOWN), st.integers(0, 100)), max_size=5),
    order=st.lists(st.sampled_from(WELL_KNOWN), min_size=2, max_size=6).map(tuple),
)
def test_every_plan_keeps_the_rules(
    zone: str,
    minutes: int,
    used: tuple[str, ...],
    open_: tuple[str, ...],
    count: int,
    rates: list[tuple[str, int]],
    order: tuple[str, ...],
) -> None:
    how = how_pattern(
        overall=tuple(segment(name, k, 200) for name, k in dict(rates).items()),
        winning=(sequence(50, 300, *order),),
    )
    now = NOW + dt.timedelta(minutes=minutes)
    answer, _ = ask(
        material(how),
        now=now,
        timezone=zone,
        used_channels=used,
        available_channels=open_,
        touch_count=count,
    )
    assert len(answer.touches) == count
    assert set(channels_of(answer)) <= set(open_)
    if len(open_) > 1:
        planned = [*used[-2:], *channels_of(answer)]
        for place in range(max(0, len(used[-2:]) - 2), len(planned) - 2):
            window = planned[place : place + 3]
            assert len(set(window)) > 1 or place + 2 < len(used[-2:])
        assert is_diverse(channels_of(answer))
    assert answer.touches[0].scheduled >= now
    for before, after in pairwise(answer.touches):
        assert after.scheduled - before.scheduled >= 2 * DAY
        assert after.gap_days == (after.scheduled - before.scheduled) / DAY
    for touch in answer.touches:
        local = touch.scheduled.astimezone(ZoneInfo(zone))
        assert touch.local_time == local.isoformat()
        assert local.isoweekday() <= 5
        assert 9 <= local.hour < 17
        if touch.channel == "email":
            assert local.hour in (9, 10)


def test_default_material_is_the_default_timing() -> None:
    assert material().timing is DEFAULT_TIMING
