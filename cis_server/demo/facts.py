"""The truth of a simulated client: expected rates of every segment, before any coin is thrown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from cis_server.demo import catalogue, writing
from cis_server.demo.outreach import Codes, Plan
from cis_server.demo.planting import TIERS, Expectation, week_log_odds
from cis_server.demo.population import Population
from cis_server.demo.specs import CHANNELS
from cis_server.demo.truth import Effects, Floats, TrueRate, Truth
from cis_server.domain.weights import COMPONENTS, DEFAULT_WEIGHTS, MAX_WEIGHT, MIN_WEIGHT

Rates = Mapping[str, TrueRate]


def truth_of(
    effects: Effects, population: Population, tiers: Codes, plan: Plan, expected: Expectation
) -> Truth:
    """What follows from the planted effects for these leads and plans."""
    contacted = population.contacted
    converts = expected.converted.sum(axis=1)
    shares = plan.planned.sum(axis=0)
    with np.errstate(invalid="ignore"):
        hazard = expected.converted.sum(axis=0) / expected.delivered.sum(axis=0)
    return Truth(
        effects=effects,
        intercept=expected.intercept,
        baseline=float(converts[contacted].sum() / expected.not_bounced[contacted].sum()),
        touch_baseline=float(expected.converted.sum() / expected.delivered.sum()),
        lead_rates=_lead_rates(population, tiers, plan, converts, expected.not_bounced),
        touch_rates=_touch_rates(plan, expected),
        hazard=hazard[shares > 0],
        week=week_log_odds(effects).mean(axis=0),
        lead_probability=np.where(contacted, converts, np.nan),
        component_log_odds={name: effects.components.get(name, 0.0) for name in COMPONENTS},
        implied_weights=implied_weights(effects.components),
    )


def implied_weights(slopes: Mapping[str, float]) -> dict[str, float]:
    """Weights in proportion to non-negative slopes, each within its bounds, adding to 1.

    Weight that the bounds leave over goes to the other components in proportion to the defaults;
    without any positive slope the defaults come back.
    """
    default = DEFAULT_WEIGHTS.as_tuple()
    wanted = np.array([max(slopes.get(name, 0.0), 0.0) for name in COMPONENTS])
    if wanted.sum() == 0:
        return dict(zip(COMPONENTS, default, strict=True))
    # A trace of the defaults decides between components that the slopes leave equal at zero.
    wanted = wanted / wanted.sum() + 1e-9 * np.array(default)
    low, high = 0.0, 1e12
    while high - low > 1e-9 * (1 + low):
        middle = (low + high) / 2
        if np.clip(middle * wanted, MIN_WEIGHT, MAX_WEIGHT).sum() < 1:
            low = middle
        else:
            high = middle
    weights = np.clip(high * wanted, MIN_WEIGHT, MAX_WEIGHT)
    return {name: float(w) for name, w in zip(COMPONENTS, weights / weights.sum(), strict=True)}


def _lead_rates(
    population: Population, tiers: Codes, plan: Plan, converts: Floats, whole: Floats
) -> dict[str, Rates]:
    leads, titles = population.leads, catalogue.TITLES
    known_title = population.title
    width = min(3, plan.channel.shape[1])
    names = pl.Series([*CHANNELS, None], dtype=pl.String)
    codes = plan.channel % len(names)
    opening = pl.DataFrame({f"c{k}": names.gather(codes[:, k]) for k in range(width)})
    source, grade = _attributes(leads)
    dimensions: dict[str, pl.Series] = {
        "title": leads["title"],
        "title_level": _coded([row.level for row in titles], known_title),
        "title_function": _coded([row.function for row in titles], known_title),
        "industry": leads["industry"],
        "size": pl.select(
            pl.when(leads["employee_count"].is_not_null()).then(
                _coded([row[0] for row in catalogue.SIZE_RANGES], population.size)
            )
        ).to_series(),
        "country": leads["country"],
        "timezone": leads["timezone"],
        "tier": _coded(list(TIERS), tiers),
        "signal.hiring": leads["is_hiring"].cast(pl.String),
        "first_channel": names.gather(codes[:, 0]),
        "sequence": opening.select(
            pl.when(pl.all_horizontal(pl.all().is_not_null())).then(
                pl.concat_str(pl.all(), separator="→")
            )
        ).to_series(),
        "attributes.crm_source": source,
        "attributes.lead_grade": grade,
    }
    for signal, date, flags in (
        ("new_role", "employment_start_date", population.new_role),
        ("funded", "latest_funding_date", population.funded),
    ):
        text = pl.Series(flags).cast(pl.String)
        dimensions[f"signal.{signal}"] = pl.select(
            pl.when(leads[date].is_not_null()).then(text)
        ).to_series()
    chosen = population.contacted
    rates = {
        name: _rates(values.filter(pl.Series(chosen)), converts[chosen], whole[chosen])
        for name, values in dimensions.items()
    }
    rates["technology"] = _technology_rates(population, converts, whole)
    return rates


def _attributes(leads: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    fields = pl.Struct({"crm_source": pl.String, "lead_grade": pl.String})
    parsed = leads["attributes"].str.json_decode(fields).struct
    return parsed.field("crm_source"), parsed.field("lead_grade")


def _technology_rates(population: Population, converts: Floats, whole: Floats) -> Rates:
    stated = population.leads["technologies"].is_not_null().to_numpy() & population.contacted
    out = {}
    for column, (name, _) in enumerate(catalogue.TECHNOLOGIES):
        flags = pl.Series(population.technologies[stated, column]).cast(pl.String)
        found = _rates(flags, converts[stated], whole[stated])
        if "true" in found:
            out[name] = found["true"]
    return out


def _touch_rates(plan: Plan, expected: Expectation) -> dict[str, Rates]:
    lead, touch = np.nonzero(plan.planned)
    converts, sent = expected.converted[lead, touch], expected.delivered[lead, touch]
    channel, factors = plan.channel[lead, touch], plan.factors.at(lead, touch)
    email = channel == CHANNELS.index("email")
    templates = writing.TEMPLATES_PER_CHANNEL
    suffixes = [text.removeprefix("-") for text in writing.template_ids("")]
    dimensions = {
        "weekday": _numbers(plan.weekday[lead, touch]),
        "hour": _numbers(plan.hour[lead, touch]),
        "touch": _numbers(touch + 1),
        "gap": _numbers(np.where(touch > 0, plan.gap_days[lead, touch], -1), at_least=0),
        "channel": _coded(list(CHANNELS), channel),
        "pain_point": _coded([name for name, _ in writing.PAIN_POINTS], factors.pain),
        "angle": _coded([name for name, _ in writing.ANGLES], factors.angle),
        "cta": _coded([name for name, *_ in writing.CTAS], factors.cta),
        "subject": _coded([name for name, _ in writing.SUBJECTS], factors.subject),
        "template": _coded(suffixes, channel * templates + factors.template),
        "ab_variant": _coded(["A", "B"], np.where(email, plan.variant[lead], -1)),
    }
    for column, name in enumerate(writing.PERSONALISATION):
        dimensions[f"personalisation.{name}"] = pl.Series(factors.personal[:, column]).cast(
            pl.String
        )
    return {name: _rates(values, converts, sent) for name, values in dimensions.items()}


def _rates(values: pl.Series, converts: Floats, whole: Floats) -> Rates:
    """Rate of each value among the units for which one is known."""
    frame = pl.DataFrame({"value": values, "converts": converts, "whole": whole})
    sums = (
        frame.filter(pl.col("value").is_not_null())
        .group_by("value")
        .agg(pl.len().alias("units"), pl.col("converts").sum(), pl.col("whole").sum())
        .sort("value")
    )
    all_converts, all_whole = sums["converts"].sum(), sums["whole"].sum()
    out = {}
    for value, units, part, base in sums.iter_rows():
        rest = all_whole - base
        out[value] = TrueRate(
            units=units,
            rate=part / base if base > 0 else 0.0,
            complement_rate=(all_converts - part) / rest if rest > 1e-9 else 0.0,
        )
    return out


def _coded(words: list[str], codes: Codes) -> pl.Series:
    """Words by code, null for -1."""
    return pl.Series([*words, None], dtype=pl.String).gather(codes % (len(words) + 1))


def _numbers(values: Codes, at_least: int | None = None) -> pl.Series:
    series = pl.Series(values)
    if at_least is not None:
        series = pl.select(pl.when(series >= at_least).then(series)).to_series()
    return series.cast(pl.String)
