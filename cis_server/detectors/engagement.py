"""Opens and clicks by people: how soon, how often, and whether they go with conversion.

Machine opens (privacy proxies, link scanners) were told apart when the events were recorded; what
is read here are `human_opened_at` and `human_clicked_at`. Only opens and clicks up to the end of
the run and, per lead, up to its conversion count: what follows the conversion cannot explain it.
A mail that blocks images is clicked without an open, so clicks to opens are asked of opened mails.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl

from cis_server.detectors.outcomes import Population
from cis_server.detectors.risk_set import unit_of_rows
from cis_server.detectors.rounding import rounded_rate, rounded_ratio
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.patterns import EmailEngagement, EngagementTiming
from cis_server.stats.arrays import IntArray

EMAIL = "email"

ENGAGEMENT = ("human_opened_at", "human_clicked_at", "minutes_to_open", "minutes_to_click")
"""Columns that `engaged` reads, beside the lead."""
COLUMNS = ("lead", "channel", "success", "machine_open", *ENGAGEMENT)
"""Columns that are read of touches."""


def engagement_timing(
    touches: pl.DataFrame, run: Population, settings: DetectorSettings
) -> EngagementTiming | None:
    """Minutes from sending to opening and clicking, over resolved e-mail touches.

    The "optimal windows" are the medians among the touches that a conversion is credited to.

    Args:
        touches: resolved touches of the population, with `COLUMNS`.
        run: the population.
        settings: minimum to say anything.

    Returns:
        None under `minimum_listed` e-mails.
    """
    mails = touches.select(COLUMNS).filter(pl.col("channel") == EMAIL)
    mails = engaged(mails, run.leads["converted_at"], run.as_of)
    if mails.height < settings.minimum_listed:
        return None
    to_open, to_click = pl.col("minutes_to_open"), pl.col("minutes_to_click")
    won = pl.col("success")
    row = mails.select(
        sample=pl.len(),
        opened=pl.col("opened").sum(),
        clicked=pl.col("clicked").sum(),
        both=(pl.col("opened") & pl.col("clicked")).sum(),
        machine=pl.col("machine_open").fill_null(False).sum(),
        any_open=(pl.col("machine_open").fill_null(False) | pl.col("opened")).sum(),
        avg_open=to_open.mean(),
        median_open=to_open.median(),
        avg_click=to_click.mean(),
        median_click=to_click.median(),
        open_to_click=(to_click - to_open).filter(to_click >= to_open).median(),
        best_open=to_open.filter(won).median(),
        best_click=to_click.filter(won).median(),
    ).row(0, named=True)
    return EngagementTiming(
        sample=row["sample"],
        avg_time_to_open_minutes=_minutes(row["avg_open"]),
        median_time_to_open_minutes=_minutes(row["median_open"]),
        avg_time_to_click_minutes=_minutes(row["avg_click"]),
        median_time_to_click_minutes=_minutes(row["median_click"]),
        median_open_to_click_minutes=_minutes(row["open_to_click"]),
        optimal_open_window_minutes=_minutes(row["best_open"]),
        optimal_click_window_minutes=_minutes(row["best_click"]),
        open_rate=rounded_rate(row["opened"] / row["sample"]),
        click_rate=rounded_rate(row["clicked"] / row["sample"]),
        click_to_open_rate=_share(row["both"], row["opened"]),
        machine_open_share=_share(row["machine"], row["any_open"]) or 0.0,
    )


def email_engagement(run: Population, settings: DetectorSettings) -> EmailEngagement | None:
    """Opens and clicks against conversion, per lead followed long enough that received an e-mail.

    Both count within the follow-up alone, before the conversion.

    Args:
        run: the population.
        settings: minimum per side of a comparison.

    Returns:
        None under `minimum_units` leads.
    """
    resolved = run.resolved_leads.select(
        "lead",
        won="converted",
        ended_at=pl.min_horizontal(
            "converted_at", pl.col("contacted_at") + dt.timedelta(days=run.follow_up_days)
        ),
    )
    place = pl.Series(unit_of_rows(run.leads["lead"], resolved["lead"]))
    ends = resolved["ended_at"].gather(place.set(place < 0, None))
    rows = run.followed["row"]
    sent_by_mail = run.touches["channel"].gather(rows) == EMAIL
    mails = run.columns_of(("lead", *ENGAGEMENT), rows.filter(sent_by_mail))
    leads = _by_lead(engaged(mails, ends, run.as_of))
    leads = leads.with_columns(resolved["won"].gather(place.gather(leads["lead"])))
    if leads.height < settings.minimum_units:
        return None
    opened, clicked, won = pl.col("opens") > 0, pl.col("clicks") > 0, pl.col("won")
    row = leads.select(
        leads=pl.len(),
        opened=opened.sum(),
        clicked=clicked.sum(),
        both=(opened & clicked).sum(),
        opened_won=(opened & won).sum(),
        not_opened_won=(~opened & won).sum(),
        clicked_won=(clicked & won).sum(),
        not_clicked_won=(~clicked & won).sum(),
        opens_won=pl.col("opens").filter(won).mean(),
        opens_lost=pl.col("opens").filter(~won).mean(),
        to_open_won=pl.col("to_open").filter(won).mean(),
        to_click_won=pl.col("to_click").filter(won).mean(),
    ).row(0, named=True)
    n, least = row["leads"], settings.minimum_listed
    if_opened = _share(row["opened_won"], row["opened"], least)
    if_not_opened = _share(row["not_opened_won"], n - row["opened"], least)
    if_clicked = _share(row["clicked_won"], row["clicked"], least)
    if_not_clicked = _share(row["not_clicked_won"], n - row["clicked"], least)
    result = EmailEngagement(
        sample_size=n,
        open_rate=rounded_rate(row["opened"] / n),
        click_rate=rounded_rate(row["clicked"] / n),
        click_to_open_rate=_share(row["both"], row["opened"]),
        conversion_rate_if_opened=if_opened,
        conversion_rate_if_not_opened=if_not_opened,
        conversion_rate_if_clicked=if_clicked,
        open_conversion_lift=_ratio(if_opened, if_not_opened),
        click_conversion_lift=_ratio(if_clicked, if_not_clicked),
        avg_opens_converted=_mean(row["opens_won"]),
        avg_opens_not_converted=_mean(row["opens_lost"]),
        avg_time_to_open_converted_minutes=_minutes(row["to_open_won"]),
        avg_time_to_click_converted_minutes=_minutes(row["to_click_won"]),
        insights=(),
    )
    enough = min(row["opened"], n - row["opened"]) >= settings.minimum_tested
    enough_clicks = min(row["clicked"], n - row["clicked"]) >= settings.minimum_tested
    return _with_insights(result, enough, enough_clicks)


def engaged(mails: pl.DataFrame, ended_at: pl.Series, as_of: dt.datetime) -> pl.DataFrame:
    """E-mail touches with what people did up to `ended_at` of their lead, given by its number."""
    ends = pl.DataFrame({"ended_at": ended_at.gather(mails["lead"])})
    last = pl.min_horizontal(pl.col("ended_at"), pl.lit(as_of))
    return mails.hstack(ends).with_columns(_human_engagement(last))


def _human_engagement(as_of: pl.Expr) -> list[pl.Expr]:
    """Columns `opened`, `clicked`, `minutes_to_open`, `minutes_to_click` of people, as of then."""
    opened = (pl.col("human_opened_at") <= as_of).fill_null(False)
    clicked = (pl.col("human_clicked_at") <= as_of).fill_null(False)

    def minutes(name: str, happened: pl.Expr) -> pl.Expr:
        return pl.when(happened & (pl.col(name) >= 0)).then(pl.col(name)).alias(name)

    return [
        opened.alias("opened"),
        clicked.alias("clicked"),
        minutes("minutes_to_open", opened),
        minutes("minutes_to_click", clicked),
    ]


def _by_lead(mails: pl.DataFrame) -> pl.DataFrame:
    """Opens, clicks and the shortest times to them of each lead; mails are in order of leads."""
    lead = mails["lead"].to_numpy()
    start = np.flatnonzero(np.concatenate(([True], lead[1:] != lead[:-1])))[: lead.size]

    def added(name: str) -> IntArray:
        return np.asarray(np.add.reduceat(mails[name].to_numpy().astype(np.int64), start))

    def shortest(name: str) -> pl.Series:
        return pl.Series(np.fmin.reduceat(mails[name].to_numpy(), start)).fill_nan(None)

    return pl.DataFrame(
        {
            "lead": lead[start],
            "opens": added("opened"),
            "clicks": added("clicked"),
            "to_open": shortest("minutes_to_open"),
            "to_click": shortest("minutes_to_click"),
        }
    )


def _with_insights(
    found: EmailEngagement, enough_opens: bool, enough_clicks: bool
) -> EmailEngagement:
    # Thresholds of the pattern facts, section 5 (email_engagement_correlation).
    lines: list[str] = []
    lift, click_lift = found.open_conversion_lift, found.click_conversion_lift
    if enough_opens and lift is not None:
        if lift > 1.5:
            lines.append(f"leads who open convert {lift:.2f} times as often")
        elif lift < 0.8:
            lines.append(f"opening goes with fewer conversions ({lift:.2f} times)")
        won, lost = found.avg_opens_converted, found.avg_opens_not_converted
        if won is not None and lost and won > 1.5 * lost:
            lines.append(f"converted leads open {won:.2f} mails, the others {lost:.2f}")
    if enough_clicks and click_lift is not None:
        if click_lift > 2.0:
            lines.append(f"a click is a strong sign: {click_lift:.2f} times as many conversions")
        elif click_lift > 1.0:
            lines.append(f"leads who click convert {click_lift:.2f} times as often")
    return replace(found, insights=tuple(lines or ["need more data"]))


def _minutes(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _mean(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _share(part: int, whole: int, least: int = 1) -> float | None:
    return rounded_rate(part / whole) if whole >= least else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return rounded_ratio(one / other) if one is not None and other else None
