"""A learned pattern of any type as ranked tables.

The report follows the messages themselves: whatever holds a rate becomes a row of a ranked table,
whatever holds further findings a section. A new finding in the contract shows without a change
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from cis_client._tables import UNKNOWN, Table, facts, interval, number, percent
from cis_client._words import field_word, moment, plain, rate, word
from cis_client.v1.core_pb2 import RateEstimate, SegmentRate
from cis_client.v1.pattern_service_pb2 import GetPatternResponse, PatternRun
from cis_client.v1.patterns_pb2 import Pattern

if TYPE_CHECKING:
    from google._upb._message import FieldDescriptor as FastField
    from google.protobuf.descriptor import FieldDescriptor

    AnyField = FieldDescriptor | FastField

_RATE_COLUMNS = ("rate", "90 % interval", "sample", "converted", "lift", "q", "verdict")
_DAYS = {
    day.lower(): day
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
}
"""Days of the week as the contract writes them, and as people do."""
_LIST_MOST = 12
"""Longer lists of figures are surfaces for programs, not for reading."""


def pattern_report(response: GetPatternResponse, top: int) -> Iterator[str]:
    """Blocks of text: what the pattern rests on, then its tables.

    Args:
        response: the answer of GetPattern.
        top: most rows of a table.
    """
    last = response.last_run
    if last.status:
        yield f"last run: {_outcome(last)}"
    if not response.HasField("pattern"):
        yield "no pattern has been learned yet"
        return
    pattern = response.pattern
    yield _envelope(pattern)
    detail = pattern.WhichOneof("detail")
    if detail is not None:
        yield from _sections(getattr(pattern, detail), "", top)
    failed = [block for block in pattern.blocks if block.reason]
    if failed:
        table = Table(("block", "status", "reason"), "left out")
        for block in failed:
            table.add(block.block, field_word(block, "status"), block.reason)
        yield table.text()


def _outcome(run: PatternRun) -> str:
    text = f"{field_word(run, 'status')}, {moment(run, 'finished_time')}"
    return f"{text}: {run.reason}" if run.reason else text


def _envelope(pattern: Pattern) -> str:
    window = f"{moment(pattern, 'window_start_time')} to {moment(pattern, 'window_end_time')}"
    until = moment(pattern, "valid_until_time")
    return facts(
        (
            ("pattern", f"{field_word(pattern, 'type')}, version {pattern.version}"),
            ("as of", moment(pattern, "as_of_time")),
            ("window", window),
            ("computed", moment(pattern, "computed_time")),
            ("valid until", f"{until} (past: stale)" if pattern.stale else until),
            (
                "sample",
                f"{number(pattern.sample_size)} × {pattern.unit or 'unit'},"
                f" {number(pattern.converted)} converted",
            ),
            ("baseline", percent(pattern.baseline_conversion_rate)),
            ("confidence", percent(pattern.confidence)),
            ("method", pattern.method),
            ("note", pattern.note),
        )
    )


def _sections(message: Message, title: str, top: int) -> Iterator[str]:
    """The findings of one message: figures and single rates first, then what it holds."""
    figures: list[tuple[str, str]] = []
    rates = Table(("", *_RATE_COLUMNS))
    nested: list[tuple[str, Iterator[str]]] = []
    for field, value in message.ListFields():
        heading = f"{title} · {_spaced(field.name)}" if title else _spaced(field.name)
        if field.name == "items":
            # Where a map needs a list for its value; the key has named it.
            heading = title
        if _is_map(field):
            nested.append((heading, _map_sections(field, value, heading, top)))
        elif field.is_repeated:
            if field.message_type is not None:
                nested.append((heading, _list_sections(value, heading, top)))
            elif len(value) <= _LIST_MOST:
                figures.append((_spaced(field.name), ", ".join(plain(each) for each in value)))
        elif isinstance(value, RateEstimate):
            rates.add(_spaced(field.name), *_rate_cells(value, ""))
        elif isinstance(value, Message):
            nested.append((heading, _sections(value, heading, top)))
        else:
            shown = _scalar(field, value)
            # The heading of an item is its name; it need not follow it.
            if not title.endswith(f"· {shown}"):
                figures.append((_spaced(field.name), shown))
    if figures and not rates.rows and len(nested) == 1:
        # The figures are about the one table there is.
        heading, part = nested[0]
        blocks = [block.removeprefix(f"{heading}\n") for block in part]
        yield "\n".join([facts(figures, title), *blocks[:1]])
        yield from blocks[1:]
        return
    if figures:
        yield facts(figures, title)
    if rates.rows:
        rates.title = "" if figures else title
        yield rates.text()
    for _, part in nested:
        yield from part


def _list_sections(items: Sequence[Message], title: str, top: int) -> Iterator[str]:
    if any(_holds_lists(item) for item in items):
        for item in items:
            yield from _sections(item, f"{title} · {_name(item)}", top)
        return
    rows = [_row(item) for item in items[:top]]
    yield _table(rows, title, len(items) - len(rows))


def _map_sections(
    field: AnyField, entries: Mapping[object, object], title: str, top: int
) -> Iterator[str]:
    rows: list[dict[str, str]] = []
    for key in sorted(entries, key=_natural):
        value = entries[key]
        if not isinstance(value, Message):
            if isinstance(value, float) and "distribution" in field.name:
                rows.append({"": str(key), "value": percent(value)})
            else:
                rows.append({"": str(key), "value": plain(value)})
        elif isinstance(value, RateEstimate):
            rows.append({"": str(key)} | _rate_row(value, ""))
        elif _holds_lists(value):
            yield from _sections(value, f"{title} · {key}", top)
        else:
            rows.append({"": str(key)} | _row(value))
    if rows:
        yield _table(rows[:top], title, len(rows) - len(rows[:top]))


def _table(rows: Sequence[Mapping[str, str]], title: str, more: int) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # The verdict closes the line, whatever stood in the first row.
    tail = [name for name in _RATE_COLUMNS if name in columns]
    columns = _distinct([name for name in columns if name not in tail], rows) + tail
    table = Table(columns, title, more=more)
    for row in rows:
        table.add(*(row.get(name, UNKNOWN) for name in columns))
    return table.text()


def _distinct(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Leaves out what is empty, and a `day of week` that says the same as the `day` before it."""
    return [
        name
        for name in columns
        if any(row.get(name) for row in rows)
        and not any(
            name.startswith(f"{other} ")
            and all(row.get(name, "").casefold() == row.get(other, "").casefold() for row in rows)
            for other in columns
        )
    ]


def _natural(key: object) -> list[tuple[int, int, str]]:
    """Sorts `touch_10` after `touch_9`."""
    parts = re.split(r"(\d+)", str(key))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _row(item: Message) -> dict[str, str]:
    """A message without lists as cells by column."""
    cells: dict[str, str] = {}
    estimates = [value for _, value in item.ListFields() if isinstance(value, RateEstimate)]
    verdict = field_word(item, "verdict") if "verdict" in item.DESCRIPTOR.fields_by_name else ""
    for field in item.DESCRIPTOR.fields:
        value = getattr(item, field.name)
        if isinstance(value, SegmentRate):
            if item.HasField(field.name):
                cells |= _rate_row(value.estimate, field_word(value, "verdict"))
        elif isinstance(value, RateEstimate):
            if len(estimates) == 1 and item.HasField(field.name):
                cells |= _rate_row(value, verdict)
            else:
                shown = rate(value) if item.HasField(field.name) else UNKNOWN
                cells[_spaced(field.name)] = shown
        elif field.is_repeated:
            cells[_spaced(field.name)] = ", ".join(plain(each) for each in value)
        elif isinstance(value, Message) or field.name == "verdict":
            continue
        elif field.has_presence and not item.HasField(field.name):
            cells[_spaced(field.name)] = UNKNOWN
        else:
            cells[_spaced(field.name)] = _scalar(field, value)
    if verdict and "verdict" not in cells:
        cells["verdict"] = verdict
    return cells


def _rate_row(estimate: RateEstimate, verdict: str) -> dict[str, str]:
    return dict(zip(_RATE_COLUMNS, _rate_cells(estimate, verdict), strict=True))


def _rate_cells(estimate: RateEstimate, verdict: str) -> tuple[str, ...]:
    lift = estimate.adjusted_lift if estimate.HasField("adjusted_lift") else None
    return (
        percent(estimate.adjusted_rate),
        interval(estimate.low, estimate.high),
        number(estimate.sample),
        number(estimate.converted),
        UNKNOWN if lift is None else f"{lift:.2f}",
        _q_value(estimate.q_value) if estimate.HasField("q_value") else UNKNOWN,
        verdict or UNKNOWN,
    )


def _q_value(value: float) -> str:
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def _holds_lists(item: Message) -> bool:
    """Whether a message needs a section of its own, as it holds more than fits into a row."""
    return any(
        field.message_type is not None
        and (field.is_repeated or field.message_type.name not in {"RateEstimate", "SegmentRate"})
        for field, _ in item.ListFields()
    )


def _name(item: Message) -> str:
    """What an item of a list is called: its first text or figure."""
    for field, value in item.ListFields():
        if field.message_type is None and not field.is_repeated:
            return _scalar(field, value)
    return UNKNOWN


def _is_map(field: AnyField) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _scalar(field: AnyField, value: object) -> str:
    if field.enum_type is not None and isinstance(value, int):
        return word(field.enum_type, value) or UNKNOWN
    if isinstance(value, float) and _is_fraction(field):
        return percent(value)
    return _DAYS.get(plain(value), plain(value))


def _is_fraction(field: AnyField) -> bool:
    if any(part in field.name for part in ("rate", "share", "coverage", "marginal_")):
        return True
    within = field.containing_type
    return within is not None and (
        within.name.endswith("Coverage")
        or (field.name in {"low", "high"} and "share" in within.fields_by_name)
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")
