"""One client's rows out of Postgres, as frames.

Postgres streams binary `COPY` through ADBC into Arrow, Polars takes the buffers over: no Python
object a row. The low level of ADBC is enough for that; its DB-API would bring pyarrow's datasets
with it, and pandas where that is installed, for fifty megabytes of every worker.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cis_server.domain.dataset import Window
from cis_server.errors import StoreUnavailable
from cis_server.persistence.connections import Role, libpq_url
from cis_server.persistence.dataset_queries import SETTINGS, query

if TYPE_CHECKING:
    import polars as pl
    from adbc_driver_manager import AdbcConnection, AdbcDatabase

_SMALL_BYTES: Final = 1_000_000
"""Of a frame that is left in the batch it came in."""


@contextmanager
def reading(url: str, client_id: str, window: Window) -> Iterator[Callable[[str], pl.DataFrame]]:
    """Gives a function from the name of a frame to its rows, all as of one moment of the database.

    Args:
        url: ``postgresql://`` URI; the rights of ``cis_reader`` are taken for the reading.
        client_id: the client.
        window: start and instant of knowledge, both aware.

    Raises:
        StoreUnavailable: the database is away.
    """
    import adbc_driver_manager

    try:
        with adbc_driver_manager.AdbcConnection(_database(libpq_url(url))) as connection:
            # One transaction for all frames; it ends with the connection.
            connection.set_autocommit(False)
            _prepare(connection, client_id, window)
            yield lambda name: _read(connection, query(name))
    # Between two batches it is Arrow that tells, as an error of input.
    except (adbc_driver_manager.OperationalError, OSError) as error:
        raise StoreUnavailable("the database is away or did not answer in time") from error


@lru_cache(maxsize=1)
def _database(url: str) -> AdbcDatabase:
    """What connections to a database are made from; it holds none itself.

    Making it reads all types from the server, which takes ten times as long as connecting: most of
    the time that a client of few leads is read in. Types that are read here are built in and have
    the same numbers everywhere.
    """
    import adbc_driver_postgresql

    return adbc_driver_postgresql.connect(url)


def _prepare(connection: AdbcConnection, client_id: str, window: Window) -> None:
    """Begin to read as of one moment, with the rights of a reader, for one client and window."""
    import polars as pl
    from adbc_driver_manager import AdbcStatement

    values = (client_id, window.start.isoformat(), window.as_of.isoformat())
    settings = ", ".join(
        f"set_config('{name}', ${position}, true) AS s{position}"
        for position, name in enumerate(SETTINGS, 1)
    )
    with AdbcStatement(connection) as statement:
        statement.set_sql_query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        statement.execute_update()
    with AdbcStatement(connection) as statement:
        statement.set_sql_query(f"SELECT {settings}")
        statement.prepare()
        # Made by Polars: where pandas is installed, pyarrow would import it for Python's values.
        row = pl.DataFrame({f"s{place}": [value] for place, value in enumerate(values, 1)})
        statement.bind(row.to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches()[0])
        statement.execute_update()
    with AdbcStatement(connection) as statement:
        statement.set_sql_query(f"SET LOCAL ROLE {Role.READER.value}")
        statement.execute_update()


def _read(connection: AdbcConnection, text: str) -> pl.DataFrame:
    """The frame that a query asks for, taken over batch by batch.

    Text taken over from Arrow keeps the whole batch that it came in, with all columns: a copy of
    what is needed lets it go, and no more than one batch is there twice. Small ones are left as
    they are.
    """
    import polars as pl
    import pyarrow as pa
    from adbc_driver_manager import AdbcStatement

    with AdbcStatement(connection) as statement:
        statement.set_sql_query(text)
        handle, _ = statement.execute_query()
        reader = pa.RecordBatchReader.from_stream(handle)
        parts = [
            _copied(pl.DataFrame(pl.from_arrow(batch)))
            if batch.nbytes > _SMALL_BYTES
            else pl.DataFrame(pl.from_arrow(batch))
            for batch in reader
        ]
        if not parts:
            parts = [pl.DataFrame(pl.from_arrow(reader.schema.empty_table()))]
    return pl.concat(parts)


def _copied(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows in memory of their own."""
    import polars as pl

    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    buffer.seek(0)
    return pl.read_ipc(buffer)
