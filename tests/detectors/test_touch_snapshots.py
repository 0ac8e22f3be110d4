"""Snapshots of a run: read once, for all who look into them, of the resolved touches in order."""

from dataclasses import replace

import polars as pl
from detector_frames import outreach

from cis_server.detectors.channel_facts import FACT_KEYS
from cis_server.detectors.outcomes import population
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.touch_snapshots import touch_snapshots


def test_snapshots_are_read_once_and_in_the_order_of_the_touches() -> None:
    data = outreach(seed=3, leads=300)
    number = pl.int_range(pl.len())
    content = pl.when(number % 3 == 0).then(pl.lit('{"contact": "cellular", "word_count": 7}'))
    run = population(
        replace(data, activities=data.activities.with_columns(content=content)), DetectorSettings()
    )
    snapshots = touch_snapshots(run)
    assert touch_snapshots(run) is snapshots
    expected = run.resolved_touches["content"].is_not_null()
    assert 0 < expected.sum() < expected.len()
    assert snapshots.named("contact").tolist() == expected.to_list()
    assert (snapshots.numbers("word_count") == 7).tolist() == expected.to_list()
    for key in FACT_KEYS:
        assert snapshots.named(key).any() == (key == "contact")


def test_what_was_made_of_one_population_is_not_that_of_another() -> None:
    run = population(outreach(seed=3, leads=300), DetectorSettings())
    assert touch_snapshots(run.without_touches()).named("contact").size == 0
    assert touch_snapshots(run).named("contact").size == int(run.touches["resolved"].sum())
