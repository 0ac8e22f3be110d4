"""Stored patterns as messages.

The stored JSON and the messages have equal names (see the head of `patterns.proto`), so that one
walk over the fields converts all of them; only the envelope is spelled out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message

from cis_client.v1 import pattern_service_pb2 as service
from cis_client.v1 import patterns_pb2
from cis_server.domain.live_state import PatternRecord
from cis_server.domain.vocabulary import PatternStatus
from cis_server.rpc.messages.runs import PATTERN_STATUS_NUMBER, PATTERN_TYPE_NUMBER
from cis_server.rpc.messages.values import timestamp


def pattern_message(
    record: PatternRecord, content: Mapping[str, Any], stale: bool
) -> patterns_pb2.Pattern:
    """A stored pattern as a message.

    Args:
        record: the row it is stored in.
        content: its stored JSON.
        stale: whether it has expired or newer state cannot be asked for.
    """
    envelope = content["envelope"]
    message = patterns_pb2.Pattern(
        type=PATTERN_TYPE_NUMBER[record.key.type],
        version=envelope["version"],
        client_id=record.key.client_id,
        as_of_time=_instant(envelope["as_of"]),
        computed_time=timestamp(record.computed_at),
        valid_until_time=timestamp(record.valid_until),
        stale=stale,
        sample_size=envelope["sample_size"],
        converted=envelope["n_converted"],
        unit=envelope["unit"],
        baseline_conversion_rate=envelope["baseline_conversion_rate"],
        confidence=envelope["confidence"],
        window_start_time=_instant(envelope["window_start"]),
        window_end_time=_instant(envelope["window_end"]),
        method=envelope["method"],
        status=PATTERN_STATUS_NUMBER[record.run_status or PatternStatus.OK],
        status_reason=record.run_reason,
        note=envelope.get("note", ""),
    )
    for block in envelope.get("blocks", ()):
        fill(message.blocks.add(), block)
    detail = getattr(message, record.key.type.value)
    detail.SetInParent()
    fill(detail, content)
    return message


def run_status_message(
    record: PatternRecord, pattern: patterns_pb2.Pattern | None = None
) -> service.PatternRun | None:
    """How the last run of the type ended; None when there was none.

    Args:
        record: the row it is stored in.
        pattern: the pattern of the same answer; it is what the run found when that ended well.
    """
    if record.run_status is None:
        return None
    found = pattern if record.run_status is PatternStatus.OK else None
    return service.PatternRun(
        type=PATTERN_TYPE_NUMBER[record.key.type],
        run_id=record.run_id,
        status=PATTERN_STATUS_NUMBER[record.run_status],
        reason=record.run_reason,
        finished_time=timestamp(record.run_at),
        sample_size=record.run_sample_size,
        converted=found.converted if found is not None else 0,
        as_of_time=found.as_of_time if found is not None else None,
    )


def fill(message: Message, data: Mapping[str, Any]) -> None:
    """Copy stored JSON into a message with equal names; unknown keys and nulls are passed over."""
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in data.items():
        field = fields.get(name)
        if field is None or value is None:
            continue
        if field.is_repeated:
            _fill_many(getattr(message, name), field, value)
        elif field.message_type is not None:
            part = getattr(message, name)
            part.SetInParent()
            fill(part, value)
        else:
            setattr(message, name, _scalar(field, value))


def _fill_many(target: Any, field: Any, value: Any) -> None:
    kind: Descriptor | None = field.message_type
    if kind is None:
        target.extend(_scalar(field, item) for item in value)
    elif kind.GetOptions().map_entry:
        entry = kind.fields_by_name["value"]
        for key, item in value.items():
            if entry.message_type is None:
                target[key] = _scalar(entry, item)
            elif isinstance(item, list):
                # A map cannot hold lists; its value message does, in its only field.
                fill(target[key], {"items": item})
            else:
                target[key].SetInParent()
                fill(target[key], item)
    else:
        for item in value:
            fill(target.add(), item)


def _scalar(field: Any, value: Any) -> Any:
    if field.enum_type is not None and isinstance(value, str):
        return _numbers(field.enum_type)[value]
    return value


@cache
def _numbers(enumeration: EnumDescriptor) -> dict[str, int]:
    prefix = enumeration.values[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix).lower(): value.number for value in enumeration.values}


def _instant(text: str) -> Any:
    return timestamp(dt.datetime.fromisoformat(text))
