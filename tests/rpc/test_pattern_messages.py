"""A stored pattern reaches its message whole: every field filled, none lost, none made up."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import pytest
from google.protobuf.message import Message

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import patterns_pb2
from cis_server.domain.envelope import Envelope
from cis_server.domain.live_state import PatternKey, PatternRecord
from cis_server.domain.patterns import PATTERN_CLASSES
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternStatus, PatternType
from cis_server.rpc.messages.patterns import fill, pattern_message, run_status_message
from cis_server.rpc.messages.runs import PATTERN_TYPE_NUMBER
from cis_server.rpc.messages.values import timestamp

START = dt.datetime(2026, 1, 5, 3, 4, 5, 600000, tzinfo=dt.UTC)


def filled(kind: Any, numbers: Iterator[int], within: tuple[Any, ...] = ()) -> Any:
    """A value of the type in which everything is set, and no two numbers or texts are the same.

    A pattern that holds patterns of its own type is filled two levels deep.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        option = next(option for option in inner if option is not types.NoneType)
        return filled(option, numbers, within)
    if origin is tuple:
        return tuple(filled(inner[0], numbers, within) for _ in range(2))
    if origin is dict:
        entries = 0 if within.count(inner[1]) > 1 else 2
        return {f"key_{next(numbers)}": filled(inner[1], numbers, within) for _ in range(entries)}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        values = {
            field.name: filled(hints[field.name], numbers, (*within, kind))
            for field in dataclasses.fields(kind)
        }
        return typing.cast(type, kind)(**values)
    number = next(numbers)
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = list(kind)
        return members[number % len(members)]
    makers: Mapping[Any, Any] = {
        str: f"text {number}",
        int: number,
        float: number + 0.25,
        bool: True,
        dt.datetime: START + dt.timedelta(minutes=number),
    }
    return makers[kind]


def filled_pattern(kind: PatternType) -> Stored:
    return typing.cast(Stored, filled(PATTERN_CLASSES[kind], itertools.count(1)))


def differences(message: Message, value: Any, path: str) -> list[str]:
    """Where the message says something else than the value, or leaves something out."""
    found = []
    names = {field.name for field in dataclasses.fields(value)} - {"envelope"}
    found += [
        f"{path}.{field.name}: nothing to fill it"
        for field in message.DESCRIPTOR.fields
        if field.name not in names
    ]
    for name in sorted(names):
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            found.append(f"{path}.{name}: no field")
            continue
        found += compared(field, getattr(message, name), getattr(value, name), f"{path}.{name}")
    return found


def compared(field: Any, said: Any, wanted: Any, path: str) -> list[str]:
    if isinstance(wanted, dict):
        if sorted(said) != sorted(wanted):
            return [f"{path}: keys {sorted(said)} instead of {sorted(wanted)}"]
        entry = field.message_type.fields_by_name["value"]
        return [
            text
            for key, item in wanted.items()
            for text in compared(
                entry,
                said[key].items if isinstance(item, tuple) else said[key],
                item,
                f"{path}[{key}]",
            )
        ]
    if isinstance(wanted, tuple):
        if len(said) != len(wanted):
            return [f"{path}: {len(said)} entries instead of {len(wanted)}"]
        return [
            text
            for i, (one, other) in enumerate(zip(said, wanted, strict=True))
            for text in compared(field, one, other, f"{path}[{i}]")
        ]
    if dataclasses.is_dataclass(wanted):
        return differences(said, wanted, path)
    if field.enum_type is not None:
        numbers = field.enum_type.values_by_number
        said = numbers[said].name
        prefix = numbers[0].name.removesuffix("UNSPECIFIED")
        word = wanted.name if isinstance(wanted, Enum) else str(wanted).upper()
        # A weekday is stored as its ISO number, which is its number in the enumeration too.
        wanted = numbers[wanted].name if type(wanted) is int else f"{prefix}{word}"
    return [] if said == wanted else [f"{path}: {said!r} instead of {wanted!r}"]


@pytest.mark.parametrize("kind", PATTERN_CLASSES)
def test_every_field_arrives(kind: PatternType) -> None:
    pattern = plausible(filled_pattern(kind))
    message = pattern_message(record(kind), pattern.to_json(), stale=False)
    detail = getattr(message, kind.value)
    assert message.WhichOneof("detail") == kind.value
    assert differences(detail, pattern, kind.value) == []
    assert_all_set(detail, kind.value)


def plausible(pattern: Any) -> Any:
    """The pattern with values that the contract's enumerations know."""
    json = pattern.to_json()

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: value_of(key, item) if not isinstance(item, dict | list) else walk(item)
                for key, item in value.items()
            }
        return [walk(item) for item in value] if isinstance(value, list) else value

    def value_of(key: str, item: Any) -> Any:
        if key == "day_of_week":
            return item % 7 + 1
        if key == "recommendation":
            return "multi"
        return item

    return type(pattern).from_json(walk(json))


def assert_all_set(message: Message, path: str) -> None:
    """A field that no value was given for would show as missing here."""
    present = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        assert field.name in present, f"{path}.{field.name} is empty"
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else [value]:
            assert_all_set(item, f"{path}.{field.name}")


def record(kind: PatternType, **changes: Any) -> PatternRecord:
    values: dict[str, Any] = {
        "key": PatternKey("c", kind),
        "revision": "r",
        "version": "4",
        "content": None,
        "computed_at": START,
        "valid_until": START + dt.timedelta(days=14),
        "sample_size": 321,
        "confidence": 0.5,
        "run_status": PatternStatus.INSUFFICIENT_DATA,
        "run_reason": "too few",
        "run_id": "run-9",
        "run_at": START + dt.timedelta(days=1),
        "run_sample_size": 12,
    }
    return PatternRecord(**{**values, **changes})


def test_the_envelope() -> None:
    pattern = filled_pattern(PatternType.WHO)
    envelope: Envelope = pattern.envelope  # type: ignore[attr-defined]
    message = pattern_message(record(PatternType.WHO), pattern.to_json(), stale=True)
    assert message.type == core.PATTERN_TYPE_WHO
    assert message.client_id == "c"
    assert message.stale
    assert message.computed_time.ToDatetime(dt.UTC) == START
    assert message.valid_until_time.ToDatetime(dt.UTC) == START + dt.timedelta(days=14)
    assert message.as_of_time.ToDatetime(dt.UTC) == envelope.as_of
    assert message.window_start_time.ToDatetime(dt.UTC) == envelope.window_start
    assert message.window_end_time.ToDatetime(dt.UTC) == envelope.window_end
    assert message.version == envelope.version
    assert message.sample_size == envelope.sample_size
    assert message.converted == envelope.n_converted
    assert message.baseline_conversion_rate == envelope.baseline_conversion_rate
    assert message.confidence == envelope.confidence
    assert (message.unit, message.method, message.note) == (
        envelope.unit,
        envelope.method,
        envelope.note,
    )
    assert message.status == core.PATTERN_STATUS_INSUFFICIENT_DATA
    assert message.status_reason == "too few"
    assert [(block.block, block.reason) for block in message.blocks] == [
        (block.block, block.reason) for block in envelope.blocks
    ]
    assert_all_set_but(message, {"what", "when", "how", "funnel", "conversation"})


def assert_all_set_but(message: Message, absent: set[str]) -> None:
    present = {field.name for field, _ in message.ListFields()}
    assert {field.name for field in message.DESCRIPTOR.fields} - present == absent


def test_nothing_is_made_up_where_the_pattern_says_nothing() -> None:
    """Unknown stays unset: an optional number is never filled with zero."""
    detail = patterns_pb2.WhenPattern()
    fill(detail, {"peak_converting_touch": None, "surface": None, "unheard_of": 1})
    assert detail == patterns_pb2.WhenPattern()
    assert not detail.HasField("peak_converting_touch")
    fill(detail, {"peak_converting_touch": 0})
    assert detail.HasField("peak_converting_touch")


def test_an_empty_part_is_there() -> None:
    detail = patterns_pb2.HowPattern()
    fill(detail, {"attribution": {}})
    assert detail.HasField("attribution")


def test_a_channel_of_what_is_a_pattern_of_its_own() -> None:
    pattern = plausible(filled_pattern(PatternType.WHAT))
    detail = pattern_message(record(PatternType.WHAT), pattern.to_json(), stale=False).what
    name = next(iter(pattern.by_channel))
    inner = detail.by_channel[name]
    assert inner.angles.rankings[0].value == pattern.by_channel[name].angles.rankings[0].value
    assert len(inner.personalization_lift) == 2
    assert not inner.by_channel


def test_how_the_last_run_ended() -> None:
    said = run_status_message(record(PatternType.HOW))
    assert said is not None
    assert (said.type, said.run_id, said.reason) == (core.PATTERN_TYPE_HOW, "run-9", "too few")
    assert said.status == core.PATTERN_STATUS_INSUFFICIENT_DATA
    assert said.finished_time.ToDatetime(dt.UTC) == START + dt.timedelta(days=1)
    assert said.sample_size == 12
    assert run_status_message(record(PatternType.HOW, run_status=None)) is None


def test_a_pattern_that_outlived_the_last_run_is_not_its_finding() -> None:
    old = patterns_pb2.Pattern(converted=7, as_of_time=timestamp(START))
    failed = run_status_message(record(PatternType.HOW), old)
    assert failed is not None
    assert (failed.converted, failed.HasField("as_of_time")) == (0, False)
    fine = run_status_message(record(PatternType.HOW, run_status=PatternStatus.OK), old)
    assert fine is not None
    assert (fine.converted, fine.as_of_time) == (7, timestamp(START))


def test_every_pattern_type_has_a_place() -> None:
    fields = patterns_pb2.Pattern.DESCRIPTOR.oneofs_by_name["detail"].fields
    assert {field.name for field in fields} == {kind.value for kind in PATTERN_TYPE_NUMBER}
