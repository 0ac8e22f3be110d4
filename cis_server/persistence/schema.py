"""Whether a database has the schema of this version, and giving it what it lacks.

Nearly every start finds everything in place. Looking takes one query; what can change a schema is
loaded only when something has to be changed.

A revision's number says which migrations ran, not what they said. So a migrated database carries a
fingerprint of the migrations as a comment on Alembic's table, and one that others have made is
refused before anything else fails over it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

import psycopg

from cis_server.errors import ConfigurationError, StoreUnavailable

MISSING_TIME_ZONES = """
SELECT name FROM pg_timezone_names
WHERE name !~ '^(posix|right)/' AND name NOT IN ('Factory', 'localtime', 'posixrules')
EXCEPT SELECT name FROM time_zones
"""
"""Names that the server knows and the table of names does not."""


_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


class ForeignSchema(ConfigurationError):  # noqa: N818
    """The database was migrated, but not by the migrations of this version."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the database was made by another state of this program ({found}): "
            "use a new data folder (CIS_DATA_DIR) or another database (CIS_DATABASE_URL) and "
            "import again, or run the version that made it"
        )


def ensure_schema(url: str) -> None:
    """Bring a database to this version's schema; nothing is written when it has it.

    Args:
        url: as for `cis_server.persistence.migrate.migrate`.

    Raises:
        ForeignSchema: other migrations made it.
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
        ForeignSchema: it says this version's revision, but other migrations made it.
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
                f" NOT EXISTS ({MISSING_TIME_ZONES}),"
                " obj_description('alembic_version'::regclass, 'pg_class') FROM alembic_version",
                (newest_revision(),),
            ).fetchone()
    except psycopg.OperationalError as error:
        raise StoreUnavailable("the database is away or did not answer in time") from error
    if found is None or not found[0]:
        return False
    if found[2] not in (None, fingerprint(newest_revision())):
        raise ForeignSchema(f"revision {newest_revision()} has changed since")
    return found == (True, True, fingerprint(newest_revision()))


@cache
def newest_revision() -> str:
    """The revision of this version: modules of the migrations begin with theirs, in order."""
    return max(module.stem.partition("_")[0] for module in _VERSIONS.glob("[0-9]*.py"))


@cache
def fingerprint(revision: str) -> str:
    """Hash of what the migrations up to a revision do; words and layout do not count."""
    key = hashlib.blake2b(digest_size=8)
    for file in sorted(_VERSIONS.glob("[0-9]*")):
        if file.suffix in (".py", ".sql") and file.stem.partition("_")[0] <= revision:
            key.update(f"{file.name} {_meaning(file)}\0".encode())
    return key.hexdigest()


def _meaning(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".sql":
        return " ".join(re.sub(r"--.*", "", text).split())
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)):
            node.body = [part for part in node.body if not _is_docstring(part)]
    return ast.dump(tree)


def _is_docstring(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
