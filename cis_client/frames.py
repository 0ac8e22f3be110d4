"""Scoring a whole frame: pandas, Polars or pyarrow in, the same kind with the scores out.

What is sent is what the server says its scores depend on; text that comes again and again travels
as a dictionary. Nothing but pyarrow is imported here, and that only when a frame is scored: pandas
and Polars are there already when their frames are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from cis_client.errors import Internal
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring

Frame = TypeVar("Frame")

SCORE_COLUMNS: Final = (
    "score",
    "tier",
    "data_quality",
    "authority",
    "company_fit",
    "timing",
    "risk",
    "conversion_probability",
    "suppressed",
    "suppression_reason",
    "model_version",
    "probability_version",
    "error",
)
"""Columns that are added."""

TIERS: Final = ("dead", "cold", "cool", "warm", "hot")

BATCH_ROWS: Final = 32_768
"""Rows sent at once."""
BATCH_BYTES: Final = 16 * 1024 * 1024
"""Most bytes sent at once; the server takes twice as many."""
MESSAGE_BYTES: Final = 1024 * 1024
"""Bytes of a message: few enough that sending one is no waiting."""

_SAMPLE: Final = 2048
_FIELDS: Final = core.Lead.DESCRIPTOR.fields_by_name


def table_request(
    client_id: str,
    *,
    campaign_id: str | None = None,
    icp: core.Icp | None = None,
    as_of_time: dt.datetime | Timestamp | None = None,
) -> scoring.ScoreTableRequest:
    """The first message of a `ScoreTable` call.

    Args:
        client_id: whose weights score.
        campaign_id: whose profile counts; None: the client's.
        icp: a profile instead of the client's.
        as_of_time: the moment whose knowledge counts, aware; None: now.

    Raises:
        ValueError: the moment has no zone.
    """
    if isinstance(as_of_time, dt.datetime):
        if as_of_time.tzinfo is None:
            raise ValueError("as_of_time has no zone")
        moment = Timestamp()
        moment.FromDatetime(as_of_time)
        as_of_time = moment
    return scoring.ScoreTableRequest(
        client_id=client_id, campaign_id=campaign_id, icp=icp, as_of_time=as_of_time
    )


def field_name(column: str) -> str:
    """The field of `Lead` that a column is named after: case, spaces and hyphens do not matter."""
    return column.strip().lower().replace(" ", "_").replace("-", "_")


class FrameScoring:
    """One frame on its way through `ScoreTable`, whoever makes the call.

    Args:
        frame: a pandas or Polars data frame, a pyarrow table or record batch, or anything with
            ``__arrow_c_stream__``.
        first: the first message of the call.
        prefix: put before the names of the added columns.
        max_message_bytes: largest message.

    Raises:
        TypeError: it is no frame.
        ValueError: there is no column ``lead_id``, two columns are one field, or a column that
            would be added is there already.
        ModuleNotFoundError: pyarrow is not installed.
    """

    def __init__(
        self, frame: Any, first: scoring.ScoreTableRequest, prefix: str, max_message_bytes: int
    ) -> None:
        self._kind = kind_of(frame)
        self._first = first
        self._prefix = prefix
        self._message_bytes = min(MESSAGE_BYTES, max_message_bytes // 2)
        self._columns = _columns_of_fields(self._kind.names)
        for name in SCORE_COLUMNS:
            if prefix + name in self._kind.names:
                raise ValueError(
                    f"the frame has a column {prefix + name!r} already: drop it, or give the "
                    "scores another prefix"
                )
        self._table: Any = None
        self._answer: list[bytes] = []
        self._begun = threading.Event()

    def take(self, answer: scoring.ScoreTableResponse) -> None:
        """Take in a message of the server; the first one lets the leads be sent.

        Raises:
            ValueError: a column cannot be sent.
        """
        if self._table is None:
            self._table = self._sent(answer.columns)
            self._begun.set()
        if answer.arrow_ipc:
            self._answer.append(answer.arrow_ipc)

    def abandon(self) -> None:
        """Let go of whoever waits for the server's first message."""
        self._begun.set()

    def requests(self) -> Iterator[scoring.ScoreTableRequest]:
        """The messages to send; waits for the server's first one after its own first."""
        yield self._first
        self._begun.wait()
        yield from self._pieces()

    async def requests_async(self) -> AsyncIterator[scoring.ScoreTableRequest]:
        """As `requests`; what takes long runs on another thread."""
        yield self._first
        await asyncio.to_thread(self._begun.wait)
        pieces = self._pieces()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    def result(self) -> Any:
        """The frame with the scores, once the call has ended.

        Raises:
            Internal: the server answered other rows than were sent.
        """
        scores = _pyarrow().ipc.open_stream(b"".join(self._answer)).read_all()
        self._answer.clear()
        if scores.num_rows != self._kind.rows:
            raise Internal(f"{self._kind.rows} leads were sent and {scores.num_rows} came back")
        told = scores.schema.metadata
        scores = scores.drop_columns(["lead_id"])
        scores = scores.rename_columns([self._prefix + name for name in scores.column_names])
        return self._kind.with_scores(scores.replace_schema_metadata(told))

    def _sent(self, wanted: Sequence[str]) -> Any:
        """The table of what is sent, under the names of the contract."""
        names = list(wanted) if wanted else [*self._columns, *self._kind.names]
        arrays = {}
        for name in dict.fromkeys(names):
            column = self._columns.get(name, name if name not in _FIELDS else None)
            if column is not None and column in self._kind.names:
                try:
                    arrays[name] = _fitting(name, self._kind.column(column))
                except (_pyarrow().ArrowException, TypeError, ValueError) as error:
                    raise ValueError(f"column {column!r} cannot be sent: {error}") from error
        table = _pyarrow().table(arrays)
        return table if len(table) // _chunks(table) >= BATCH_ROWS // 8 else table.combine_chunks()

    def _pieces(self) -> Iterator[scoring.ScoreTableRequest]:
        """The table as one Arrow IPC stream, a message at a time."""
        if self._table is None:  # abandoned
            return
        for encoded in _encoded(self._table):
            for begin in range(0, len(encoded), self._message_bytes):
                piece = encoded[begin : begin + self._message_bytes]
                yield scoring.ScoreTableRequest(arrow_ipc=piece)


def _columns_of_fields(names: Sequence[str]) -> dict[str, str]:
    """Column by field of `Lead`."""
    columns: dict[str, str] = {}
    for name in names:
        field = field_name(name)
        if field in _FIELDS:
            if field in columns:
                raise ValueError(f"two columns are {field!r}: {columns[field]!r} and {name!r}")
            columns[field] = name
    if "lead_id" not in columns:
        raise ValueError("the frame has no column 'lead_id', which names the leads")
    return columns


@dataclass(frozen=True)
class _Kind:
    """A frame, whatever made it."""

    names: tuple[str, ...]
    rows: int
    column: Callable[[str], Any]
    """A column as Arrow."""
    with_scores: Callable[[Any], Any]
    """The frame with the columns of a pyarrow table added."""


def kind_of(frame: Any) -> _Kind:
    """How the frame is read and written.

    Raises:
        TypeError: it is no frame.
    """
    pa = _pyarrow()
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(frame, pandas.DataFrame):
        return _pandas_frame(frame, pandas)
    if polars is not None and isinstance(frame, polars.DataFrame):
        return _Kind(
            tuple(frame.columns),
            len(frame),
            lambda name: frame[name].to_arrow(),
            lambda scores: frame.hstack(_polars_columns(scores, polars)),
        )
    if polars is not None and isinstance(frame, polars.LazyFrame):
        raise TypeError("a LazyFrame has no rows yet: collect() it first")
    if isinstance(frame, pa.RecordBatch):
        whole = pa.Table.from_batches([frame])
        return _table(
            whole,
            lambda scores: (
                _widened(whole, scores).combine_chunks().to_batches()[0]
                if len(whole)
                else pa.RecordBatch.from_pylist([], schema=_widened(whole, scores).schema)
            ),
        )
    if not isinstance(frame, pa.Table):
        if not hasattr(frame, "__arrow_c_stream__"):
            raise TypeError(
                f"{type(frame).__name__} is no frame: pandas, Polars and pyarrow ones are taken"
            )
        frame = pa.table(frame)
    return _table(frame, lambda scores: _widened(frame, scores))


def _table(table: Any, with_scores: Callable[[Any], Any]) -> _Kind:
    names = tuple(table.column_names)
    if len(set(names)) < len(names):
        raise ValueError("the frame has two columns of the same name")
    return _Kind(names, table.num_rows, table.column, with_scores)


def _widened(table: Any, scores: Any) -> Any:
    for name in scores.column_names:
        table = table.append_column(name, scores.column(name))
    told = scores.schema.metadata or {}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **told})


def _pandas_frame(frame: Any, pandas: Any) -> _Kind:
    pa = _pyarrow()
    if not frame.columns.is_unique:
        raise ValueError("the frame has two columns of the same name")

    def with_scores(scores: Any) -> Any:
        widened = frame.copy(deep=False)
        for name in scores.column_names:
            widened[name] = _pandas_column(scores.column(name), pandas, frame.index)
        told = scores.schema.metadata or {}
        widened.attrs = {**frame.attrs, "cis": _metadata(told)}
        return widened

    names = tuple(name for name in frame.columns if isinstance(name, str))
    return _Kind(
        names, len(frame), lambda name: pa.array(frame[name], from_pandas=True), with_scores
    )


def _pandas_column(column: Any, pandas: Any, index: Any) -> Any:
    """A column of scores as pandas keeps it: whole numbers stay whole where some are missing."""
    pa = _pyarrow()
    kinds = {pa.int32(): pandas.Int32Dtype(), pa.bool_(): pandas.BooleanDtype()}
    mapper = kinds.get if column.null_count else None
    series = column.to_pandas(types_mapper=mapper)
    if hasattr(series, "cat") and set(series.cat.categories) == set(TIERS):
        series = series.cat.reorder_categories(list(TIERS), ordered=True)
    series.index = index
    return series


def _polars_columns(scores: Any, polars: Any) -> list[Any]:
    columns = []
    for series in polars.from_arrow(scores).get_columns():
        if isinstance(series.dtype, polars.Categorical | polars.Enum):
            series = series.cast(polars.String)
            if series.name.endswith("tier"):
                series = series.cast(polars.Enum(TIERS))
        columns.append(series)
    return columns


def _metadata(told: Mapping[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in told.items()}


def _fitting(name: str, column: Any) -> Any:
    """A column as the contract wants the field: keys that look like numbers become text."""
    pa, pc = _pyarrow(), _compute()
    field = _FIELDS.get(name)
    kind = column.type
    if field is None or field.is_repeated:
        return column
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        column = column.cast(kind.value_type)
        kind = column.type
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if pa.types.is_floating(kind) and not name.endswith("_date"):
            column = column.cast(pa.int64())  # a column of whole numbers with gaps
            kind = column.type
        if pa.types.is_integer(kind):
            return column.cast(pa.string())
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and pa.types.is_integer(kind):
        ends = pc.min_max(column)
        if ends["min"].as_py() in (0, 1, None) and ends["max"].as_py() in (0, 1, None):
            return column.cast(pa.bool_())
    return column


def _encoded(table: Any) -> Iterator[bytes]:
    """The bytes of the Arrow IPC stream of a table, a batch at a time."""
    pa = _pyarrow()
    repeated = [_repeats(table.column(name)) for name in table.column_names]
    schema = pa.schema(
        (field.name, pa.dictionary(pa.int32(), field.type) if again else field.type)
        for field, again in zip(table.schema, repeated, strict=True)
    )
    sink = _Written()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            for part in _bounded(batch):
                columns = [
                    column.dictionary_encode() if again else column
                    for column, again in zip(part.columns, repeated, strict=True)
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                yield sink.taken()
    yield sink.taken()


def _repeats(column: Any) -> bool:
    """Whether the texts of a column come again often enough to be sent once each."""
    if not _is_text(column.type) or _pyarrow().types.is_dictionary(column.type):
        return False
    sample = column.slice(0, _SAMPLE).drop_null()
    distinct = len(sample.unique())
    return len(sample) > 0 and 2 * distinct <= len(sample)


def _bounded(batch: Any) -> Iterator[Any]:
    """The batch in parts that are not too large."""
    if batch.nbytes <= BATCH_BYTES or batch.num_rows == 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _bounded(batch.slice(0, half))
    yield from _bounded(batch.slice(half))


class _Written:
    """A file that is taken away in pieces while it is written."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The parts stay."""

    def taken(self) -> bytes:
        """What was written since it was last asked for."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _chunks(table: Any) -> int:
    return max((column.num_chunks for column in table.columns), default=1) or 1


def _is_text(kind: Any) -> bool:
    types = _pyarrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scoring a frame needs pyarrow: install cis[frames]", name="pyarrow"
        ) from error
    return pyarrow


def _compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute
