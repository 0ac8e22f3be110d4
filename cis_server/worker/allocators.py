"""How soon memory that nothing uses any more goes back to the system.

A run holds a client's frames once and copies of them for moments. Allocators keep what was freed
for the next request: of what a run of 100 000 leads peaks at, a fifth would be nobody's.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

POLARS_VARIABLE: Final = "_RJEM_MALLOC_CONF"
"""What the allocator inside Polars (jemalloc) reads when Polars is imported."""

_AT_ONCE: Final = "dirty_decay_ms:0,muzzy_decay_ms:0"
# Parameters of mallopt(3) in glibc's malloc.h, and 32 MB, the most that it takes: larger blocks are
# given back at once, and of smaller ones what lies free at the end beyond as much. NumPy takes a
# block for every step of a calculation; mapped anew each time (the default begins at 128 kB) its
# pages cost more than what is calculated.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_THRESHOLD_BYTES: Final = 32 * 1024 * 1024


def give_back_freed_memory() -> bool:
    """Set the allocators of this process; to be called before Polars is imported.

    Results do not depend on it.

    Returns:
        Whether the C library took its part: others than glibc have no such settings.
    """
    # Later ones win. Polars adds its own (half a second) before what it finds, and leaves the whole
    # to the processes that are started from here on.
    said = os.environ.get(POLARS_VARIABLE)
    os.environ[POLARS_VARIABLE] = f"{said},{_AT_ONCE}" if said else _AT_ONCE
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    wanted = (
        (_ARENA_MAX, 1),
        (_MMAP_THRESHOLD, _THRESHOLD_BYTES),
        (_TRIM_THRESHOLD, _THRESHOLD_BYTES),
    )
    return [set_option(*each) for each in wanted] == [1, 1, 1]
