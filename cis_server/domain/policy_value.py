"""What logged decisions say about policies: that in force, and "always the best"."""

from __future__ import annotations

from dataclasses import dataclass

from cis_server.domain.stored import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcome(Stored):
    """Both policies for one sort of decision; intervals hold 90 %."""

    kind: str
    """``timing``, ``channel`` or ``sequence``."""
    decisions: int
    """Logged in the window."""
    followed: int
    """Of those, the ones an activity did as they said."""
    judged: int
    """Of those, the ones old enough to have an outcome."""
    leads: int
    """Leads behind the judged ones."""
    explored: int
    """Judged decisions that were not what would have been chosen without exploration."""
    converted: int
    """Judged decisions a conversion is credited to."""
    current_value: float | None
    """Conversions per decision of the policy in force, exploration included."""
    current_low: float
    current_high: float
    best_value: float | None
    """Conversions per decision if the best choice had always been taken."""
    best_low: float
    best_high: float
    gain: float | None
    """`best_value` less `current_value`: what exploring costs; None when it cannot be told."""
    gain_low: float | None
    gain_high: float | None
    effective_size: float
    """Equally weighted decisions that the value of the best choice rests on."""
    largest_weight_share: float
    """Share of all weight on the heaviest decision, 0..1."""
    warning: str = ""
    """Why the value of the best choice should not be trusted; empty when nothing speaks against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcomes(Stored):
    """The report of a run on exploration."""

    outcomes: tuple[PolicyOutcome, ...] = ()
    note: str = ""
    """Why there are none."""
