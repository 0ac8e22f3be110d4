"""A/B tests by lead: what is believed of the arms, and what may be concluded."""

from __future__ import annotations

import polars as pl

from cis_server.detectors.outcomes import Label, Population
from cis_server.detectors.rounding import rounded_rate, rounded_ratio
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.domain.what_pattern import AbTestInsight, AbTestInsights
from cis_server.stats.experiments import Arm, ArmPosterior, Conclusion, Experiment, experiment
from cis_server.stats.proportions import lift

_COLUMNS = ("ab_test_id", "ab_variant", "lead", "channel", "resolved", "label")


class AbTests:
    """The A/B tests that touches of a run took part in.

    A lead belongs to the arm of its first touch in the test; one that met several arms (a fault of
    assignment) is left out. It counts when that touch is resolved, and as a success when it
    converted, by whichever touch.
    """

    def __init__(self, run: Population, settings: DetectorSettings) -> None:
        """Find the tests.

        Args:
            run: the population.
            settings: minimum of an arm.
        """
        self._settings = settings
        every = pl.int_range(run.touches.height, dtype=pl.UInt32, eager=True)
        touches = run.columns_of(_COLUMNS, every).filter(
            pl.col("ab_test_id").is_not_null(), pl.col("ab_variant").is_not_null()
        )
        # One row a lead and test; touches are in the order of leads and time.
        self._exposed = touches.group_by("ab_test_id", "lead").agg(
            pl.col("ab_variant").first(),
            pl.col("resolved").first(),
            one_arm=pl.col("ab_variant").min() == pl.col("ab_variant").max(),
            converted=(pl.col("label") == Label.CONVERTED).first(),
        )
        channels = touches.group_by("ab_test_id").agg(pl.col("channel").unique())
        self._channels: dict[str, list[str]] = dict(channels.iter_rows())

    @property
    def empty(self) -> bool:
        """Whether there is no test."""
        return not self._channels

    def insights(self, channel: str | None = None) -> AbTestInsights | None:
        """The tests by id.

        Args:
            channel: only tests all of whose touches went over it.

        Returns:
            None when there is no test.
        """
        tests = [t for t, used in self._channels.items() if channel is None or used == [channel]]
        if not tests:
            return None
        arms = (
            self._exposed.filter("one_arm", "resolved", pl.col("ab_test_id").is_in(tests))
            .group_by("ab_test_id", "ab_variant")
            .agg(n=pl.len(), converted=pl.col("converted").sum())
            .filter(pl.col("n") >= self._settings.minimum_listed)
            .sort("ab_test_id", "ab_variant")
        )
        by_test: dict[str, dict[str, Arm]] = {}
        for test, variant, n, converted in arms.iter_rows():
            by_test.setdefault(test, {})[variant] = Arm(n, converted)
        return AbTestInsights(
            test_insights=tuple(
                _insight(t, found) for t, found in by_test.items() if len(found) > 1
            ),
            total_tests_analyzed=len(tests),
        )


def _insight(test: str, arms: dict[str, Arm]) -> AbTestInsight:
    names, counts = list(arms), list(arms.values())
    found = experiment(counts)
    pooled = sum(arm.converted for arm in counts) / sum(arm.n for arm in counts)
    order = sorted(range(len(names)), key=lambda i: (-found.arms[i].mean, -counts[i].n, names[i]))
    best, worst = found.arms[found.best], found.arms[found.worst]
    sequence = found.sequence
    return AbTestInsight(
        test_id=test,
        best_variant=names[found.best],
        best_rate=rounded_rate(best.mean),
        worst_variant=names[found.worst],
        worst_rate=rounded_rate(worst.mean),
        rate_difference=rounded_rate(found.difference),
        rate_difference_low=rounded_rate(found.difference_interval.low),
        rate_difference_high=rounded_rate(found.difference_interval.high),
        probability_best=rounded_rate(best.probability_best),
        expected_loss=rounded_rate(best.expected_loss),
        conclusion=found.conclusion.value,
        arms=tuple(
            SegmentRate(
                value=names[i],
                estimate=_estimate(counts[i], found.arms[i], pooled, _others(counts, i)),
                verdict=_verdict(found, i),
            )
            for i in order
        ),
        sequence_low=None if sequence is None else rounded_rate(sequence.low),
        sequence_high=None if sequence is None else rounded_rate(sequence.high),
        sample_ratio_p_value=rounded_rate(found.sample_ratio_p_value),
    )


def _others(arms: list[Arm], own: int) -> Arm:
    rest = [arm for place, arm in enumerate(arms) if place != own]
    return Arm(sum(arm.n for arm in rest), sum(arm.converted for arm in rest))


def _estimate(arm: Arm, posterior: ArmPosterior, pooled: float, others: Arm) -> RateEstimate:
    rate = arm.converted / arm.n
    complement = (others.converted + 1.0) / (others.n + 2.0)
    return RateEstimate(
        rate=rounded_rate(rate),
        adjusted_rate=rounded_rate(posterior.mean),
        low=rounded_rate(posterior.low),
        high=rounded_rate(posterior.high),
        sample=arm.n,
        converted=arm.converted,
        lift=rounded_ratio(lift(rate, pooled)),
        adjusted_lift=rounded_ratio(posterior.mean / complement),
    )


def _verdict(found: Experiment, arm: int) -> Verdict:
    if found.conclusion is not Conclusion.WINNER:
        return Verdict.UNDECIDED
    return Verdict.WINNING if arm == found.best else Verdict.LOSING
