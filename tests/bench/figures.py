"""What a benchmark measures, against which bound, and how it is shown and kept.

A module of this folder yields `Figure`s and ends in ``sys.exit(report(__doc__, figures()))``; run
by itself it takes ``--json FILE`` (write the figures there too) and ``--check`` (exit code 1 when a
bound is missed).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from cis_client._tables import Table

MISSED: Final = 1
"""Exit code of a checked run with a missed bound."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Raises:
        ValueError: nothing was measured.
    """

    name: str
    """What was measured, unique within its benchmark."""
    values: tuple[float, ...]
    """One value per repetition, in the order they were taken."""
    unit: str = ""
    """Of the values, of the bound and of the limit; empty: a plain number or ratio."""
    bound: float | None = None
    """What the median must reach; None: shown only."""
    better: Literal["more", "less"] = "less"
    """Which side of the bound is the good one."""
    limit: float | None = None
    """The same quantity of what cannot be beaten (a bare echo, a plain read), of the same run."""
    note: str = ""
    """How it was measured, in a few words."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"nothing was measured for {self.name!r}")

    @property
    def median(self) -> float:
        """The middle of the repetitions."""
        return statistics.median(self.values)

    @property
    def of_limit(self) -> float | None:
        """Median over the limit; None without one."""
        return self.median / self.limit if self.limit else None

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the bound; None without one."""
        if self.bound is None:
            return None
        return self.median <= self.bound if self.better == "less" else self.median >= self.bound

    def to_json(self) -> dict[str, Any]:
        """The figure with what follows from it, for programs."""
        return {
            "name": self.name,
            "unit": self.unit,
            "values": list(self.values),
            "median": self.median,
            "bound": self.bound,
            "better": self.better,
            "limit": self.limit,
            "of_limit": self.of_limit,
            "met": self.met,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The figure that `to_json` wrote; what follows from it is worked out again."""
        return cls(
            name=stored["name"],
            values=tuple(stored["values"]),
            unit=stored["unit"],
            bound=stored["bound"],
            better=stored["better"],
            limit=stored["limit"],
            note=stored["note"],
        )


def table(figures: Iterable[Figure], title: str = "") -> str:
    """Figures as a table for people: median, spread, bound, share of the limit, verdict."""
    shown = Table(["figure", "median", "spread", "unit", "bound", "of limit", "", "how"], title)
    for figure in figures:
        sign = "≤" if figure.better == "less" else "≥"
        shown.add(
            figure.name,
            short(figure.median),
            f"{short(min(figure.values))}–{short(max(figure.values))}"
            if len(figure.values) > 1
            else "",
            figure.unit,
            "" if figure.bound is None else f"{sign} {short(figure.bound)}",
            "" if figure.of_limit is None else f"{figure.of_limit:.2f}",
            {None: "", True: "ok", False: "MISSED"}[figure.met],
            figure.note,
        )
    return shown.text()


def report(about: str | None, figures: Iterable[Figure], arguments: list[str] | None = None) -> int:
    """Take the figures, print them, keep them, and judge them.

    Args:
        about: docstring of the benchmark, for ``--help`` and as the heading.
        figures: measured while they are asked for.
        arguments: command line; those of the process unless given.

    Returns:
        The exit code: `MISSED` when a bound was missed and ``--check`` was given, else 0.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--check", action="store_true", help="fail when a bound is missed")
    chosen = parser.parse_args(arguments)
    taken: list[Figure] = []
    for figure in figures:
        taken.append(figure)
        print(f"  {figure.name}: {short(figure.median)} {figure.unit}", file=sys.stderr, flush=True)
    print(table(taken, title=(about or "").partition("\n")[0]), flush=True)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([figure.to_json() for figure in taken], indent=1))
    missed = [figure.name for figure in taken if figure.met is False]
    if missed and chosen.check:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
        return MISSED
    return 0


def short(value: float) -> str:
    """A value with the digits that count: ``271 000``, ``97.1``, ``0.853``."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
