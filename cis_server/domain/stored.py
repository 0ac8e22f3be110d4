"""Dataclasses that convert to stored JSON and back.

JSON keys are the field names. Tuples become lists; instants, dates and times ISO text; enumerations
their value.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from sys import intern
from typing import Any, Final, Self, TypeAlias

_Builder: TypeAlias = Callable[[Any], Any]


class Stored:
    """A dataclass that converts to the stored JSON and back."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys in field order."""
        return typing.cast(dict[str, Any], _plain(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from stored JSON; keys that are unknown are ignored, missing ones default.

        Raises:
            TypeError: a field without default is missing, or null where a list, an object or an
                item of a list must stand.
        """
        return typing.cast(Self, _built(cls, data))


_AS_IT_IS: Final = frozenset({str, int, float, bool, types.NoneType})


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    if kind in _AS_IT_IS:
        return value
    names = _field_names(kind)
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


# What follows from a type alone is looked up once: a pattern has ten thousand values of few types.
@cache
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """Fields of a dataclass, None of another type."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return None
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _field_builders(kind: type[Any]) -> dict[str, _Builder]:
    hints = typing.get_type_hints(kind)
    return {field.name: _builder(hints[field.name]) for field in dataclasses.fields(kind)}


def _built(kind: Any, value: Any) -> Any:
    return _builder(kind)(value)


@cache
def _builder(kind: Any) -> _Builder:
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    options = typing.get_args(kind) if is_union else (kind,)
    inner = next(option for option in options if option is not types.NoneType)
    build = _builder_of_known(inner)
    if build is _as_it_is:
        return build
    if types.NoneType in options:
        return lambda value: None if value is None else build(value)
    return partial(_required, inner, build)


def _required(kind: Any, build: _Builder, value: Any) -> Any:
    if value is None:
        raise TypeError(f"null in the place of {kind}")
    return build(value)


def _builder_of_known(kind: Any) -> _Builder:
    """What makes a value of some type out of JSON other than null."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        of = typing.get_args(kind)[0]
        item = partial(_required, of, _as_it_is) if of in _AS_IT_IS else _builder(of)
        return lambda value: tuple(map(item, value))
    if origin in (dict, Mapping):
        entry = _builder(typing.get_args(kind)[1])
        return lambda value: {key: entry(item) for key, item in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return partial(_built_dataclass, kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if kind in (dt.datetime, dt.date, dt.time):
        return typing.cast(_Builder, kind.fromisoformat)
    return _as_it_is


def _built_dataclass(kind: Any, value: Mapping[str, Any]) -> Any:
    builders = _field_builders(kind)
    return kind(**{key: build(value[key]) for key, build in builders.items() if key in value})


def _as_it_is(value: Any) -> Any:
    # The same few words stand in thousands of places.
    return intern(value) if type(value) is str else value
