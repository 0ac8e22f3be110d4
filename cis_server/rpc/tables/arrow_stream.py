"""An Arrow IPC stream that arrives in pieces: cut into its messages, bounded, read as batches.

The reader of pyarrow allocates what a message claims to need, so that a few bytes could ask for
any amount of memory. Each message is therefore looked at first (its header is a FlatBuffer; layout:
Arrow columnar format, "Encapsulated message format" and ``Message.fbs``) and handed on only when it
keeps the limits. Bodies are passed on where they lie, without copying, when they begin on eight
bytes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from cis_server.errors import CisError, InvalidInput

FIELD: Final = "arrow_ipc"

MAX_BATCH_BYTES: Final = 32 * 1024 * 1024
"""Most bytes of one record batch or dictionary, and of all dictionaries together."""
MAX_BATCH_ROWS: Final = 1024 * 1024
"""Most rows of one record batch: columns without values take no bytes."""
MAX_HEADER_BYTES: Final = 1024 * 1024
"""Most bytes of a message's header; that of a schema holds all names of columns."""

_CONTINUATION: Final = b"\xff\xff\xff\xff"
END_OF_STREAM: Final = _CONTINUATION + b"\0\0\0\0"

_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3


class ArrowBatches:
    """Record batches of a stream, read one by one as they are asked for.

    Args:
        chunks: the bytes of the stream, cut anywhere.

    Attributes:
        names: of the columns.
        types: of the columns, each a `pyarrow.DataType`.

    Raises:
        InvalidInput: here and from iterating, the bytes are no Arrow IPC stream or break a limit.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._messages = arrow_messages(chunks)
        source = _Source(self._messages)
        self._reader = _reading(lambda: pa.ipc.open_stream(source))
        self.names: tuple[str, ...] = tuple(_reading(lambda: self._reader.schema.names))
        self.types: tuple[Any, ...] = tuple(self._reader.schema.types)

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                batch = _reading(self._reader.read_next_batch)
            except StopIteration:
                next(self._messages, None)  # pyarrow does not look at what follows the end
                return
            yield batch


def valid_column(batch: Any, place: int, name: str) -> Any:
    """A column of a batch, its offsets, indices and text checked: what reads it may trust them.

    Args:
        batch: of `ArrowBatches`.
        place: of the column.
        name: of the column.

    Raises:
        InvalidInput: the column is broken.
    """

    def column() -> Any:
        array = batch.column(place)
        array.validate(full=True)
        return array

    return _reading(column, f"{FIELD}.{name}")


def _reading(read: Any, path: str = FIELD) -> Any:
    """What `read` gives, with what pyarrow finds wrong told as wrong input."""
    try:
        return read()
    except (CisError, StopIteration, MemoryError):
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        text = str(error).strip("'\"").partition("\n")[0][:200]
        raise InvalidInput(path, f"cannot be read as Arrow: {text}") from error


def arrow_messages(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    """The parts of the messages of a stream in order: of each its header, then its body.

    Args:
        chunks: the bytes of the stream, cut anywhere.

    Raises:
        InvalidInput: the bytes are no Arrow IPC stream, end in the middle of a message, go on
            after its end, or a message breaks a limit.
    """
    pieces = _Pieces(chunks)
    dictionaries: dict[int, int] = {}
    first = True
    while True:
        prefix = pieces.take(8, may_end=True)
        if prefix is None:
            if first:
                raise InvalidInput(FIELD, "is required: no Arrow IPC stream was sent")
            return
        if prefix[:4] != _CONTINUATION:
            raise InvalidInput(FIELD, "is not an Arrow IPC stream")
        (header_bytes,) = struct.unpack_from("<i", prefix, 4)
        if header_bytes == 0:
            yield prefix
            if pieces.take(1, may_end=True) is not None:
                raise InvalidInput(FIELD, "goes on after the end of its Arrow IPC stream")
            return
        if not 0 < header_bytes <= MAX_HEADER_BYTES:
            raise InvalidInput(
                FIELD,
                f"has a message header of {header_bytes} bytes, and {MAX_HEADER_BYTES} is the most",
            )
        header = pieces.take(header_bytes)
        body_bytes = _body_bytes(header, dictionaries, first=first)
        first = False
        yield prefix
        yield header
        if body_bytes:
            yield _aligned(pieces.take(body_bytes))


def _body_bytes(header: memoryview, dictionaries: dict[int, int], *, first: bool) -> int:
    """Length of the body, when the message is one that is read and keeps the limits."""
    try:
        message = _Table.root(header)
        kind = message.number("<B", 1)
        body = message.number("<q", 3)
        if first != (kind == _SCHEMA):
            raise InvalidInput(FIELD, "must begin with its one schema")
        if kind == _SCHEMA:
            batch = None
        elif kind == _RECORD_BATCH:
            batch = message.table(2)
        elif kind == _DICTIONARY_BATCH:
            dictionary = message.table(2)
            name = dictionary.number("<q", 0)
            grows = dictionary.number("<B", 2) != 0
            dictionaries[name] = body + (dictionaries.get(name, 0) if grows else 0)
            batch = dictionary.table(1)
        else:
            raise InvalidInput(FIELD, "holds a message that is no record batch")
        rows = batch.number("<q", 0) if batch is not None else 0
        compressed = batch is not None and batch.place(3) is not None
    except (struct.error, IndexError):
        raise InvalidInput(FIELD, "has a message header that cannot be read") from None
    if not 0 <= body <= MAX_BATCH_BYTES or sum(dictionaries.values()) > MAX_BATCH_BYTES:
        raise InvalidInput(
            FIELD,
            f"has a record batch or dictionaries of more than {MAX_BATCH_BYTES >> 20} MB: send "
            "smaller batches",
        )
    if not 0 <= rows <= MAX_BATCH_ROWS:
        raise InvalidInput(
            FIELD, f"has a record batch of {rows} rows, and {MAX_BATCH_ROWS} is the most"
        )
    if compressed:
        raise InvalidInput(FIELD, "has compressed buffers: send them as they are")
    return body


class _Table:
    """A table of a FlatBuffer.

    Raises:
        IndexError, struct.error: from every method, a place lies outside of the buffer.
    """

    __slots__ = ("_at", "_buffer", "_fields", "_fields_bytes")

    def __init__(self, buffer: memoryview, at: int) -> None:
        self._buffer, self._at = buffer, at
        self._fields = at - _number(buffer, "<i", at)
        self._fields_bytes = _number(buffer, "<H", self._fields)

    @classmethod
    def root(cls, buffer: memoryview) -> _Table:
        return cls(buffer, _number(buffer, "<I", 0))

    def place(self, field: int) -> int | None:
        """Where the value of a field lies; None when it is not there."""
        entry = 4 + 2 * field
        if entry + 2 > self._fields_bytes:
            return None
        return (
            self._at + offset
            if (offset := _number(self._buffer, "<H", self._fields + entry))
            else None
        )

    def number(self, form: str, field: int) -> int:
        """The number in a field; 0 when it is not there."""
        place = self.place(field)
        return 0 if place is None else _number(self._buffer, form, place)

    def table(self, field: int) -> _Table:
        """The table a field refers to."""
        place = self.place(field)
        if place is None:
            raise IndexError
        return _Table(self._buffer, place + _number(self._buffer, "<I", place))


def _number(buffer: memoryview, form: str, place: int) -> int:
    if place < 0:  # `unpack_from` would count from the end
        raise IndexError
    return int(struct.unpack_from(form, buffer, place)[0])


class _Pieces:
    """Takes any number of bytes from chunks of any length."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held: deque[memoryview] = deque()
        self._bytes = 0

    def take(self, count: int, *, may_end: bool = False) -> Any:
        """The next bytes as one `memoryview`; None at the end of the stream, where that may be.

        Raises:
            InvalidInput: the stream ends before.
        """
        while self._bytes < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                if may_end and not self._bytes:
                    return None
                raise InvalidInput(FIELD, "ends in the middle of an Arrow message")
            if chunk:
                self._held.append(memoryview(chunk))
                self._bytes += len(chunk)
        self._bytes -= count
        first = self._held[0]
        if len(first) >= count:
            taken = first[:count]
            self._put_back(first[count:])
            return taken
        joined = bytearray(count)
        filled = 0
        while filled < count:
            piece = self._held[0]
            part = piece[: count - filled]
            joined[filled : filled + len(part)] = part
            filled += len(part)
            self._put_back(piece[len(part) :])
        return memoryview(joined)

    def _put_back(self, rest: memoryview) -> None:
        if rest:
            self._held[0] = rest
        else:
            self._held.popleft()


def _aligned(body: memoryview) -> memoryview:
    """The body where it lies if that is on eight bytes, as its numbers must be, else a copy."""
    address = np.frombuffer(body, dtype=np.uint8).ctypes.data
    return body if address % 8 == 0 else memoryview(bytearray(body))


class _Source:
    """The messages as a file that pyarrow reads."""

    closed = False

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._part = memoryview(b"")

    def read(self, count: int) -> memoryview:
        """The next bytes; fewer at the end. Reads never cross the parts of a message."""
        if not self._part:
            self._part = next(self._parts, memoryview(b""))
        taken, self._part = self._part[:count], self._part[count:]
        return taken

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
