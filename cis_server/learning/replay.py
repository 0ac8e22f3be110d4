"""What a version of weights or of a propensity model would have done to past leads.

Every lead is scored as it was at its first contact, under the version and under what it is held
against; then leads are ranked both ways and their outcomes looked at. Two things make a version
look better than it is, and both are marked lead by lead: leads it was learned from (`in_sample`),
and leads whose components were computed again afterwards from what is stored of them today
(`reconstructed`), which an outcome may have changed. Figures are therefore given for all leads and
for the rest without them; only those say how the version does on leads it has not seen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from cis_server.detectors.outcomes import population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.learned import LearningState
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.tiers import tier_of
from cis_server.domain.vocabulary import Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.errors import PreconditionFailed
from cis_server.learning.first_touch import FirstTouch, first_touch
from cis_server.learning.metrics import lift_at, pr_auc
from cis_server.learning.propensity_stage import raw_of
from cis_server.learning.targets import CONVERTED, TARGETS, target_rows
from cis_server.scoring.propensity import PropensityScorer
from cis_server.stats.arrays import FloatArray

SHARES: Final = (0.1, 0.2)
"""Parts of the ranking whose conversions are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedVersion:
    """The version, and when it learned."""

    label: str
    weights: Weights | None = None
    model: PropensityModel | None = None
    """Exactly one of the two is given."""
    trained_from: dt.datetime | None = None
    trained_until: dt.datetime | None = None
    """First contacts it may have learned from; None for a version that learned from no lead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopShare:
    """Conversions among the first leads of both rankings."""

    share: float
    leads: float
    """Leads in the share; ties at its end count in part."""
    converted_before: float
    converted_after: float
    lift_before: float
    lift_after: float
    """Conversion rate of the share / base rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayGroup:
    """Figures of leads whose outcome is known."""

    name: str
    leads: int
    converted: int
    pr_auc_before: float | None
    """None without conversions, as everything that follows."""
    pr_auc_after: float | None
    tops: tuple[TopShare, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Both rankings of past leads.

    Attributes:
        version: what was replayed.
        against: label of what it was held against.
        target: outcome that was looked at.
        leads: one row a lead in the order of the new ranking: lead_id, first_contact_time,
            value_before, value_after (score 0..100 or probability 0..1), rank_before, rank_after
            (1 is best; ties by lead id), rank_change (above 0: moved up), tier_before, tier_after,
            converted (null: not known yet), in_sample, reconstructed.
        tier_moves: (before, after) -> leads; those that stayed are in it. Empty for a propensity
            model, which moves nobody's tier.
        groups: all leads with a known outcome; those the version has not seen; those it learned
            from.
        rank_correlation: Spearman's, of the two rankings; None for fewer than two leads.
        warnings: what to keep in mind, in words.
    """

    version: str
    against: str
    target: str
    leads: pl.DataFrame
    tier_moves: Mapping[tuple[Tier, Tier], int]
    groups: tuple[ReplayGroup, ...]
    rank_correlation: float | None
    warnings: tuple[str, ...]


def replay(
    dataset: Dataset,
    state: LearningState,
    version: ReplayedVersion,
    *,
    against: Weights = DEFAULT_WEIGHTS,
    against_label: str = "defaults",
    settings: DetectorSettings | None = None,
) -> Replay:
    """Rank past leads by a version and by what it is held against.

    Args:
        dataset: leads first contacted inside its window are replayed.
        state: the client's profile and campaigns, for components that were not stored.
        version: what to replay.
        against: weights of the score it is held against.
        against_label: their name.
        settings: of the cohort.

    Raises:
        PreconditionFailed: nobody was first contacted inside the window.
    """
    run = population(dataset, settings or DetectorSettings())
    leads = run.leads.filter(pl.col("contacted_at") >= run.window_start).sort("lead")
    if leads.is_empty():
        raise PreconditionFailed(
            "NO_LEADS", "nobody was first contacted in this time", {"leads": "0"}
        )
    target = version.model.target if version.model is not None else CONVERTED
    if target == CONVERTED:
        outcome = run.resolved_leads.select("lead", converted="converted")
    else:
        wanted = next(each for each in TARGETS if each.name == target)
        rows = target_rows(run, dataset, wanted)
        outcome = pl.DataFrame({"lead": rows.lead, "converted": rows.reached})
    at_first = first_touch(
        leads, client=state.client, campaigns=state.campaigns, as_of=dataset.window.as_of
    )
    before = _whole_scores(at_first, against)
    after = (
        _whole_scores(at_first, version.weights)
        if version.weights is not None
        else _probabilities(leads, at_first, version)
    )
    table = (
        leads.select("lead", "lead_id", first_contact_time="contacted_at")
        .with_columns(
            value_before=before,
            value_after=after,
            in_sample=_in_sample(version),
            reconstructed=pl.Series(at_first.reconstructed),
        )
        .join(outcome, on="lead", how="left")
    )
    moves: dict[tuple[Tier, Tier], int] = {}
    tiers_before = [tier_of(value) for value in before.tolist()]
    tiers_after = tiers_before
    if version.weights is not None:
        tiers_after = [tier_of(value) for value in after.tolist()]
        for move in zip(tiers_before, tiers_after, strict=True):
            moves[move] = moves.get(move, 0) + 1
    table = _ranked(
        table.with_columns(
            tier_before=pl.Series([tier.label for tier in tiers_before]),
            tier_after=pl.Series([tier.label for tier in tiers_after]),
        )
    )
    groups = _groups(table)
    return Replay(
        version=version.label,
        against=against_label,
        target=target,
        leads=table,
        tier_moves=moves,
        groups=groups,
        rank_correlation=_correlation(table),
        warnings=_warnings(table, groups, version),
    )


def _whole_scores(at_first: FirstTouch, weights: Weights) -> FloatArray:
    """Scores as serving gives them: whole numbers 0..100."""
    result: FloatArray = np.floor(np.clip(at_first.scores(weights), 0.0, 100.0) + 1e-9)
    return result


def _probabilities(
    leads: pl.DataFrame, at_first: FirstTouch, version: ReplayedVersion
) -> FloatArray:
    if version.model is None:
        raise ValueError("a version holds weights or a model")
    scorer = PropensityScorer(version.model)
    raw = raw_of(leads, at_first.points, at_first.days)
    names = [feature.name for feature in version.model.space.features]
    nothing = [None] * leads.height
    columns = {name: raw.get(name, nothing) for name in names}
    result: FloatArray = scorer.rows(*scorer.encoder.encode_columns(columns, leads.height))[:, 0]
    return result


def _in_sample(version: ReplayedVersion) -> pl.Expr:
    if version.trained_from is None or version.trained_until is None:
        return pl.lit(False)
    return pl.col("first_contact_time").is_between(version.trained_from, version.trained_until)


def _ranked(table: pl.DataFrame) -> pl.DataFrame:
    for when in ("before", "after"):
        table = (
            table.sort([f"value_{when}", "lead_id"], descending=[True, False])
            .with_row_index(f"rank_{when}", offset=1)
            .with_columns(pl.col(f"rank_{when}").cast(pl.Int64))
        )
    return table.with_columns(rank_change=pl.col("rank_before") - pl.col("rank_after")).select(
        *("lead_id", "first_contact_time", "value_before", "value_after", "rank_before"),
        *("rank_after", "rank_change", "tier_before", "tier_after", "converted"),
        *("in_sample", "reconstructed"),
    )


def _groups(table: pl.DataFrame) -> tuple[ReplayGroup, ...]:
    known = table.filter(pl.col("converted").is_not_null())
    seen = pl.col("in_sample")
    return (
        _group("all leads", known),
        _group("not learned from", known.filter(~seen)),
        _group("learned from (in sample)", known.filter(seen)),
        _group("not learned from, as recorded", known.filter(~seen & ~pl.col("reconstructed"))),
    )


def _group(name: str, known: pl.DataFrame) -> ReplayGroup:
    y = known["converted"].cast(pl.Float64).to_numpy()
    before, after = known["value_before"].to_numpy(), known["value_after"].to_numpy()
    converted = int(y.sum())
    if not converted:
        return ReplayGroup(
            name=name,
            leads=len(y),
            converted=0,
            pr_auc_before=None,
            pr_auc_after=None,
            tops=(),
        )
    return ReplayGroup(
        name=name,
        leads=len(y),
        converted=converted,
        pr_auc_before=pr_auc(y, before),
        pr_auc_after=pr_auc(y, after),
        tops=tuple(_top(y, before, after, share) for share in SHARES),
    )


def _top(y: FloatArray, before: FloatArray, after: FloatArray, share: float) -> TopShare:
    leads = share * len(y)
    lifts = lift_at(y, before, share), lift_at(y, after, share)
    rate = float(y.mean())
    return TopShare(
        share=share,
        leads=leads,
        converted_before=lifts[0] * rate * leads,
        converted_after=lifts[1] * rate * leads,
        lift_before=lifts[0],
        lift_after=lifts[1],
    )


def _correlation(table: pl.DataFrame) -> float | None:
    if table.height < 2:
        return None
    ranks = table.select("rank_before", "rank_after").to_numpy()
    return float(np.corrcoef(ranks.T)[0, 1])


def _warnings(
    table: pl.DataFrame, groups: tuple[ReplayGroup, ...], version: ReplayedVersion
) -> tuple[str, ...]:
    said = []
    seen, rebuilt = int(table["in_sample"].sum()), int(table["reconstructed"].sum())
    if seen:
        said.append(
            f"{seen} of {table.height} leads were first contacted in the time {version.label}"
            " learned from: on them it looks better than it is"
        )
    if version.trained_until is None:
        said.append(
            f"{version.label} learned from no lead; whoever set it may have known these outcomes"
        )
    if rebuilt:
        said.append(
            f"components of {rebuilt} leads were computed again from what is stored today, which"
            " an outcome may have changed"
        )
    unseen = groups[1]
    if unseen.converted < 20:
        said.append(
            f"only {unseen.converted} conversions among leads it has not seen: too few to judge by"
        )
    unknown = int(table["converted"].null_count())
    if unknown:
        said.append(f"{unknown} leads are too young to have an outcome")
    return tuple(said)
