"""Which variant a unit gets: a keyed hash, the same in every process and for ever.

Python's own `hash` is salted per process, so that it would give a lead another variant after every
restart. Here BLAKE2b is keyed with the experiment, which makes the assignments of two experiments
independent, and its value is cut at the exact shares.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Final

_BITS: Final = 64


class Assigner:
    """Draws variants of one experiment.

    Args:
        scope: whose experiment it is.
        experiment_id: its key.
        weights: of the variants, above 0, relative to each other.

    Raises:
        ValueError: a weight is not above 0, or there is none.
    """

    def __init__(self, scope: str, experiment_id: str, weights: Sequence[float]) -> None:
        exact = [Fraction(weight) for weight in weights]
        if not exact or min(exact) <= 0:
            raise ValueError("weights are above 0")
        total = sum(exact)
        self.shares = tuple(float(weight / total) for weight in exact)
        """Probability of each variant; they add to 1."""
        # A hash h gives the first variant whose end lies above it: share_i of all values of h.
        self._ends = [int(end * 2**_BITS / total) for end in accumulate(exact)]
        key = hashlib.blake2b(digest_size=32)
        for part in (scope, experiment_id):
            key.update(len(part.encode()).to_bytes(8, "little"))
            key.update(part.encode())
        self._keyed = hashlib.blake2b(digest_size=_BITS // 8, key=key.digest())

    def variant(self, unit: str) -> int:
        """Index of the variant of a unit."""
        hashed = self._keyed.copy()
        hashed.update(unit.encode())
        return bisect_right(self._ends, int.from_bytes(hashed.digest(), "big"))
