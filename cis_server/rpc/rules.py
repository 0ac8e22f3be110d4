"""Checks requests against the table of rules; one message, one pass over the fields that are set.

The table (`rule_table`) is keyed by the full name of a field, and every field whose comment in the
protos states a range has its entry there (a test compares them). What a rule cannot say of one
field alone (`employee_max` is at least `employee_min`) stands in `_TOGETHER`.

Items of batches are left to the batch: one bad item must not sink the others. `check_item` checks
one of them.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from cis_server.domain.local_time import find_zone
from cis_server.domain.vocabulary import is_channel
from cis_server.errors import InvalidInput

Check = Callable[[Any], str | None]
"""What is wrong with a value, in words that follow the field's name; None when nothing is."""

_YEAR_1970 = 0
_YEAR_2200 = int(dt.datetime(2200, 12, 31, tzinfo=dt.UTC).timestamp())
_DAY = 86_400
_NANOSECONDS = 1_000_000_000
_CURRENCY = re.compile(r"[A-Z]{3}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Text:
    """Length in characters, and a piece that must occur. U+0000 cannot be stored in Postgres."""

    least: int = 0
    most: int = 128
    containing: str = ""

    def __call__(self, value: str) -> str | None:
        length = len(value)
        if "\0" in value:
            return "must not hold the character U+0000"
        if self.least <= length <= self.most and (not value or self.containing in value):
            return None
        if value and self.containing not in value:
            return f"must contain {self.containing!r}"
        bound = f"{self.least} to {self.most}" if self.least else f"at most {self.most}"
        return f"must be {bound} characters long, not {length}"


@dataclass(frozen=True, slots=True)
class Size:
    """Length in bytes."""

    most: int

    def __call__(self, value: bytes) -> str | None:
        if len(value) <= self.most:
            return None
        return f"must be at most {self.most} bytes long, not {len(value)}"


@dataclass(frozen=True, slots=True)
class Number:
    """Bounds, inclusive unless ``open_ends``; numbers must be finite."""

    least: float = -math.inf
    most: float = math.inf
    open_ends: bool = False

    def __call__(self, value: float) -> str | None:
        if not math.isfinite(value):
            return "must be a finite number"
        if self.open_ends and not self.least < value < self.most:
            return f"must lie between {self.least:.15g} and {self.most:.15g}, not {value:.15g}"
        if self.least <= value <= self.most:
            return None
        if self.most == math.inf:
            return f"must be {self.least:.15g} or more, not {value:.15g}"
        return f"must lie in {self.least:.15g}..{self.most:.15g}, not {value:.15g}"


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant from 1970 to 2200, at most so many seconds from now."""

    future_seconds: float | None = None

    def __call__(self, value: Any) -> str | None:
        if not _YEAR_1970 <= value.seconds <= _YEAR_2200:
            return "must lie in the years 1970..2200"
        if not 0 <= value.nanos < _NANOSECONDS:
            return f"must have nanos in 0..{_NANOSECONDS - 1}, not {value.nanos}"
        # The clock of the machine, not an argument: what counts as future is decided on receipt.
        if self.future_seconds is not None and value.seconds > time.time() + self.future_seconds:
            return "must not lie in the future"
        return None


@dataclass(frozen=True, slots=True)
class Items:
    """How many, and what each must be."""

    most: int
    least: int = 0
    each: Check | None = None
    distinct: bool = False

    def __call__(self, values: Any) -> str | None:
        count = len(values)
        if not self.least <= count <= self.most:
            bound = f"{self.least} to {self.most}" if self.least else f"at most {self.most}"
            return f"must hold {bound} entries, not {count}"
        if self.distinct and len(set(values)) < count:
            return "must not hold the same entry twice"
        if self.each is not None:
            for position, value in enumerate(values):
                objection = self.each(value)
                if objection is not None:
                    return f"[{position}] {objection}"
        return None


@dataclass(frozen=True, slots=True)
class Entries:
    """A map: how many, what each key and value must be, and what the values add up to."""

    most: int
    key: Check
    value: Check | None = None
    total: float | None = None

    def __call__(self, entries: Mapping[str, Any]) -> str | None:
        if len(entries) > self.most:
            return f"must hold at most {self.most} entries, not {len(entries)}"
        for key, value in entries.items():
            objection = self.key(key)
            if objection is not None:
                return f"key {key[:40]!r} {objection}"
            objection = self.value(value) if self.value is not None else None
            if objection is not None:
                return f"[{key}] {objection}"
        if self.total is not None and entries and sum(entries.values()) != self.total:
            return f"must add up to {self.total:.15g}, not {sum(entries.values()):.15g}"
        return None


@dataclass(frozen=True, slots=True)
class OneOfNumbers:
    """Enumeration numbers that are allowed."""

    allowed: frozenset[int]
    words: str

    def __call__(self, value: int) -> str | None:
        return None if value in self.allowed else f"must be {self.words}"


@dataclass(frozen=True, slots=True)
class Words:
    """Texts that are allowed."""

    allowed: tuple[str, ...]

    def __call__(self, value: str) -> str | None:
        return None if value in self.allowed else f"must be one of {', '.join(self.allowed)}"


def channel(value: str) -> str | None:
    """A channel's name."""
    if is_channel(value):
        return None
    return f"{value[:40]!r} is no channel: a lower-case letter, then up to 31 of a-z, 0-9 and _"


def zone(value: str) -> str | None:
    """A time zone's IANA name; empty text is left to mean unset."""
    if not value or find_zone(value) is not None:
        return None
    return f"{value[:64]!r} is not an IANA time zone"


def iso_date(value: str) -> str | None:
    """A calendar date; empty text is left to mean unset."""
    try:
        # `fromisoformat` alone takes week dates, 2026-W01-1, too.
        if not value or (_DATE.fullmatch(value) and dt.date.fromisoformat(value)):
            return None
    except ValueError:
        pass
    return f"{value[:40]!r} is not a date of the form YYYY-MM-DD"


def clock(value: str) -> str | None:
    """A time of day ``HH:MM``."""
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        return None
    return f"{value[:40]!r} is not a time of day like 09:00"


def uuid_text(value: str) -> str | None:
    """A UUID."""
    try:
        if len(value) == 36 and uuid.UUID(value):
            return None
    except ValueError:
        pass
    return f"{value[:40]!r} is not a UUID"


def ip_address(value: str) -> str | None:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return f"{value[:64]!r} is not an IP address"
    return None


def currency(value: str) -> str | None:
    """An ISO 4217 code."""
    return None if _CURRENCY.fullmatch(value) else f"{value[:20]!r} is not three capital letters"


def true(value: bool) -> str | None:
    """A flag that means something only when set."""
    return None if value else "must be true when given"


def check_request(request: Message) -> None:
    """Check a whole request.

    Raises:
        InvalidInput: names every field that breaks a rule (the first twenty).
    """
    _raise(_plan(request.DESCRIPTOR)(request, ""))


def check_item(item: Message, path: str) -> None:
    """Check one item of a batch.

    Args:
        item: the item.
        path: where it stands, e.g. ``leads[3]``.

    Raises:
        InvalidInput: names every field that breaks a rule.
    """
    _raise(_plan(item.DESCRIPTOR)(item, f"{path}."))


_Plan = Callable[[Message, str], list[tuple[str, str]]]
_MOST_REPORTED = 20


def _raise(violations: list[tuple[str, str]]) -> None:
    if violations:
        first, *more = violations[:_MOST_REPORTED]
        raise InvalidInput(first[0], first[1], *more)


@cache
def _plan(descriptor: Descriptor) -> _Plan:
    """The checks of one message type, looked up once."""
    from cis_server.rpc.rule_table import BATCH_ITEMS, REQUIRED, RULES

    rules: dict[int, Check] = {}
    nested: dict[int, FieldDescriptor] = {}
    not_empty: dict[str, Items] = {}
    for field in descriptor.fields:
        rule = RULES.get(field.full_name)
        if field.enum_type is not None:
            known = _known(field.enum_type, repeated=field.is_repeated)
            rule = known if rule is None else _both(rule, known)
        if isinstance(rule, Items) and rule.least:
            not_empty[field.name] = rule
        if rule is not None:
            rules[field.number] = rule
        if (
            field.message_type is not None
            and field.message_type.file.package == "cis.v1"
            and not field.message_type.GetOptions().map_entry
            and field.full_name not in BATCH_ITEMS
        ):
            nested[field.number] = field
    required = [
        name
        for name in (*descriptor.fields_by_name, *descriptor.oneofs_by_name)
        if f"{descriptor.full_name}.{name}" in REQUIRED
    ]
    required_fields = [name for name in required if name in descriptor.fields_by_name]
    required_choices = [name for name in required if name in descriptor.oneofs_by_name]
    together = _TOGETHER.get(descriptor.full_name)

    def check(message: Message, prefix: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        seen = set()
        for field, value in message.ListFields():
            number = field.number
            seen.add(field.name)
            rule = rules.get(number)
            objection = rule(value) if rule is not None else None
            if objection is not None:
                found.append(_placed(prefix + field.name, objection))
            elif number in nested:
                if nested[number].is_repeated:
                    for position, item in enumerate(value):
                        plan = _plan(item.DESCRIPTOR)
                        found += plan(item, f"{prefix}{field.name}[{position}].")
                else:
                    found += _plan(value.DESCRIPTOR)(value, f"{prefix}{field.name}.")
        for name in required_fields:
            if name not in seen:
                found.append((prefix + name, "is required"))
        for name, items in not_empty.items():
            if name not in seen:  # empty lists are not among the fields that are set
                found.append((prefix + name, items(()) or ""))
        for name in required_choices:
            if message.WhichOneof(name) is None:
                options = descriptor.oneofs_by_name[name].fields
                words = " or ".join(option.name for option in options)
                found.append((prefix + options[0].name, f"one of {words} is required"))
        if together is not None and not found:
            found += [(prefix + name, text) for name, text in together(message)]
        return found

    return check


def _known(enumeration: EnumDescriptor, *, repeated: bool) -> Check:
    """Numbers the contract knows; any other would be taken for "not set"."""
    rule = OneOfNumbers(
        frozenset(enumeration.values_by_number), f"a number of the enumeration {enumeration.name}"
    )
    return Items(1000, each=rule) if repeated else rule


def _both(first: Check, second: Check) -> Check:
    return lambda value: first(value) or second(value)


def _placed(path: str, objection: str) -> tuple[str, str]:
    """Moves what leads to an entry from the text to the path: ``channels[2]``."""
    while objection.startswith(("[", ".")):
        end = "] " if objection[0] == "[" else " "
        step, _, objection = objection.partition(end)
        path = f"{path}{step}{end.strip()}"
    return path, objection


def _icp(message: Any) -> list[tuple[str, str]]:
    least = message.employee_min if message.HasField("employee_min") else 5
    most = message.employee_max if message.HasField("employee_max") else 50
    if most < least:
        return [("employee_max", f"{most} is less than employee_min, {least}")]
    return []


def _job(message: Any) -> list[tuple[str, str]]:
    if message.start_date and message.end_date and message.end_date < message.start_date:
        return [("end_date", f"{message.end_date} is before start_date, {message.start_date}")]
    return []


def _batch(message: Any) -> list[tuple[str, str]]:
    if bool(message.leads) == bool(message.lead_ids):
        return [("leads", "give either leads or lead_ids")]
    full = message.DESCRIPTOR.file.enum_types_by_name["LeadScoreView"].values_by_name[
        "LEAD_SCORE_VIEW_FULL"
    ]
    name = "leads" if message.leads else "lead_ids"
    count = len(getattr(message, name))
    if message.view == full.number and count > _FULL_VIEW_MOST:
        return [
            (name, f"must hold at most {_FULL_VIEW_MOST} entries in the full view, not {count}")
        ]
    return []


def _weights(message: Any) -> list[tuple[str, str]]:
    total = math.fsum(value for _, value in message.ListFields())
    if abs(total - 1.0) > 1e-6:
        return [("data_quality", f"the five weights must add up to 1, not {total:.15g}")]
    return []


def _period(message: Any) -> list[tuple[str, str]]:
    seconds = message.end_time.seconds - message.start_time.seconds
    if message.HasField("start_time") and message.HasField("end_time"):
        if seconds <= 0:
            return [("end_time", "must be after start_time")]
        if seconds > 3660 * _DAY:
            return [("end_time", "must be at most 3660 days after start_time")]
    return []


def _deal(message: Any) -> list[tuple[str, str]]:
    amount = message.value.amount
    return [("value.amount", f"must be 0 or more, not {amount:.15g}")] if amount < 0 else []


def _campaign(message: Any) -> list[tuple[str, str]]:
    start = message.local_work_start if message.HasField("local_work_start") else "09:00"
    end = message.local_work_end if message.HasField("local_work_end") else "17:00"
    return [] if start < end else [("local_work_end", f"{end} is not after {start}")]


_FULL_VIEW_MOST = 2000

_TOGETHER: Mapping[str, Callable[[Any], list[tuple[str, str]]]] = {
    "cis.v1.Icp": _icp,
    "cis.v1.Job": _job,
    "cis.v1.BatchScoreLeadsRequest": _batch,
    "cis.v1.Weights": _weights,
    "cis.v1.Period": _period,
    "cis.v1.Campaign": _campaign,
    "cis.v1.DealItem": _deal,
}
