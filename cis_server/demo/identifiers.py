"""Keys of simulated rows, drawn from the seed."""

from __future__ import annotations

import numpy as np
import polars as pl


def uuids(rng: np.random.Generator, n: int) -> pl.Series:
    """UUIDs (version 4, RFC 9562) as lower-case text, all from `rng`, in ascending order.

    Rows stored in the order of their keys fill an index from left to right, which Postgres does
    faster than in random order.
    """
    raw = rng.integers(256, size=(n, 16), dtype=np.uint8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = raw.tobytes().hex()
    text = pl.Series([digits[32 * k : 32 * k + 32] for k in range(n)], dtype=pl.String).sort()
    parts = [text.str.slice(start, length) for start, length in _PARTS]
    return parts[0] + "-" + parts[1] + "-" + parts[2] + "-" + parts[3] + "-" + parts[4]


_PARTS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


def numbered(prefix: str, n: int) -> pl.Series:
    """``prefix`` and a number from 1, seven digits."""
    return prefix + pl.Series(np.arange(1, n + 1)).cast(pl.String).str.zfill(7)
