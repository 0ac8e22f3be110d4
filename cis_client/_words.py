"""Messages as words: names of enumeration values, moments, where an answer comes from."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cis_client._tables import UNKNOWN, interval, number, percent, yes
from cis_client.v1.core_pb2 import ModelInfo, RateEstimate, Weights

if TYPE_CHECKING:
    from google._upb._message import EnumDescriptor as FastEnum
    from google.protobuf.descriptor import EnumDescriptor

    AnyEnum = EnumDescriptor | FastEnum

COMPONENTS = ("data_quality", "authority", "company_fit", "timing", "risk")
"""The five components of a score in their order."""


def word(kind: AnyEnum, value: int) -> str:
    """Lower-case name of a value without its prefix; empty for the unspecified one."""
    if value not in kind.values_by_number:
        return str(value)
    name = kind.values_by_number[value].name
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    short = name.removeprefix(prefix).lower()
    return "" if short == "unspecified" else short


def field_word(message: Message, field: str) -> str:
    """The `word` of an enumeration field."""
    kind = message.DESCRIPTOR.fields_by_name[field].enum_type
    if kind is None:
        raise TypeError(f"{field} of {message.DESCRIPTOR.name} is no enumeration")
    return word(kind, getattr(message, field))


def enum_value(kind: AnyEnum, text: str) -> int:
    """The value whose `word` is ``text``.

    Raises:
        ValueError: there is none; the message lists those that are.
    """
    words = {word(kind, value.number): value.number for value in kind.values if value.number}
    found = words.get(text.strip().lower().replace("-", "_"))
    if found is None:
        raise ValueError(f"{text!r} is none of {', '.join(words)}")
    return found


def moment(message: Message, field: str) -> str:
    """A time of a message to the minute in UTC; `UNKNOWN` when it is not set."""
    if not message.HasField(field):
        return UNKNOWN
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(datetime.UTC).strftime("%Y-%m-%d %H:%M")


def timestamp(text: str) -> Timestamp:
    """Reads ISO 8601; without an offset it is UTC, a bare date its first instant.

    Raises:
        ValueError: it is no such text.
    """
    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no ISO date or time such as 2026-03-01T09:00Z") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.UTC)
    stamp = Timestamp()
    stamp.FromDatetime(parsed)
    return stamp


def source(model: ModelInfo) -> str:
    """What told an answer, in one line."""
    where = field_word(model, "source") or "unknown"
    parts = [where if not model.model_version else f"{where}, version {model.model_version}"]
    if model.sample_size:
        parts.append(f"from {number(model.sample_size)} units")
        parts.append(f"confidence {percent(model.confidence)}")
    if model.HasField("computed_time"):
        parts.append(f"computed {moment(model, 'computed_time')}")
    if model.stale:
        parts.append("STALE")
    return ", ".join(parts)


def rate(estimate: RateEstimate) -> str:
    """A rate in one cell: adjusted rate, interval, sample."""
    spread = interval(estimate.low, estimate.high)
    return f"{percent(estimate.adjusted_rate)} ({spread}, n {number(estimate.sample)})"


def weight_cells(weights: Weights | None) -> list[str]:
    """The five weights to four places."""
    if weights is None:
        return [UNKNOWN] * len(COMPONENTS)
    return [f"{getattr(weights, name):.4f}" for name in COMPONENTS]


def plain(value: object) -> str:
    """A scalar field as text."""
    if isinstance(value, bool):
        return yes(value)
    if isinstance(value, int | float):
        return number(value)
    return str(value)


def as_json(message: Message) -> dict[str, Any]:
    """The message in protobuf's JSON mapping, with the names of the contract."""
    found: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def json_text(value: object) -> str:
    """JSON for programs."""
    return json.dumps(value, ensure_ascii=False, indent=2)
