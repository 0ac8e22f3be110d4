"""The five weights of the lead score: their order, bounds, defaults, rounding and check on read.

Scoring sheet §4. One set of names and one order everywhere, so that a four-key set or a set for
another scale cannot slip in (defects 11 and 48).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

COMPONENTS: Final = ("data_quality", "authority", "company_fit", "timing", "risk")
"""The five components in the one fixed order; contributions are added in it."""

MIN_WEIGHT: Final = 0.05
MAX_WEIGHT: Final = 0.50
"""Every weight lies in ``[MIN_WEIGHT, MAX_WEIGHT]``."""

DECIMALS: Final = 3
"""Weights are stored and shown with this many decimals."""

_BOUND_SLACK = 1e-9
_EXACT_SUM = 1e-6
# Five weights each rounded to three decimals are off by at most 5 * 0.0005 together.
_ROUNDED_SUM = 0.0025 + 1e-9


@dataclass(frozen=True, slots=True)
class Weights:
    """Share of each component in the score, in the order of `COMPONENTS`; the sum is 1."""

    data_quality: float
    authority: float
    company_fit: float
    timing: float
    risk: float

    def as_tuple(self) -> tuple[float, float, float, float, float]:
        """The five values in the order of `COMPONENTS`."""
        return (self.data_quality, self.authority, self.company_fit, self.timing, self.risk)

    def as_dict(self) -> dict[str, float]:
        """Component name -> weight, as stored."""
        return dict(zip(COMPONENTS, self.as_tuple(), strict=True))


DEFAULT_WEIGHTS: Final = Weights(0.20, 0.25, 0.25, 0.15, 0.15)
"""Maximum points / 100 of each component: with these the score is the plain sum of the points."""


def read_weights(stored: Mapping[str, object] | None) -> tuple[Weights, str | None]:
    """Stored weights if they can be trusted, else the defaults and why.

    A sum that is off by no more than rounding to three decimals can explain (0.0025) is
    renormalised; anything further off is not a set of shares (for example four weights and a
    stand-in, which sum to 1.05) and is refused.

    Args:
        stored: component name -> weight, as read from the database; None when nothing is stored.

    Returns:
        ``(weights, None)`` when they are good or nothing is stored, ``(DEFAULT_WEIGHTS, reason)``
        when what is stored is wrong.
    """
    if stored is None:
        return DEFAULT_WEIGHTS, None
    reason = _objection(stored)
    if reason is not None:
        return DEFAULT_WEIGHTS, reason
    values = [float(stored[name]) for name in COMPONENTS]  # type: ignore[arg-type]
    total = math.fsum(values)
    if abs(total - 1.0) > _EXACT_SUM:
        values = [value / total for value in values]
    if not all(MIN_WEIGHT - _BOUND_SLACK <= value <= MAX_WEIGHT + _BOUND_SLACK for value in values):
        return DEFAULT_WEIGHTS, "a weight is out of bounds after renormalisation"
    return Weights(*values), None


def rounded_weights(values: Sequence[float]) -> Weights:
    """Weights rounded to `DECIMALS` decimals whose decimal sum is exactly 1.

    Largest-remainder (Hamilton) rounding: every value is rounded down to a thousandth, the
    thousandths left over go to the largest remainders, ties to the earlier component. Each result
    is within one thousandth of its value, and values inside the bounds stay inside, because the
    bounds are whole thousandths.

    Args:
        values: five finite, non-negative numbers in the order of `COMPONENTS`, sum above 0; they
            are divided by their sum first.

    Raises:
        ValueError: for any other input.
    """
    if len(values) != len(COMPONENTS):
        raise ValueError(f"five weights are needed, not {len(values)}")
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise ValueError("weights must be finite and not negative")
    total = math.fsum(values)
    if total <= 0:
        raise ValueError("weights must not all be zero")
    steps = 10**DECIMALS
    exact = [value / total * steps for value in values]
    # 0.15 * 1000 may come out as 149.99999999999997; that is a whole number of thousandths.
    whole = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in by_remainder[: steps - sum(whole)]:
        whole[i] += 1
    return Weights(*(count / steps for count in whole))


def _objection(stored: Mapping[str, object]) -> str | None:
    """Why the stored set cannot be used, or None."""
    missing = [name for name in COMPONENTS if name not in stored]
    if missing:
        return f"missing weights: {', '.join(missing)}"
    unknown = sorted(str(name) for name in stored if name not in COMPONENTS)
    if unknown:
        return f"unknown weights: {', '.join(unknown)}"
    for name in COMPONENTS:
        value = stored[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{name} is not a number"
        if not math.isfinite(value):
            return f"{name} is not finite"
        if not MIN_WEIGHT - _BOUND_SLACK <= value <= MAX_WEIGHT + _BOUND_SLACK:
            return f"{name} = {value} is outside {MIN_WEIGHT}..{MAX_WEIGHT}"
    total = math.fsum(float(stored[name]) for name in COMPONENTS)  # type: ignore[arg-type]
    if abs(total - 1.0) > _ROUNDED_SUM:
        return f"the weights sum to {total:.6f}, not 1"
    return None
