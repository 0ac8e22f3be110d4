"""Dataclasses that convert to stored JSON and back.

JSON keys are the field names. Tuples become lists; instants, dates and times ISO text; enumerations
their value.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Self


class Stored:
    """A dataclass that converts to the stored JSON and back."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys in field order."""
        return typing.cast(dict[str, Any], _plain(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from stored JSON; keys that are unknown are ignored, missing ones default."""
        return typing.cast(Self, _built(cls, data))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


@cache
def _field_types(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _built(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return _built(inner[0], value)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_built(item, entry) for entry in value)
    if origin in (dict, Mapping):
        item = typing.get_args(kind)[1]
        return {key: _built(item, entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        known = _field_types(kind)
        return kind(**{key: _built(known[key], value[key]) for key in known if key in value})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind in (dt.datetime, dt.date, dt.time):
        return kind.fromisoformat(value)
    return value
