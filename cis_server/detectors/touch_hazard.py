"""What each further touch brings: conversions credited to touch t / touches with that number.

Numbers are counted within a campaign, so that the touches numbered t are the leads that received
it, one for each campaign they are in. From `touch_cap` on, touches share one number.

The share of conversions by touch number is not it: few leads ever reach the fifth touch, so a
sequence in which every touch works equally well looks like one that wears out.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.patterns import TouchHazard
from cis_server.stats.rates import estimate_segments
from cis_server.stats.survival import marginal_conversions


def touch_hazard(
    touches: pl.DataFrame, settings: DetectorSettings
) -> tuple[TouchHazard, ...] | None:
    """Hazard and marginal value by touch number.

    Args:
        touches: resolved touches of a population.
        settings: minimum at risk (the first touch number under it ends the list), and the number
            that stands for all later ones too.

    Returns:
        By touch number from 1 on; None without enough first touches.
    """
    number = pl.col("touch_number").clip(1, settings.touch_cap)
    counts = (
        touches.group_by(number).agg(n=pl.len(), k=pl.col("success").sum()).sort("touch_number")
    )
    numbers = counts["touch_number"].to_numpy()
    n, k = (counts[name].to_numpy().astype(np.int64) for name in ("n", "k"))
    # Further numbers without a gap, as long as there are touches enough to speak of.
    good = (numbers == np.arange(1, numbers.size + 1)) & (n >= settings.minimum_listed)
    last = int(np.argmin(good)) if not good.all() else numbers.size
    if not last:
        return None
    estimates = estimate_segments(k[:last], n[:last]).estimates
    value, low, high = marginal_conversions(estimates)
    return tuple(
        TouchHazard(
            touch_number=index + 1,
            at_risk=int(n[index]),
            converted=int(k[index]),
            hazard=rounded(estimate),
            marginal_value=rounded_rate(value[index]),
            marginal_low=rounded_rate(low[index]),
            marginal_high=rounded_rate(high[index]),
        )
        for index, estimate in enumerate(estimates)
    )


def converting_touch_distribution(touches: pl.DataFrame, touch_cap: int) -> dict[str, float] | None:
    """Share of conversions by the touch credited: ``touch_1`` ... ``touch_9``, ``touch_10_plus``.

    Shares to four decimals that add to exactly 1 (largest remainders).

    Args:
        touches: resolved touches of a population.
        touch_cap: the number that stands for all later ones too, 10 above.
    """
    number = touches.filter("success")["touch_number"].to_numpy()
    if not number.size:
        return None
    count = np.bincount(np.clip(number, 1, touch_cap), minlength=touch_cap + 1)[1:]
    exact = count * 10_000 / count.sum()
    share = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - share), kind="stable")
    share[by_remainder[: 10_000 - int(share.sum())]] += 1
    names = [*(f"touch_{i}" for i in range(1, touch_cap)), f"touch_{touch_cap}_plus"]
    return {
        name: round(int(part) / 10_000, 4) for name, part in zip(names, share, strict=True) if part
    }


def peak_and_average(touches: pl.DataFrame, touch_cap: int) -> tuple[int | None, float | None]:
    """Touch number with most conversions (the lowest of equals) and mean touches to convert.

    Args:
        touches: resolved touches of a population.
        touch_cap: the number that stands for all later ones too; the mean counts them as they are.
    """
    number = touches.filter("success")["touch_number"].to_numpy()
    if not number.size:
        return None, None
    peak = int(np.argmax(np.bincount(np.clip(number, 1, touch_cap))))
    return peak, round(float(number.mean()), 2)
