"""What is wrong with the rows of a table: the rules of a `Lead`, asked where a value is suspect.

Columns are judged as a whole by what is cheap (bytes instead of characters, bounds); only the rows
that this leaves in doubt are asked the rule itself, so that a table refuses what `ScoreLead`
refuses, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_server.errors import InvalidInput
from cis_server.rpc.rule_table import RULES
from cis_server.rpc.rules import Check, Number, Text
from cis_server.scoring.distinct_texts import TextColumn

Rows = NDArray[np.int64]


class Violations:
    """Wrong values by row."""

    __slots__ = ("_of_row",)

    def __init__(self) -> None:
        self._of_row: dict[int, list[tuple[str, str]]] = {}

    def add(self, row: int, field: str, objection: str) -> None:
        """One wrong value."""
        self._of_row.setdefault(row, []).append((field, objection))

    def ask(self, rows: Rows, field: str, rule: Check, value: Callable[[int], Any]) -> None:
        """Ask the rule about some rows."""
        for row in rows.tolist():
            objection = rule(value(row))
            if objection is not None:
                self.add(row, field, objection)

    def by_row(self) -> dict[int, str]:
        """What is wrong with each row that cannot be scored, naming the fields in their order."""
        return {row: _words(found) for row, found in self._of_row.items()}


def _words(found: list[tuple[str, str]]) -> str:
    first, *more = sorted(found, key=lambda each: _PLACE[each[0].partition("[")[0]])
    return str(InvalidInput(*first, *more))


_PLACE: Final = {
    name: field.number for name, field in core_pb2.Lead.DESCRIPTOR.fields_by_name.items()
}


def rule_of(field: str) -> Check | None:
    """The rule of a field of `Lead`."""
    return RULES.get(f"cis.v1.Lead.{field}")


def check_text(column: TextColumn, field: str, rule: Check, found: Violations) -> None:
    """Hold the length and the characters of a text column against its rule.

    What must be contained in the text is left to the caller, who knows where it may be missing.
    """
    most = rule.most if isinstance(rule, Text) else 0
    # No text has more characters than bytes.
    suspect = column.stop - column.start > most
    if _has_nul(column):
        suspect |= column.stop > column.start
    if suspect.any():
        found.ask(np.flatnonzero(suspect), field, rule, column.text)


def check_number(
    values: NDArray[Any], known: NDArray[np.bool_] | None, field: str, found: Violations
) -> None:
    """Hold the numbers of a column against the bounds of its rule.

    Args:
        values: shape (n,), integers or floats.
        known: shape (n,), where there is a number at all; None: everywhere.
        field: of `Lead`.
        found: takes what is wrong.
    """
    rule = rule_of(field)
    assert isinstance(rule, Number)
    if not len(values):
        return
    if known is None and rule.least <= values.min() and values.max() <= rule.most:
        return
    # A number that is none compares false with both bounds.
    suspect = ~((values >= rule.least) & (values <= rule.most) & np.isfinite(values))
    if known is not None:
        suspect &= known
    if suspect.any():
        found.ask(np.flatnonzero(suspect), field, rule, lambda row: values[row].item())


def check_whole(
    values: NDArray[np.float64], known: NDArray[np.bool_], field: str, found: Violations
) -> None:
    """Refuse floats that are no whole numbers; infinite ones are left to the bounds."""
    broken = known & np.isfinite(values) & (values != np.trunc(values))
    for row in np.flatnonzero(broken).tolist():
        found.add(row, field, f"must be a whole number, not {values[row]:.15g}")


def _has_nul(column: TextColumn) -> bool:
    if not len(column):
        return False
    first, last = int(column.start.min()), int(column.stop.max())
    return first < last and int(column.data[first:last].min()) == 0
