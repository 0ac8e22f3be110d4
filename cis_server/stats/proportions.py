"""One rate by itself, and two rates side by side."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special


@dataclass(frozen=True, slots=True)
class Interval:
    """A 90 % interval: 5 % below ``low``, 5 % above ``high``."""

    low: float
    high: float


def jeffreys(k: float, n: float) -> Interval:
    """Jeffreys' interval at 90 %: quantiles of Beta(k + 1/2, n - k + 1/2).

    With its usual amendment (Brown, Cai & DasGupta 2001): the lower end is 0 when k = 0, the upper
    end 1 when k = n.

    Raises:
        ValueError: not 0 <= k <= n.
    """
    _check(k, n)
    a, b = k + 0.5, n - k + 0.5
    low = 0.0 if k == 0 else float(special.betaincinv(a, b, 0.05))
    high = 1.0 if k == n else float(special.betaincinv(a, b, 0.95))
    return Interval(low, high)


def lift(rate: float, baseline: float) -> float:
    """Rate / baseline; 1 when the baseline is 0 or less (contract of the stored patterns)."""
    return rate / baseline if baseline > 0.0 else 1.0


def _check(k: float, n: float) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
