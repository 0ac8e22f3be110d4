"""What was learned about channels, blended with the default order and ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cis_server.domain.patterns import HowPattern, SequenceRate
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import WELL_KNOWN_CHANNELS, Source, Tier, Verdict
from cis_server.serving.answers import (
    Basis,
    ChannelSequence,
    MultiChannel,
    MultiChannelAdvice,
)
from cis_server.serving.freshness import blended_source

DEFAULT_ORDER: Final = WELL_KNOWN_CHANNELS
"""Channels without data stand in this order, further ones after it by name."""
DEFAULT_SEQUENCE: Final = ("email", "linkedin", "email", "sms", "voice", "email")
"""Plan without learning, repeated from the start (consumption sheet, section 2, step 5)."""
MOST_IN_A_ROW: Final = 2
SEQUENCES_ADVISED: Final = 5
LEAST_SEQUENCE_SAMPLE: Final = 30
"""Sequences that are no proven winners are shown from this many leads on."""
LEAST_TIER_SAMPLE: Final = 30
"""Leads of a tier, reached through one channel, from which on its own rates are asked."""

HOT_VOICE_TOUCH: Final = 3
HOT_VOICE_RATE: Final = 0.15
HOT_VOICE_SAMPLE: Final = 30


@dataclass(frozen=True, slots=True)
class RankedChannel:
    """One channel in order of preference."""

    channel: str
    estimate: RateEstimate | None
    verdict: Verdict
    basis: Basis


class ChannelPlan:
    """Everything GetChannels needs of a HOW pattern, or of the defaults."""

    def __init__(self, pattern: HowPattern | None, share: float, learned: Source) -> None:
        """Prepare a pattern.

        Args:
            pattern: None for the defaults.
            share: share of learning, 0..1; 0 gives the default order, with learned rates shown.
            learned: what the learned part is called, LEARNED or POOLED.
        """
        self.share = share if pattern is not None else 0.0
        self.baseline = pattern.envelope.baseline_conversion_rate if pattern else None
        self._overall = tuple(pattern.channel_effectiveness) if pattern else ()
        self._tiers: Mapping[str, tuple[SegmentRate, ...]] = (
            pattern.tier_channel_effectiveness if pattern else {}
        )
        self._transitions = pattern.channel_transitions if pattern and self.share > 0.0 else ()
        first = pattern.first_touch_effectiveness if pattern and self.share > 0.0 else None
        self.best_first_channel = first.best_first_channel if first else None
        self.sequences = _sequences(pattern, self.share, learned)
        self.multi_channel = _multi_channel(pattern, self.share)

    def known_channels(self) -> tuple[str, ...]:
        """Channels the pattern has rates of."""
        return tuple(segment.value for segment in self._overall)

    def has_rates(self, tier: Tier | None) -> bool:
        """Whether learning ranks any channel for this tier."""
        return self.share > 0.0 and bool(self._rates(tier)[0])

    def ranked(self, channels: Sequence[str], tier: Tier | None) -> tuple[RankedChannel, ...]:
        """The channels, best first.

        Rates are those of the tier when it has any data, else of all leads. With a share b of
        learning the order is by b * (lower end of the rate's interval, relative to the best) +
        (1 - b) * (place in the default order, 1 for the first, falling to 0); at b = 1 channels
        without data come after all with data.
        """
        rates, basis = self._rates(tier)
        found = {segment.value: segment for segment in rates}
        names = sorted(set(channels), key=_default_place)
        top = max((found[name].estimate.low for name in names if name in found), default=0.0)

        def key(item: tuple[int, str]) -> tuple[float, int, int, str]:
            place, name = item
            segment = found.get(name)
            default = (1.0 - self.share) * (1.0 - place / len(names))
            if segment is None or self.share <= 0.0:
                return (-default, 1, place, name)
            low = segment.estimate.low / top if top > 0.0 else 1.0
            return (-(self.share * low + default), 0, -segment.estimate.sample, name)

        order = [name for _, name in sorted(enumerate(names), key=key)]
        if self.share >= 1.0:
            order.sort(key=lambda name: name not in found)
        return tuple(
            RankedChannel(name, found[name].estimate, found[name].verdict, basis)
            if name in found
            else RankedChannel(name, None, Verdict.UNDECIDED, Basis.NONE)
            for name in order
        )

    def after(self, previous: str, allowed: Sequence[str]) -> str | None:
        """The allowed channel with which leads most surely convert after `previous`, if learned."""
        options = [
            t for t in self._transitions if t.from_channel == previous and t.to_channel in allowed
        ]
        options.sort(key=lambda t: (-t.estimate.low, -t.estimate.sample, t.to_channel))
        return options[0].to_channel if options else None

    def hot_voice(self) -> bool:
        """Whether hot leads answer calls well enough for a call at the third touch."""
        return self.share > 0.0 and any(
            segment.value == "voice"
            and segment.estimate.sample >= HOT_VOICE_SAMPLE
            and segment.estimate.adjusted_rate > HOT_VOICE_RATE
            for segment in self._tiers.get(Tier.HOT.label, ())
        )

    def _rates(self, tier: Tier | None) -> tuple[tuple[SegmentRate, ...], Basis]:
        own = self._tiers.get(tier.label, ()) if tier is not None else ()
        # A lead stands in every channel it was touched through, so that samples do not add up.
        if max((segment.estimate.sample for segment in own), default=0) < LEAST_TIER_SAMPLE:
            own = ()  # a handful of leads says less about a channel than all tiers together
        if own:
            return own, Basis.TIER
        return self._overall, Basis.OVERALL if self._overall else Basis.NONE


def is_diverse(channels: Sequence[str]) -> bool:
    """Whether no channel stands more than `MOST_IN_A_ROW` times in a row."""
    run = MOST_IN_A_ROW + 1
    return all(
        len(set(channels[start : start + run])) > 1 for start in range(len(channels) - run + 1)
    )


def default_sequence(allowed: Sequence[str]) -> tuple[str, ...]:
    """The default plan with the channels that are not allowed left out, kept diverse.

    Where only one channel is allowed there is nothing to alternate with and it stands alone; where
    none of the plan's channels is, the allowed ones stand once each.
    """
    plan: list[str] = []
    for channel in DEFAULT_SEQUENCE:
        if channel in allowed and (len(allowed) == 1 or is_diverse([*plan, channel])):
            plan.append(channel)
    return tuple(plan) or tuple(sorted(allowed, key=_default_place))


def _default_place(channel: str) -> tuple[int, str]:
    place = DEFAULT_ORDER.index(channel) if channel in DEFAULT_ORDER else len(DEFAULT_ORDER)
    return place, channel


def _sequences(
    pattern: HowPattern | None, share: float, learned: Source
) -> tuple[ChannelSequence, ...]:
    """Winning sequences, then those whose case is open and that were tried often enough."""
    block = pattern.sequence_patterns if pattern else None
    if block is None or share <= 0.0:
        return ()
    source = blended_source(share, learned)
    winners = block.winning_sequences
    seen = {rate.channels for rate in winners}
    others = [
        rate
        for rate in block.sequences
        if rate.channels not in seen
        and rate.segment.verdict is not Verdict.LOSING
        and rate.segment.estimate.sample >= LEAST_SEQUENCE_SAMPLE
    ]
    others.sort(key=_sequence_rank)
    return tuple(
        ChannelSequence(
            channels=rate.channels,
            estimate=rate.segment.estimate,
            verdict=rate.segment.verdict,
            source=source,
        )
        for rate in (*winners, *others)
    )


def _sequence_rank(rate: SequenceRate) -> tuple[float, int, str]:
    estimate = rate.segment.estimate
    return -estimate.low, -estimate.sample, rate.sequence


def _multi_channel(pattern: HowPattern | None, share: float) -> MultiChannelAdvice:
    block = pattern.multi_channel_lift if pattern else None
    if block is None:
        return MultiChannelAdvice(
            recommendation=MultiChannel.UNKNOWN, single=None, multi=None, lift=None
        )
    return MultiChannelAdvice(
        recommendation=MultiChannel(block.recommendation) if share > 0.0 else MultiChannel.UNKNOWN,
        single=block.single,
        multi=block.multi,
        lift=block.multi_channel_lift,
    )


DEFAULT_CHANNELS: Final = ChannelPlan(None, 0.0, Source.LEARNED)
"""What answers before anything was learned."""
