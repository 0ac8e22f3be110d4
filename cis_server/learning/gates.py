"""One question a learned thing must answer before it may go live, with its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """A check with the figure it looked at.

    Attributes:
        name: stable snake-case name, e.g. ``"out_of_fold_gain"``.
        value: what was measured; NaN when it could not be.
        bound: what it is held against.
        passed: the verdict.
        detail: in words a manager understands.
    """

    name: str
    value: float
    bound: float
    passed: bool
    detail: str


def refused_by(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The gates that did not pass, in the order they were asked."""
    return tuple(gate for gate in gates if not gate.passed)
