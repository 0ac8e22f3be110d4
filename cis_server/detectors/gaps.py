"""Days to wait between touches, judged by what the later touch achieves.

Gaps of winners alone say nothing: they answered early, so their gaps are short. Compared is the
conversion hazard of touch j by the days waited before it, among all leads that received touch j.
Waits too short to be planned are shown but never advised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.segments import Judged, Segments
from cis_server.domain.patterns import MIN_GAP_DAYS, GapRate, SequenceGap
from cis_server.domain.vocabulary import Verdict
from cis_server.stats.arrays import FloatArray
from cis_server.stats.rates import Strata

DEFAULT_GAPS = {1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0, 5: 7.0}
"""Days before the next touch by number of the touch before (pattern facts, section 4)."""
_TO_TOUCH = tuple(from_touch + 1 for from_touch in DEFAULT_GAPS)
_DEFAULT_SLACK = 2.0
_LONGEST = 14.0
BINS = ((0, 1), (2, 2), (3, 3), (4, 4), (5, 6), (7, 9), (10, 14), (15, 29))
"""Whole days, both ends inclusive; gaps of 30 days and more are pauses, not gaps."""
_LAST_DAY = 0.99  # of a bin's last day, what still belongs to it; days are told to the hundredth
_LABELS = tuple(str(low) if low == high else f"{low}–{high}" for low, high in BINS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GapTouches:
    """Touches number `to_touch` whose waiting time is known.

    Attributes:
        days: days waited before each. `strata`: the touches by bin of these and stratum.
    """

    to_touch: int
    days: FloatArray
    strata: Strata

    @property
    def dimension(self) -> str:
        """Name of the dimension in the run."""
        return gap_dimension(self.to_touch - 1)

    def add_to(self, segments: Segments) -> None:
        """Compare the waiting times in the run; nothing without any touches."""
        n, k = (np.asarray(count).sum(axis=1) for count in (self.strata.n, self.strata.k))
        if not self.days.size:
            return
        won = int(k.sum())
        segments.add_counts(
            self.dimension,
            _LABELS,
            n,
            k,
            total=(self.days.size, won),
            coverage=1.0,
            strata=self.strata,
            baseline=won / self.days.size,
        )


def gap_dimension(from_touch: int) -> str:
    """Name of the dimension of the gap after touch `from_touch`."""
    return f"gap_{from_touch}_to_{from_touch + 1}"


def gap_touches(touches: pl.DataFrame, risk: RiskSet) -> list[GapTouches]:
    """Touches 2 to 6 by days waited before them.

    Args:
        touches: resolved touches of a population, in order. Their `gap_days` are known when the
            touch and the one before it in the campaign are known to the day.
        risk: the same touches as units.
    """
    days = touches["gap_days"].to_numpy()
    usable = touches["gap_known"].fill_null(False).to_numpy() & (days >= 0) & (days < 30)
    row = np.flatnonzero(usable & touches["touch_number"].is_in(_TO_TOUCH).to_numpy())
    gap = touches["touch_number"].to_numpy()[row] - _TO_TOUCH[0]
    ends = np.array([high for _, high in BINS])
    bins = np.searchsorted(ends, np.floor(days[row]), side="left")
    strata = risk.row_counts(row, gap * len(BINS) + bins, len(_TO_TOUCH) * len(BINS))
    found = []
    for place, to_touch in enumerate(_TO_TOUCH):
        own = slice(place * len(BINS), (place + 1) * len(BINS))
        k, n = np.asarray(strata.k)[own], np.asarray(strata.n)[own]
        found.append(
            GapTouches(
                to_touch=to_touch,
                days=days[row[gap == place]],
                strata=Strata(k, n, k.sum(axis=0), n.sum(axis=0)),
            )
        )
    return found


def sequence_gaps(judged: Mapping[str, Judged], gaps: list[GapTouches]) -> tuple[SequenceGap, ...]:
    """What to plan between touches; the default where no waiting time wins.

    Args:
        judged: dimensions of the run; a missing one leaves the default.
        gaps: the touches behind them.
    """
    return tuple(_planned(judged.get(gap.dimension), gap) for gap in gaps)


def default_gaps() -> tuple[SequenceGap, ...]:
    """The defaults of all positions."""
    return tuple(_default(from_touch, 0, ()) for from_touch in DEFAULT_GAPS)


def gap_days(gaps: tuple[SequenceGap, ...]) -> dict[str, float]:
    """``touch_1_to_2`` and so on -> days to plan."""
    return {f"touch_{gap.from_touch}_to_{gap.to_touch}": gap.gap_days for gap in gaps}


def _planned(judged: Judged | None, gap: GapTouches) -> SequenceGap:
    from_touch = gap.to_touch - 1
    found = judged.by_value() if judged is not None else {}
    rates = tuple(
        GapRate(gap_days_min=low, gap_days_max=high, estimate=found[label].estimate)
        for (low, high), label in zip(BINS, _LABELS, strict=True)
        if label in found
    )
    winners = [
        _LABELS.index(segment.value)
        for segment in (judged.segments if judged is not None else ())
        if segment.verdict is Verdict.WINNING
    ]
    winners = [place for place in winners if BINS[place][0] >= MIN_GAP_DAYS]
    if not winners:
        return _default(from_touch, gap.days.size, rates)
    first = last = winners[0]
    while first - 1 in winners:
        first -= 1
    while last + 1 in winners:
        last += 1
    low, high = BINS[winners[0]]
    days = gap.days[(gap.days >= low) & (gap.days < high + 1)]
    # Known to the second, days may round up to the next bin.
    middle = min(round(float(np.median(days)), 2), high + _LAST_DAY)
    return SequenceGap(
        from_touch=from_touch,
        to_touch=gap.to_touch,
        gap_days=min(_LONGEST, middle),
        min_days=min(_LONGEST, float(BINS[first][0])),
        max_days=min(_LONGEST, BINS[last][1] + _LAST_DAY),
        sample=gap.days.size,
        learned=True,
        rates=rates,
    )


def _default(from_touch: int, sample: int, rates: tuple[GapRate, ...]) -> SequenceGap:
    days = DEFAULT_GAPS[from_touch]
    return SequenceGap(
        from_touch=from_touch,
        to_touch=from_touch + 1,
        gap_days=days,
        min_days=days,
        max_days=days + _DEFAULT_SLACK,
        sample=sample,
        learned=False,
        rates=rates,
    )
