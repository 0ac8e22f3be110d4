"""Meetings and deals that follow from conversions, with planted causes."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.demo import catalogue
from cis_server.demo.engagement import Touches
from cis_server.demo.identifiers import numbered, uuids
from cis_server.demo.outreach import Codes, Flags, Instants, to_local, to_utc
from cis_server.demo.planting import TIERS, peak_log_odds
from cis_server.demo.population import Population
from cis_server.demo.specs import CHANNELS, ClientSpec
from cis_server.demo.truth import DealEffects, Floats
from cis_server.domain.vocabulary import DealStage, LostReason

_DAY = np.timedelta64(86_400_000_000, "us")
_HOUR = np.timedelta64(3_600_000_000, "us")
_NEVER = np.datetime64("NaT", "us")


def draw_meetings(
    spec: ClientSpec,
    population: Population,
    tiers: Codes,
    touches: Touches,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One meeting for each conversion booked by `as_of`, as known at `as_of`.

    The booking follows the lead's answer after a log-normal delay. Attendance is drawn with
    log-odds a + planted causes; a gives the base rate in the mean.

    Returns:
        Columns of the meetings table, and ``lead`` and ``touch_row`` (rows of the lead and of the
        converting touch), ``channel`` (code of that touch), in booking order.
    """
    outreach = spec.outreach
    row = np.flatnonzero(touches.converting)
    n = len(row)
    delay = rng.lognormal(
        np.log(outreach.conversion_delay_days), outreach.conversion_delay_spread, n
    )
    booked = touches.answered_at[row] + _days(np.minimum(delay, 60.0))
    wait = 1 + rng.geometric(0.18, n)
    place = population.place[touches.lead[row]]
    original = _office_time(booked + _days(wait.astype(float)), place, rng)
    moved = rng.random(n) < 0.14
    later = _office_time(original + _days(3.0 + np.floor(rng.random(n) * 7)), place, rng)
    scheduled = np.where(moved, later, original)
    draws = {name: rng.random(n) for name in ("confirm", "remind", "show", "known", "cancel")}
    outcome_draw = rng.random(n)
    ids = numbered(f"{spec.client_id}-M", n)

    confirmed = draws["confirm"] < 0.6
    reminded = (draws["remind"] < 0.5) & (scheduled - booked > _DAY)
    lead = touches.lead[row]
    clock = to_local(scheduled, place).astype("datetime64[h]").astype(np.int64)
    show = spec.effects.show
    eta = show.confirmed * confirmed + show.reminder * reminded + show.rescheduled * moved
    eta = eta + show.per_week_ahead * ((scheduled - booked) / _DAY / 7)
    eta = eta + np.array([show.tiers.get(name, 0.0) for name in TIERS])[tiers[lead]]
    for peak in show.peaks:
        weekday = (clock // 24 + 3) % 7 + 1
        here = np.isin(weekday, peak.weekdays) if peak.weekdays else np.ones(n, dtype=bool)
        if peak.channel is not None:
            here = here & (touches.channel[row] == CHANNELS.index(peak.channel))
        eta = eta + peak_log_odds(peak)[clock % 24] * here
    shows = draws["show"] < _with_mean(eta, show.base_rate)

    cancelled = draws["cancel"] < 0.04
    over = (scheduled + _HOUR <= as_of) & ~cancelled
    known = over & (draws["known"] < 0.95)
    good = outcome_draw < 0.7
    outcome = np.where(good, "good", "bad")
    outcome = np.where(shows, outcome, "no_show")
    outcome = np.where(known, outcome, "pending")
    outcome = np.where(cancelled & (booked + _HOUR <= as_of), "cancelled", outcome)
    confirmed_at = booked + (scheduled - booked) // 3
    reminded_at = scheduled - _DAY
    frame = pl.DataFrame(
        {
            "meeting_id": ids,
            "lead_id": population.leads["lead_id"].gather(lead),
            "booked_at": booked,
            "scheduled_at": scheduled,
            "original_scheduled_at": np.where(moved, original, _NEVER),
            "rescheduled_count": moved.astype(np.int64),
            "confirmed": confirmed & (confirmed_at <= as_of),
            "confirmed_at": np.where(confirmed & (confirmed_at <= as_of), confirmed_at, _NEVER),
            "reminder_sent": reminded & (reminded_at <= as_of),
            "reminder_sent_at": np.where(reminded & (reminded_at <= as_of), reminded_at, _NEVER),
            "showed_up": pl.select(pl.when(pl.Series(known)).then(pl.Series(shows))).to_series(),
            "showed_up_confirmed_at": np.where(known, scheduled + _HOUR, _NEVER),
            "outcome": outcome,
            "outcome_at": np.where(known, scheduled + _HOUR, _NEVER),
            "lead": lead,
            "touch_row": row,
            "channel": touches.channel[row],
        }
    ).with_columns(
        showed_up_confirmed_by=pl.when(pl.col("showed_up").is_not_null()).then(pl.lit("calendar")),
        meeting_type=pl.lit("discovery"),
        booked_by=pl.lit("lead"),
        booking_method=pl.lit("calendar_link"),
    )
    return frame.filter(pl.col("booked_at") <= pl.lit(as_of)).sort("booked_at", "meeting_id")


_STAGES = (
    DealStage.QUALIFICATION,
    DealStage.PROPOSAL,
    DealStage.NEGOTIATION,
    DealStage.CONTRACT_SENT,
)
_PROBABILITY = {
    DealStage.QUALIFICATION: 20.0,
    DealStage.PROPOSAL: 40.0,
    DealStage.NEGOTIATION: 60.0,
    DealStage.CONTRACT_SENT: 90.0,
    DealStage.CLOSED_WON: 100.0,
    DealStage.CLOSED_LOST: 0.0,
}


def draw_deals(
    spec: ClientSpec,
    population: Population,
    touches: Touches,
    meetings: pl.DataFrame,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Deals that attended meetings opened by `as_of`, and their stage changes up to then.

    Returns:
        Deals (columns of the table, and ``lead``, ``won``) and stage history, both in time order.
    """
    effects = spec.effects.deals
    attended = meetings.filter(pl.col("showed_up"))
    n = len(attended)
    good = (attended["outcome"] == "good").to_numpy()
    opens = rng.random(n) < _with_mean(effects.good_meeting * good, effects.meeting_to_deal)
    win_draw, value_draw, reason_draw = rng.random(n), rng.normal(size=n), rng.random(n)
    met_at: Instants = attended["scheduled_at"].to_numpy()
    opened_at: Instants = met_at + _days(0.1 + 2.5 * rng.random(n))
    lead = attended["lead"].to_numpy()
    eta = _deal_log_odds(effects, population, touches, attended)
    won = win_draw < _with_mean(eta, effects.win_rate)
    median = np.where(won, effects.days_won, effects.days_lost)
    closed_at: Instants = opened_at + _days(np.maximum(rng.lognormal(np.log(median), 0.5), 2.0))
    steps = np.sort(rng.random((n, len(_STAGES) - 1)), axis=1)
    # A lost deal stops somewhere on the way; a won one passes every stage.
    reached = np.where(won, len(_STAGES), 1 + rng.integers(len(_STAGES), size=n))
    size = np.array([row[1] for row in catalogue.SIZE_RANGES], dtype=float)[population.size[lead]]
    value = np.round(effects.median_value * (size / 30) ** 0.35 * np.exp(0.5 * value_draw), -2)
    keep = opens & (opened_at <= as_of)
    ids = numbered(f"{spec.client_id}-D", n)
    history = _stage_changes(ids, opened_at, closed_at, steps, reached, won, keep, as_of, rng)
    latest = history.group_by("deal_id", maintain_order=True).agg(
        stage=pl.col("to_stage").last(), stage_changed_at=pl.col("changed_at").last()
    )
    closed = closed_at <= as_of
    deals = pl.DataFrame(
        {
            "deal_id": ids,
            "lead_id": attended["lead_id"],
            "meeting_id": attended["meeting_id"],
            "name": "Deal with " + population.leads["company_name"].gather(lead),
            "value": value,
            "opened_at": opened_at,
            "closed_at": np.where(closed, closed_at, _NEVER),
            "lost_reason": _reasons(effects, reason_draw, closed & ~won),
            "won": pl.select(pl.when(pl.Series(closed)).then(pl.Series(won))).to_series(),
            "lead": lead,
        }
    ).with_columns(currency=pl.lit(spec.currency))
    deals = deals.filter(pl.Series(keep)).join(latest, on="deal_id", how="left")
    probability = {stage.value: percent for stage, percent in _PROBABILITY.items()}
    deals = deals.with_columns(
        probability=pl.col("stage").replace_strict(probability, return_dtype=pl.Float64)
    )
    return deals.sort("opened_at", "deal_id"), history.sort("changed_at", "deal_id", "to_stage")


def _deal_log_odds(
    effects: DealEffects, population: Population, touches: Touches, attended: pl.DataFrame
) -> Floats:
    lead = attended["lead"].to_numpy()
    before = touches.touch[attended["touch_row"].to_numpy()]
    first = np.zeros(len(population.leads), dtype=np.int64)
    openers = touches.touch == 0
    first[touches.lead[openers]] = touches.channel[openers]
    eta = np.array([effects.first_channels.get(name, 0.0) for name in CHANNELS])[first[lead]]
    sizes = [effects.size_ranges.get(row[0], 0.0) for row in catalogue.SIZE_RANGES]
    fields = [effects.industries.get(name, 0.0) for name, _ in catalogue.INDUSTRIES]
    eta = eta + np.array(sizes)[population.size[lead]]
    eta = eta + np.array(fields)[population.industry[lead]]
    return np.asarray(eta + effects.per_touch * before)


def _stage_changes(
    ids: pl.Series,
    opened_at: Instants,
    closed_at: Instants,
    steps: Floats,
    reached: Codes,
    won: Flags,
    keep: Flags,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    span = closed_at - opened_at
    times = [opened_at]
    times += [opened_at + (span * steps[:, k]).astype("timedelta64[us]") for k in range(3)]
    parts = []
    for k, stage in enumerate(_STAGES):
        here = keep & (k < reached) & (times[k] <= as_of)
        before = _STAGES[k - 1].value if k else None
        parts.append(_changes(ids, here, times[k], stage.value, pl.lit(before, dtype=pl.String)))
    closed = keep & (closed_at <= as_of)
    last = pl.Series([stage.value for stage in _STAGES]).gather(reached - 1)
    for flag, stage in ((won, DealStage.CLOSED_WON), (~won, DealStage.CLOSED_LOST)):
        here = closed & flag
        parts.append(_changes(ids, here, closed_at, stage.value, last.filter(pl.Series(here))))
    history = pl.concat(parts).sort("deal_id", "changed_at")
    return history.with_columns(change_id=uuids(rng, len(history)), changed_by=pl.lit("user"))


def _changes(
    ids: pl.Series, here: Flags, at: Instants, to_stage: str, from_stage: pl.Expr | pl.Series
) -> pl.DataFrame:
    frame = pl.DataFrame({"deal_id": ids.filter(pl.Series(here)), "changed_at": at[here]})
    return frame.with_columns(to_stage=pl.lit(to_stage), from_stage=from_stage)


def _reasons(effects: DealEffects, draw: Floats, lost: Flags) -> pl.Series:
    names = [reason.value for reason in LostReason]
    weights = np.array([effects.lost_reasons.get(name, 1.0) for name in names])
    codes = np.searchsorted(np.cumsum(weights) / weights.sum(), draw, side="right")
    reasons = pl.Series(names).gather(np.minimum(codes, len(names) - 1))
    return pl.select(pl.when(pl.Series(lost)).then(reasons)).to_series()


def _office_time(after: Instants, place: Codes, rng: np.random.Generator) -> Instants:
    """A local half hour between 9 and 17 on the first weekday on or after that day."""
    day = to_local(after, place).astype("datetime64[D]").astype(np.int64)
    weekday = (day + 3) % 7
    day = day + np.where(weekday >= 5, 7 - weekday, 0)
    half_hours = rng.integers(18, 34, size=len(after))
    midnight = day.astype("datetime64[D]").astype("datetime64[us]")
    local = midnight + (half_hours * 1_800_000_000).astype("timedelta64[us]")
    return np.asarray(to_utc(local, place))


def _with_mean(eta: Floats, mean: float) -> Floats:
    """Probabilities with log-odds a + eta whose mean is `mean`; a by bisection to 1e-9."""
    low, high = -40.0, 40.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if len(eta) and _logistic(middle + eta).mean() < mean:
            low = middle
        else:
            high = middle
    return _logistic(low + eta)


def _logistic(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _days(days: Floats) -> NDArray[np.timedelta64]:
    return np.asarray((days * 86_400e6).astype(np.int64).astype("timedelta64[us]"))
