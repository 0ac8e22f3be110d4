"""What the proof is made of: cases that are measured seed by seed, and sections that report them.

A `Case` is a pure function from a seed to figures. A `Section` names its cases and turns what they
measured into rows of the verdict table, pictures and words. Another module joins the page by
adding its `Section` to `tests.proof.sections.SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from matplotlib.figure import Figure

Figures: TypeAlias = Mapping[str, Any]
"""What one seed gave: numbers, flags, None, or lists and dicts of them; plain JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario under one setting.

    Attributes:
        name: unique, and usable as a file name.
        measure: seed -> figures; a module-level function or a `functools.partial` of one, so that
            it can be sent to another process. Same seed, same figures.
        share: of the run's seeds that are measured, the first ones; less than 1 for what is large
            and tells much in every seed.
    """

    name: str
    measure: Callable[[int], Figures]
    share: float = 1.0

    def seeds(self, of: int) -> int:
        """How many seeds are measured in a run of so many."""
        return max(1, round(self.share * of))


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What every seed of every case gave, in the order of the seeds."""

    by_case: Mapping[str, Sequence[Figures]]

    def of(self, case: str) -> Sequence[Figures]:
        """All seeds of one case."""
        return self.by_case[case]

    def values(self, case: str, figure: str) -> list[Any]:
        """One figure over the seeds; those that could not be computed (None) are left out."""
        found = (seed[figure] for seed in self.by_case[case])
        return [value for value in found if value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the verdict table.

    Attributes:
        figure: what was measured, in words.
        value: CIS.
        naive: the same figure of the naive method; None where it has none.
        low: bound from below, included; None: none.
        high: bound from above, included; None: none.
        show: how values read on the page.
    """

    figure: str
    value: float | None
    naive: float | None = None
    low: float | None = None
    high: float | None = None
    show: Callable[[float], str] = field(default=lambda value: f"{value:.1%}")

    @property
    def bounded(self) -> bool:
        """Whether the figure can be missed; the others are only reported."""
        return self.low is not None or self.high is not None

    @property
    def met(self) -> bool:
        """Whether the bound holds; a figure that could not be computed holds none."""
        if not self.bounded:
            return True
        if self.value is None:
            return False
        return (self.low is None or self.value >= self.low) and (
            self.high is None or self.value <= self.high
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart with what it shows in one sentence."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A section as it stands on the page."""

    text: str
    """Markdown: what was simulated, how to read the figures."""
    rows: Sequence[Row]
    pictures: Sequence[Picture] = ()
    after: str = ""
    """Markdown below the pictures: tables, what was found besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        name: of its cases and pictures.
        title: its heading.
        cases: what is measured for it.
        report: what follows from the measurements.
    """

    name: str
    title: str
    cases: Sequence[Case]
    report: Callable[[Results], Report]
