"""The sections of the page, in order. A further module joins by adding its `SECTION` here."""

from __future__ import annotations

from typing import Final

from tests.proof.cases import Section
from tests.proof.sections import (
    bank,
    channels,
    clock,
    experiments,
    intervals,
    nothing,
    power,
    signals,
    weights,
)

SECTIONS: Final[tuple[Section, ...]] = (
    nothing.SECTION,
    intervals.SECTION,
    power.SECTION,
    channels.SECTION,
    clock.SECTION,
    signals.SECTION,
    experiments.SECTION,
    weights.SECTION,
    bank.SECTION,
)
"""Every section, in the order of the page. Names of sections, cases and pictures are unique."""
