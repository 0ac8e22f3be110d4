"""Instants, dates, enumerations and rates between messages and plain values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from cis_client.v1 import core_pb2
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.rates import RateEstimate
from cis_server.domain.vocabulary import Source, Tier, Verdict
from cis_server.errors import InvalidInput

Word = TypeVar("Word", bound=StrEnum)

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def instant(message: Any, field: str, path: str) -> dt.datetime | None:
    """The instant in an optional Timestamp field, None when it is not set.

    Raises:
        InvalidInput: the instant lies outside years 1 to 9999.
    """
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    try:
        return _EPOCH + dt.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    except OverflowError:
        raise InvalidInput(path, "is not an instant between the years 1 and 9999") from None


def timestamp(value: dt.datetime | None) -> Timestamp | None:
    """The message for an aware instant."""
    if value is None:
        return None
    since = value - _EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def iso_date(text: str, path: str) -> dt.date:
    """The calendar date in ISO text ``YYYY-MM-DD``.

    Raises:
        InvalidInput: anything else.
    """
    try:
        if len(text) == 10:
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidInput(path, f"{text[:40]!r} is not a date of the form YYYY-MM-DD")


def word_of(enumeration: Any, words: type[Word]) -> Callable[[int], Word | None]:
    """A reader of one enumeration: number -> word, None for UNSPECIFIED and unknown numbers."""
    prefix = _prefix(enumeration)
    table = {
        number: words(name.removeprefix(prefix).lower())
        for name, number in enumeration.items()
        if number
    }
    return table.get


def number_of(enumeration: Any, words: type[Word]) -> dict[Word, Any]:
    """A writer of one enumeration: word -> number; a word the contract lacks is a KeyError."""
    prefix = _prefix(enumeration)
    return {words(name.removeprefix(prefix).lower()): n for name, n in enumeration.items() if n}


def _prefix(enumeration: Any) -> str:
    """``LEAD_STATUS_`` of ``LEAD_STATUS_UNSPECIFIED``."""
    return str(enumeration.Name(0)).removesuffix("UNSPECIFIED")


SOURCE_NUMBER = number_of(core_pb2.Source, Source)
VERDICT_NUMBER = number_of(core_pb2.Verdict, Verdict)
TIER_NUMBER = {tier: core_pb2.Tier.Value(f"TIER_{tier.name}") for tier in Tier}
TIER_OF_NUMBER = {number: tier for tier, number in TIER_NUMBER.items()}


def rate_message(rate: RateEstimate | None) -> core_pb2.RateEstimate | None:
    """The message of a rate; None stays unset."""
    if rate is None:
        return None
    return core_pb2.RateEstimate(
        rate=rate.rate,
        adjusted_rate=rate.adjusted_rate,
        low=rate.low,
        high=rate.high,
        sample=rate.sample,
        converted=rate.converted,
        lift=rate.lift,
        adjusted_lift=rate.adjusted_lift,
        stratified_lift=rate.stratified_lift,
        stratified_low=rate.stratified_low,
        stratified_high=rate.stratified_high,
        q_value=rate.q_value,
    )


def model_message(model: ModelInfo) -> core_pb2.ModelInfo:
    """The message of what told an answer."""
    return core_pb2.ModelInfo(
        model_version=model.model_version,
        source=SOURCE_NUMBER[model.source],
        computed_time=timestamp(model.computed_at),
        valid_until_time=timestamp(model.valid_until),
        sample_size=model.sample_size,
        confidence=model.confidence,
        stale=model.stale,
    )
