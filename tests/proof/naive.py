"""What is usually done instead: raw rates of everything seen five times, ranked.

A segment whose raw rate is above the average is taken for a winner; what is above it at the top
of a list is what a report would recommend. Its interval, where one is asked for, is the textbook
one: rate +- 1.645 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cis_server.domain.rates import RateEstimate
from tests.proof.reading import Judged

MINIMUM = 5
_Z90 = 1.6448536269514722


def interval(estimate: RateEstimate) -> tuple[float, float] | None:
    """Textbook 90 % interval of a raw rate; None under the minimum sample."""
    if estimate.sample < MINIMUM or estimate.rate is None:
        return None
    half = _Z90 * math.sqrt(estimate.rate * (1 - estimate.rate) / estimate.sample)
    return estimate.rate - half, estimate.rate + half


def covers(estimate: RateEstimate, truth: float) -> bool | None:
    """Whether that interval holds the truth."""
    found = interval(estimate)
    return None if found is None else found[0] <= truth <= found[1]


def best(segments: Iterable[tuple[str, RateEstimate]]) -> str | None:
    """The value at the top of the list by raw rate, ties by sample and name; None if it is empty or
    not above the average of the list."""
    ranked = sorted(
        (
            (-estimate.rate, -estimate.sample, value)
            for value, estimate in segments
            if estimate.sample >= MINIMUM and estimate.rate is not None
        ),
    )
    return ranked[0][2] if ranked and ranked[0][0] < 0 else None


def winners(segments: Sequence[Judged], baseline: float) -> int:
    """Lists in which something is named a winner: the top of each list, if above the average."""
    named = 0
    for path in sorted({segment.path for segment in segments}):
        rates = [
            segment.estimate.rate
            for segment in segments
            if segment.path == path
            and segment.estimate.sample >= MINIMUM
            and segment.estimate.rate is not None
        ]
        named += bool(rates) and max(rates) > baseline
    return named
