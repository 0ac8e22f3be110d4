"""How many days to wait between one touch and the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cis_server.domain.patterns import MIN_GAP_DAYS, SequenceGap

DEFAULT_GAPS: Final = (2.0, 3.0, 4.0, 5.0, 7.0)
"""Days after touch 1, 2, 3, 4, 5 (consumption sheet, section 3)."""
LATER_GAP: Final = 3.0
"""Days after any later touch, and where the position is not known."""

# A default gap is a habit, not a finding: a day earlier or two later is as good.
_DEFAULT_EARLIER, _DEFAULT_LATER = 1.0, 2.0


@dataclass(frozen=True, slots=True)
class GapInterval:
    """Days to wait: what to aim at and how far it may move."""

    days: float
    min_days: float
    """At least `MIN_GAP_DAYS`."""
    max_days: float
    """At least `days`."""
    learned_share: float
    """0 for defaults, 1 for learned alone."""


def gap_before(
    touch_number: int | None, learned: Sequence[SequenceGap], share: float
) -> GapInterval:
    """The gap before a touch.

    Args:
        touch_number: of the touch to be sent; None: position not known.
        learned: gaps of the pattern; those that were not learned count as default.
        share: weight of the learned gap, 0..1.
    """
    default = _default_gap(touch_number)
    found = next((g for g in learned if g.learned and g.to_touch == touch_number), None)
    if found is None or share <= 0.0:
        return default
    days = _mix(found.gap_days, default.days, share)
    low = _mix(found.min_days, default.min_days, share)
    high = _mix(found.max_days, default.max_days, share)
    low = max(MIN_GAP_DAYS, min(low, days))
    days = max(days, low)
    return GapInterval(days, low, max(days, high), share)


def _default_gap(touch_number: int | None) -> GapInterval:
    if touch_number is not None and 2 <= touch_number <= len(DEFAULT_GAPS) + 1:
        days = DEFAULT_GAPS[touch_number - 2]
    elif touch_number is not None and touch_number < 2:
        days = MIN_GAP_DAYS
    else:
        days = LATER_GAP
    return GapInterval(days, max(MIN_GAP_DAYS, days - _DEFAULT_EARLIER), days + _DEFAULT_LATER, 0.0)


def _mix(learned: float, default: float, share: float) -> float:
    return share * learned + (1.0 - share) * default
