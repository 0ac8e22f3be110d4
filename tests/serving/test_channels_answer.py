"""Which channel: nothing opens a closed one, learning orders the rest."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_fakes import NOW, how_pattern, rate, segment, sequence

from cis_server.domain.clients import CampaignRecord, ClientPolicy
from cis_server.domain.lead import Lead
from cis_server.domain.model_info import DEFAULT_MODEL
from cis_server.domain.patterns import HowPattern, MultiChannelLift, Transition
from cis_server.domain.vocabulary import EmailStatus, Source, Tier, Verdict
from cis_server.serving.answers import Basis, ChannelsAnswer, MultiChannel, WhyNot
from cis_server.serving.channel_plan import (
    DEFAULT_CHANNELS,
    ChannelPlan,
    default_sequence,
    is_diverse,
)
from cis_server.serving.channels import ChannelsRequest, channels_answer
from cis_server.serving.draws import SeededDraws
from cis_server.stats.confidence import blend_weight

FULL_LEAD = Lead(
    lead_id="lead-1",
    email="ann@firm.example",
    email_status=EmailStatus.VERIFIED,
    phone="+49 30 123456",
    linkedin_url="https://www.linkedin.com/in/ann",
    postal_address="1 Main St",
)
CHANNELS = ("email", "linkedin", "sms", "voice", "mail", "fax")


def plan_of(pattern: HowPattern) -> ChannelPlan:
    return ChannelPlan(pattern, blend_weight(pattern.envelope.confidence), Source.LEARNED)


def ask(
    plan: ChannelPlan = DEFAULT_CHANNELS,
    *,
    policy: ClientPolicy | None = None,
    campaign: CampaignRecord | None = None,
    **request: object,
) -> ChannelsAnswer:
    request.setdefault("lead_id", "lead-1")
    answer, _ = channels_answer(
        plan,
        ChannelsRequest(client_id="acme", **request),  # type: ignore[arg-type]
        policy or ClientPolicy(),
        campaign,
        DEFAULT_MODEL,
        NOW,
        SeededDraws(str(request["lead_id"]), str(request.get("used_channels"))),
    )
    return answer


def allowed(answer: ChannelsAnswer) -> list[str]:
    return [c.channel for c in answer.channels if c.allowed]


def why_not(answer: ChannelsAnswer) -> dict[str, WhyNot | None]:
    return {c.channel: c.why_not for c in answer.channels}


LEARNED = how_pattern(
    overall=(
        segment("voice", 60, 300, Verdict.WINNING),
        segment("email", 30, 900),
        segment("linkedin", 20, 400),
    ),
    tiers={"cool": (segment("linkedin", 30, 200), segment("email", 10, 300))},
    best_first="linkedin",
    winning=(
        sequence(20, 80, "email", "voice", "linkedin"),
        sequence(18, 80, "linkedin", "email"),
        sequence(15, 80, "email", "email", "email", "linkedin"),
    ),
    others=(
        sequence(9, 60, "email", "linkedin", "email", verdict=Verdict.UNDECIDED),
        sequence(3, 12, "linkedin", "linkedin", verdict=Verdict.UNDECIDED),
        sequence(0, 90, "email", "email", verdict=Verdict.LOSING),
    ),
)


def test_tiers_open_their_channels() -> None:
    opened = {tier: set(allowed(ask(tier=tier))) for tier in Tier}
    assert opened == {
        Tier.DEAD: set(),
        Tier.COLD: {"email"},
        Tier.COOL: {"email", "linkedin"},
        Tier.WARM: {"email", "linkedin", "voice"},
        Tier.HOT: {"email", "linkedin", "sms", "voice", "mail"},
    }
    assert set(allowed(ask())) == {"email", "linkedin", "sms", "voice", "mail"}


def test_the_first_closing_reason_is_told() -> None:
    lead = Lead(
        lead_id="l",
        email="x@y.example",
        email_status=EmailStatus.INVALID,
        call_register_listed=True,
    )
    answer = ask(
        tier=Tier.HOT,
        lead=lead,
        campaign=CampaignRecord(campaign_id="c", allocation={"email": 100}),
    )
    assert why_not(answer) == {
        "email": WhyNot.EMAIL_INVALID,
        "sms": WhyNot.CALL_REGISTER,
        "voice": WhyNot.CALL_REGISTER,
        "linkedin": WhyNot.CONTACT_DATA,
        "mail": WhyNot.CONTACT_DATA,
    }
    texts = {c.channel: c.why_not_text for c in answer.channels}
    assert texts["linkedin"] == "no LinkedIn profile"
    assert answer.next_channel is None
    assert answer.sequences == ()
    assert answer.propensity == 1.0


def test_campaign_and_caller_narrow_further() -> None:
    campaign = CampaignRecord(campaign_id="c", allocation={"email": 60, "voice": 40, "sms": 0})
    answer = ask(
        tier=Tier.HOT, lead=FULL_LEAD, campaign=campaign, available_channels=("email", "sms", "fax")
    )
    assert allowed(answer) == ["email"]
    reasons = why_not(answer)
    assert reasons["sms"] is reasons["mail"] is WhyNot.CAMPAIGN_ALLOCATION
    assert reasons["voice"] is WhyNot.NOT_AVAILABLE
    assert reasons["fax"] is WhyNot.TIER


def test_a_suppressed_lead_has_no_channel() -> None:
    answer = ask(plan_of(LEARNED), tier=Tier.DEAD, lead=FULL_LEAD, suppressed=True)
    assert set(why_not(answer).values()) == {WhyNot.SUPPRESSED}
    assert answer.next_channel is None
    assert answer.sequences == ()
    assert all(c.propensity == 0.0 for c in answer.channels)


def test_policy_opens_a_channel_of_its_own() -> None:
    policy = ClientPolicy(tier_channels={"warm": ("email", "whatsapp")})
    assert allowed(ask(tier=Tier.WARM, lead=FULL_LEAD, policy=policy)) == ["email", "whatsapp"]


def test_rates_of_the_tier_come_before_those_of_all() -> None:
    cool = ask(plan_of(LEARNED), tier=Tier.COOL)
    assert allowed(cool) == ["linkedin", "email"]
    assert {c.channel: c.basis for c in cool.channels if c.allowed} == {
        "linkedin": Basis.TIER,
        "email": Basis.TIER,
    }
    warm = ask(plan_of(LEARNED), tier=Tier.WARM)
    assert allowed(warm) == ["voice", "linkedin", "email"]
    assert {c.basis for c in warm.channels if c.allowed} == {Basis.OVERALL}
    hot = ask(plan_of(LEARNED), tier=Tier.HOT)
    assert allowed(hot) == ["voice", "linkedin", "email", "sms", "mail"]
    assert [c.basis for c in hot.channels][-2:] == [Basis.NONE, Basis.NONE]
    assert hot.channels[0].verdict is Verdict.WINNING


def test_leads_of_a_tier_are_not_counted_once_a_channel() -> None:
    everywhere = tuple(segment(name, 3, 10) for name in ("email", "linkedin", "voice"))
    overall = (segment("email", 90, 900),)
    for own, basis in (
        (everywhere, Basis.OVERALL),
        ((*everywhere, segment("sms", 9, 30)), Basis.TIER),
    ):
        answer = ask(plan_of(how_pattern(overall=overall, tiers={"hot": own})), tier=Tier.HOT)
        assert {c.channel: c.basis for c in answer.channels}["email"] is basis


def test_little_confidence_keeps_the_default_order_and_shows_the_rates() -> None:
    pattern = how_pattern(overall=LEARNED.channel_effectiveness, confidence=0.4, best_first="voice")
    answer = ask(plan_of(pattern), tier=Tier.WARM)
    assert allowed(answer) == ["email", "linkedin", "voice"]
    assert answer.next_channel == "email"
    assert answer.channels[0].estimate is not None


def test_confidence_moves_the_order_from_default_to_learned() -> None:
    def order(confidence: float) -> list[str]:
        pattern = how_pattern(overall=LEARNED.channel_effectiveness, confidence=confidence)
        return allowed(ask(plan_of(pattern), tier=Tier.WARM))

    assert order(0.5) == order(0.52) == ["email", "linkedin", "voice"]
    assert order(0.69)[0] == "voice"


def test_first_touch_takes_the_best_first_channel_after_the_filters() -> None:
    assert ask(plan_of(LEARNED), tier=Tier.WARM).next_channel == "linkedin"
    assert ask(plan_of(LEARNED), tier=Tier.COLD).next_channel == "email"
    assert ask(tier=Tier.WARM).next_channel == "email"


def test_no_channel_three_times_in_a_row_where_there_is_a_choice() -> None:
    plan = plan_of(LEARNED)
    assert ask(plan, tier=Tier.WARM, used_channels=("voice",)).next_channel == "voice"
    assert ask(plan, tier=Tier.WARM, used_channels=("voice", "voice")).next_channel == "linkedin"
    assert ask(plan, tier=Tier.COLD, used_channels=("email",) * 4).next_channel == "email"


def test_unlearned_touches_follow_the_default_plan() -> None:
    used: list[str] = []
    for _ in range(8):
        channel = ask(tier=Tier.HOT, used_channels=tuple(used)).next_channel
        assert channel is not None
        used.append(channel)
    assert used == ["email", "linkedin", "email", "sms", "voice", "email", "email", "linkedin"]
    assert ask(tier=Tier.COOL, used_channels=("email",) * 3).next_channel == "linkedin"


def test_transitions_lead_where_there_are_no_rates() -> None:
    plan = plan_of(
        how_pattern(
            transitions=(
                Transition(from_channel="email", to_channel="linkedin", estimate=rate(5, 100)),
                Transition(from_channel="email", to_channel="voice", estimate=rate(20, 100)),
                Transition(from_channel="email", to_channel="sms", estimate=rate(50, 100)),
            )
        )
    )
    assert ask(plan, tier=Tier.WARM, used_channels=("email",)).next_channel == "voice"


@pytest.mark.parametrize(("k", "n", "expected"), [(30, 100, "voice"), (8, 29, "email")])
def test_hot_leads_are_called_at_the_third_touch_when_calls_work(
    k: int, n: int, expected: str
) -> None:
    plan = plan_of(how_pattern(tiers={"hot": (segment("email", 90, 200), segment("voice", k, n))}))
    answer = ask(plan, tier=Tier.HOT, used_channels=("email", "linkedin"))
    assert answer.next_channel == expected


def test_sequences_are_checked_against_what_is_allowed() -> None:
    warm = ask(plan_of(LEARNED), tier=Tier.WARM)
    assert [s.channels for s in warm.sequences] == [
        ("email", "voice", "linkedin"),
        ("linkedin", "email"),
        ("email", "linkedin", "email"),
    ]
    cool = ask(plan_of(LEARNED), tier=Tier.COOL)
    assert [s.channels for s in cool.sequences] == [
        ("linkedin", "email"),
        ("email", "linkedin", "email"),
    ]
    cold = ask(plan_of(LEARNED), tier=Tier.COLD)
    assert [(s.channels, s.source) for s in cold.sequences] == [(("email",) * 3, Source.DEFAULT)]


def test_default_sequence_keeps_to_the_allowed_channels() -> None:
    full = ("email", "linkedin", "sms", "voice", "mail")
    assert default_sequence(full) == ("email", "linkedin", "email", "sms", "voice", "email")
    assert default_sequence(("voice", "email")) == ("email", "email", "voice", "email")
    assert default_sequence(("fax", "mail")) == ("mail", "fax")


def test_multi_channel_advice() -> None:
    block = MultiChannelLift(
        single_channel_rate=0.05,
        multi_channel_rate=0.1,
        multi_channel_lift=2.0,
        single=rate(5, 100),
        multi=rate(10, 100),
        recommendation="multi",
        optimal_channel_count="2",
        buckets=(),
    )
    learned = ask(plan_of(how_pattern(multi=block)), tier=Tier.WARM).multi_channel
    assert (learned.recommendation, learned.lift) == (MultiChannel.MULTI, 2.0)
    thin = ask(plan_of(how_pattern(multi=block, confidence=0.3)), tier=Tier.WARM).multi_channel
    assert thin.recommendation is MultiChannel.UNKNOWN
    assert ask(tier=Tier.WARM).multi_channel.recommendation is MultiChannel.UNKNOWN


@settings(max_examples=300, deadline=None)
@given(
    tier=st.one_of(st.none(), st.sampled_from(Tier)),
    email=st.booleans(),
    phone=st.booleans(),
    listed=st.booleans(),
    suppressed=st.booleans(),
    available=st.lists(st.sampled_from(CHANNELS), unique=True),
    used=st.lists(st.sampled_from(CHANNELS), max_size=6),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    lead_id=st.text("abcdef", min_size=1, max_size=4),
    learned=st.booleans(),
)
def test_nothing_ever_opens_a_closed_channel(
    tier: Tier | None,
    email: bool,
    phone: bool,
    listed: bool,
    suppressed: bool,
    available: list[str],
    used: list[str],
    share: float,
    lead_id: str,
    learned: bool,
) -> None:
    lead = Lead(
        lead_id=lead_id,
        email="a@b.example" if email else None,
        phone="030 1234567" if phone else None,
        call_register_listed=listed,
    )
    answer = ask(
        plan_of(LEARNED) if learned else DEFAULT_CHANNELS,
        policy=ClientPolicy(exploration_share=share),
        tier=tier,
        lead=lead,
        lead_id=lead_id,
        suppressed=suppressed,
        available_channels=tuple(available),
        used_channels=tuple(used),
    )
    reachable = {"email"} if email else set()
    if phone and not listed:
        reachable |= {"voice", "sms"}
    open_channels = set(allowed(answer))
    assert open_channels <= reachable
    assert not available or open_channels <= set(available)
    assert not (suppressed and open_channels)
    assert (answer.next_channel is None) == (not open_channels)
    assert answer.next_channel is None or answer.next_channel in open_channels
    if len(open_channels) > 1 and answer.next_channel is not None:
        assert is_diverse([*used[-2:], answer.next_channel]) or not is_diverse(used[-3:])
        assert len({*used[-2:], answer.next_channel}) > 1 or len(used) < 2
    for advised in answer.sequences:
        assert set(advised.channels) <= open_channels
        assert len(open_channels) == 1 or is_diverse(advised.channels)
    assert all(c.allowed or c.propensity == 0.0 for c in answer.channels)
    if open_channels:
        assert sum(c.propensity for c in answer.channels) == pytest.approx(1.0)
    flags = [c.allowed for c in answer.channels]
    assert flags == sorted(flags, reverse=True)


def test_exploration_draws_channels_as_often_as_their_propensity_says() -> None:
    plan, policy = plan_of(LEARNED), ClientPolicy(exploration_share=0.6)
    leads = 3000
    answers = [
        ask(plan, policy=policy, tier=Tier.HOT, lead_id=f"lead-{i}", used_channels=("email",))
        for i in range(leads)
    ]
    expected = {c.channel: c.propensity for c in answers[0].channels}
    drawn = Counter(answer.next_channel for answer in answers)
    for channel, propensity in expected.items():
        spread = 4 * (propensity * (1 - propensity) / leads) ** 0.5 + 1e-9
        assert drawn[channel] / leads == pytest.approx(propensity, abs=spread)
    assert expected["voice"] > 0.4  # the best one
    assert expected["mail"] > 0.01  # without data, tried now and then
    assert all(a.propensity == expected[str(a.next_channel)] for a in answers)


def test_the_logged_decision_is_the_answer() -> None:
    request = ChannelsRequest(client_id="acme", tier=Tier.WARM, lead_id="l")
    policy = ClientPolicy(exploration_share=0.5)
    answer, record = channels_answer(
        plan_of(LEARNED), request, policy, None, DEFAULT_MODEL, NOW, SeededDraws("l")
    )
    assert record is not None
    assert (record.choice, record.decision_id) == (answer.next_channel, answer.decision_id)
    assert {o.choice: o.propensity for o in record.options} == {
        c.channel: c.propensity for c in answer.channels if c.allowed
    }
    assert record.context == {"tier": "warm", "touch_number": "1"}
    _, nothing = channels_answer(
        plan_of(LEARNED), request, ClientPolicy(), None, DEFAULT_MODEL, NOW, SeededDraws("l")
    )
    assert nothing is None
