"""Standing answers as bytes: serialised once, completed at every call.

A serialised message followed by another of its type reads as both merged: fields that stand alone
are those of the later one, lists are joined in order (protobuf's encoding guide, "Last One Wins").
So what follows the clock and the draws is serialised as a small message of its own and put where
its place in a list asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.rpc.messages.recommendations import channels_message, timing_message
from cis_server.rpc.messages.values import timestamp
from cis_server.serving.footing import Footing
from cis_server.serving.standing_channels import (
    ChannelsMoment,
    ChannelsMoments,
    StandingChannels,
)
from cis_server.serving.standing_timing import StandingTiming, TimingMoment, TimingMoments

# Objects around the bytes: moments, slot, zone and identity state, measured with sys.getsizeof.
_AROUND: Final = 1500


@dataclass(frozen=True, slots=True)
class TimingBytes:
    """A GetTiming response but for its moment."""

    footing: Footing
    moments: TimingMoments
    before: bytes
    """Everything up to the window under way, or everything."""
    under_way: recommendation.SendWindow | None
    """That window without its start; None when none is."""
    after: bytes
    """The windows behind it."""

    @classmethod
    def of(cls, standing: StandingTiming, footing: Footing) -> TimingBytes:
        """Serialise an answer."""
        moments, answer = standing.moments, timing_message(standing.answer)
        answer.ClearField("next_send_time")
        answer.ClearField("decision_id")
        place = moments.under_way
        if place is None:
            return cls(footing, moments, answer.SerializeToString(), None, b"")
        windows = list(answer.windows)
        window = recommendation.SendWindow()
        window.CopyFrom(windows[place])
        window.ClearField("start_time")
        window.ClearField("local_start")
        after = recommendation.GetTimingResponse(windows=windows[place + 1 :]).SerializeToString()
        del answer.windows[place:]
        return cls(footing, moments, answer.SerializeToString(), window, after)

    @property
    def size(self) -> int:
        """Bytes taken."""
        return _AROUND + len(self.before) + len(self.after)

    def at(self, moment: TimingMoment) -> bytes:
        """The whole response, serialised."""
        changing = recommendation.GetTimingResponse(
            next_send_time=timestamp(moment.next_send_time), decision_id=moment.decision_id
        )
        if self.under_way is None:
            return self.before + changing.SerializeToString()
        window = changing.windows.add(
            start_time=timestamp(moment.start), local_start=moment.local_start
        )
        window.MergeFrom(self.under_way)
        return self.before + changing.SerializeToString() + self.after


@dataclass(frozen=True, slots=True)
class ChannelsBytes:
    """A GetChannels response but for its moment."""

    footing: Footing
    moments: ChannelsMoments
    same: bytes

    @classmethod
    def of(cls, standing: StandingChannels, footing: Footing) -> ChannelsBytes:
        """Serialise an answer."""
        same = replace(standing.answer, next_channel=None, decision_id="", propensity=0.0)
        return cls(footing, standing.moments, channels_message(same).SerializeToString())

    @property
    def size(self) -> int:
        """Bytes taken."""
        return _AROUND + len(self.same)

    def at(self, moment: ChannelsMoment) -> bytes:
        """The whole response, serialised."""
        changing = recommendation.GetChannelsResponse(
            next_channel=moment.next_channel,
            propensity=moment.propensity,
            decision_id=moment.decision_id,
        )
        return self.same + changing.SerializeToString()
