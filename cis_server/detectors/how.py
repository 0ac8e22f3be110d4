"""HOW: which channels, in which order."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cis_server.detectors.attribution import channel_attribution
from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.channel_facts import fact_levels
from cis_server.detectors.coded import Coded
from cis_server.detectors.conversations import conversation_quality
from cis_server.detectors.engagement import email_engagement
from cis_server.detectors.envelope import envelope, require_enough
from cis_server.detectors.levels import Levels
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.paths import (
    ARROW,
    COUNT_LABELS,
    MULTI_LABELS,
    Paths,
    channel_levels,
    channel_paths,
    channel_strata,
    count_levels,
    count_strata,
    first_channel_levels,
    sequence_levels,
    transition_levels,
)
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.touch_snapshots import touch_snapshots
from cis_server.domain.dataset import Dataset
from cis_server.domain.envelope import AttributeRanking, KnownUnits
from cis_server.domain.patterns import (
    ChannelCount,
    FirstTouch,
    HowPattern,
    MultiChannelLift,
    SequencePatterns,
    SequenceRate,
    Transition,
)
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import PatternType, Tier, Verdict
from cis_server.stats.arrays import IntArray
from cis_server.stats.standardized import stratified_p_values

_METHOD = (
    "leads followed for the same time after first contact, and touches older than the horizon; "
    "rates by beta-binomial shrinkage; Fisher or score test against the complement with "
    "Benjamini-Hochberg over all segments; Mantel-Haenszel over score tier and touch number with "
    "channels used so far; sequences among leads that received as many touches; Markov removal "
    "effect (association)"
)
_UNKNOWN_TIER = "unknown"
_TIERS = (*(tier.label for tier in reversed(Tier)), _UNKNOWN_TIER)
_BOTH_TAILS = 0.1
"""Outside of a 90 % interval."""
_COLUMNS = ("lead", "channel", "tier", "touch_number", "success")


def detect_how(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    run: Population | None = None,
) -> HowPattern:
    """Compare channels, their order and number, with tier and touch number held fixed.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        The pattern; the same data give the same pattern whatever the row order. Draws of the
        bootstrap depend on client and `as_of` alone.

    Raises:
        InsufficientData: too few touched leads, conversions or non-conversions.
    """
    settings = settings or DetectorSettings()
    run = run or population(dataset, settings)
    paths = channel_paths(run, settings)
    units, converted = paths.won.size, int(paths.won.sum())
    require_enough(units, converted, "touched leads", settings, run.note)
    blocks = Blocks()
    fact_names: list[str] = []
    judged = _judged(run, paths, blocks, fact_names, settings)

    def listed(block: str, dimension: str) -> tuple[SegmentRate, ...]:
        return blocks.run(block, lambda: judged[dimension].segments or None) or ()

    effectiveness = listed("channel_effectiveness", "channel")
    touches = listed("touch_effectiveness", "touch_channel")
    first = blocks.run("first_touch_effectiveness", lambda: _first_touch(judged))
    sequences = blocks.run("sequence_patterns", lambda: _sequences(judged, settings))
    tiers = blocks.run("tier_channel_effectiveness", lambda: _tiers(judged)) or {}
    multi = blocks.run("multi_channel_lift", lambda: _multi(judged, paths, settings))
    mails = blocks.run("email_engagement_correlation", lambda: email_engagement(run, settings))
    quality = (
        blocks.run("channel_conversation_quality", lambda: conversation_quality(dataset, settings))
        or {}
    )
    bookings = blocks.run("booking_channel_distribution", lambda: _bookings(run)) or {}
    transitions = blocks.run("channel_transitions", lambda: _transitions(judged)) or ()
    attribution = blocks.run("attribution", lambda: channel_attribution(paths, dataset, settings))
    facts = blocks.run("channel_attributes", lambda: _facts(judged, fact_names, settings)) or ()
    return HowPattern(
        envelope=envelope(
            PatternType.HOW,
            run,
            blocks,
            unit="leads",
            method=_METHOD,
            sample=units,
            converted=converted,
            known=_known(judged, settings),
        ),
        channel_effectiveness=effectiveness,
        touch_effectiveness=touches,
        first_touch_effectiveness=first,
        sequence_patterns=sequences,
        tier_channel_effectiveness=tiers,
        multi_channel_lift=multi,
        email_engagement_correlation=mails,
        channel_conversation_quality=quality,
        booking_channel_distribution=bookings,
        channel_transitions=transitions,
        attribution=attribution,
        channel_attributes=facts,
    )


def _judged(
    run: Population, paths: Paths, blocks: Blocks, facts: list[str], settings: DetectorSettings
) -> Mapping[str, Judged]:
    """All comparisons of the run, judged together; notes in `facts` which are facts of touches."""
    segments = Segments(settings, float(paths.won.mean()))
    touches = run.resolved_columns(_COLUMNS)
    success, channel = touches["success"].to_numpy(), Coded.of(touches["channel"])
    touch_risk = RiskSet.of_touches(touches, settings.touch_cap)

    def content(touch: IntArray) -> pl.Series:
        rows = run.activity.filter(run.touches["resolved"]).gather(touch)
        return run.dataset.rows("activities", ("content",), rows)["content"]

    def add_touches(dimension: Levels) -> None:
        segments.add(dimension, success, touch_risk, standardized=True)

    def add_channels() -> None:
        dimension = channel_levels(paths, "channel")
        strata = channel_strata(paths, dimension)
        segments.add(dimension, paths.won, strata=strata, standardized=True)

    def add_tiers() -> None:
        tier = paths.tier.fill_null(_UNKNOWN_TIER)
        for name in _TIERS:
            among = (tier == name).to_numpy()
            if among.any():
                dimension = channel_levels(paths, f"tier.{name}", among)
                strata = channel_strata(paths, dimension)
                segments.add(dimension, paths.won, strata=strata, standardized=True)

    def add_sequences() -> None:
        for dimension, strata in sequence_levels(paths, settings):
            segments.add(dimension, paths.won, strata=strata, standardized=True)

    def add_counts() -> None:
        for dimension, strata in zip(count_levels(paths), count_strata(paths), strict=True):
            if dimension.known.any():
                segments.add(dimension, paths.won, strata=strata, standardized=True)

    def add_facts() -> None:
        for dimension in fact_levels(touch_snapshots(run), content, channel, settings):
            facts.append(dimension.dimension)
            segments.add(dimension, success, touch_risk, standardized=True)

    blocks.step("channel_effectiveness", add_channels)
    blocks.step(
        "touch_effectiveness",
        lambda: add_touches(channel.levels("touch_channel", limit=1000)),
    )
    blocks.step(
        "first_touch_effectiveness",
        lambda: segments.add(first_channel_levels(paths), paths.won, paths.risk, standardized=True),
    )
    blocks.step("sequence_patterns", add_sequences)
    blocks.step("tier_channel_effectiveness", add_tiers)
    blocks.step("multi_channel_lift", add_counts)
    blocks.step(
        "channel_transitions",
        lambda: add_touches(transition_levels(touches["lead"].to_numpy(), channel)),
    )
    blocks.step("channel_attributes", add_facts)
    return segments.judged()


def _known(judged: Mapping[str, Judged], settings: DetectorSettings) -> dict[str, KnownUnits]:
    sequences = [f"sequence_{length}" for length in range(2, settings.sequence_length + 1)]
    names = ("channel", "first_channel", *sequences)
    return {name: judged[name].known for name in names if name in judged}


def _first_touch(judged: Mapping[str, Judged]) -> FirstTouch | None:
    rates = judged["first_channel"].segments
    best = next((s.value for s in rates if s.verdict is Verdict.WINNING), None)
    return FirstTouch(rates=rates, best_first_channel=best) if rates else None


def _sequences(judged: Mapping[str, Judged], settings: DetectorSettings) -> SequencePatterns | None:
    by_length = {
        length: tuple(
            SequenceRate(
                channels=tuple(segment.value.split(ARROW)), sequence=segment.value, segment=segment
            )
            for segment in judged[f"sequence_{length}"].headline(settings.headline_segments)
        )
        for length in range(2, settings.sequence_length + 1)
        if f"sequence_{length}" in judged
    }
    everything = sorted(
        (entry for entries in by_length.values() for entry in entries),
        key=lambda entry: (
            entry.segment.verdict is not Verdict.WINNING,
            -entry.segment.estimate.low,
            -entry.segment.estimate.sample,
            entry.sequence,
        ),
    )
    if not everything:
        return None
    return SequencePatterns(
        winning_sequences=tuple(e for e in everything if e.segment.verdict is Verdict.WINNING),
        sequences=tuple(everything),
        three_channel=by_length.get(3, ()),
    )


def _tiers(judged: Mapping[str, Judged]) -> dict[str, tuple[SegmentRate, ...]] | None:
    found = {
        name: judged[f"tier.{name}"].segments
        for name in _TIERS
        if f"tier.{name}" in judged and judged[f"tier.{name}"].segments
    }
    return found or None


def _multi(
    judged: Mapping[str, Judged], paths: Paths, settings: DetectorSettings
) -> MultiChannelLift | None:
    """One channel against several; what to recommend follows the lift with tier and touch number
    held fixed, and is unknown as long as its interval contains 1."""
    if "multi_channel" not in judged:
        return None
    kinds = {value: s.estimate for value, s in judged["multi_channel"].by_value().items()}
    counts = judged["channel_count"]
    buckets = counts.by_value()
    best = next((s.value for s in counts.segments if s.verdict is Verdict.WINNING), None)
    single, multi = kinds.get("single"), kinds.get("multi")
    enough = (
        single is not None
        and multi is not None
        and min(single.sample, multi.sample) >= settings.minimum_tested
    )
    return MultiChannelLift(
        single_channel_rate=single.rate if single else None,
        multi_channel_rate=multi.rate if multi else None,
        multi_channel_lift=multi.adjusted_lift if enough and multi else None,
        single=single,
        multi=multi,
        recommendation=_recommended(multi, paths) if enough and multi else "unknown",
        optimal_channel_count=best,
        buckets=tuple(
            ChannelCount(channels=label, estimate=buckets[label].estimate)
            for label in COUNT_LABELS
            if label in buckets
        ),
    )


def _recommended(multi: RateEstimate, paths: Paths) -> str:
    low, high = multi.stratified_low, multi.stratified_high
    if low is None or high is None:
        return _recommended_beside_nought(multi, paths)
    return "multi" if low > 1 else "single" if high < 1 else "unknown"


def _recommended_beside_nought(multi: RateEstimate, paths: Paths) -> str:
    """Where one side never converts the ratio has no interval; the test of the same strata has.

    Two-sided at 10 %, as an interval of 90 % would be; exact where conversions are few. What
    converts at all is then the better one.
    """
    p_value = float(stratified_p_values(count_strata(paths)[1])[MULTI_LABELS.index("multi")])
    if not p_value <= _BOTH_TAILS:  # NaN: no stratum has both
        return "unknown"
    return "single" if multi.stratified_lift == 0.0 else "multi"


def _bookings(run: Population) -> dict[str, float] | None:
    counts = run.touches.filter("success").group_by("channel").agg(n=pl.len()).sort("channel")
    total = int(counts["n"].sum())
    if not total:
        return None
    return {name: rounded_rate(n / total) for name, n in counts.iter_rows()}


def _transitions(judged: Mapping[str, Judged]) -> tuple[Transition, ...] | None:
    found = []
    for segment in judged["transition"].segments:
        before, after = segment.value.split(ARROW)
        found.append(Transition(from_channel=before, to_channel=after, estimate=segment.estimate))
    return tuple(found) or None


def _facts(
    judged: Mapping[str, Judged], facts: list[str], settings: DetectorSettings
) -> tuple[AttributeRanking, ...]:
    found = tuple(
        dimension.ranking(settings.ranked_levels)
        for name, dimension in judged.items()
        if name in facts and dimension.segments
    )
    if not found:
        raise InsufficientData("no fact of a channel that varies")
    return found
