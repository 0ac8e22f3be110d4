"""GetChannels' answer for as long as it stays the same but for the draw.

An answer about no lead in particular changes in nothing but which channel is drawn and the
decision's id, until the pattern runs out. `channels.channels_answer` is what it must equal.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from cis_server.domain.clients import CampaignRecord, ClientPolicy
from cis_server.domain.live_state import DecisionRecord
from cis_server.domain.model_info import ModelInfo
from cis_server.serving.answers import ChannelsAnswer
from cis_server.serving.channel_plan import ChannelPlan
from cis_server.serving.channels import (
    ChannelsRequest,
    channel_options,
    channels_answer,
    decision_parts,
)
from cis_server.serving.draws import DecisionIds, Draws, frame, framed
from cis_server.serving.exploration import drawn


@dataclass(frozen=True, slots=True)
class ChannelsMoment:
    """What of an answer follows the draws."""

    next_channel: str | None
    propensity: float
    decision_id: str
    decision: DecisionRecord | None
    """The record to log."""


@dataclass(frozen=True, slots=True)
class ChannelsMoments:
    """Gives the moment of an answer at any instant while it holds."""

    since: dt.datetime
    until: dt.datetime | None
    """First instant at which the answer must be worked out again; None: no instant is."""
    pool: tuple[str, ...]
    propensities: tuple[float, ...]
    best: int
    share: float
    """Of exploration."""
    ids: DecisionIds
    later_parts: bytes
    """Of the decision's identity, framed: what stands between the drawn number and the channel."""
    decision: DecisionRecord | None
    """The record to log but for what is drawn; None: nothing is logged."""

    def holds(self, now: dt.datetime) -> bool:
        """Whether the answer may be given at `now`."""
        return self.since <= now and (self.until is None or now < self.until)

    def at(self, now: dt.datetime, draws: Draws) -> ChannelsMoment:
        """The moment at `now`, at which the answer must hold; draws as `channels_answer` does."""
        chosen, propensity = None, 1.0
        if self.pool:
            index = drawn(self.propensities, self.best, self.share, draws)
            chosen, propensity = self.pool[index], self.propensities[index]
        number = frame(str(draws.random()))
        identity = self.ids.of_framed(number + self.later_parts + frame(chosen or ""))
        record = self.decision
        if record is not None and chosen is not None:
            record = replace(
                record,
                decision_id=identity,
                decided_at=now,
                choice=chosen,
                propensity=propensity,
            )
        return ChannelsMoment(chosen, propensity, identity, record)


@dataclass(frozen=True, slots=True)
class StandingChannels:
    """An answer and what of it changes meanwhile."""

    answer: ChannelsAnswer
    """With a draw of no meaning."""
    moments: ChannelsMoments

    def as_of(self, now: dt.datetime, draws: Draws) -> tuple[ChannelsAnswer, DecisionRecord | None]:
        """The whole answer at `now`, at which it must hold, and the record to log."""
        moment = self.moments.at(now, draws)
        answer = replace(
            self.answer,
            next_channel=moment.next_channel,
            propensity=moment.propensity,
            decision_id=moment.decision_id,
        )
        return answer, moment.decision


def standing_channels(
    plan: ChannelPlan,
    request: ChannelsRequest,
    policy: ClientPolicy,
    campaign: CampaignRecord | None,
    model: ModelInfo,
    now: dt.datetime,
) -> StandingChannels | None:
    """The answer from `now` on; arguments as of `channels.channels_answer`.

    Returns:
        None where every call must be worked out by itself: for a lead.
    """
    if request.lead_id is not None or request.lead is not None:
        return None
    answer, decision = channels_answer(plan, request, policy, campaign, model, now, _NoDraws())
    options = channel_options(plan, request, policy, campaign)
    return StandingChannels(
        answer,
        ChannelsMoments(
            since=now,
            until=model.valid_until
            if model.valid_until is not None and model.valid_until > now
            else None,
            pool=options.pool,
            propensities=options.propensities,
            best=options.best,
            share=policy.exploration_share,
            ids=DecisionIds("channel", request.client_id),
            later_parts=framed(*decision_parts(request, model)),
            decision=decision,
        ),
    )


class _NoDraws:
    """For an answer whose drawn parts are replaced."""

    def random(self) -> float:
        return 0.0
