"""What crosses clients: coefficients, their information matrix, and counts; no lead, no company.

A contribution is the quadratic summary of one client's likelihood: log L(theta) is, up to a
constant, -(theta - coefficients)' information (theta - coefficients) / 2. It is told in columns
that mean the same for every client: a number in its own unit, and one column for every level of a
category, the most frequent one included, so that no reference level has to be agreed on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

FORMAT: Final = 1
"""Version of the stored form."""


class Column(NamedTuple):
    """One column of the shared encoding."""

    feature: str
    """As in `cis_server.scoring.features`."""
    level: str | None
    """A level of a category, or the flag of a missing value; None: the number itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One client's part in the pooled model of a target.

    Raises:
        ValueError: on construction, when shapes do not fit or a number is not finite.
    """

    target: str
    columns: tuple[Column, ...]
    coefficients: tuple[float, ...]
    """(p + 1,) log-odds, intercept first."""
    information: tuple[tuple[float, ...], ...]
    """(p + 1, p + 1) of the data alone, intercept first; symmetric, it may be singular."""
    leads: int
    positives: int

    def __post_init__(self) -> None:
        width = len(self.columns) + 1
        if len(self.coefficients) != width or len(self.information) != width:
            raise ValueError(f"{width} coefficients and rows of information are needed")
        if any(len(row) != width for row in self.information):
            raise ValueError(f"the information must be {width} x {width}")
        if not all(
            math.isfinite(number)
            for row in (self.coefficients, *self.information)
            for number in row
        ):
            raise ValueError("a contribution must hold finite numbers only")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the information as its lower triangle, row by row."""
        return {
            "format": FORMAT,
            "target": self.target,
            "columns": [list(column) for column in self.columns],
            "coefficients": list(self.coefficients),
            "information_lower": [
                value for i, row in enumerate(self.information) for value in row[: i + 1]
            ],
            "leads": self.leads,
            "positives": self.positives,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contribution:
        """Rebuild from `to_json`, bit for bit.

        Raises:
            ValueError, KeyError, TypeError: the stored form is broken or of another format.
        """
        if data["format"] != FORMAT:
            raise ValueError(f"unknown format {data['format']!r} of a contribution")
        coefficients = tuple(float(value) for value in data["coefficients"])
        lower = data["information_lower"]
        size = len(coefficients)
        if len(lower) != size * (size + 1) // 2:
            raise ValueError("the stored information has the wrong length")
        return cls(
            target=str(data["target"]),
            columns=tuple(
                Column(str(name), None if level is None else str(level))
                for name, level in data["columns"]
            ),
            coefficients=coefficients,
            information=tuple(
                tuple(
                    float(lower[max(i, j) * (max(i, j) + 1) // 2 + min(i, j)]) for j in range(size)
                )
                for i in range(size)
            ),
            leads=int(data["leads"]),
            positives=int(data["positives"]),
        )
