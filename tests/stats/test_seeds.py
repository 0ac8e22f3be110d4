"""Draws depend on client, instant and purpose, and on nothing else."""

import datetime as dt
import subprocess
import sys
from zoneinfo import ZoneInfo

import pytest

from cis_server.stats.seeds import generator

AS_OF = dt.datetime(2026, 1, 21, 3, tzinfo=dt.UTC)
GOLDEN = [167604, 14058, 262528]


def test_golden_draws() -> None:
    draws = generator("acme", AS_OF, "weights").integers(0, 1_000_000, 3)
    assert draws.tolist() == GOLDEN


def test_the_same_in_another_process_whatever_its_hash_seed() -> None:
    program = (
        "import datetime as dt; from cis_server.stats.seeds import generator;"
        "print(generator('acme', dt.datetime(2026, 1, 21, 3, tzinfo=dt.UTC), 'weights')"
        ".integers(0, 1_000_000, 3).tolist())"
    )
    for seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == str(GOLDEN)


def test_one_instant_in_two_zones_is_one_seed() -> None:
    there = AS_OF.astimezone(ZoneInfo("Australia/Sydney"))
    assert generator("a", there, "p").random() == generator("a", AS_OF, "p").random()


def test_every_part_counts_and_parts_do_not_run_together() -> None:
    draws = {
        generator("a", AS_OF, "p").random(),
        generator("b", AS_OF, "p").random(),
        generator("a", AS_OF + dt.timedelta(microseconds=1), "p").random(),
        generator("a", AS_OF, "q").random(),
        generator("ap", AS_OF, "").random(),
        generator("a", AS_OF.date(), "p").random(),
    }
    assert len(draws) == 6


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        generator("a", dt.datetime(2026, 1, 21, 3), "p")  # noqa: DTZ001
