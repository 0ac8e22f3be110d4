"""Values of deals: medians beside means, one currency at a time, credit that adds up.

Values of deals are skewed: a few large ones carry the mean. Sums over currencies mean nothing, so
every figure is of one currency, and a deal without a value is in no figure of values.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from cis_server.domain.funnel_pattern import DealValues
from cis_server.stats.arrays import FloatArray

_CENTS = 2


def deal_values(deals: pl.DataFrame) -> tuple[DealValues, ...]:
    """Values by currency, the one of most deals first.

    Args:
        deals: `value` and `currency` are read; deals without either are left out.
    """
    priced = deals.drop_nulls(["value", "currency"]).sort("currency", "value")
    found = [
        DealValues(
            currency_code=str(currency),
            count=group.height,
            median=money(float(np.median(group["value"].to_numpy()))),
            mean=money(float(group["value"].to_numpy().mean())),
            total=money(float(group["value"].to_numpy().sum())),
        )
        for (currency,), group in priced.group_by("currency", maintain_order=True)
    ]
    return tuple(sorted(found, key=lambda values: (-values.count, values.currency_code)))


def in_currency(values: tuple[DealValues, ...], currency: str | None) -> DealValues | None:
    """The entry of one currency, if there is one."""
    return next((each for each in values if each.currency_code == currency), None)


def money(value: float) -> float:
    """An amount to the cent."""
    return round(value, _CENTS)


def mean_days(days: pl.Series) -> float | None:
    """Mean to the hundredth; None without any."""
    known = np.sort(days.drop_nulls().to_numpy())
    return round(float(known.mean()), 2) if known.size else None


def median_days(days: pl.Series) -> float | None:
    """Median to the hundredth; None without any."""
    known = days.drop_nulls().to_numpy()
    return round(float(np.median(known)), 2) if known.size else None


def apportioned(amounts: ArrayLike, total: float, decimals: int) -> FloatArray:
    """Amounts scaled to a total and rounded so that the rounded parts still add up to it.

    Largest remainders (Hamilton's method): every part is rounded down and the units missing go to
    the parts that lost most by that, the first among equals.

    Args:
        amounts: (m,) not negative.
        total: what they are to add to, itself of that many decimals.
        decimals: of the parts.

    Returns:
        (m,) parts; all 0 when the amounts are.
    """
    given = np.asarray(amounts, dtype=np.float64)
    whole = float(given.sum())
    if whole <= 0:
        return np.zeros(given.size)
    units = given / whole * round(total * 10**decimals)
    # A part that is whole but for the last bit must not lose a unit.
    parts = np.floor(units + 1e-6)
    missing = int(round(total * 10**decimals) - parts.sum())
    order = np.argsort(-(units - parts), kind="stable")
    parts[order[: max(0, missing)]] += 1
    rounded: FloatArray = np.round(parts / 10**decimals, decimals)
    return rounded
