"""A dataset whose large frames lie in its files and are read when they are asked for.

Touches and e-mail events are most of a dataset, and whoever looks at them looks at a few of their
columns. Kept in memory they would be there for the whole run, beside everything made from them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cis_server.domain.dataset import Dataset

if TYPE_CHECKING:
    import polars as pl

# Rows read at a time when only some of them are wanted.
_SLICE: Final = 65_536
LARGE: Final = ("activities", "email_events")
"""Frames that stay on disk."""


class StoredDataset(Dataset):
    """A dataset of which the frames in `LARGE` are read from Parquet files, column by column.

    Whoever asks for such a frame as an attribute gets all of it, read anew.

    Args:
        dataset: what it is, with all frames.
        place: folder with a file of each frame, rows in the same order; it has to stay as long as
            the dataset is used.
        kept: whether the files stay after it too; then they are its `path`.
    """

    __slots__ = ("_place", "_schemas")

    _place: Path
    _schemas: dict[str, tuple[int, frozenset[str]]]

    def __init__(self, dataset: Dataset, place: Path, *, kept: bool) -> None:
        for field in dataclasses.fields(Dataset):
            if field.name not in LARGE:
                object.__setattr__(self, field.name, getattr(dataset, field.name))
        frames: dict[str, pl.DataFrame] = {name: getattr(dataset, name) for name in LARGE}
        schemas = {name: (each.height, frozenset(each.columns)) for name, each in frames.items()}
        object.__setattr__(self, "path", str(place) if kept else None)
        object.__setattr__(self, "_place", place)
        object.__setattr__(self, "_schemas", schemas)

    @property
    def activities(self) -> pl.DataFrame:
        """All columns, read anew."""
        return self._read("activities")

    @property
    def email_events(self) -> pl.DataFrame:
        """All columns, read anew."""
        return self._read("email_events")

    def columns(self, frame: str, names: Iterable[str]) -> pl.DataFrame:
        """Some columns of a frame; of a large one nothing else is read."""
        if frame not in LARGE:
            return super().columns(frame, names)
        _, known = self._schemas[frame]
        return self._read(frame, [name for name in names if name in known])

    def rows(self, frame: str, names: Iterable[str], rows: pl.Series) -> pl.DataFrame:
        """Some columns of some rows; of a large frame no more than `_SLICE` others are held."""
        import polars as pl

        if frame not in LARGE or not len(rows):
            return super().rows(frame, names, rows)
        height, known = self._schemas[frame]
        table = pl.scan_parquet(self._place / f"{frame}.parquet").select(
            [name for name in names if name in known]
        )
        order = None if rows.is_sorted() else rows.arg_sort()
        ascending = rows if order is None else rows[order]
        edges = list(range(0, height, _SLICE))
        cuts = [*np.searchsorted(ascending.to_numpy(), edges).tolist(), len(rows)]
        parts = [
            table.slice(edge, _SLICE).collect()[ascending[first:end] - edge]
            for edge, (first, end) in zip(edges, itertools.pairwise(cuts), strict=True)
            if end > first
        ]
        found = pl.concat(parts)
        return found if order is None else found[order.arg_sort()]

    def height(self, frame: str) -> int:
        """Rows of a frame, without reading it."""
        return self._schemas[frame][0] if frame in LARGE else super().height(frame)

    def _read(self, frame: str, columns: list[str] | None = None) -> pl.DataFrame:
        import polars as pl

        return pl.read_parquet(self._place / f"{frame}.parquet", columns=columns)
