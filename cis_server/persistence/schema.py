"""Whether a database has the schema of this version, and giving it what it lacks.

Nearly every start finds everything in place. Looking takes one query; what can change a schema is
loaded only when something has to be changed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psycopg

from cis_server.errors import StoreUnavailable

MISSING_TIME_ZONES = """
SELECT name FROM pg_timezone_names
WHERE name !~ '^(posix|right)/' AND name NOT IN ('Factory', 'localtime', 'posixrules')
EXCEPT SELECT name FROM time_zones
"""
"""Names that the server knows and the table of names does not."""


def ensure_schema(url: str) -> None:
    """Bring a database to this version's schema; nothing is written when it has it.

    Args:
        url: as for `cis_server.persistence.migrate.migrate`.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    if not has_current_schema(url):
        # Only here: a start that has nothing to change does not wait for Alembic.
        from cis_server.persistence.migrate import migrate

        migrate(url)


def has_current_schema(url: str) -> bool:
    """Whether `cis_server.persistence.migrate.migrate` would change nothing.

    Args:
        url: ``postgresql://`` URI.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT count(to_regclass(name)) FROM unnest(%s::text[]) AS t (name)",
                (["alembic_version", "procrastinate_jobs", "time_zones"],),
            ).fetchone()
            if tables != (3,):
                return False
            found = connection.execute(
                "SELECT array_agg(version_num::text) = ARRAY[%s::text],"
                f" NOT EXISTS ({MISSING_TIME_ZONES}) FROM alembic_version",
                (newest_revision(),),
            ).fetchone()
    except psycopg.OperationalError as error:
        raise StoreUnavailable("the database is away or did not answer in time") from error
    return found == (True, True)


@cache
def newest_revision() -> str:
    """The revision of this version: modules of the migrations begin with theirs, in order."""
    modules = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    return max(module.stem.partition("_")[0] for module in modules)
