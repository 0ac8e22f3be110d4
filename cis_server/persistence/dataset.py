"""Reading one client's window into columns, and keeping it so that a run can be repeated.

Polars and ADBC are imported when they are needed; only workers pay for them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, text

from cis_server.domain.dataset import FRAMES, Dataset, Window
from cis_server.domain.learned import RunInputs
from cis_server.errors import DataError, NotFound
from cis_server.persistence.anonymous import anonymous
from cis_server.persistence.dataset_rows import reading
from cis_server.persistence.stored_dataset import LARGE, SLICE, StoredDataset
from cis_server.version import code_version

if TYPE_CHECKING:
    import polars as pl

FORMAT: Final = 1
"""Version of the saved form."""

# Rows of text hashed at a time.
_SLICE = 32_768
# Common file systems take names of 255 bytes.
_NAME_MAX = 200
# Whose versions decide how files and hashes come out.
_WRITTEN_BY: Final = ("polars", "pyarrow", "adbc-driver-postgresql")
# Digits of the content hash that name a folder.
_HASH_SHOWN = 32

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "leads": ("lead_id",),
    "activities": ("lead_id", "occurred_at", "activity_id"),
    "email_events": ("lead_id", "occurred_at", "activity_id", "event_type", "is_machine"),
    "meetings": ("meeting_id",),
    "deals": ("deal_id",),
    "deal_stages": (
        "deal_id",
        "changed_at",
        "from_stage",
        "to_stage",
        "days_in_previous_stage",
    ),
    "threads": ("thread_id",),
    "messages": ("thread_id", "position"),
    "decisions": ("decision_id", "activity_id"),
}
"""Rows of a frame that agree on its key agree on everything."""

_LEADS = {
    "lead_id": "text", "campaign_id": "text", "status": "text", "title": "text",
    "seniority": "text", "industry": "text", "employee_count": "int", "revenue": "float",
    "total_funding": "float", "technologies": "texts", "latest_funding_stage": "text",
    "latest_funding_date": "date", "employment_start_date": "date", "is_hiring": "bool",
    "founded_year": "int", "city": "text", "region": "text", "country": "text",
    "person_city": "text", "person_region": "text", "person_country": "text", "timezone": "text",
    "email_status": "text", "has_email": "bool", "has_phone": "bool", "phone_verified": "bool",
    "has_linkedin": "bool", "has_personal_email": "bool", "call_register_listed": "bool",
    "bounce_count": "int", "unsubscribed": "bool", "do_not_contact": "bool",
    "company_key": "text", "employment_history": "text", "attributes": "text",
    "objections": "texts", "rejection_reason": "text", "created_at": "instant",
    "first_contacted_at": "instant", "converted_at": "instant",
    "sequence_completed_at": "instant", "conversion_type": "text", "score": "int", "tier": "text",
    "components": "text",
}  # fmt: skip
_ACTIVITIES = {
    "activity_id": "text", "lead_id": "text", "campaign_id": "text", "channel": "text",
    "action": "text", "occurred_at": "instant", "time_precision": "text", "touch_number": "int",
    "gap_days": "float", "local_weekday": "int", "local_hour": "int", "lead_timezone": "text",
    "converting": "bool", "human_opened_at": "instant", "human_clicked_at": "instant",
    "replied_at": "instant", "machine_open": "bool", "minutes_to_open": "float",
    "minutes_to_click": "float", "minutes_to_reply": "float", "template_id": "text",
    "ab_test_id": "text", "ab_variant": "text", "ai_model": "text", "prompt_version": "text",
    "links": "int", "content": "text",
}  # fmt: skip
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "leads": _LEADS,
    "activities": _ACTIVITIES,
    "email_events": {
        "activity_id": "text", "lead_id": "text", "event_type": "text", "occurred_at": "instant",
        "is_machine": "bool",
    },
    "meetings": {
        "meeting_id": "text", "lead_id": "text", "campaign_id": "text", "booked_at": "instant",
        "scheduled_at": "instant", "confirmed": "bool", "reminder_sent": "bool",
        "showed_up": "bool", "rescheduled_count": "int", "meeting_type": "text",
        "outcome": "text", "converting_channel": "text", "deal_id": "text",
    },
    "deals": {
        "deal_id": "text", "lead_id": "text", "meeting_id": "text", "currency": "text",
        "stage": "text", "lost_reason": "text", "first_touch_channel": "text", "value": "float",
        "won": "bool", "created_at": "instant", "closed_at": "instant",
        "touches_before_deal": "int",
    },
    "deal_stages": {
        "deal_id": "text", "from_stage": "text", "to_stage": "text", "changed_at": "instant",
        "days_in_previous_stage": "float",
    },
    "threads": {
        "thread_id": "text", "lead_id": "text", "channel": "text", "status": "text",
        "outcome": "text", "created_at": "instant", "outcome_at": "instant",
        "message_count": "int", "our_message_count": "int", "their_message_count": "int",
        "escalated": "bool",
    },
    "messages": {
        "thread_id": "text", "direction": "text", "intent": "text", "objection": "text",
        "sentiment": "text", "sentiment_score": "float", "sent_at": "instant",
        "response_minutes": "float", "position": "int", "question_key": "text",
    },
    "decisions": {
        "decision_id": "text", "kind": "text", "decided_at": "instant", "choice": "text",
        "propensity": "float", "best": "text", "best_propensity": "float",
        "activity_id": "text", "lead_id": "text", "channel": "text", "occurred_at": "instant",
        "converting": "bool",
    },
}  # fmt: skip
"""Frame -> column -> kind (text, texts, int, float, bool, date, instant), in order."""


def read_dataset(url: str, client_id: str, window: Window) -> Dataset:
    """Read everything a run looks at, as of one moment of the database.

    Args:
        url: ``postgresql://`` URI; the rights of ``cis_reader`` are taken for the reading.
        client_id: the client.
        window: start and instant of knowledge, both aware.

    Raises:
        StoreUnavailable: the database is away.
    """
    with reading(url, client_id, window) as rows_of:
        frames = {name: _tidy(name, anonymous(name, rows_of(name))) for name in FRAMES}
    return _dataset(client_id, window, frames)


@contextmanager
def dataset_aside(
    url: str, client_id: str, window: Window, folder: Path
) -> Iterator[StoredDataset]:
    """As `read_dataset`, with the large frames on disk as soon as they are read.

    For as long as this lasts; `save_dataset` keeps it.

    Args:
        url, client_id, window: as of `read_dataset`.
        folder: ``Settings.datasets``; what a killed worker leaves there is cleaned up with what is
            half written.

    Raises:
        StoreUnavailable: the database is away.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        with reading(url, client_id, window) as rows_of:
            stored = put_aside(
                client_id,
                window,
                lambda name: _tidy(name, anonymous(name, rows_of(name))),
                beside,
            )
        yield stored
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def put_aside(
    client_id: str, window: Window, frame_of: Callable[[str], pl.DataFrame], place: Path
) -> StoredDataset:
    """Write frames one after the other; no two large ones are in memory at a time.

    Args:
        client_id: the client.
        window: of the run.
        frame_of: gives a frame by its name, in the order of `FRAMES`, rows in key order.
        place: folder for their files.
    """

    def written(name: str) -> pl.DataFrame:
        frame = frame_of(name)
        file = place / f"{name}.parquet"
        frame.write_parquet(file, statistics=False, row_group_size=SLICE)
        return frame

    return _stored(client_id, window, written, place, kept=False)


def save_dataset(dataset: Dataset, folder: Path) -> StoredDataset:
    """Keep a dataset as Parquet under its content hash; an equal one is kept once.

    The files appear together or not at all: they are written beside and renamed.

    Args:
        dataset: as read.
        folder: ``Settings.datasets``; made when missing, readable by its owner only.

    Returns:
        The dataset with its `path`, its large frames on disk.
    """
    place = folder / _folder_of(dataset.client_id) / dataset.content_hash[:_HASH_SHOWN]
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if isinstance(dataset, StoredDataset):
        _keep(dataset, place)
        return dataset.kept_in(place)
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=place.parent))
    try:
        stored = put_aside(dataset.client_id, dataset.window, partial(_frame, dataset), beside)
        _keep(stored, place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return stored.kept_in(place)


def _keep(dataset: StoredDataset, place: Path) -> None:
    if not place.exists():
        (dataset.place / "manifest.json").write_text(json.dumps(manifest(dataset), indent=2))
        _rename_unless_there(dataset.place, place)


def save_run_inputs(inputs: RunInputs, folder: Path) -> None:
    """Keep what a run started from beside the datasets of its client; a repeated attempt replaces.

    Args:
        inputs: of the run.
        folder: ``Settings.datasets``.
    """
    place = _inputs_file(folder, inputs.client_id, inputs.run_id)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = place.with_suffix(".writing")
    beside.write_text(json.dumps(inputs.to_json(), indent=2, allow_nan=False))
    beside.replace(place)


def load_run(folder: Path, client_id: str, run_id: str) -> tuple[RunInputs, StoredDataset]:
    """What a run started from, and its data, checked against their hash.

    Raises:
        NotFound: nothing was kept of such a run here: it was a dry run, its files were removed, or
            another machine has them.
        DataError: files are broken or not what they say.
    """
    place = _inputs_file(folder, client_id, run_id)
    try:
        said = json.loads(place.read_text())
        inputs = RunInputs.from_json(said)
    except FileNotFoundError:
        raise NotFound("kept run", run_id) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    dataset = load_dataset(folder / _folder_of(client_id) / inputs.dataset_hash[:_HASH_SHOWN])
    return inputs, dataset


def _inputs_file(folder: Path, client_id: str, run_id: str) -> Path:
    return folder / _folder_of(client_id) / "runs" / f"{quote(run_id, safe='')}.json"


def load_dataset(place: Path) -> StoredDataset:
    """A saved dataset, checked against its hash; its large frames stay on disk.

    Raises:
        DataError: files are missing, broken or not what the manifest says.
    """
    import polars as pl

    try:
        said = json.loads((place / "manifest.json").read_text())
        window = Window(
            start=dt.datetime.fromisoformat(said["window_start"]),
            as_of=dt.datetime.fromisoformat(said["as_of"]),
        )
        dataset = _stored(
            said["client_id"],
            window,
            lambda name: _tidy(name, pl.read_parquet(place / f"{name}.parquet")),
            place,
            kept=True,
        )
        expected = said["content_hash"]
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the dataset in {place} cannot be read: {error}") from error
    if dataset.content_hash != expected:
        raise DataError(f"the dataset in {place} is not the one its manifest describes")
    return dataset


def manifest(dataset: Dataset) -> dict[str, Any]:
    """What a dataset is, as JSON: client, window, hash, rows of each frame, and what wrote it."""
    return {
        "format": FORMAT,
        "code_version": code_version(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _WRITTEN_BY},
        "client_id": dataset.client_id,
        "window_start": dataset.window.start.isoformat(),
        "as_of": dataset.window.as_of.isoformat(),
        "content_hash": dataset.content_hash,
        "rows": {name: dataset.height(name) for name in FRAMES},
    }


def record_snapshot(connection: Connection, dataset: Dataset, run_id: str) -> None:
    """Note in the database that a run used this dataset; the same content is noted once."""
    connection.execute(
        text(
            "INSERT INTO dataset_snapshots (client_id, content_hash, run_id, window_start, as_of,"
            " path, row_counts, manifest)"
            " VALUES (:client, :hash, :run, :start, :as_of, :path, CAST(:rows AS jsonb),"
            " CAST(:manifest AS jsonb))"
            " ON CONFLICT (client_id, content_hash) DO UPDATE SET run_id = excluded.run_id,"
            " path = excluded.path"
        ),
        {
            "client": dataset.client_id,
            "hash": dataset.content_hash,
            "run": run_id,
            "start": dataset.window.start,
            "as_of": dataset.window.as_of,
            "path": dataset.path,
            "rows": json.dumps(manifest(dataset)["rows"]),
            "manifest": json.dumps(manifest(dataset)),
        },
    )


def content_hash(dataset: Dataset) -> str:
    """SHA-256 over client, window and all rows in key order, as hexadecimal digits.

    It depends on the values alone: not on row order, on how buffers are cut, or on the version of
    a file format.
    """
    digest = _begun(dataset.client_id, dataset.window)
    for name in FRAMES:
        _feed_frame(digest, name, _frame(dataset, name))
    return digest.hexdigest()


def _stored(
    client_id: str,
    window: Window,
    frame_of: Callable[[str], pl.DataFrame],
    place: Path,
    *,
    kept: bool,
) -> StoredDataset:
    """The dataset of frames that have their files, hashed while they are in memory."""
    digest = _begun(client_id, window)
    small: dict[str, pl.DataFrame] = {}
    large: dict[str, tuple[int, frozenset[str]]] = {}
    for name in FRAMES:
        frame = frame_of(name)
        _feed_frame(digest, name, frame)
        if name in LARGE:
            large[name] = frame.height, frozenset(frame.columns)
        else:
            small[name] = frame
        del frame
    return StoredDataset(
        client_id=client_id,
        window=window,
        content_hash=digest.hexdigest(),
        small=small,
        large=large,
        place=place,
        kept=kept,
    )


def _begun(client_id: str, window: Window) -> hashlib._Hash:
    digest = hashlib.sha256()
    _feed(digest, client_id.encode())
    for instant in (window.start, window.as_of):
        _feed(digest, instant.astimezone(dt.UTC).isoformat().encode())
    return digest


def _feed_frame(digest: hashlib._Hash, name: str, frame: pl.DataFrame) -> None:
    _feed(digest, f"{name}:{frame.height}".encode())
    for column in sorted(COLUMNS[name]):
        _feed(digest, column.encode())
        _feed_column(digest, frame[column])


def _dataset(client_id: str, window: Window, frames: dict[str, pl.DataFrame]) -> Dataset:
    dataset = Dataset(
        client_id=client_id,
        window=window,
        leads=frames["leads"],
        activities=frames["activities"],
        email_events=frames["email_events"],
        meetings=frames["meetings"],
        deals=frames["deals"],
        deal_stages=frames["deal_stages"],
        threads=frames["threads"],
        decisions=frames["decisions"],
        messages=frames["messages"],
    )
    return dataclasses.replace(dataset, content_hash=content_hash(dataset))


def _tidy(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Columns in order and of the right types, rows in the order of the keys."""
    import polars as pl

    kinds: dict[str, Any] = {
        "text": pl.String,
        "texts": pl.List(pl.String),
        "int": pl.Int64,
        "float": pl.Float64,
        "bool": pl.Boolean,
        "date": pl.Date,
        "instant": pl.Datetime("us", "UTC"),
    }
    order = frame.select(pl.col(key).cast(kinds[COLUMNS[name][key]]) for key in _KEYS[name]).select(
        row=pl.arg_sort_by(_KEYS[name], nulls_last=True)
    )["row"]
    # Column by column, so that none but one is there twice; and of text in one piece only the
    # places are moved, where text in several pieces is copied.
    columns = {column: frame[column] for column in COLUMNS[name]}
    del frame
    tidied = []
    for column, kind in COLUMNS[name].items():
        tidied.append(columns.pop(column).cast(kinds[kind]).rechunk().gather(order))
    return pl.DataFrame(tidied)


def _folder_of(client_id: str) -> str:
    """A folder's name: the id itself where that is one, else a hash, for ``..`` and long ids."""
    name = quote(client_id, safe="")
    if set(name) != {"."} and len(name) <= _NAME_MAX:
        return name
    # No quoted id has an equals sign, so none shares its folder with a hash.
    return "id=" + hashlib.blake2b(client_id.encode(), digest_size=16).hexdigest()


def _frame(dataset: Dataset, name: str) -> pl.DataFrame:
    frame: pl.DataFrame = getattr(dataset, name)
    return frame


def _rename_unless_there(beside: Path, place: Path) -> None:
    try:
        os.rename(beside, place)  # noqa: PTH104 - Path.rename replaces an empty folder too
    except OSError:
        if not place.exists():
            raise


def _feed(digest: hashlib._Hash, data: bytes) -> None:
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)


def _feed_column(digest: hashlib._Hash, column: pl.Series) -> None:
    import polars as pl

    _feed(digest, str(column.dtype).encode())
    _feed(digest, column.is_null().cast(pl.UInt8).to_numpy().tobytes())
    if isinstance(column.dtype, pl.List):
        lengths = column.list.len().fill_null(0)
        _feed(digest, lengths.cast(pl.UInt32).to_numpy().tobytes())
        # An empty list explodes to one null, which tells nothing that its length does not.
        column = column.filter(lengths > 0).explode()
        _feed(digest, column.is_null().cast(pl.UInt8).to_numpy().tobytes())
    if column.dtype == pl.String:
        lengths = column.str.len_bytes().fill_null(0)
        _feed(digest, lengths.to_numpy().tobytes())
        digest.update(int(lengths.sum()).to_bytes(8, "little"))
        # In slices: the text of a whole column, put together, would be in memory twice.
        for start in range(0, len(column), _SLICE):
            part = column.slice(start, _SLICE).fill_null("").rechunk()
            _, _, joined = part.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
            if joined is not None:
                digest.update(joined)
        return
    zero: Any = False if column.dtype == pl.Boolean else 0
    physical = column.to_physical().fill_null(zero)
    if physical.dtype == pl.Boolean:
        physical = physical.cast(pl.UInt8)
    _feed(digest, physical.to_numpy().tobytes())
