"""One rounding for what goes into a pattern.

Sums of floating point numbers may differ in the last bits with the number of threads; rounded
they do not, so that the same data give the same bytes.
"""

from __future__ import annotations

from dataclasses import fields, replace

from cis_server.domain.rates import RateEstimate

_RATIOS = frozenset(
    {"lift", "adjusted_lift", "stratified_lift", "stratified_low", "stratified_high"}
)


def rounded_rate(value: float) -> float:
    """A fraction to six decimals."""
    return round(float(value), 6)


def rounded_ratio(value: float) -> float:
    """A lift to four decimals."""
    return round(float(value), 4)


def rounded(estimate: RateEstimate) -> RateEstimate:
    """An estimate with rates to six and lifts to four decimals."""
    values = {
        field.name: getattr(estimate, field.name)
        for field in fields(estimate)
        if isinstance(getattr(estimate, field.name), float)
    }
    return replace(
        estimate,
        **{
            name: rounded_ratio(value) if name in _RATIOS else rounded_rate(value)
            for name, value in values.items()
        },
    )
