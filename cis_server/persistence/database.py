"""Which database a process uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def opened_database(url: str | None, data_dir: Path, *, throwaway: bool = False) -> Iterator[str]:
    """The URL of the database to use, migrated when it is our own.

    Args:
        url: of an existing server, which `cis-server migrate` has prepared; None starts the
            embedded one, or joins the one that runs, for as long as the context lasts.
        data_dir: folder of the embedded database.
        throwaway: whether nothing in the embedded database is worth keeping: one that another
            state of this program made is made anew.

    Raises:
        ConfigurationError: the embedded server cannot be started, or another state of this
            program made its database (`ForeignSchema`).
    """
    if url is not None:
        yield url
        return
    # Only here: a process that is given a database needs neither.
    from cis_server.persistence.embedded import EmbeddedPostgres
    from cis_server.persistence.schema import ForeignSchema, ensure_schema

    with EmbeddedPostgres(data_dir) as server:
        try:
            ensure_schema(server.url)
        except ForeignSchema:
            if not throwaway:
                raise
            server.empty()
            ensure_schema(server.url)
        yield server.url
