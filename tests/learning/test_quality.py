"""The quality gates of the extract stage."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.runs import Gate
from cis_server.learning.quality import quality_gates

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def sound() -> Dataset:
    window = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)
    return to_dataset(simulate([ClientSpec(client_id="q", leads=200)], 3, AS_OF), "q", window)


def gates(dataset: Dataset, future: int = 0) -> dict[str, Gate]:
    return {gate.name: gate for gate in quality_gates(dataset, future)}


def test_simulated_data_are_sound(sound: Dataset) -> None:
    assert all(gate.passed for gate in quality_gates(sound, 0))


def test_a_required_field_is_missing_in_more_than_a_twentieth(sound: Dataset) -> None:
    def without(share: float) -> Dataset:
        rows = pl.int_range(pl.len()) < round(sound.activities.height * share)
        channel = pl.when(rows).then(None).otherwise(pl.col("channel")).alias("channel")
        return dataclasses.replace(sound, activities=sound.activities.with_columns(channel))

    assert gates(without(0.045))["required_fields"].passed
    failed = gates(without(0.06))["required_fields"]
    assert not failed.passed
    assert failed.value == pytest.approx(0.94, abs=0.005)
    assert "activities.channel" in failed.text


def test_touches_that_are_there_twice(sound: Dataset) -> None:
    sent = sound.activities.filter(pl.col("action") == "sent")
    doubled = dataclasses.replace(
        sound, activities=pl.concat([sent, sent.head(round(sent.height * 0.03))])
    )
    failed = gates(doubled)["duplicates"]
    assert not failed.passed
    assert failed.value == pytest.approx(0.03 / 1.03, abs=0.002)
    # What is only known to the day is no duplicate of another call of the day.
    coarse = pl.lit("day").alias("time_precision")
    daily = dataclasses.replace(doubled, activities=doubled.activities.with_columns(coarse))
    assert gates(daily)["duplicates"].passed


def test_one_row_of_the_future_is_one_too_many(sound: Dataset) -> None:
    failed = gates(sound, 1)["no_future_times"]
    assert not failed.passed
    assert failed.text.startswith("1 events")


def test_an_empty_dataset_is_sound(sound: Dataset) -> None:
    empty = dataclasses.replace(
        sound, **{name: getattr(sound, name).clear() for name in ("leads", "activities")}
    )
    assert all(gate.passed for gate in quality_gates(empty, 0))
