"""Through which channel to contact a lead: GetChannels' answer.

First what may be used (tier, suppression, contact data, campaign, the caller's means), then what
works best among it: learning never opens a channel, and neither does exploration.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cis_server.domain.clients import CampaignRecord, ClientPolicy
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import DecisionOption, DecisionRecord
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.tiers import channels_of_tier
from cis_server.domain.vocabulary import WELL_KNOWN_CHANNELS, Source, Tier, Verdict
from cis_server.scoring.contacts import closed_channels, reaches
from cis_server.serving.answers import (
    ChannelChoice,
    ChannelsAnswer,
    ChannelSequence,
    WhyNot,
)
from cis_server.serving.channel_plan import (
    DEFAULT_SEQUENCE,
    HOT_VOICE_TOUCH,
    MOST_IN_A_ROW,
    SEQUENCES_ADVISED,
    ChannelPlan,
    RankedChannel,
    default_sequence,
    is_diverse,
)
from cis_server.serving.draws import Draws, decision_id
from cis_server.serving.exploration import drawn, propensities_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsRequest:
    """What is asked. Values are checked already."""

    client_id: str
    tier: Tier | None = None
    """Effective tier of the lead; None: all tiers together, and every channel is open to them."""
    lead: Lead | None = None
    """Whose contact data count; None: all are taken to be there."""
    lead_id: str | None = None
    suppressed: bool = False
    """Whether the lead must not be contacted at all."""
    campaign_id: str | None = None
    available_channels: tuple[str, ...] = ()
    """Channels the caller can use; empty: all."""
    used_channels: tuple[str, ...] = ()
    """Channels of the touches so far, in order."""


def channels_answer(
    plan: ChannelPlan,
    request: ChannelsRequest,
    policy: ClientPolicy,
    campaign: CampaignRecord | None,
    model: ModelInfo,
    now: dt.datetime,
    draws: Draws,
) -> tuple[ChannelsAnswer, DecisionRecord | None]:
    """Answer one request.

    Args:
        plan: of the usable HOW pattern, or `DEFAULT_CHANNELS`.
        request: what is asked.
        policy: the client's tier channels and exploration share.
        campaign: the one named in the request; None: no allocation counts.
        model: what to say of `plan`.
        now: aware.
        draws: two numbers are taken at most; seeded by lead and touch, so that a rerun agrees.

    Returns:
        The answer, and the record to log when exploration is on and anything could be chosen.
    """
    options = channel_options(plan, request, policy, campaign)
    index = drawn(options.propensities, options.best, policy.exploration_share, draws)
    chosen = options.pool[index] if options.pool else None
    answer = ChannelsAnswer(
        channels=options.choices,
        next_channel=chosen,
        sequences=options.sequences,
        multi_channel=plan.multi_channel,
        tier=request.tier,
        decision_id=decision_id(
            "channel",
            request.client_id,
            request.lead_id or str(draws.random()),
            *decision_parts(request, model),
            chosen or "",
        ),
        propensity=options.propensities[index] if chosen else 1.0,
        model=model,
    )
    if policy.exploration_share <= 0.0 or chosen is None:
        return answer, None
    return answer, _decision(answer, chosen, options, request, now)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What an answer holds whichever channel is drawn."""

    choices: tuple[ChannelChoice, ...]
    sequences: tuple[ChannelSequence, ...]
    pool: tuple[str, ...]
    """Channels one of which is drawn; empty when none is allowed."""
    propensities: tuple[float, ...]
    """Of the pool."""
    best: int
    """Which of the pool would be taken without exploration."""


def channel_options(
    plan: ChannelPlan,
    request: ChannelsRequest,
    policy: ClientPolicy,
    campaign: CampaignRecord | None,
) -> ChannelOptions:
    """What can be chosen and how likely each channel is; arguments as of `channels_answer`."""
    closed = closed_reasons(plan, request, policy, campaign)
    ranked = plan.ranked(tuple(closed), request.tier)
    allowed = [entry for entry in ranked if closed[entry.channel] is None]
    pool = diverse_pool(allowed, request.used_channels)
    best, propensities = 0, tuple[float, ...]()
    if pool:
        best = best_next(plan, pool, request.tier, request.used_channels).index
        propensities = propensities_of(
            [entry.estimate for entry in pool],
            best,
            policy.exploration_share,
            baseline=plan.baseline,
        )
    names = tuple(entry.channel for entry in pool)
    by_name = dict(zip(names, propensities, strict=True))
    ordered = [*allowed, *(entry for entry in ranked if closed[entry.channel] is not None)]
    return ChannelOptions(
        choices=tuple(_choice(entry, closed[entry.channel], request, by_name) for entry in ordered),
        sequences=_sequences(plan, [entry.channel for entry in allowed]),
        pool=names,
        propensities=propensities,
        best=best,
    )


def decision_parts(request: ChannelsRequest, model: ModelInfo) -> tuple[str, ...]:
    """Of a decision's identity, what stands between the lead and the channel."""
    return request.campaign_id or "", ",".join(request.used_channels), model.model_version


def closed_reasons(
    plan: ChannelPlan,
    request: ChannelsRequest,
    policy: ClientPolicy,
    campaign: CampaignRecord | None,
) -> dict[str, WhyNot | None]:
    """Every channel in question with the first reason that closes it, None for an open one."""
    if request.tier is None:
        by_policy = (name for names in policy.tier_channels.values() for name in names)
        of_tier: tuple[str, ...] = (*WELL_KNOWN_CHANNELS, *by_policy)
    else:
        of_tier = channels_of_tier(request.tier, policy.tier_channels)
    allocation: Mapping[str, int] = campaign.allocation if campaign else {}
    available = request.available_channels
    names = dict.fromkeys(
        (*WELL_KNOWN_CHANNELS, *of_tier, *available, *allocation, *plan.known_channels())
    )
    closed = closed_channels(request.lead) if request.lead is not None else frozenset()

    def reason(name: str) -> WhyNot | None:
        if request.suppressed:
            return WhyNot.SUPPRESSED
        if name not in of_tier:
            return WhyNot.TIER
        if name in closed:
            return WhyNot.EMAIL_INVALID if name == "email" else WhyNot.CALL_REGISTER
        if request.lead is not None and not reaches(name, request.lead):
            return WhyNot.CONTACT_DATA
        if allocation and allocation.get(name, 0) <= 0:
            return WhyNot.CAMPAIGN_ALLOCATION
        if available and name not in available:
            return WhyNot.NOT_AVAILABLE
        return None

    return {name: reason(name) for name in names}


def diverse_pool(allowed: Sequence[RankedChannel], used: Sequence[str]) -> list[RankedChannel]:
    """Without the channel of the last touches when it was used often enough in a row.

    Where it is the only one allowed it stays: a lead reachable by e-mail alone is not given up.
    """
    last = used[-MOST_IN_A_ROW:]
    if len(allowed) < 2 or len(last) < MOST_IN_A_ROW or len(set(last)) > 1:
        return list(allowed)
    return [entry for entry in allowed if entry.channel != last[0]]


@dataclass(frozen=True, slots=True)
class NextChannel:
    """The channel to use next."""

    index: int
    """Its place in the pool it was chosen from."""
    learned: bool
    """Whether learning chose it; else the default order did."""


def best_next(
    plan: ChannelPlan, pool: Sequence[RankedChannel], tier: Tier | None, used: Sequence[str]
) -> NextChannel:
    """The channel to use next (consumption sheet, section 2, steps 3, 4 and 6).

    Args:
        plan: what was learned.
        pool: channels that may be used next, best first; not empty.
        tier: of the lead; None: all together.
        used: channels of the touches so far, in order.
    """
    names = [entry.channel for entry in pool]
    by_rate = plan.has_rates(tier)
    wanted: str | None = None
    learned = by_rate
    if not used:
        wanted = plan.best_first_channel
        learned = by_rate or wanted in names
    elif calls_now(plan, tier, used):
        wanted = "voice"
        learned = by_rate or wanted in names
    elif not by_rate:
        wanted = plan.after(used[-1], names)
        learned = wanted is not None
        wanted = wanted or _planned(len(used), names)
    return NextChannel(names.index(wanted) if wanted in names else 0, learned)


def calls_now(plan: ChannelPlan, tier: Tier | None, used: Sequence[str]) -> bool:
    """Whether a hot lead that was not called yet should be called with the next touch."""
    return (
        tier is Tier.HOT
        and len(used) + 1 == HOT_VOICE_TOUCH
        and "voice" not in used
        and plan.hot_voice()
    )


def _planned(sent: int, names: Sequence[str]) -> str | None:
    """The default plan's channel after `sent` touches, or the next one of it that may be used."""
    steps = len(DEFAULT_SEQUENCE)
    turn = (DEFAULT_SEQUENCE[(sent + ahead) % steps] for ahead in range(steps))
    return next((name for name in turn if name in names), None)


def _sequences(plan: ChannelPlan, allowed: Sequence[str]) -> tuple[ChannelSequence, ...]:
    if not allowed:
        return ()
    fitting = [
        sequence
        for sequence in plan.sequences
        if set(sequence.channels) <= set(allowed)
        and (len(allowed) == 1 or is_diverse(sequence.channels))
    ]
    if fitting:
        return tuple(fitting[:SEQUENCES_ADVISED])
    return (
        ChannelSequence(
            channels=default_sequence(allowed),
            estimate=None,
            verdict=Verdict.UNDECIDED,
            source=Source.DEFAULT,
        ),
    )


_TEXTS: Final[Mapping[WhyNot, str]] = {
    WhyNot.SUPPRESSED: "the lead must not be contacted",
    WhyNot.TIER: "not used for {tier} leads",
    WhyNot.EMAIL_INVALID: "the e-mail address is invalid",
    WhyNot.CALL_REGISTER: "the number is on a call register",
    WhyNot.CAMPAIGN_ALLOCATION: "the campaign gives it no share",
    WhyNot.NOT_AVAILABLE: "not among the available channels",
}

_MISSING: Final[Mapping[str, str]] = {
    "email": "no usable e-mail address",
    "sms": "no phone number",
    "voice": "no phone number",
    "linkedin": "no LinkedIn profile",
    "mail": "no postal address",
}


def _choice(
    entry: RankedChannel,
    why_not: WhyNot | None,
    request: ChannelsRequest,
    propensities: Mapping[str, float],
) -> ChannelChoice:
    return ChannelChoice(
        channel=entry.channel,
        estimate=entry.estimate,
        verdict=entry.verdict,
        allowed=why_not is None,
        why_not=why_not,
        why_not_text=why_not_text(entry.channel, why_not, request.tier),
        propensity=propensities.get(entry.channel, 0.0),
        basis=entry.basis,
    )


def why_not_text(channel: str, why_not: WhyNot | None, tier: Tier | None) -> str:
    """Why a channel may not be used, in plain words; empty when it may."""
    if why_not is None:
        return ""
    if why_not is WhyNot.CONTACT_DATA:
        return _MISSING.get(channel, "no contact data")
    return _TEXTS[why_not].format(tier=tier.label if tier is not None else "any")


def _decision(
    answer: ChannelsAnswer,
    chosen: str,
    options: ChannelOptions,
    request: ChannelsRequest,
    now: dt.datetime,
) -> DecisionRecord:
    context: dict[str, str | None] = {
        "tier": request.tier.label if request.tier is not None else None,
        "campaign_id": request.campaign_id,
        "touch_number": str(len(request.used_channels) + 1),
    }
    best = options.pool[options.best]
    propensities = dict(zip(options.pool, options.propensities, strict=True))
    ordered = sorted(propensities, key=lambda name: (-propensities[name], name))
    return DecisionRecord(
        decision_id=answer.decision_id,
        client_id=request.client_id,
        lead_id=request.lead_id,
        kind="channel",
        decided_at=now,
        choice=chosen,
        propensity=answer.propensity,
        options=tuple(
            DecisionOption(choice=name, propensity=propensities[name], best=name == best)
            for name in ordered
        ),
        context={key: value for key, value in context.items() if value is not None},
        model_version=answer.model.model_version,
    )
