"""From planted effects to outcomes: the log-odds of every touch, what to expect, what happened.

Model. Touch t of lead i, sent while the lead is still in the sequence, brings the conversion with
probability h = 1 / (1 + exp(-(a + eta_it))), where eta adds up the planted effects of the lead and
of the touch, and a is set so that the expected rate of a lead is the client's base rate. Before
that a mail to a bad address bounces; after it the lead may unsubscribe or refuse. Each of these
ends the sequence (competing risks in discrete time; Kalbfleisch and Prentice, The Statistical
Analysis of Failure Time Data, ch. 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cis_server.demo import catalogue, writing
from cis_server.demo.outreach import Codes, Flags, Plan
from cis_server.demo.population import Population
from cis_server.demo.specs import CHANNELS, ClientSpec
from cis_server.demo.truth import Effects, Floats, WeekPeak
from cis_server.domain.weights import COMPONENTS

BOUNCE_RATES: Mapping[str, float] = {
    "verified": 0.004,
    "guessed": 0.10,
    "catch_all": 0.04,
    "unknown": 0.05,
    "invalid": 0.90,
}
"""Chance that the first mail to an address of that status bounces."""

TIERS = ("dead", "cold", "cool", "warm", "hot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How each lead's sequence ended; index of the touch, -1 where it did not end that way."""

    sent: Flags
    """(leads, touches): the touch went out (or would, after `as_of`)."""
    converted_by: Codes
    unsubscribed_by: Codes
    refused_by: Codes
    bounced_by: Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Expected counts under the model, (leads, touches) unless said."""

    intercept: float
    delivered: Floats
    """Probability that the touch is sent and does not bounce."""
    converted: Floats
    """Probability that the touch brings the conversion."""
    not_bounced: Floats
    """(leads,): probability that the lead's address does not bounce."""


def check_words(effects: Effects) -> None:
    """Refuse effects on words that no simulated datum carries; they would silently be a null.

    Raises:
        ValueError: naming the field and the unknown words.
    """
    for name, known in _vocabularies().items():
        if unknown := set(getattr(effects, name)) - known:
            raise ValueError(f"effects.{name}: unknown {sorted(unknown)}")
    if unknown_days := set(effects.weekdays) - set(range(1, 8)):
        raise ValueError(f"effects.weekdays: unknown {sorted(unknown_days)}")
    named = {channel for sequence in effects.sequences for channel in sequence}
    named |= {peak.channel for peak in effects.peaks if peak.channel is not None}
    if unknown := named - set(CHANNELS):
        raise ValueError(f"effects: unknown channels {sorted(unknown)}")


def _vocabularies() -> dict[str, set[str]]:
    sources = {f"crm_source={name}" for name, _ in catalogue.CRM_SOURCES}
    return {
        "components": set(COMPONENTS),
        "title_levels": {row.level for row in catalogue.TITLES},
        "title_functions": {row.function for row in catalogue.TITLES},
        "industries": {name for name, _ in catalogue.INDUSTRIES},
        "size_ranges": {row[0] for row in catalogue.SIZE_RANGES},
        "countries": {row.country for row in catalogue.PLACES},
        "technologies": {name for name, _ in catalogue.TECHNOLOGIES},
        "signals": {"hiring", "new_role", "funded"},
        "attributes": sources | {f"lead_grade={name}" for name, _ in catalogue.LEAD_GRADES},
        "tiers": set(TIERS),
        "channels": set(CHANNELS),
        "first_channels": set(CHANNELS),
        "length": set(CHANNELS),
        "pain_points": {name for name, _ in writing.PAIN_POINTS},
        "angles": {name for name, _ in writing.ANGLES},
        "ctas": {name for name, *_ in writing.CTAS},
        "subjects": {name for name, _ in writing.SUBJECTS},
        "personalisation": set(writing.PERSONALISATION),
        "templates": set(_TEMPLATES),
        "ab_variants": {"A", "B"},
    }


_TEMPLATES = tuple(
    f"{name}-{number + 1}" for name in CHANNELS for number in range(writing.TEMPLATES_PER_CHANNEL)
)


def lead_log_odds(
    effects: Effects, population: Population, components: Mapping[str, Floats], tiers: Codes
) -> Floats:
    """(leads,): what is planted in the lead itself.

    Args:
        effects: what is planted.
        population: the leads.
        components: component -> points / maximum, (leads,).
        tiers: (leads,), index into `TIERS`.
    """
    titles, places = catalogue.TITLES, catalogue.PLACES
    total = _lookup([row.level for row in titles], effects.title_levels)[population.true_title]
    total += _lookup([row.function for row in titles], effects.title_functions)[
        population.true_title
    ]
    total += _lookup([name for name, _ in catalogue.INDUSTRIES], effects.industries)[
        population.industry
    ]
    total += _lookup([row[0] for row in catalogue.SIZE_RANGES], effects.size_ranges)[
        population.size
    ]
    total += _lookup([row.country for row in places], effects.countries)[population.place]
    total += population.technologies @ _lookup(
        [name for name, _ in catalogue.TECHNOLOGIES], effects.technologies
    )
    sources = [f"crm_source={name}" for name, _ in catalogue.CRM_SOURCES]
    total += _lookup(sources, effects.attributes)[population.crm_source]
    grades = [f"lead_grade={name}" for name, _ in catalogue.LEAD_GRADES]
    total += _lookup(grades, effects.attributes)[population.lead_grade]
    total += _lookup(TIERS, effects.tiers)[tiers]
    for name, flags in signals_of(population).items():
        total += effects.signals.get(name, 0.0) * flags
    for name, points in components.items():
        total += effects.components.get(name, 0.0) * points
    return np.asarray(total)


def signals_of(population: Population) -> dict[str, Flags]:
    """Signal name -> (leads,) flags as of first contact."""
    return {
        "hiring": population.hiring,
        "new_role": population.new_role,
        "funded": population.funded,
    }


def touch_log_odds(effects: Effects, plan: Plan) -> Floats:
    """(leads, touches): what is planted in the touch: when, how and what."""
    channel, factors = plan.channel, plan.factors
    total = _lookup(CHANNELS, effects.channels)[channel]
    total += _lookup(CHANNELS, effects.first_channels)[channel[:, :1]]
    total += _sequence_log_odds(effects, channel)[:, None]
    total += _table(effects.touch_hazard, channel.shape[1])
    total += week_log_odds(effects)[channel, (plan.weekday - 1) * 24 + plan.hour]
    if effects.gap is not None:
        distance = (plan.gap_days - effects.gap.days) / effects.gap.width_days
        later = np.arange(channel.shape[1]) > 0
        total += effects.gap.log_odds * np.exp(-0.5 * distance**2) * later
    total += _lookup([name for name, _ in writing.PAIN_POINTS], effects.pain_points)[factors.pain]
    total += _lookup([name for name, _ in writing.ANGLES], effects.angles)[factors.angle]
    total += _lookup([name for name, *_ in writing.CTAS], effects.ctas)[factors.cta]
    subjects = [*(name for name, _ in writing.SUBJECTS), "no subject"]
    total += _lookup(subjects, effects.subjects)[factors.subject]
    total += factors.personal @ _lookup(writing.PERSONALISATION, effects.personalisation)
    total += _lookup(_TEMPLATES, effects.templates)[
        channel * writing.TEMPLATES_PER_CHANNEL + factors.template
    ]
    tested = channel == CHANNELS.index("email")
    total += _lookup(("A", "B"), effects.ab_variants)[plan.variant][:, None] * tested
    for name, peak in effects.length.items():
        distance = (factors.words - peak.words) / peak.width_words
        here = channel == CHANNELS.index(name)
        total += peak.log_odds * np.exp(-0.5 * distance**2) * here
    return np.asarray(np.where(plan.planned, total, 0.0))


def week_log_odds(effects: Effects) -> Floats:
    """(channels, 168): planted log-odds of each local cell (weekday - 1) * 24 + hour."""
    week = np.zeros((len(CHANNELS), 7, 24))
    for day, log_odds in effects.weekdays.items():
        week[:, day - 1, :] += log_odds
    for peak in effects.peaks:
        days = [day - 1 for day in peak.weekdays or range(1, 8)]
        rows = range(len(CHANNELS)) if peak.channel is None else [CHANNELS.index(peak.channel)]
        for row in rows:
            week[row, days, :] += peak_log_odds(peak)
    return week.reshape(len(CHANNELS), 168)


def peak_log_odds(peak: WeekPeak) -> Floats:
    """(24,): log-odds of a peak at each hour."""
    away = np.abs(np.arange(24) - peak.hour) % 24
    distance = np.minimum(away, 24 - away) / peak.width_hours
    return np.asarray(peak.log_odds * np.exp(-0.5 * distance**2))


def bounce_chances(plan: Plan, email_status: Codes) -> Floats:
    """(leads, touches): chance that the touch is the first mail and bounces.

    Args:
        plan: the touches.
        email_status: (leads,), index into `BOUNCE_RATES`.
    """
    mails = plan.channel == CHANNELS.index("email")
    first = mails & (np.cumsum(mails, axis=1) == 1)
    return np.asarray(np.array(list(BOUNCE_RATES.values()))[email_status][:, None] * first)


def expect(spec: ClientSpec, plan: Plan, eta: Floats, bounces: Floats) -> Expectation:
    """Find the intercept that gives the base rate, and the expected counts under it.

    The intercept is found by bisection on at most 20 000 leads, to 1e-9.
    """
    rows = np.flatnonzero(plan.planned.any(axis=1))[:20_000]
    leave = spec.outreach.unsubscribe_rate + spec.outreach.refusal_rate
    sample = (eta[rows], bounces[rows], plan.planned[rows])
    low, high = -30.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        _, converted, whole = _expected(middle, *sample, leave)
        if converted.sum() < spec.base_rate * whole.sum():
            low = middle
        else:
            high = middle
    delivered, converted, whole = _expected(low, eta, bounces, plan.planned, leave)
    return Expectation(intercept=low, delivered=delivered, converted=converted, not_bounced=whole)


def _expected(
    intercept: float, eta: Floats, bounces: Floats, planned: Flags, leave: float
) -> tuple[Floats, Floats, Floats]:
    hazard = _sigmoid(intercept + eta) * planned
    delivered, converted = np.zeros_like(hazard), np.zeros_like(hazard)
    alive, whole = np.ones(len(eta)), np.ones(len(eta))
    for touch in range(hazard.shape[1]):
        here = planned[:, touch]
        whole = whole - alive * bounces[:, touch]
        reached = alive * (1 - bounces[:, touch])
        delivered[:, touch] = reached * here
        converted[:, touch] = reached * hazard[:, touch]
        alive = reached * (1 - hazard[:, touch]) * np.where(here, 1 - leave, 1.0)
    return delivered, converted, whole


def realise(
    spec: ClientSpec, plan: Plan, hazard: Floats, bounces: Floats, rng: np.random.Generator
) -> Outcomes:
    """Throw the coins.

    Args:
        spec: rates of unsubscribing and refusing.
        plan: the touches.
        hazard: (leads, touches), conversion probability of a touch that is delivered.
        bounces: as of `bounce_chances`.
        rng: source of every draw.
    """
    shape = plan.channel.shape
    bounce_draw, convert_draw, leave_draw = (rng.random(shape) for _ in range(3))
    sent = np.zeros(shape, dtype=bool)
    ends = {name: np.full(shape[0], -1) for name in ("bounced", "converted", "unsub", "refused")}
    alive = plan.planned[:, 0].copy()
    for touch in range(shape[1]):
        here = alive & plan.planned[:, touch]
        sent[:, touch] = here
        bounced = here & (bounce_draw[:, touch] < bounces[:, touch])
        converted = here & ~bounced & (convert_draw[:, touch] < hazard[:, touch])
        open_still = here & ~bounced & ~converted
        unsub = open_still & (leave_draw[:, touch] < spec.outreach.unsubscribe_rate)
        limit = spec.outreach.unsubscribe_rate + spec.outreach.refusal_rate
        refused = open_still & ~unsub & (leave_draw[:, touch] < limit)
        for name, ended in zip(ends, (bounced, converted, unsub, refused), strict=True):
            ends[name][ended] = touch
        alive &= ~(bounced | converted | unsub | refused)
    return Outcomes(
        sent=sent,
        converted_by=ends["converted"],
        unsubscribed_by=ends["unsub"],
        refused_by=ends["refused"],
        bounced_by=ends["bounced"],
    )


def hazard_of(intercept: float, eta: Floats) -> Floats:
    """Conversion probability of a delivered touch."""
    return _sigmoid(intercept + eta)


def _sequence_log_odds(effects: Effects, channel: Codes) -> Floats:
    total = np.zeros(len(channel))
    for sequence, log_odds in effects.sequences.items():
        wanted = [CHANNELS.index(name) for name in sequence]
        if len(wanted) <= channel.shape[1]:
            total += log_odds * (channel[:, : len(wanted)] == wanted).all(axis=1)
    return total


def _lookup(words: tuple[str, ...] | list[str], log_odds: Mapping[str, float]) -> Floats:
    """Effects in code order."""
    return np.array([log_odds.get(word, 0.0) for word in words], dtype=float)


def _table(values: tuple[float, ...], length: int) -> Floats:
    if not values:
        return np.zeros(length)
    return np.array([values[min(k, len(values) - 1)] for k in range(length)], dtype=float)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))
