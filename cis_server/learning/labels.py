"""Which leads the weights and the propensity model are fitted on, and what became of each.

The cohort of the lead-level rates, `Population.resolved_leads`: who counts, and who converted, is
decided in one place (`cis_server.detectors.outcomes`, `cis_server.detectors.cohort`).

A probability needs it for its level. The weights need it as well: they are slopes, and choosing
leads by their outcome would leave the slopes of a logistic model alone (Prentice & Pyke 1979) as
long as the choice depends on the outcome only. Among leads with an outcome so far it depends on
age too, so that whatever has changed in the leads lately (a better list, a signal just bought)
would look as if it made them convert.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cis_server.detectors.outcomes import Population


@dataclass(frozen=True, slots=True)
class LearningRows:
    """Leads to learn from, ordered by `lead_id`.

    Attributes:
        leads: columns of `Population.leads`.
        converted: (n,) boolean column, the outcome.
        follow_up_days: days from first contact within which a conversion counts.
    """

    leads: pl.DataFrame
    converted: pl.Series
    follow_up_days: int


def learning_rows(run: Population) -> LearningRows:
    """The leads that were followed for the same time after their first contact."""
    leads = run.resolved_leads
    return LearningRows(leads.drop("converted"), leads["converted"], run.follow_up_days)
