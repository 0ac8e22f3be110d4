"""Time to conversion, and what each further touch brings, when many leads are still open.

Kaplan-Meier (1958) with Greenwood's variance and the log(-log) interval (Kalbfleisch and Prentice
2002, section 1.4); Aalen-Johansen (1978) cumulative incidence with competing ends; the value of a
touch from the discrete hazards of the touches up to it.

Every function is independent of the order of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from cis_server.domain.rates import RateEstimate
from cis_server.stats.arrays import FloatArray, IntArray

_Z90: Final = 1.6448536269514722
"""95 % quantile of the standard normal: ends of a 90 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KaplanMeier:
    """Survival function at each distinct event time; arrays of equal length, times ascending."""

    time: FloatArray
    at_risk: IntArray
    events: IntArray
    survival: FloatArray
    """Share without the event after `time`."""
    low: FloatArray
    """5 % bound of `survival`."""
    high: FloatArray
    """95 % bound of `survival`."""

    def quantile(self, share: float) -> float | None:
        """First time by which ``share`` of all units had the event; None when that is not seen."""
        reached = np.flatnonzero(1.0 - self.survival >= share - 1e-12)
        return float(self.time[reached[0]]) if reached.size else None


def kaplan_meier(duration: ArrayLike, event: ArrayLike) -> KaplanMeier:
    """Estimate the survival function.

    Args:
        duration: (n,) time to the event or to the last look, 0 or more.
        event: (n,) whether the event was seen; False is censored (at risk up to its own time).

    Raises:
        ValueError: a duration is negative or not finite, or the lengths differ.
    """
    time, seen = _checked(duration, event)
    moments, inverse = np.unique(time, return_inverse=True)
    events = np.bincount(inverse, weights=seen, minlength=moments.size)
    ends = np.bincount(inverse, minlength=moments.size)
    at_risk = time.size - np.concatenate(([0], np.cumsum(ends)[:-1])) if moments.size else ends
    with_event = events > 0
    d, r = events[with_event], at_risk[with_event].astype(np.float64)
    survival: FloatArray = np.cumprod(1.0 - d / r, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(d / (r * (r - d)))
        spread = _Z90 * np.sqrt(greenwood) / np.abs(np.log(survival))
        low = np.where(survival > 0, survival ** np.exp(spread), 0.0)
        high = np.where(survival > 0, survival ** np.exp(-spread), 0.0)
    return KaplanMeier(
        time=moments[with_event],
        at_risk=at_risk[with_event].astype(np.int64),
        events=d.astype(np.int64),
        survival=survival,
        low=low,
        high=high,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CumulativeIncidence:
    """Share of units that have met each cause by each time."""

    time: FloatArray
    incidence: FloatArray
    """(times, causes); cause c = 1.. stands in column c - 1."""


def aalen_johansen(duration: ArrayLike, cause: ArrayLike) -> CumulativeIncidence:
    """Cumulative incidence of competing ends.

    Args:
        duration: (n,) time to the end or to the last look, 0 or more.
        cause: (n,) 0 for censored, 1.. for the end that came first.

    Raises:
        ValueError: a duration is negative or not finite, or the lengths differ.
    """
    causes = np.asarray(cause, dtype=np.int64)
    time, _ = _checked(duration, causes > 0)
    moments, inverse = np.unique(time, return_inverse=True)
    kinds = int(causes.max(initial=0))
    ends = np.bincount(inverse, minlength=moments.size)
    at_risk = time.size - np.concatenate(([0], np.cumsum(ends)[:-1])) if moments.size else ends
    events = np.zeros((moments.size, kinds))
    for kind in range(1, kinds + 1):
        events[:, kind - 1] = np.bincount(inverse, weights=causes == kind, minlength=moments.size)
    hazard = events / at_risk[:, None]
    survival = np.cumprod(1.0 - hazard.sum(axis=1))
    before = np.concatenate(([1.0], survival[:-1])) if moments.size else survival
    return CumulativeIncidence(time=moments, incidence=np.cumsum(before[:, None] * hazard, axis=0))


def marginal_conversions(
    hazards: Sequence[RateEstimate],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Conversions that touch t adds per lead that starts the sequence.

    value_t = h_t * prod_{u < t} (1 - h_u): the lead must still be open when touch t comes. The
    interval treats the hazards as independent and their logarithms as normal (delta method).

    Args:
        hazards: of touch 1, 2, ..., T.

    Returns:
        Value, low and high, each (T,).
    """
    mean, low, high = (
        np.clip(np.array([getattr(h, name) for h in hazards], dtype=np.float64), 1e-9, 1 - 1e-9)
        for name in ("adjusted_rate", "low", "high")
    )
    still_open = np.concatenate(([1.0], np.cumprod(1.0 - mean)[:-1])) if mean.size else mean
    value = mean * still_open
    converts = ((np.log(high) - np.log(low)) / (2 * _Z90)) ** 2
    stays = ((np.log1p(-low) - np.log1p(-high)) / (2 * _Z90)) ** 2
    before = np.concatenate(([0.0], np.cumsum(stays)[:-1])) if mean.size else stays
    factor = np.exp(_Z90 * np.sqrt(converts + before))
    return value, value / factor, np.minimum(value * factor, 1.0)


def _checked(duration: ArrayLike, event: ArrayLike) -> tuple[FloatArray, FloatArray]:
    time = np.asarray(duration, dtype=np.float64)
    seen = np.asarray(event, dtype=np.float64)
    if time.shape != seen.shape or time.ndim != 1:
        raise ValueError("duration and event must be of one length")
    if not (np.isfinite(time) & (time >= 0)).all():
        raise ValueError("durations must be finite and not negative")
    return time, seen
