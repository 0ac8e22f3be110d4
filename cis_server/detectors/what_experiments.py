"""A/B tests by lead: what is believed of the arms, and what may be concluded."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.coded import Coded
from cis_server.detectors.outcomes import Label, Population
from cis_server.detectors.rounding import rounded_rate, rounded_ratio
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.domain.what_pattern import AbTestInsight, AbTestInsights
from cis_server.stats.arrays import IntArray
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
        touches = run.columns_of(_COLUMNS, every)
        test, variant = (Coded.of(touches[name]) for name in ("ab_test_id", "ab_variant"))
        met = np.flatnonzero((test.code >= 0) & (variant.code >= 0))
        # By test, and within one in the order of leads and time, as touches are.
        met = met[np.argsort(test.code[met], kind="stable")]
        self._tests, self._variants = test.names, variant.names
        self._channels = _channels(test.code[met], Coded.of(touches["channel"]).rows(met))
        self._arms = _arms(touches, met, test, variant)

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
        tests = [t for t, used in self._channels.items() if channel is None or used == {channel}]
        if not tests:
            return None
        found = []
        for test in tests:
            arms = {
                variant: Arm(n, converted)
                for variant, n, converted in zip(
                    self._variants, *self._arms[:, test].tolist(), strict=True
                )
                if n >= self._settings.minimum_listed
            }
            if len(arms) > 1:
                found.append(_insight(self._tests[test], arms))
        return AbTestInsights(test_insights=tuple(found), total_tests_analyzed=len(tests))


def _channels(test: IntArray, channel: Coded) -> dict[int, set[str]]:
    """The channels that the touches of each test went over, tests in order."""
    names = ("", *channel.names)  # The first where none is known.
    used: dict[int, set[str]] = {}
    for both in np.unique(test * len(names) + channel.code + 1).tolist():
        used.setdefault(both // len(names), set()).add(names[both % len(names)])
    return used


def _arms(touches: pl.DataFrame, met: IntArray, test: Coded, variant: Coded) -> IntArray:
    """Leads that count and those of them that converted, shape (2, tests, variants).

    Args:
        touches: all of them.
        met: rows of touches in a test, by test, lead and time.
        test: of every touch.
        variant: of every touch.
    """
    shape = (len(test.names), len(variant.names))
    if not met.size:
        return np.zeros((2, *shape), dtype=np.int64)
    of_test, lead, arm = test.code[met], touches["lead"].to_numpy()[met], variant.code[met]
    # One row a lead and test: its first touch.
    begins = np.flatnonzero(
        np.append(True, (of_test[1:] != of_test[:-1]) | (lead[1:] != lead[:-1]))
    )
    first = met[begins]
    one_arm = np.minimum.reduceat(arm, begins) == np.maximum.reduceat(arm, begins)
    counted = one_arm & touches["resolved"].to_numpy()[first]
    won = (touches["label"] == Label.CONVERTED).to_numpy()[first]
    cell = test.code[first] * shape[1] + variant.code[first]
    size = shape[0] * shape[1]
    return np.stack(
        [
            np.bincount(cell[rows], minlength=size).reshape(shape)
            for rows in (counted, counted & won)
        ]
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
