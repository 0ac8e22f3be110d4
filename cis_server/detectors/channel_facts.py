"""Facts of a single touch that are not its message: the kind of phone line, of LinkedIn message.

They stand in the content snapshot of the touch: a few under names of their own, and whatever an
import brought along under ``attributes``.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.crm_attributes import attribute_table, usable_values
from cis_server.detectors.levels import Levels, folded, levels
from cis_server.detectors.settings import DetectorSettings
from cis_server.stats.arrays import IntArray

CONTENT_FACTS = ("contact", "message_type", "script_id", "segment_count")
"""Keys of the snapshot itself that say something about the channel."""
_ATTRIBUTES = "attributes"


def fact_levels(touches: pl.DataFrame, settings: DetectorSettings) -> list[Levels]:
    """Touches of each channel by each fact that varies within it.

    Args:
        touches: touches of a population; `channel` and `content` are read.
        settings: bins and number of values.

    Returns:
        Dimensions ``<channel>.<fact>``; a touch without the fact, or of another channel, is
        unknown.
    """
    channel = touches["channel"].to_numpy()
    content = touches["content"].fill_null("")
    found: list[Levels] = []
    for rows, table in _tables(content):
        for name in sorted(set(channel[rows].tolist())):
            own = channel[rows] == name
            for fact in sorted(table.columns):
                values, _ = usable_values(table[fact].filter(pl.Series(own)), settings)
                if values is not None:
                    column = _placed(values, rows[own], touches.height)
                    dimension = f"{name}.{fact}"
                    found.append(levels(dimension, column, limit=settings.ranked_levels))
    return found


def _tables(content: pl.Series) -> list[tuple[IntArray, pl.DataFrame]]:
    """Rows that have some facts, and these as text columns.

    Most snapshots lack most facts; reading only those that have one is what makes it quick.
    """
    tables = []
    for key in (*CONTENT_FACTS, _ATTRIBUTES):
        has = content.str.contains(f'"{key}"', literal=True)
        if not has.any():
            continue
        parsed = content.filter(has).str.json_path_match(f"$.{key}")
        if key == _ATTRIBUTES:
            table = attribute_table(parsed)
        else:
            table = parsed.to_frame(key).select(folded(key))
        tables.append((np.flatnonzero(has.to_numpy()), table))
    return tables


def _placed(values: pl.Series, rows: IntArray, height: int) -> pl.Series:
    """A column of that height with the values at those rows and null elsewhere."""
    place = np.full(height, -1)
    place[rows] = np.arange(rows.size)
    index = pl.Series(place)
    return pl.select(pl.when(index >= 0).then(values.gather(index.clip(0)))).to_series()
