"""A property of a unit as a dimension of two values, and what came of it."""

from __future__ import annotations

import polars as pl

from cis_server.detectors.levels import Levels, levels
from cis_server.detectors.segments import Judged
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.envelope import FlagEffect
from cis_server.domain.vocabulary import Verdict

_WITH, _WITHOUT = "true", "false"
_OPPOSITE = {
    Verdict.WINNING: Verdict.LOSING,
    Verdict.LOSING: Verdict.WINNING,
    Verdict.UNDECIDED: Verdict.UNDECIDED,
}


def flag_levels(dimension: str, flag: pl.Series) -> Levels:
    """Units with the property against units without; null takes no part.

    Args:
        dimension: name, unique in the run.
        flag: booleans per unit.
    """
    return levels(dimension, flag.cast(pl.String), limit=2)


def flag_effect(
    judged: Judged | None, value: str, unknown: int, settings: DetectorSettings
) -> FlagEffect | None:
    """The effect of a property that was judged.

    Args:
        judged: the dimension of `flag_levels`; None when it could not be added.
        value: name of the property.
        unknown: units of which it is unknown.
        settings: minimum of each side.

    Returns:
        None when a side is under the minimum.
    """
    sides = judged.by_value() if judged else {}
    present, absent = sides.get(_WITH), sides.get(_WITHOUT)
    if present is None or absent is None:
        return None
    if min(present.estimate.sample, absent.estimate.sample) < settings.minimum_each_side:
        return None
    # Two sides are one comparison: a small side may tell by the other one.
    decided = present.verdict
    if decided is Verdict.UNDECIDED:
        decided = _OPPOSITE[absent.verdict]
    return FlagEffect(
        value=value,
        present=present.estimate,
        absent=absent.estimate,
        lift=round(present.estimate.adjusted_rate / absent.estimate.adjusted_rate, 4)
        if absent.estimate.adjusted_rate > 0
        else None,
        verdict=decided,
        unknown=unknown,
    )


def difference(effect: FlagEffect | None) -> float:
    """Adjusted rate with the property minus that without; 0 where nobody can say which is larger,
    so that noise makes no story."""
    if effect is None or effect.present is None or effect.absent is None:
        return 0.0
    if effect.verdict is Verdict.UNDECIDED:
        return 0.0
    return effect.present.adjusted_rate - effect.absent.adjusted_rate
