"""Plain-text tables and figures for people at a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

UNKNOWN = "–"
"""Stands for what is not known, as against zero."""
LINE_WIDTH = 100
"""Sentences go on in the next line beyond it."""

_NARROWEST = 30


@dataclass
class Table:
    """A table whose columns are as wide as their widest cell.

    Columns whose every cell is a figure are set to the right. Sentences in the last column go on
    under themselves where the line would grow too long.
    """

    columns: Sequence[str]
    """Headings."""
    title: str = ""
    """Line above the table; empty: none."""
    rows: list[Sequence[str]] = field(default_factory=list)
    """Cells, as many in each row as there are columns."""
    more: int = 0
    """Rows left out at the end."""

    def add(self, *cells: str) -> None:
        """Adds a row."""
        self.rows.append(cells)

    def text(self) -> str:
        """The table as lines, without a line end."""
        cells = [[_one_line(cell) for cell in row] for row in self.rows]
        widths = [
            max([len(heading), *(len(row[column]) for row in cells)])
            for column, heading in enumerate(self.columns)
        ]
        right = [
            bool(cells) and all(_is_figure(row[column]) for row in cells)
            for column in range(len(self.columns))
        ]

        before = sum(widths[:-1]) + 2 * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(LINE_WIDTH - before, _NARROWEST, len(self.columns[-1])))

        def line(row: Sequence[str]) -> str:
            *cells, last = row
            first, *others = _wrapped(last, widths[-1])
            parts = [
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip([*cells, first], widths, right, strict=True)
            ]
            return "\n".join(["  ".join(parts).rstrip(), *(" " * before + each for each in others)])

        lines = [self.title] if self.title else []
        if not cells:
            return "\n".join([*lines, "(nothing)"])
        lines += [line(self.columns), line(["-" * width for width in widths]), *map(line, cells)]
        if self.more:
            lines.append(f"… and {self.more} more")
        return "\n".join(lines)


def facts(pairs: Iterable[tuple[str, str]], title: str = "") -> str:
    """Names and values under each other; pairs with an empty value are left out."""
    kept = [(name, _one_line(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0)
    lines = []
    for name, value in kept:
        first, *others = _wrapped(value, LINE_WIDTH - width - 2)
        lines.append(f"{name.ljust(width)}  {first}")
        lines += [" " * (width + 2) + each for each in others]
    return "\n".join([title, *lines] if title else lines)


def percent(value: float | None) -> str:
    """A fraction as a percentage with three figures that count: ``0.0123`` is ``1.23 %``."""
    if value is None:
        return UNKNOWN
    shown = value * 100
    return f"{shown:.{2 if abs(shown) < 10 else 1}f} %"


def interval(low: float | None, high: float | None) -> str:
    """An interval of fractions: ``1.20–3.40 %``."""
    if low is None or high is None:
        return UNKNOWN
    return f"{percent(low).removesuffix(' %')}–{percent(high)}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure without idle zeros: whole ones with thin groups of thousands."""
    if value is None:
        return UNKNOWN
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def yes(value: bool) -> str:
    """A word for a truth value."""
    return "yes" if value else "no"


def _one_line(text: str) -> str:
    """Cells come from files and from the server: they may not break the table or the terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most the width; a longer word, such as an id, stays whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _is_figure(cell: str) -> bool:
    if cell in {"", UNKNOWN}:
        return True
    return all(each.isdigit() or each in " .,–-+%×<" for each in cell)
