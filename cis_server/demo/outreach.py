"""The touches planned for every lead: which channel, when, with which content.

Plans do not look at how the lead will answer, so that every effect in the data is planted and none
slips in through who gets what, except where tier confounding is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.demo import catalogue
from cis_server.demo.population import Population
from cis_server.demo.specs import CHANNELS, ClientSpec
from cis_server.demo.writing import Factors, draw_factors
from cis_server.domain.tiers import DEFAULT_TIER_CHANNELS
from cis_server.domain.vocabulary import Tier

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Instants = NDArray[np.datetime64]

CALLING_HOURS = (8, 20)
"""Nobody is rung or texted outside these local hours; the end is exclusive."""
_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Planned touches as (leads, touches) arrays; unplanned cells have channel -1."""

    channel: Codes
    """Into `CHANNELS`."""
    sent_at: Instants
    """UTC, microseconds; NaT where unplanned."""
    weekday: Codes
    """ISO, on the lead's own clock."""
    hour: Codes
    """0..23, on the lead's own clock."""
    gap_days: Codes
    """Calendar days since the touch before, on the lead's clock; 0 for the first."""
    factors: Factors
    variant: Codes
    """(leads,): 0 = A, 1 = B of the running experiment."""

    @property
    def planned(self) -> Flags:
        """(leads, touches): where a touch is planned."""
        return np.asarray(self.channel >= 0)


def plan_outreach(
    spec: ClientSpec, population: Population, tiers: Codes, rng: np.random.Generator
) -> Plan:
    """Draw the touches of every lead.

    Args:
        spec: sequences, gaps, hours, confounding.
        population: who is contacted and from which day.
        tiers: (leads,): index into `TIER_CHANNELS` (dead = 0 ... hot = 4).
        rng: source of every draw.
    """
    channel = _channels(spec, population, tiers, rng)
    local, days = _local_times(spec, population, channel, rng)
    sent_at = to_utc(local, population.place[:, None])
    clock = to_local(sent_at, population.place[:, None])
    day, hour = _day_and_hour(clock)
    company = _word_count(population.leads["company_name"])
    industry = _word_count(population.leads["industry"])
    return Plan(
        channel=channel,
        sent_at=np.where(channel >= 0, sent_at, np.datetime64("NaT", "us")),
        weekday=(day + _MONDAY_OFFSET) % 7 + 1,
        hour=hour,
        gap_days=np.diff(days, axis=1, prepend=days[:, :1]),
        factors=draw_factors(channel, company, industry, rng),
        variant=rng.integers(2, size=spec.leads),
    )


TIER_CHANNELS = tuple(DEFAULT_TIER_CHANNELS[tier] or ("email",) for tier in sorted(Tier))
"""What a confounded lead of each tier (dead to hot) may get; the dead are mailed all the same."""


def _channels(
    spec: ClientSpec, population: Population, tiers: Codes, rng: np.random.Generator
) -> Codes:
    outreach, leads = spec.outreach, population.leads
    plans = list(outreach.sequences)
    width = max(len(plan) for plan in plans)
    table = np.full((len(plans), width), -1)
    for row, plan in enumerate(plans):
        table[row, : len(plan)] = [CHANNELS.index(name) for name in plan]
    weights = np.array([outreach.sequences[plan] for plan in plans])
    edges = np.cumsum(weights) / weights.sum()
    choice = np.searchsorted(edges, rng.random(spec.leads), side="right")
    channel = table[choice]

    reachable = np.column_stack([leads[_CONTACT[name]].is_not_null() for name in CHANNELS])
    confounded = rng.random(spec.leads) < outreach.tier_confounding
    allowed = np.array([[name in names for name in CHANNELS] for names in TIER_CHANNELS])[tiers]
    usable = reachable & (allowed | ~confounded[:, None])
    stranded = ~usable.any(axis=1, keepdims=True)
    usable |= stranded & reachable
    # Where the planned channel cannot be used, the first that can takes its place.
    fallback = usable.argmax(axis=1)
    fits = np.take_along_axis(usable, np.maximum(channel, 0), axis=1)
    channel = np.where(fits | (channel < 0), channel, fallback[:, None])
    return np.where(population.contacted[:, None], channel, -1)


_CONTACT = {
    "email": "email",
    "linkedin": "linkedin_url",
    "sms": "phone",
    "voice": "phone",
    "mail": "postal_address",
}


def _local_times(
    spec: ClientSpec, population: Population, channel: Codes, rng: np.random.Generator
) -> tuple[Instants, Codes]:
    """(local times without zone, days since 1970) of every cell, planned or not."""
    outreach, shape = spec.outreach, channel.shape
    gaps = np.asarray(outreach.gap_weights, dtype=float)
    wait = 1 + np.searchsorted(np.cumsum(gaps) / gaps.sum(), rng.random(shape), side="right")
    stays = rng.random(shape) < outreach.weekend_share
    days = np.empty(shape, dtype=np.int64)
    day = population.first_contact.astype("datetime64[D]").astype(np.int64)
    for touch in range(shape[1]):
        if touch:
            day = day + wait[:, touch]
        weekday = (day + _MONDAY_OFFSET) % 7
        moves = (weekday >= 5) & ~stays[:, touch]
        day = day + np.where(moves, 7 - weekday + rng.integers(4, size=shape[0]), 0)
        days[:, touch] = day
    spoken = np.isin(channel, [CHANNELS.index("voice"), CHANNELS.index("sms")])
    u = rng.random(shape)
    hours = np.where(
        spoken, _hours(outreach.hour_weights, u, CALLING_HOURS), _hours(outreach.hour_weights, u)
    )
    seconds = hours * 3_600 + rng.integers(3_600, size=shape)
    local = days.astype("datetime64[D]").astype("datetime64[us]")
    return local + (seconds * 1_000_000).astype("timedelta64[us]"), days


def _hours(
    weights: tuple[float, ...], u: NDArray[np.float64], between: tuple[int, int] = (0, 24)
) -> Codes:
    hours = np.arange(24)
    masked = np.asarray(weights) * ((hours >= between[0]) & (hours < between[1]))
    if masked.sum() == 0:
        masked = np.asarray(weights, dtype=float)
    drawn = np.searchsorted(np.cumsum(masked) / masked.sum(), u, side="right")
    return np.minimum(drawn, 23)


def to_utc(local: Instants, place: Codes) -> Instants:
    """Local times of places as UTC; a time that daylight saving skips moves on by one hour.

    Args:
        local: naive local times, any shape.
        place: codes into `catalogue.PLACES`, of a shape that broadcasts with `local`.
    """
    return _by_zone(local, place, _localised)


def to_local(instants: Instants, place: Codes) -> Instants:
    """UTC instants on the clocks of places, naive; arguments as of `to_utc`."""
    return _by_zone(instants, place, _on_clock)


def _localised(times: pl.Series, zone: str) -> pl.Series:
    direct = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    if direct.null_count() > times.null_count():
        later = times.dt.offset_by("1h")
        moved = later.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        direct = direct.zip_with(direct.is_not_null(), moved)
    return direct.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _on_clock(times: pl.Series, zone: str) -> pl.Series:
    return times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None)


def _by_zone(
    times: Instants, place: Codes, convert: Callable[[pl.Series, str], pl.Series]
) -> Instants:
    zones = [row.timezone for row in catalogue.PLACES]
    flat = times.ravel()
    where = np.broadcast_to(place, times.shape).ravel()
    out = np.empty_like(flat)
    for code, zone in enumerate(zones):
        chosen = where == code
        if chosen.any():
            out[chosen] = convert(pl.Series(flat[chosen]), zone).to_numpy()
    return out.reshape(times.shape)


def _day_and_hour(clock: Instants) -> tuple[Codes, Codes]:
    hours = clock.astype("datetime64[h]").astype(np.int64)
    return hours // 24, hours % 24


def _word_count(texts: pl.Series) -> Codes:
    words = texts.str.count_matches(" ") + 1
    return np.asarray(words.fill_null(0).to_numpy(), dtype=np.int64)
