"""How figures read on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def share(flags: Iterable[object]) -> float:
    """Share of the flags that are true."""
    found = [bool(flag) for flag in flags]
    return float(np.mean(found)) if found else 0.0


def percent(value: float) -> str:
    """12.3 %."""
    return f"{100 * value:.1f} %"


def ratio(value: float) -> str:
    """1.23."""
    return f"{value:.2f}"


def hours(value: float) -> str:
    """1.5 h."""
    return f"{value:.1f} h"


def days(value: float) -> str:
    """1.5 days."""
    return f"{value:.1f} days"


def count(value: float) -> str:
    """12.3."""
    return f"{value:.1f}"


def size(leads: int) -> str:
    """1 000."""
    return f"{leads:,}".replace(",", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, all columns but the first to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
