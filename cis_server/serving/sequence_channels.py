"""The order of channels of a plan: which channel each touch goes through.

The best winning sequence leads where all of its channels are open and the touches so far agree with
it; from its end on, or without one, each touch goes where `GetChannels` would send it. No channel
is used more than twice in a row while there is another (consumption sheet, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cis_server.domain.rates import RateEstimate
from cis_server.domain.vocabulary import Tier, Verdict
from cis_server.serving.answers import ChannelSequence
from cis_server.serving.channel_plan import (
    HOT_VOICE_TOUCH,
    ChannelPlan,
    RankedChannel,
    is_diverse,
)
from cis_server.serving.channels import best_next, calls_now, diverse_pool

LONGEST_LEARNED = 6
"""Channels of the longest sequences that are learned."""


@dataclass(frozen=True, slots=True)
class Step:
    """One touch without its time."""

    channel: str
    learned: bool
    """Whether learning chose it; else the default order did."""


@dataclass(frozen=True, slots=True)
class ChannelOrder:
    """The steps of one plan."""

    steps: tuple[Step, ...]
    followed: ChannelSequence | None
    """The learned sequence that led it."""
    belief: RateEstimate | None
    """What is believed of it when plans are compared: the rate of the sequence that led it, else of
    its first channel."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels in order."""
        return tuple(step.channel for step in self.steps)


def channel_orders(
    plan: ChannelPlan,
    allowed: Sequence[RankedChannel],
    tier: Tier | None,
    used: Sequence[str],
    count: int,
) -> tuple[ChannelOrder, ...]:
    """Every plan worth trying.

    Args:
        plan: of the usable HOW pattern, or `DEFAULT_CHANNELS`.
        allowed: open channels, best first; not empty.
        tier: of the lead; None: all together.
        used: channels of the touches so far, in order.
        count: touches to plan, at least 1.

    Returns:
        The best plan, then one for every other learned sequence that fits and for every other
        channel to go on with; no two alike.
    """
    fitting = _fitting(plan, allowed, used)
    winner = next((s for s in fitting if s.verdict is Verdict.WINNING), None)
    orders = [_order(plan, allowed, tier, used, count, winner, None)]
    orders += [_order(plan, allowed, tier, used, count, sequence, None) for sequence in fitting]
    orders += [
        _order(plan, allowed, tier, used, count, None, entry.channel)
        for entry in diverse_pool(allowed, used)
    ]
    unique: dict[tuple[str, ...], ChannelOrder] = {}
    for order in orders:
        unique.setdefault(order.channels, order)
    return tuple(unique.values())


def estimate_of(plan: ChannelPlan, order: ChannelOrder, used: Sequence[str]) -> RateEstimate | None:
    """Rate of leads whose touches began in this order; None where that was not learned.

    A learned sequence counts the leads whose first channels were these, however many touches
    followed. It speaks for a plan that it covers in full (up to the longest ones that are learned),
    and for one that it led and that only goes on after it.
    """
    whole = (*used, *order.channels)
    covered = min(len(whole), LONGEST_LEARNED)
    matching = [
        sequence
        for sequence in plan.sequences
        if sequence.channels == whole[: len(sequence.channels)]
        and (len(sequence.channels) >= covered or sequence is order.followed)
    ]
    longest = max(matching, key=lambda s: len(s.channels), default=None)
    return longest.estimate if longest is not None else None


def _fitting(
    plan: ChannelPlan, allowed: Sequence[RankedChannel], used: Sequence[str]
) -> list[ChannelSequence]:
    names = {entry.channel for entry in allowed}
    return [
        sequence
        for sequence in plan.sequences
        if set(sequence.channels[len(used) :]) <= names
        and len(sequence.channels) > len(used)
        and sequence.channels[: len(used)] == tuple(used)
        and (len(names) == 1 or is_diverse(sequence.channels))
    ]


def _order(
    plan: ChannelPlan,
    allowed: Sequence[RankedChannel],
    tier: Tier | None,
    used: Sequence[str],
    count: int,
    led_by: ChannelSequence | None,
    first: str | None,
) -> ChannelOrder:
    sequence = led_by.channels if led_by is not None else ()
    sent = list(used)
    steps: list[Step] = []
    while len(steps) < count:
        pool = diverse_pool(allowed, sent)
        names = [entry.channel for entry in pool]
        wanted = sequence[len(sent)] if len(sent) < len(sequence) else None
        if first is not None and not steps:
            step = Step(first, plan.has_rates(tier))
        elif _call_instead(plan, tier, sent, sequence) and "voice" in names:
            step = Step("voice", True)
        elif wanted in names:
            step = Step(str(wanted), True)
        else:
            choice = best_next(plan, pool, tier, sent)
            step = Step(names[choice.index], choice.learned)
        steps.append(step)
        sent.append(step.channel)
    planned = sent[len(used) : len(sequence)]
    kept = tuple(planned) == tuple(sequence[len(used) : len(used) + len(planned)])
    followed = led_by if kept else None
    by_channel = {entry.channel: entry.estimate for entry in allowed}
    return ChannelOrder(
        tuple(steps),
        followed,
        followed.estimate if followed is not None else by_channel[steps[0].channel],
    )


def _call_instead(
    plan: ChannelPlan, tier: Tier | None, sent: Sequence[str], sequence: Sequence[str]
) -> bool:
    """Whether the call of a hot lead takes this touch; a sequence that calls as early keeps it."""
    return "voice" not in sequence[:HOT_VOICE_TOUCH] and calls_now(plan, tier, sent)
