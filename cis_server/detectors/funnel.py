"""FUNNEL: what happens after the booking."""

from __future__ import annotations

from dataclasses import replace

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.envelope import envelope
from cis_server.detectors.funnel_deals import (
    LOST_BLOCK,
    MEETING_BLOCK,
    WIN_BLOCK,
    add_meetings_to_deals,
    add_wins,
    lost_deals,
    meeting_to_deal,
    win_rate,
)
from cis_server.detectors.funnel_population import FunnelPopulation, funnel_population
from cis_server.detectors.funnel_revenue import BLOCK as REVENUE_BLOCK
from cis_server.detectors.funnel_revenue import channel_attribution
from cis_server.detectors.funnel_show_rate import BLOCK as SHOW_BLOCK
from cis_server.detectors.funnel_show_rate import add_show_rates, show_rate
from cis_server.detectors.funnel_velocity import BLOCK as VELOCITY_BLOCK
from cis_server.detectors.funnel_velocity import add_speed, velocity
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.segments import Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.funnel_pattern import FunnelPattern
from cis_server.domain.rates import RateEstimate
from cis_server.domain.vocabulary import PatternType
from cis_server.stats.confidence import confidence

_METHOD = (
    "rates by beta-binomial shrinkage; Fisher or score test against the complement with "
    "Benjamini-Hochberg over all segments; confirmations, reminders and reschedulings by "
    "Mantel-Haenszel over score tier and days ahead, among meetings that reached the reminder; "
    "open deals censored (Aalen-Johansen, Kaplan-Meier); values by currency"
)


def detect_funnel(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    run: Population | None = None,
) -> FunnelPattern:
    """Follow booked meetings to attendance, deals, wins and revenue.

    Meetings count in the cohort of their booking (the window), deals in that of their creation
    (`deal_windows`). Sample and baseline of the envelope are those of attendance, or of
    closed deals where there are too few meetings; its confidence is that of the smallest of the
    blocks `show_rate`, `meeting_to_deal` and `win_rate` that came out, since every one of them is
    read by somebody.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        The pattern; the same data give the same pattern whatever the row order.

    Raises:
        InsufficientData: too few meetings of known attendance, and too few closed deals.
    """
    settings = settings or DetectorSettings()
    run = run or population(dataset, settings)
    people = funnel_population(dataset, settings)
    _require_enough(people, settings)
    blocks = Blocks()
    known = people.known
    segments = Segments(settings, int(known["attended"].sum()) / max(1, known.height))
    add_show_rates(segments, people, blocks, settings)
    add_meetings_to_deals(segments, people, blocks, settings)
    add_wins(segments, people, blocks, settings)
    add_speed(segments, people, blocks, settings)
    judged = segments.judged()
    shows = blocks.run(SHOW_BLOCK, lambda: show_rate(people, judged, settings))
    meetings = blocks.run(MEETING_BLOCK, lambda: meeting_to_deal(people, judged, settings))
    wins = blocks.run(WIN_BLOCK, lambda: win_rate(people, judged, settings))
    lost = blocks.run(LOST_BLOCK, lambda: lost_deals(people, settings))
    revenue = blocks.run(REVENUE_BLOCK, lambda: channel_attribution(dataset, people, settings))
    speed = blocks.run(VELOCITY_BLOCK, lambda: velocity(dataset, people, judged, settings))
    if revenue is not None and revenue.traced_deals < revenue.sample_size:
        blocks.remark(
            REVENUE_BLOCK,
            f"credit is shared over {revenue.traced_deals} of {revenue.sample_size} deals: the "
            "others have touches before the window",
        )
    by_meetings = known.height >= settings.funnel_minimum
    outcome = known["attended"] if by_meetings else people.closed["won"]
    estimates = [block.estimate for block in (shows, meetings, wins) if block is not None]
    about = envelope(
        PatternType.FUNNEL,
        run,
        blocks,
        unit="meetings" if by_meetings else "deals",
        method=_METHOD,
        sample=outcome.len(),
        converted=int(outcome.sum()),
    )
    return FunnelPattern(
        envelope=replace(about, confidence=_confidence(estimates), note=_note(people)),
        show_rate=shows,
        meeting_to_deal=meetings,
        win_rate=wins,
        lost_deals=lost,
        channel_attribution=revenue,
        velocity=speed,
    )


def _require_enough(people: FunnelPopulation, settings: DetectorSettings) -> None:
    meetings, deals = people.known, people.closed
    least = settings.funnel_minimum
    if max(meetings.height, deals.height) < least:
        raise InsufficientData(
            f"{meetings.height} past meetings of known attendance and {deals.height} closed deals, "
            f"{least} of either needed",
            meetings.height,
            int(meetings["attended"].sum()),
        )


def _confidence(estimates: list[RateEstimate | None]) -> float:
    """Of the smallest block: the same meeting may stand in all of them."""
    known = [confidence(e.sample, e.converted) for e in estimates if e is not None]
    return round(min(known, default=0.2), 4)


def _note(people: FunnelPopulation) -> str:
    unknown = people.past.height - people.known.height
    still_open = people.deals.height - people.closed.height
    parts = [
        f"{unknown} past meetings of unknown attendance" if unknown else "",
        f"{still_open} open deals" if still_open else "",
    ]
    said = [part for part in parts if part]
    return "left out: " + ", ".join(said) if said else ""
