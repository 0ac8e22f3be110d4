"""Arrow arrays as the columns that scoring reads: pieces of text in a buffer, and whole numbers.

Text is never made into Python text; a dictionary's indices only point into its values. Arrays have
been checked (`arrow_stream.valid_column`), so that their offsets and indices may be trusted.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cis_server.scoring.distinct_texts import RepeatedTexts, TextColumn, no_texts
from cis_server.scoring.text_kernel import NO_DATE, date_rows

UNKNOWN_FLAG: Final = -1
_LARGEST: Final = 2**63 - 1


class Numbers(NamedTuple):
    """A column of numbers."""

    values: NDArray[Any]
    """Shape (n,), int64 or float64; where nothing is known any number."""
    known: NDArray[np.bool_] | None
    """Shape (n,), where there is a number; None: everywhere."""


def repeated(array: Any) -> Any:
    """Text as a dictionary, for columns whose texts are judged once each."""
    kind = array.type
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return array.dictionary_encode() if plain else array


def is_text(kind: Any) -> bool:
    """Whether a type holds text, dictionary-encoded or not, or nothing at all."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def is_number(kind: Any) -> bool:
    """Whether a type holds numbers, or nothing at all."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def is_date(kind: Any) -> bool:
    """Whether a type holds calendar dates, instants that have one, or text."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind) or is_text(kind))


def is_flag(kind: Any) -> bool:
    """Whether a type holds true and false, or nothing at all."""
    return bool(pa.types.is_boolean(kind) or pa.types.is_null(kind))


def is_list_of_text(kind: Any) -> bool:
    """Whether a type holds lists of texts, or nothing at all."""
    if pa.types.is_null(kind):
        return True
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(lists and is_text(kind.value_type))


def text_column(array: Any) -> TextColumn:
    """The texts of an array for whose type `is_text` holds; null is empty text."""
    if pa.types.is_null(array.type):
        return no_texts(len(array))
    if pa.types.is_dictionary(array.type):
        return _pointed_at(array)
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets_buffer, data_buffer = array.buffers()
    n = len(array)
    if not n:
        return no_texts(0)
    offsets = np.frombuffer(offsets_buffer, dtype=width)[array.offset : array.offset + n + 1]
    data = (
        np.frombuffer(data_buffer, dtype=np.uint8)
        if data_buffer is not None and len(data_buffer)
        else np.zeros(1, dtype=np.uint8)
    )
    start = offsets[:-1].astype(np.int64)
    stop = offsets[1:].astype(np.int64)
    if array.null_count:
        np.copyto(stop, start, where=~known_places(array))
    return TextColumn(data, start, stop)


def _pointed_at(array: Any) -> TextColumn:
    texts = text_column(array.dictionary)
    indices = array.indices
    m = len(texts)
    # One text more, which is missing, for what is null.
    start, stop = np.append(texts.start, 0), np.append(texts.stop, 0)
    places = _plain(indices, 0).astype(np.int64)
    if indices.null_count:
        places[~known_places(indices)] = m
    pointing = TextColumn(texts.data, start[places], stop[places])
    if m > len(array):
        return pointing
    values = TextColumn(texts.data, start, stop)
    return RepeatedTexts(pointing.data, pointing.start, pointing.stop, values, places)


def known_places(array: Any) -> NDArray[np.bool_]:
    """Where an array is not null, shape (n,)."""
    known: NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    return known


def whole_numbers(array: Any) -> Numbers:
    """Numbers as int64, those beyond its range as its bounds; floats as they are (float64).

    A float that is no number (NaN) says that nothing is known, as pandas writes it.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return _none(len(array))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return floats(array)
    values = _plain(array, 0)
    if pa.types.is_uint64(kind):
        values = np.minimum(values, np.uint64(_LARGEST))
    return Numbers(values.astype(np.int64), known_places(array) if array.null_count else None)


def floats(array: Any) -> Numbers:
    """Numbers as float64; null and NaN say that nothing is known."""
    if pa.types.is_null(array.type):
        return _none(len(array))
    if not pa.types.is_floating(array.type):
        array = array.cast(pa.float64(), safe=False)
    values = _plain(array, np.nan).astype(np.float64)
    broken = np.isnan(values)
    return Numbers(values, ~broken if broken.any() else None)


def flags(array: Any) -> NDArray[np.int64]:
    """1, 0, or `UNKNOWN_FLAG` where nothing is known."""
    if pa.types.is_null(array.type):
        return np.full(len(array), UNKNOWN_FLAG, dtype=np.int64)
    return _plain(array.cast(pa.int8()), UNKNOWN_FLAG).astype(np.int64)


def dates(array: Any) -> NDArray[np.int64]:
    """Days since 1970; `NO_DATE` where nothing is known, `BAD_DATE` for text that is no date.

    An instant counts as its date in its own zone.
    """
    kind = array.type
    if is_text(kind):
        texts = text_column(array)
        days = np.empty(len(array), dtype=np.int64)
        date_rows(texts.data, texts.start, texts.stop, days)
        return days
    if pa.types.is_timestamp(kind):
        if kind.tz is not None:
            array = pc.local_timestamp(array)
        array = pc.floor_temporal(array, unit="day").cast(pa.date32())
    elif pa.types.is_date64(kind):
        array = array.cast(pa.date32())
    days = _plain(array.cast(pa.int32()), 0).astype(np.int64)
    if array.null_count:
        days[~known_places(array)] = NO_DATE
    return days


def as_text(array: Any) -> Any | None:
    """An array of any plain type as text, the way a CSV file would hold it; None for other types.

    Whole floats lose their decimals, because a column of whole numbers with gaps becomes one of
    floats on its way through pandas.
    """
    kind = array.type
    if is_text(kind):
        return array
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_floating(kind):
        return pa.array([_decimal(value) for value in array.to_pylist()], type=pa.string())
    plain = (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )
    return array.cast(pa.string()) if plain else None


def _decimal(value: float | None) -> str | None:
    if value is None or value != value:
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _plain(array: Any, missing: object) -> NDArray[Any]:
    """The values without a mask, null replaced."""
    if array.null_count:
        array = array.fill_null(missing)
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _none(n: int) -> Numbers:
    return Numbers(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_))
