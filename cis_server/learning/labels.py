"""Which leads the weights and the propensity model are fitted on, and what became of each.

Who converted, was lost, bounced or is still open is decided in one place,
`cis_server.detectors.outcomes`; here it is only chosen among those leads.

The weights take every lead with an outcome. Conversions are seen sooner than refusals by silence,
so among the latest leads the converted ones are over-represented; that moves the intercept of a
logistic model and leaves its slopes alone (Prentice & Pyke 1979), and slopes are all that weights
are made of.

A probability needs the intercept as well. Its leads are therefore a cohort: everybody first
contacted inside the window and long enough ago to have been followed for the same number of days,
whatever has become of them. The target is a conversion within those days; who is still open then
has not converted within them.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import polars as pl

from cis_server.detectors.outcomes import Label, Population
from cis_server.detectors.settings import DetectorSettings

COVERED_SHARE = 0.9
"""Share of the conversions that the follow-up is to cover."""


@dataclass(frozen=True, slots=True)
class LearningRows:
    """Leads to learn from, ordered by `lead_id`.

    Attributes:
        leads: columns of `Population.leads`.
        converted: (n,) boolean column, the outcome.
        follow_up_days: days from first contact within which a conversion counts; None: any.
    """

    leads: pl.DataFrame
    converted: pl.Series
    follow_up_days: int | None = None


def weights_rows(run: Population) -> LearningRows:
    """Leads with an outcome."""
    leads = run.resolved_leads
    return LearningRows(leads, leads["label"] == Label.CONVERTED.value)


def propensity_rows(run: Population, settings: DetectorSettings) -> LearningRows:
    """The cohort of leads that were followed for the same time after their first contact.

    Leads that converted before anybody contacted them are not part of it.

    Args:
        run: the labelled population.
        settings: its horizon is the shortest follow-up.
    """
    contacted = run.leads.filter(
        pl.col("contacted_at") >= run.window_start,
        (pl.col("label") != Label.CONVERTED.value)
        | (pl.col("converted_at") >= pl.col("contacted_at"))
        | (pl.col("touches") > 0),
    )
    days = _follow_up_days(contacted, run, settings)
    leads = contacted.filter(pl.col("contacted_at") <= run.as_of - dt.timedelta(days=days))
    delay = pl.col("converted_at") - pl.col("contacted_at")
    converted = leads.select(
        converted=(pl.col("label") == Label.CONVERTED.value)
        & (delay <= dt.timedelta(days=days)).fill_null(False)
    )["converted"]
    return LearningRows(leads, converted, days)


def _follow_up_days(contacted: pl.DataFrame, run: Population, settings: DetectorSettings) -> int:
    """Days that cover most conversions: the horizon at least, half of the window at most.

    Half of the window, because as many days at its end can have no outcome yet.
    """
    delays = contacted.filter(pl.col("label") == Label.CONVERTED.value).select(
        days=(pl.col("converted_at") - pl.col("contacted_at")).dt.total_seconds() / 86_400
    )["days"]
    covering = delays.quantile(COVERED_SHARE, interpolation="higher") or 0.0
    window = (run.as_of - run.window_start) / dt.timedelta(days=2)
    least = math.ceil(settings.horizon_days)
    return max(least, min(math.ceil(covering), math.floor(window)))
