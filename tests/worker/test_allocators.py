"""Memory goes back to the system when frames are gone."""

import subprocess
import sys

import pytest

# Texts of the C library's allocator and a frame of the one of Polars, each far above 50 MB, then
# all but nothing of either.
_PROGRAM = """
import os
os.environ["POLARS_MAX_THREADS"] = "1"
from pathlib import Path
from cis_server.worker.allocators import give_back_freed_memory
assert give_back_freed_memory()
import polars as pl

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def fill():
    blocks = [b"x" * 200_000 for _ in range(200)]
    numbers = pl.select(number=pl.int_range(1_000_000))
    texts = numbers.with_columns(text=pl.col("number").cast(pl.String) + " is more than inline")
    return blocks, texts.sort("number", descending=True)

small = fill()
del small
before = held()
large = [fill() for _ in range(2)]
most = held()
del large
print(most - before, held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, sets glibc")
def test_what_was_freed_is_given_back() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    taken, kept = map(int, told.stdout.split())
    assert taken > 50_000_000
    assert kept < 0.2 * taken
