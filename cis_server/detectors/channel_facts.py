"""Facts of a single touch that are not its message: the kind of phone line, of LinkedIn message.

They stand in the content snapshot of the touch: a few under names of their own, and whatever an
import brought along under ``attributes``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from cis_server.detectors.coded import Coded
from cis_server.detectors.crm_attributes import attribute_table, usable_values
from cis_server.detectors.levels import Levels, folded, levels
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.snapshots import Snapshots
from cis_server.stats.arrays import IntArray
from cis_server.stats.keyed_values import Form

CONTENT_FACTS = ("contact", "message_type", "script_id", "segment_count")
"""Keys of the snapshot itself that say something about the channel."""
_ATTRIBUTES = "attributes"
FACT_KEYS: Final = dict.fromkeys((*CONTENT_FACTS, _ATTRIBUTES), (Form.NAMED,))
"""Keys of a snapshot that are read, and what is expected of them."""


def fact_levels(
    snapshots: Snapshots,
    content: Callable[[IntArray], pl.Series],
    channel: Coded,
    settings: DetectorSettings,
) -> list[Levels]:
    """Touches of each channel by each fact that varies within it.

    Args:
        snapshots: what the touches say under `FACT_KEYS`.
        content: gives the snapshots of some of the touches.
        channel: of each touch.
        settings: bins and number of values.

    Returns:
        Dimensions ``<channel>.<fact>``; a touch without the fact, or of another channel, is
        unknown.
    """
    found: list[Levels] = []
    for rows, table in _tables(snapshots, content):
        of_row = channel.code[rows]
        for place in np.unique(of_row[of_row >= 0]).tolist():
            own = of_row == place
            for fact in sorted(table.columns):
                values, _ = usable_values(table[fact].filter(pl.Series(own)), settings)
                if values is not None:
                    column = _placed(values, rows[own], channel.code.size)
                    dimension = f"{channel.names[place]}.{fact}"
                    found.append(levels(dimension, column, limit=settings.ranked_levels))
    return found


def _tables(
    snapshots: Snapshots, content: Callable[[IntArray], pl.Series]
) -> list[tuple[IntArray, pl.DataFrame]]:
    """Rows that have some facts, and these as text columns.

    Most snapshots lack most facts; reading only those that have one is what makes it quick.
    """
    named = {key: snapshots.named(key) for key in FACT_KEYS}
    some = np.flatnonzero(np.logical_or.reduce(list(named.values())))
    if not some.size:
        return []
    texts = content(some)
    tables = []
    for key, has in named.items():
        own = has[some]
        if not own.any():
            continue
        parsed = texts.filter(pl.Series(own)).str.json_path_match(f"$.{key}")
        if key == _ATTRIBUTES:
            table = attribute_table(parsed)
        else:
            table = parsed.to_frame(key).select(folded(key))
        tables.append((some[own], table))
    return tables


def _placed(values: pl.Series, rows: IntArray, height: int) -> pl.Series:
    """A column of that height with the values at those rows and null elsewhere."""
    place = np.full(height, -1)
    place[rows] = np.arange(rows.size)
    index = pl.Series(place)
    return pl.select(pl.when(index >= 0).then(values.gather(index.clip(0)))).to_series()
