"""What a detector run may be tuned by; the defaults are the written rules."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """Thresholds of a detector run. Times are days, rates and levels fractions 0..1."""

    horizon_days: float = 30.0
    """Attribution horizon: a touch younger than this has no outcome yet unless its lead has."""
    quiet_days: float = 30.0
    """Silence after a finished sequence from which on the lead counts as lost."""
    minimum_units: int = 30
    """Units below which a detector answers `insufficient_data`."""
    minimum_converted: int = 10
    minimum_not_converted: int = 10
    minimum_listed: int = 5
    """Units a segment needs to be published with its interval."""
    minimum_tested: int = 30
    """Units a segment needs to be tested, and so to get a verdict somebody may act on."""
    false_discovery_rate: float = 0.10
    headline_segments: int = 10
    """Titles and industries published beside those with a verdict."""
    ranked_levels: int = 50
    """Values published per further dimension beside those with a verdict."""
    quantile_bins: int = 5
    """Bins of a numeric attribute."""
    dominant_share: float = 0.20
    """Share from which one number of a numeric attribute gets a bin of its own."""
    touch_cap: int = 10
    """Touches from this number on are one group ("10 or more")."""
    sequence_length: int = 6
    """Channels of a path that are kept."""
    path_cap: int = 10
    """Last touches of a lead that take part in the channel attribution."""
    bootstrap_rounds: int = 200
    """Resamples of the leads behind the interval of the channel attribution."""
    funnel_minimum: int = 20
    """Meetings of known attendance, attended meetings or closed deals a FUNNEL block needs."""
    minimum_each_side: int = 10
    """Units with and without a property that a comparison of the two needs."""
    reminder_hours: float = 24.0
    """Time before a meeting at which it is confirmed and reminded; meetings booked later than that
    had no such moment."""
    deal_delay_days: float = 14.0
    """An attended meeting younger than this may still bring its deal: it has no outcome yet."""
    deal_windows: float = 2.0
    """Deals take longer than meetings: their cohort goes back this many look-back windows, 180 days
    for the usual 90. Deals created earlier are of another cohort."""
    decay_half_life_days: float = 7.0
    """Days before the deal by which a touch loses half its credit under time decay."""
    stalled_listed: int = 100
    """Stalled deals listed, those furthest beyond the usual first."""
    minimum_responses: int = 10
    """Threads that a way of answering an objection needs to be published."""
    common_questions: int = 10
    """Questions listed, most frequent first."""
    content_values: int = 200
    """Values looked at per dimension of content (templates, calls to action), most frequent
    first."""
    minimum_lengths: int = 10
    """Messages of known length a channel needs before lengths are compared."""
    top_templates: int = 5
    bottom_templates: int = 3
