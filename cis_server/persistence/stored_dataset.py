"""A dataset whose large frames lie in its files and are read when they are asked for.

Touches and e-mail events are most of a dataset, and whoever looks at them looks at a few of their
columns. Kept in memory they would be there for the whole run, beside everything made from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cis_server.domain.dataset import FRAMES, Dataset, Window

if TYPE_CHECKING:
    import polars as pl

SLICE: Final = 65_536
"""Rows read at a time when only some of them are wanted; files are best written in such groups."""
LARGE: Final = ("activities", "email_events")
"""Frames that stay on disk."""


class StoredDataset(Dataset):
    """A dataset of which the frames in `LARGE` are read from Parquet files, column by column.

    Whoever asks for such a frame as an attribute gets all of it, read anew.

    Args:
        client_id: the client.
        window: of the run.
        content_hash: of all frames.
        small: the frames that are not in `LARGE`, by name.
        large: of those that are, the number of rows and the names of the columns.
        place: folder with a file of each frame, rows in the same order; it has to stay as long as
            the dataset is used.
        kept: whether the files stay after it too; then they are its `path`.
    """

    __slots__ = ("_large", "place")

    place: Path
    _large: Mapping[str, tuple[int, frozenset[str]]]

    def __init__(
        self,
        *,
        client_id: str,
        window: Window,
        content_hash: str,
        small: Mapping[str, pl.DataFrame],
        large: Mapping[str, tuple[int, frozenset[str]]],
        place: Path,
        kept: bool,
    ) -> None:
        values = {
            **small,
            "client_id": client_id,
            "window": window,
            "content_hash": content_hash,
            "path": str(place) if kept else None,
            "place": place,
            "_large": large,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def kept_in(self, place: Path) -> StoredDataset:
        """The same dataset with its files in another folder, where they stay."""
        return StoredDataset(
            client_id=self.client_id,
            window=self.window,
            content_hash=self.content_hash,
            small={name: getattr(self, name) for name in FRAMES if name not in LARGE},
            large=self._large,
            place=place,
            kept=True,
        )

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
        _, known = self._large[frame]
        return self._read(frame, [name for name in names if name in known])

    def rows(self, frame: str, names: Iterable[str], rows: pl.Series) -> pl.DataFrame:
        """Some columns of some rows; of a large frame no more than `SLICE` others are held."""
        import polars as pl

        if frame not in LARGE:
            return super().rows(frame, names, rows)
        order = None if rows.is_sorted() else rows.arg_sort()
        found = pl.concat(self._slices(frame, names, rows if order is None else rows[order]))
        return found if order is None or not found.columns else found[order.arg_sort()]

    def pieces(self, frame: str, names: Iterable[str], rows: pl.Series) -> Iterator[pl.DataFrame]:
        """The parts of `rows` in order; of a large frame one for every `SLICE` of its rows."""
        if frame not in LARGE or not rows.is_sorted():
            yield from super().pieces(frame, names, rows)
        else:
            yield from self._slices(frame, names, rows)

    def _slices(
        self, frame: str, names: Iterable[str], ascending: pl.Series
    ) -> Iterator[pl.DataFrame]:
        import polars as pl

        height, known = self._large[frame]
        wanted = [name for name in names if name in known]
        table = pl.scan_parquet(self.place / f"{frame}.parquet").select(wanted)
        if not wanted or not len(ascending):
            yield table.slice(0, 0).collect()
            return
        edges = list(range(0, height, SLICE))
        cuts = [*np.searchsorted(ascending.to_numpy(), edges).tolist(), len(ascending)]
        for edge, (first, end) in zip(edges, itertools.pairwise(cuts), strict=True):
            if end > first:
                yield table.slice(edge, SLICE).collect()[ascending[first:end] - edge]

    def height(self, frame: str) -> int:
        """Rows of a frame, without reading it."""
        return self._large[frame][0] if frame in LARGE else super().height(frame)

    def _read(self, frame: str, columns: list[str] | None = None) -> pl.DataFrame:
        import polars as pl

        return pl.read_parquet(self.place / f"{frame}.parquet", columns=columns)
