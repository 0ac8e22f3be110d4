"""Which objections which leads raise, as rates per contacted lead."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.outcomes import Population
from cis_server.detectors.rounding import rounded
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.patterns import ObjectionCount, ObjectionPatterns
from cis_server.stats.rates import estimate_segments

_INDUSTRY_ROWS = 20
_SIZES = ((1, 50, "small"), (51, 250, "medium"), (251, None, "large"))


def objection_patterns(run: Population, settings: DetectorSettings) -> ObjectionPatterns | None:
    """Objections overall, by industry and by company size.

    A lead counts once per objection and segment, however often it raised it. Segments under the
    minimum are left out; of the industries the 20 most frequent rows are kept.

    Args:
        run: the population; the leads followed long enough count, which had time to object.
        settings: minimums.

    Returns:
        None under `minimum_units` such leads, or when nobody raised an objection.
    """
    contacted = run.resolved_leads
    if contacted.height < settings.minimum_units:
        return None
    folded = pl.col("industry").str.strip_chars().str.to_lowercase()
    size = pl.col("employee_count")
    leads = contacted.select(
        "lead",
        "objections",
        industry=pl.when(folded.str.len_bytes() > 0).then(folded),
        size=pl.coalesce(
            pl.when((size >= low) & (pl.lit(high is None) | (size <= (high or 0)))).then(
                pl.lit(label)
            )
            for low, high, label in _SIZES
        ),
        overall=pl.lit("all"),
    )
    raised = (
        leads.explode("objections", empty_as_null=True)
        .drop_nulls("objections")
        .rename({"objections": "objection"})
    )
    if raised.is_empty():
        return None
    industries = _by_segment(leads, raised, "industry", settings)
    rows = sorted(
        ((segment, entry) for segment, entries in industries.items() for entry in entries),
        key=lambda row: (-row[1].unique_leads, row[0], row[1].objection),
    )[:_INDUSTRY_ROWS]
    by_industry: dict[str, tuple[ObjectionCount, ...]] = {}
    for segment, entry in rows:
        by_industry[segment] = (*by_industry.get(segment, ()), entry)
    return ObjectionPatterns(
        by_industry=dict(sorted(by_industry.items())),
        by_company_size=_by_segment(leads, raised, "size", settings),
        overall_distribution=_by_segment(leads, raised, "overall", settings).get("all", ()),
    )


def _by_segment(
    leads: pl.DataFrame, raised: pl.DataFrame, by: str, settings: DetectorSettings
) -> dict[str, tuple[ObjectionCount, ...]]:
    sizes = (
        leads.drop_nulls(by)
        .group_by(by)
        .agg(n=pl.len())
        .filter(pl.col("n") >= settings.minimum_listed)
    )
    # Every segment stands in every objection's row, also with none, so that zeros shrink too.
    counts = (
        sizes.join(raised.select("objection").unique(), how="cross")
        .join(
            raised.drop_nulls(by)
            .group_by(by, "objection")
            .agg(count=pl.len(), leads=pl.col("lead").n_unique()),
            on=[by, "objection"],
            how="left",
        )
        .with_columns(pl.col("count", "leads").fill_null(0).cast(pl.Int64))
        .sort("objection", by)
    )
    rows: dict[str, list[ObjectionCount]] = {}
    for (objection,), group in counts.group_by("objection", maintain_order=True):
        n = group["n"].to_numpy().astype(np.int64)
        k = group["leads"].to_numpy()
        estimates = estimate_segments(k, n).estimates
        for segment, count, found, estimate in zip(
            group[by].to_list(), group["count"].to_list(), k.tolist(), estimates, strict=True
        ):
            if found:
                rows.setdefault(segment, []).append(
                    ObjectionCount(
                        objection=str(objection),
                        count=count,
                        unique_leads=found,
                        estimate=rounded(estimate),
                    )
                )
    return {
        segment: tuple(sorted(entries, key=lambda entry: (-entry.unique_leads, entry.objection)))
        for segment, entries in sorted(rows.items())
    }
