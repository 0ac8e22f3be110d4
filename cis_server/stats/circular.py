"""Rates over the hours of a week, which has no first and no last hour.

Successes and sends per cell (weekday - 1) * 24 + hour are both smoothed with a wrapped Gaussian
kernel and divided (the Nadaraya-Watson estimator: Nadaraya 1964, Watson 1964), so that a peak
around midnight, or from Sunday to Monday, is one peak. The bandwidth is the one under which each
touch is best predicted by all the others (leave-one-out likelihood, Habbema et al. 1974).
Intervals come from the effective number of sends under the kernel weights (Kish 1965).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cis_server.stats.arrays import FloatArray

CELLS: Final = 168
BANDWIDTHS: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Candidates, in hours; 0 is no smoothing."""
BASELINE_STRENGTH: Final = 20.0
"""Sends the client's baseline counts for in a cell that has no evidence of its own."""
CHANNEL_STRENGTH: Final = 60.0
"""Sends the surface of all channels counts for in a cell of one channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekRates:
    """Rate per cell, each array of shape (168,)."""

    bandwidth_hours: float
    rate: FloatArray
    """Posterior mean, 0..1."""
    low: FloatArray
    """5 % posterior quantile."""
    high: FloatArray
    """95 % posterior quantile."""
    effective_sample: FloatArray
    """Sends that carry as much evidence as the weighted ones of the neighbourhood."""


def week_rates(
    successes: ArrayLike,
    sends: ArrayLike,
    *,
    towards: FloatArray | None = None,
    bandwidths: tuple[float, ...] = BANDWIDTHS,
) -> WeekRates:
    """Smoothed rates of the 168 cells.

    Args:
        successes: (168,) successes per cell.
        sends: (168,) sends per cell, at least the successes.
        towards: (168,) rates to shrink towards, e.g. those of all channels; None: the overall rate.
        bandwidths: candidates in hours; the smallest of equally good ones is taken.

    Returns:
        The rates. Without any send they are what is shrunk towards, or one half without that.

    Raises:
        ValueError: shapes or counts are impossible.
    """
    k, n = (np.asarray(value, dtype=np.float64) for value in (successes, sends))
    if k.shape != (CELLS,) or n.shape != (CELLS,) or (k < 0).any() or (k > n).any():
        raise ValueError("successes and sends need 168 cells with 0 <= successes <= sends")
    total = float(n.sum())
    baseline = (float(k.sum()) + 0.5) / (total + 1.0)
    prior = np.full(CELLS, baseline) if towards is None else np.asarray(towards, dtype=np.float64)
    strength = BASELINE_STRENGTH if towards is None else CHANNEL_STRENGTH
    bandwidth = max(bandwidths, key=lambda width: (round(_left_out(k, n, width, prior), 9), -width))
    kernel = _kernel(bandwidth)
    weighted = kernel @ n
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = np.where(weighted > 0, (kernel @ k) / weighted, 0.0)
        effective = np.where(weighted > 0, weighted**2 / ((kernel**2) @ n), 0.0)
    a = prior * strength + raw * effective
    b = (1.0 - prior) * strength + (1.0 - raw) * effective
    return WeekRates(
        bandwidth_hours=bandwidth,
        rate=a / (a + b),
        low=special.betaincinv(a, b, 0.05),
        high=special.betaincinv(a, b, 0.95),
        effective_sample=effective,
    )


def circular_mean(
    values: ArrayLike, *, weights: ArrayLike | None = None, period: float = 24.0
) -> float | None:
    """Mean direction of values on a circle (Mardia and Jupp 2000, section 2.2).

    Args:
        values: (n,) positions, e.g. hours.
        weights: (n,) weights, 1 each by default.
        period: length of the circle in the unit of the values.

    Returns:
        The mean in [0, period); None when there are no values or they cancel out.
    """
    position = np.asarray(values, dtype=np.float64)
    weight = np.ones_like(position) if weights is None else np.asarray(weights, dtype=np.float64)
    angle = position * (2.0 * math.pi / period)
    x, y = float(weight @ np.cos(angle)), float(weight @ np.sin(angle))
    if math.hypot(x, y) <= 1e-9 * float(weight.sum()) or not position.size:
        return None
    mean = math.atan2(y, x) * period / (2.0 * math.pi) % period
    return 0.0 if mean >= period else mean


def _left_out(k: FloatArray, n: FloatArray, bandwidth: float, prior: FloatArray) -> float:
    """Log-likelihood of every touch under the rate its cell has without it."""
    kernel = _kernel(bandwidth)
    # The kernel is 1 at distance 0, so one touch less lowers its own cell's sums by exactly 1. One
    # prior send keeps rates off 0 and 1.
    successes, sends = kernel @ k + prior, kernel @ n + 1.0
    used = n > 0
    won = (successes - 1.0)[used] / (sends - 1.0)[used]
    lost = 1.0 - successes[used] / (sends - 1.0)[used]
    hits, misses = k[used], (n - k)[used]
    return float(
        special.xlogy(hits, np.clip(won, 1e-12, 1.0)).sum()
        + special.xlogy(misses, np.clip(lost, 1e-12, 1.0)).sum()
    )


_NEGLIGIBLE = 1e-12


@cache
def _kernel(bandwidth: float) -> FloatArray:
    """(168, 168) weights by circular distance, 1 on the diagonal."""
    if bandwidth == 0:
        return np.eye(CELLS)
    hour = np.arange(CELLS)
    distance = np.abs(hour[:, None] - hour[None, :])
    distance = np.minimum(distance, CELLS - distance)
    kernel: FloatArray = np.exp(-0.5 * (distance / bandwidth) ** 2)
    # What is so far away says nothing; its square would vanish before it does and leave 0 / 0.
    kernel[kernel < _NEGLIGIBLE] = 0.0
    kernel.setflags(write=False)
    return kernel
