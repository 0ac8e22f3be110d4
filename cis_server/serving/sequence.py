"""A whole plan of touches: GetSequence's answer as a function of patterns, request, clock, draws.

The order of channels comes from `sequence_channels`; each touch is then placed as GetTiming would
place it, counted from the touch before, so that a caller who asks touch by touch is told the same.
Under exploration the order is drawn; times are not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import DecisionOption, DecisionRecord
from cis_server.domain.local_time import find_zone
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.vocabulary import Source, Tier
from cis_server.serving.answers import PlannedTouch, SequenceAnswer, TimingAnswer, WhyNot
from cis_server.serving.channel_plan import DEFAULT_CHANNELS, ChannelPlan
from cis_server.serving.channels import ChannelsRequest, closed_reasons, why_not_text
from cis_server.serving.draws import Draws, decision_id
from cis_server.serving.exploration import choose
from cis_server.serving.freshness import combined_info, weaker
from cis_server.serving.sequence_channels import (
    ChannelOrder,
    Step,
    channel_orders,
    estimate_of,
)
from cis_server.serving.timing import Place, TimingRequest, timing_answer
from cis_server.serving.timing_plan import DEFAULT_TIMING, TimingPlan

DEFAULT_TOUCHES: Final = 6
"""Touches of a plan before anything was learned (consumption sheet, section 2, step 7)."""
MOST_TOUCHES: Final = 20

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRequest:
    """What is asked. Values are checked already."""

    client_id: str
    tier: Tier | None = None
    """Effective tier of the lead; None: not known yet, `lead` is scored first."""
    lead: Lead | None = None
    """Whose contact data count; None: all are taken to be there."""
    lead_id: str | None = None
    suppressed: bool = False
    """Whether the lead must not be contacted at all."""
    suppression_reason: str | None = None
    campaign_id: str | None = None
    touch_count: int | None = None
    """Touches to plan; None: so many that with those already sent they are one more than the mean
    touches to convert, else `DEFAULT_TOUCHES`, and at least one."""
    available_channels: tuple[str, ...] = ()
    """Channels the caller can use; empty: all."""
    used_channels: tuple[str, ...] = ()
    """Channels of the touches so far, in order."""
    last_touch_time: dt.datetime | None = None
    """When the last of them was sent; None: not known, or none was."""
    last_contact_time: dt.datetime | None = None
    """When the lead was last contacted, in whichever campaign; None: not known, or never."""
    start_time: dt.datetime | None = None
    """No touch is planned earlier; None: now."""
    timezone: str | None = None
    """IANA name: the lead's own."""
    places: tuple[Place, ...] = ()
    """Tried in order where there is no zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceMaterial:
    """What a plan is made of."""

    timing: TimingPlan = DEFAULT_TIMING
    timing_model: ModelInfo
    """What to say of `timing`."""
    channels: ChannelPlan = DEFAULT_CHANNELS
    channels_model: ModelInfo
    mean_touches: float | None = None
    """Mean touches to convert; None when not learned."""


def sequence_answer(
    material: SequenceMaterial,
    request: SequenceRequest,
    client: ClientRecord,
    campaign: CampaignRecord | None,
    now: dt.datetime,
    draws_of: Callable[..., Draws],
) -> tuple[SequenceAnswer, DecisionRecord | None]:
    """Answer one request.

    Args:
        material: of the usable WHEN and HOW patterns, or of the defaults.
        request: what is asked; `tier` is known.
        client: for its zone and policy.
        campaign: the one that counts; None: none.
        now: aware.
        draws_of: the stream of numbers for some parts, seeded by lead, so that a rerun agrees.

    Returns:
        The answer, and the record to log when exploration is on and anything could be chosen.
    """
    model = combined_info({"when": material.timing_model, "how": material.channels_model})
    draws = draws_of("sequence", ",".join(request.used_channels), model.model_version)
    question = _channels_question(request)
    closed = closed_reasons(material.channels, question, client.policy, campaign)
    ranked = material.channels.ranked(tuple(closed), request.tier)
    allowed = [entry for entry in ranked if closed[entry.channel] is None]
    share = client.policy.exploration_share
    order: ChannelOrder | None = None
    propensity = 1.0
    options: tuple[DecisionOption, ...] = ()
    if allowed:
        orders = channel_orders(
            material.channels,
            allowed,
            request.tier,
            request.used_channels,
            _count(material, request),
        )
        choice = choose(
            [each.belief for each in orders], 0, share, draws, baseline=material.channels.baseline
        )
        order, propensity = orders[choice.index], choice.propensities[choice.index]
        options = _options(orders, choice.propensities)
    why_not, text = (None, "") if order else _why_none(closed, request)
    answer = SequenceAnswer(
        touches=_scheduled(order.steps, material, request, client, campaign, now, draws_of)
        if order
        else (),
        estimate=estimate_of(material.channels, order, request.used_channels) if order else None,
        why_not=why_not,
        why_not_text=text,
        decision_id=decision_id(
            "sequence",
            request.client_id,
            request.lead_id or str(draws.random()),
            request.campaign_id or "",
            ",".join(request.used_channels),
            model.model_version,
            ",".join(order.channels) if order else "",
        ),
        propensity=propensity,
        model=model,
    )
    if share <= 0.0 or order is None:
        return answer, None
    return answer, _decision(answer, order, options, request, now)


def _channels_question(request: SequenceRequest) -> ChannelsRequest:
    return ChannelsRequest(
        client_id=request.client_id,
        tier=request.tier,
        lead=request.lead,
        lead_id=request.lead_id,
        suppressed=request.suppressed,
        campaign_id=request.campaign_id,
        available_channels=request.available_channels,
        used_channels=request.used_channels,
    )


def _count(material: SequenceMaterial, request: SequenceRequest) -> int:
    if request.touch_count is not None:
        return request.touch_count
    total = DEFAULT_TOUCHES
    if material.mean_touches is not None:
        total = int(material.mean_touches) + 1
    return min(MOST_TOUCHES, max(1, total - len(request.used_channels)))


def _scheduled(
    steps: Sequence[Step],
    material: SequenceMaterial,
    request: SequenceRequest,
    client: ClientRecord,
    campaign: CampaignRecord | None,
    now: dt.datetime,
    draws_of: Callable[..., Draws],
) -> tuple[PlannedTouch, ...]:
    plain = replace(client, policy=replace(client.policy, exploration_share=0.0))
    model = material.timing_model
    previous = request.last_touch_time
    touches: list[PlannedTouch] = []
    for number, step in enumerate(steps, start=len(request.used_channels) + 1):
        question = TimingRequest(
            client_id=request.client_id,
            lead_id=request.lead_id,
            timezone=request.timezone,
            places=request.places,
            campaign_id=request.campaign_id,
            channel=step.channel,
            touch_number=number,
            last_touch_time=previous,
            last_contact_time=request.last_contact_time,
            earliest_time=request.start_time,
            count=1,
        )
        draws = draws_of("timing", step.channel, str(number), model.model_version)
        answer, _ = timing_answer(material.timing, question, plain, campaign, model, now, draws)
        touches.append(_touch(number, step, previous, answer, material))
        previous = answer.next_send_time
    return tuple(touches)


def _touch(
    number: int,
    step: Step,
    previous: dt.datetime | None,
    answer: TimingAnswer,
    material: SequenceMaterial,
) -> PlannedTouch:
    at = answer.next_send_time
    channel_source = material.channels_model.source if step.learned else Source.DEFAULT
    time_source = answer.windows[0].source
    source = weaker(channel_source, time_source)
    behind = [
        model.confidence
        for model, own in (
            (material.channels_model, channel_source),
            (material.timing_model, time_source),
        )
        if own is source
    ]
    zone = find_zone(answer.timezone)
    return PlannedTouch(
        touch_number=number,
        channel=step.channel,
        scheduled=at,
        local_time=at.astimezone(zone).isoformat(timespec="seconds"),
        timezone=answer.timezone,
        gap_days=(at - previous) / _DAY if previous is not None else None,
        source=source,
        confidence=0.0 if source is Source.DEFAULT else min(behind),
    )


def _why_none(
    closed: Mapping[str, WhyNot | None], request: SequenceRequest
) -> tuple[WhyNot | None, str]:
    """Why nothing may be sent: the reason of a channel that the tier opens, else the tier."""
    if request.suppressed:
        text = why_not_text("", WhyNot.SUPPRESSED, request.tier)
        reason = request.suppression_reason
        return WhyNot.SUPPRESSED, f"{text}: {reason}" if reason else text
    reasons = [(channel, why) for channel, why in closed.items() if why is not None]
    reasons.sort(key=lambda item: item[1] is WhyNot.TIER)
    if not reasons:
        return None, ""
    said = dict.fromkeys(
        f"{channel}: {why_not_text(channel, why, request.tier)}"
        for channel, why in reasons
        if why is not WhyNot.TIER
    )
    return reasons[0][1], "; ".join(said) or why_not_text("", WhyNot.TIER, request.tier)


def _options(
    orders: Sequence[ChannelOrder], propensities: Sequence[float]
) -> tuple[DecisionOption, ...]:
    options = [
        DecisionOption(choice=",".join(order.channels), propensity=propensity, best=index == 0)
        for index, (order, propensity) in enumerate(zip(orders, propensities, strict=True))
    ]
    return tuple(sorted(options, key=lambda option: (-option.propensity, option.choice)))


def _decision(
    answer: SequenceAnswer,
    order: ChannelOrder,
    options: tuple[DecisionOption, ...],
    request: SequenceRequest,
    now: dt.datetime,
) -> DecisionRecord:
    context = {
        "tier": request.tier.label if request.tier is not None else None,
        "campaign_id": request.campaign_id,
        "touch_number": str(len(request.used_channels) + 1),
    }
    return DecisionRecord(
        decision_id=answer.decision_id,
        client_id=request.client_id,
        lead_id=request.lead_id,
        kind="sequence",
        decided_at=now,
        choice=",".join(order.channels),
        propensity=answer.propensity,
        options=options,
        context={key: value for key, value in context.items() if value is not None},
        model_version=answer.model.model_version,
    )
