"""One rounding for what goes into a pattern.

Sums of floating point numbers may differ in the last bits with the number of threads; rounded
they do not, so that the same data give the same bytes.
"""

from __future__ import annotations

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

    def number(name: str) -> float | None:
        value = getattr(estimate, name)
        if value is None:
            return None
        return rounded_ratio(value) if name in _RATIOS else rounded_rate(value)

    return RateEstimate(
        rate=number("rate"),
        adjusted_rate=rounded_rate(estimate.adjusted_rate),
        low=rounded_rate(estimate.low),
        high=rounded_rate(estimate.high),
        sample=estimate.sample,
        converted=estimate.converted,
        lift=number("lift"),
        adjusted_lift=number("adjusted_lift"),
        stratified_lift=number("stratified_lift"),
        stratified_low=number("stratified_low"),
        stratified_high=number("stratified_high"),
        q_value=number("q_value"),
    )
