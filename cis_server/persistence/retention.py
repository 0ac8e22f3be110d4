"""What outlives its time: expired patterns, old history, old versions, old datasets, old texts.

Every statement does nothing the second time.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, text

from cis_server.persistence.connections import operator, tenant
from cis_server.persistence.event_texts import remove_texts

ARCHIVE_AFTER: Final = dt.timedelta(days=14)
"""After its validity a pattern is served as stale for as long again, then it is archived."""
HISTORY: Final = dt.timedelta(days=730)
"""24 months of pattern history, health checks and audit; of versions, see `VERSIONS_KEPT`."""
VERSIONS_KEPT: Final = 10
"""Newest versions of each client, kind and target that stay whatever their age."""
DATASETS_KEPT: Final = 4
"""Newest datasets of each client that stay whatever their age."""
DATASETS_FOR: Final = dt.timedelta(days=90)
"""How long a dataset stays that nothing in force was learned from."""
_LEFTOVER: Final = dt.timedelta(days=1)
"""Age from which a folder half written is nobody's any more."""
_LONG_SECONDS: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How much a cleanup took away."""

    patterns_archived: int = 0
    history: int = 0
    models: int = 0
    datasets: int = 0
    audit: int = 0
    health_checks: int = 0
    texts: int = 0
    """Events whose words went, see `event_texts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OldDataset:
    path: str | None
    run_id: str | None
    content_hash: str


def clean_up(engine: Engine, datasets: Path, now: dt.datetime) -> Removed:
    """Archive and remove what has outlived its time, for all clients.

    Args:
        engine: connections to the database.
        datasets: ``Settings.datasets``; nothing outside of it is removed.
        now: the time now, aware.

    Returns:
        How much that was.

    Raises:
        StoreUnavailable: the database is away; what was finished stays.
    """
    values = {"now": now, "versions": VERSIONS_KEPT, "datasets": DATASETS_KEPT}
    values |= {"archived": now - ARCHIVE_AFTER, "history": now - HISTORY}
    values |= {"unused": now - DATASETS_FOR}
    with operator(engine) as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = '{_LONG_SECONDS}s'"))
        archived = connection.execute(text(_ARCHIVE), values).rowcount
        removed = Removed(
            patterns_archived=archived,
            history=connection.execute(text(_HISTORY), values).rowcount,
            models=connection.execute(text(_MODELS), values).rowcount,
            audit=connection.execute(text(_AUDIT), values).rowcount,
            health_checks=connection.execute(text(_CHECKS), values).rowcount,
        )
        old = _old_datasets(connection, values)
    with operator(engine) as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = '{_LONG_SECONDS}s'"))
        texts = remove_texts(connection, now)
    # Files after the rows: a row without files would be a promise nobody can keep, files without a
    # row are only room.
    gone: dict[Path, set[str]] = {}
    for dataset in old:
        place = _remove_files(dataset, datasets)
        if place is not None:
            gone.setdefault(place.parent / "runs", set()).add(dataset.content_hash)
    for runs, hashes in gone.items():
        _remove_inputs(runs, hashes)
    _remove_leftovers(datasets, now)
    return Removed(
        **{
            **{name: getattr(removed, name) for name in removed.__dataclass_fields__},
            "datasets": len(old),
            "texts": texts.total,
        }
    )


def dataset_is_kept(engine: Engine, client_id: str, content_hash: str) -> bool:
    """Whether a dataset of the client has not been removed.

    Raises:
        StoreUnavailable: the database is away.
    """
    with tenant(engine, client_id) as connection:
        known = connection.execute(
            text(
                "SELECT FROM dataset_snapshots WHERE client_id = :client AND content_hash = :hash"
            ),
            {"client": client_id, "hash": content_hash},
        )
        return known.one_or_none() is not None


_ARCHIVE = """
WITH gone AS (
    DELETE FROM patterns WHERE valid_until < :archived RETURNING *
)
INSERT INTO pattern_history (client_id, pattern_type, version, patterns, sample_size, confidence,
                             computed_at, valid_until, run_id, reason)
SELECT client_id, pattern_type, version, patterns, sample_size, confidence, computed_at,
       valid_until, run_id, 'expired' FROM gone
ON CONFLICT (client_id, pattern_type, version) DO NOTHING
"""

_HISTORY = "DELETE FROM pattern_history WHERE archived_at < :history"

_AUDIT = "DELETE FROM access_audit WHERE occurred_at < :history"

_CHECKS = "DELETE FROM health_checks WHERE checked_at < :history"

_RANKED = """
    SELECT m.client_id, m.model_id, m.state, m.created_at, m.lineage, m.run_id,
           row_number() OVER (PARTITION BY m.client_id, m.kind, m.target
                              ORDER BY m.version DESC) AS age
    FROM models m
"""

_MODELS = f"""
DELETE FROM models m USING ({_RANKED}) r
WHERE r.client_id = m.client_id AND r.model_id = m.model_id AND r.age > :versions
  AND m.state IN ('candidate', 'retired', 'rejected', 'rolled_back')
  AND m.created_at < :history
"""

# A dataset stays for the versions that are in force or may come into force again, so that they can
# be made again from it; else for a while, and the newest ones in any case.
_DATASETS = f"""
WITH needed AS (
    SELECT client_id, lineage ->> 'snapshot_hash' AS content_hash FROM ({_RANKED}) r
    WHERE r.age <= :versions AND r.state NOT IN ('rejected')
), aged AS (
    SELECT d.client_id, d.content_hash,
           row_number() OVER (PARTITION BY d.client_id ORDER BY d.created_at DESC, d.content_hash)
               AS age
    FROM dataset_snapshots d
)
DELETE FROM dataset_snapshots d USING aged a
WHERE a.client_id = d.client_id AND a.content_hash = d.content_hash AND a.age > :datasets
  AND coalesce(d.expires_at < :now, d.created_at < :unused)
  AND NOT EXISTS (SELECT FROM needed n
                  WHERE n.client_id = d.client_id AND n.content_hash = d.content_hash)
RETURNING d.path, d.run_id, d.content_hash
"""


def _old_datasets(connection: Connection, values: dict[str, Any]) -> Sequence[_OldDataset]:
    rows = connection.execute(text(_DATASETS), values)
    return [
        _OldDataset(path=row.path, run_id=row.run_id, content_hash=row.content_hash) for row in rows
    ]


def _remove_files(dataset: _OldDataset, datasets: Path) -> Path | None:
    """Remove a dataset's folder and what its run kept beside it; files that are gone are gone.

    Returns:
        The folder; None when it is not this machine's.
    """
    if dataset.path is None:
        return None
    place, root = Path(dataset.path).resolve(), datasets.resolve()
    # What another machine wrote has a path of that machine.
    if root not in place.parents:
        return None
    shutil.rmtree(place, ignore_errors=True)
    if dataset.run_id is not None:
        (place.parent / "runs" / f"{quote(dataset.run_id, safe='')}.json").unlink(missing_ok=True)
    return place


def _remove_inputs(runs: Path, hashes: Set[str]) -> None:
    """Remove what earlier runs kept that looked at the same data: nobody can make them again."""
    for file in runs.glob("*.json"):
        try:
            said = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and said.get("dataset_hash") in hashes:
            file.unlink(missing_ok=True)


def _remove_leftovers(datasets: Path, now: dt.datetime) -> None:
    """Remove what a killed worker left half written."""
    before = (now - _LEFTOVER).timestamp()
    for pattern in (".writing-*", "*/.writing-*"):
        for folder in datasets.glob(pattern):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)
