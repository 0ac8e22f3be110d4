"""WHO: which leads convert."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cis_server.detectors.blocks import Blocks
from cis_server.detectors.crm_attributes import attribute_levels
from cis_server.detectors.envelope import envelope, require_enough
from cis_server.detectors.lead_dimensions import (
    SIGNALS,
    SIZE_EDGES,
    SIZE_LABELS,
    company_levels,
    employment_levels,
    industry_levels,
    signal_flags,
    size_levels,
    title_levels,
)
from cis_server.detectors.levels import Levels, levels
from cis_server.detectors.objections import objection_patterns
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.envelope import AttributeRanking
from cis_server.domain.patterns import (
    SignalLift,
    SizeAnalysis,
    SizeRange,
    TimingSignals,
    WhoPattern,
)
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.stats.arrays import BoolArray

_METHOD = (
    "leads followed for the same time after first contact; rates by beta-binomial shrinkage; "
    "Fisher or score test against the complement with Benjamini-Hochberg over all segments; "
    "Mantel-Haenszel over score tier and touch number"
)
_TITLES, _INDUSTRIES, _SIZES = "title_rankings", "industry_rankings", "size_analysis"
_SIGNALS, _OBJECTIONS, _ATTRIBUTES = "timing_signals", "objection_patterns", "attribute_rankings"


def detect_who(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    run: Population | None = None,
) -> WhoPattern:
    """Rank titles, industries, sizes and every other lead attribute by how their leads convert.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        The pattern; the same data give the same pattern whatever the row order.

    Raises:
        InsufficientData: too few leads, conversions or non-conversions.
    """
    settings = settings or DetectorSettings()
    run = run or population(dataset, settings)
    leads = run.resolved_leads
    won = leads["converted"].to_numpy()
    converted = int(won.sum())
    require_enough(leads.height, converted, "leads", settings, run.note)
    blocks = Blocks()
    judged = _judged(run, leads, won, blocks, settings)
    titles = _listed(blocks, _TITLES, judged, "title", settings)
    industries = _listed(blocks, _INDUSTRIES, judged, "industry", settings)
    size = blocks.run(_SIZES, lambda: _size_analysis(judged["company_size"]))
    signals = blocks.run(_SIGNALS, lambda: _timing_signals(judged, leads))
    objections = blocks.run(_OBJECTIONS, lambda: objection_patterns(run, settings))
    rankings = blocks.run(_ATTRIBUTES, lambda: _rankings(judged, settings)) or ()
    return WhoPattern(
        envelope=envelope(
            PatternType.WHO,
            run,
            blocks,
            unit="leads",
            method=_METHOD,
            sample=leads.height,
            converted=converted,
        ),
        title_rankings=titles,
        industry_rankings=industries,
        size_analysis=size,
        timing_signals=signals,
        objection_patterns=objections,
        attribute_rankings=rankings,
    )


def _judged(
    run: Population,
    leads: pl.DataFrame,
    won: BoolArray,
    blocks: Blocks,
    settings: DetectorSettings,
) -> Mapping[str, Judged]:
    """All dimensions of a lead, each added on its own so that a broken column loses only itself."""
    touches = run.followed_columns(("lead", "tier", "touch_number", "channel", "success"))
    risk = RiskSet.of_leads(leads, touches, settings.touch_cap)
    segments = Segments(settings, float(won.mean()))

    def add(dimensions: list[Levels]) -> None:
        for dimension in dimensions:
            segments.add(dimension, won, risk)

    blocks.step(_TITLES, lambda: add(title_levels(leads, settings)))
    blocks.step(_INDUSTRIES, lambda: add([industry_levels(leads, settings)]))
    blocks.step(_SIZES, lambda: add([size_levels(leads)]))
    blocks.step(_SIGNALS, lambda: add(_signal_levels(leads)))
    blocks.step(_ATTRIBUTES, lambda: add(company_levels(leads, settings)))
    blocks.step(_ATTRIBUTES, lambda: add(employment_levels(leads)))
    skipped: list[str] = []

    def add_attributes() -> None:
        found, left_out = attribute_levels(leads["attributes"], settings)
        skipped.extend(left_out)
        add(found)

    blocks.step(_ATTRIBUTES, add_attributes)
    if skipped:
        blocks.remark(_ATTRIBUTES, "left out: " + "; ".join(skipped))
    return segments.judged()


def _listed(
    blocks: Blocks,
    block: str,
    judged: Mapping[str, Judged],
    dimension: str,
    settings: DetectorSettings,
) -> tuple[SegmentRate, ...]:
    def headline() -> tuple[SegmentRate, ...] | None:
        return judged[dimension].headline(settings.headline_segments) or None

    return blocks.run(block, headline) or ()


def _size_analysis(judged: Judged) -> SizeAnalysis | None:
    """Ranges in natural order; a sweet spot only where one wins, the one with the highest `low`."""
    if not judged.segments:
        return None
    found = judged.by_value()
    ranges = {
        label: SizeRange(
            range=label,
            range_min=low,
            range_max=high - 1 if high is not None else None,
            estimate=found[label].estimate,
        )
        for label, low, high in zip(SIZE_LABELS, (1, *SIZE_EDGES), (*SIZE_EDGES, None), strict=True)
        if label in found
    }
    winner = next((s for s in judged.segments if s.verdict is Verdict.WINNING), None)
    best = ranges[winner.value] if winner is not None else None
    return SizeAnalysis(
        sweet_spot=best.range if best else None,
        sweet_spot_min=best.range_min if best else None,
        sweet_spot_max=best.range_max if best else None,
        sweet_spot_rate=(best.estimate.rate or 0.0) if best else 0.0,
        distribution=tuple(ranges.values()),
    )


def _signal_levels(leads: pl.DataFrame) -> list[Levels]:
    return [
        levels(f"signal.{name}", flag.cast(pl.String), limit=2)
        for name, flag in signal_flags(leads).items()
    ]


def _timing_signals(judged: Mapping[str, Judged], leads: pl.DataFrame) -> TimingSignals | None:
    found: list[SignalLift] = []
    lifts: dict[str, float] = {}
    for name in SIGNALS:
        dimension = judged[f"signal.{name}"]
        sides = dimension.by_value()
        lifts[name] = 1.0
        if "true" in sides and "false" in sides:
            known = round(dimension.coverage * leads.height)
            found.append(
                SignalLift(
                    signal=name,
                    with_signal=sides["true"].estimate,
                    without_signal=sides["false"].estimate,
                    unknown=leads.height - known,
                )
            )
            lifts[name] = sides["true"].estimate.adjusted_lift or 1.0
    if not found:
        return None
    return TimingSignals(
        new_role_lift=lifts["new_role"],
        hiring_lift=lifts["hiring"],
        funded_lift=lifts["funded"],
        signals=tuple(found),
    )


_ELSEWHERE = ("title", "industry", "company_size", *(f"signal.{name}" for name in SIGNALS))


def _rankings(
    judged: Mapping[str, Judged], settings: DetectorSettings
) -> tuple[AttributeRanking, ...] | None:
    rankings = tuple(
        dimension.ranking(settings.ranked_levels)
        for name, dimension in judged.items()
        if name not in _ELSEWHERE and dimension.segments
    )
    return rankings or None
