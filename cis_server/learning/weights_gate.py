"""Whether learned weights may replace the default ones, and how far they may move at once.

The question is not "do the components matter?" but "do they matter in other proportions than the
defaults say?". It is asked by a nested deviance test: does logit P = a + sum_k beta_k x_k with
beta_k >= 0 beat logit P = a + b * sum_k w0_k x_k with b >= 0? With slopes that may not be negative
the deviance has no tabulated law, and its 95 % point depends on the client: about 5.2 where nothing
matters, 8.8 where the defaults are right. So the null is simulated from the client's own fitted
default model (parametric bootstrap, Davison & Hinkley 1997, section 4.2.3).

The free slopes carry a weak Gaussian prior (precision 1) around b * w0_k. It leaves the size of
the test alone, since the null is simulated with it, and takes weight off directions the data cannot
see (risk hardly varies), which buys about two points of power at 30 conversions.

A set that passes must besides have done better on leads it was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cis_server.domain.runs import Gate
from cis_server.domain.weights import DECIMALS, Weights, rounded_weights
from cis_server.learning.weights import (
    DEFAULTS,
    MINIMUM_PER_CLASS,
    WeightsResult,
    WeightsStatus,
    fit_weights,
)
from cis_server.stats.arrays import FloatArray
from cis_server.stats.nonnegative_logistic import GroupedRows, fit_nonnegative, group_rows

SIGNIFICANCE: Final = 0.05
"""Largest p-value of the deviance test that lets weights pass."""
BOOTSTRAP_DRAWS: Final = ((2_000, 999), (10_000, 399))
"""(most merged rows, simulated data sets); `LEAST_DRAWS` beyond."""
LEAST_DRAWS: Final = 199
WEEKLY_CHANGE_LIMIT: Final = 0.05
"""Largest change of one weight from the second promotion on."""

_PRIOR_PRECISION = 1.0
# Replicate outcomes at once, (replicates, merged rows): what fits the cache, and is not given back
# to the system after every step.
_BLOCK = 100_000


@dataclass(frozen=True, slots=True)
class DevianceTest:
    """Nested deviance of free non-negative slopes against the default proportions.

    Attributes:
        deviance: 2 * (penalised log-likelihood of the free model - of the default model), >= 0.
        p_value: share of simulated deviances at least as large, the observed one included.
        threshold: simulated 95 % point, for the report.
        default_slope: b of the fitted default model the null was simulated from.
    """

    deviance: float
    p_value: float
    threshold: float
    default_slope: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsDecision:
    """What was learned about the weights and whether it may go live."""

    result: WeightsResult
    """The estimate; status NOT_BETTER when a gate refused it."""
    gates: tuple[Gate, ...]
    """Every gate with its figures; empty when nothing was estimated."""
    passed: bool
    """All gates passed."""
    promotable: Weights | None
    """What may go live: the estimate, moved at most `WEEKLY_CHANGE_LIMIT` per weight from the live
    weights from the second promotion on. Set for every estimate, so that `force` can use it."""
    limited: bool
    """Whether the change limit shortened the move."""


def learn_weights(
    x: ArrayLike,
    y: ArrayLike,
    generator: np.random.Generator,
    *,
    live: Weights | None = None,
    promotions: int = 0,
) -> WeightsDecision:
    """Estimate a client's weights and judge them.

    Args:
        x: (n, 5) components at first touch / maxima, as `fit_weights` takes them.
        y: (n,) outcomes 0/1.
        generator: randomness of folds, intervals and the simulated null.
        live: the client's learned weights in use; None before the first promotion.
        promotions: how many learned sets went live before.

    Returns:
        The decision; independent of the order of the rows.
    """
    result = fit_weights(x, y, generator)
    if result.status is not WeightsStatus.SUCCESS:
        return WeightsDecision(
            result=result, gates=(), passed=False, promotable=None, limited=False
        )
    rows = np.asarray(x, dtype=np.float64)
    complete = np.isfinite(rows).all(axis=1)
    test = deviance_test(
        group_rows(rows[complete], np.asarray(y, dtype=np.float64)[complete]), generator
    )
    gates = _gates(result, test)
    refused = [gate for gate in gates if not gate.passed]
    if refused:
        result = replace(
            result,
            status=WeightsStatus.NOT_BETTER,
            reason="; ".join(gate.text for gate in refused),
        )
    promotable, limited = result.weights, False
    if live is not None and promotions >= 1:
        promotable, limited = limit_change(live, result.weights)
    return WeightsDecision(
        result=result,
        gates=gates,
        passed=not refused,
        promotable=promotable,
        limited=limited,
    )


def deviance_test(
    grouped: GroupedRows, generator: np.random.Generator, draws: int | None = None
) -> DevianceTest:
    """Test the default proportions against free ones, the null simulated from the data's own fit.

    Args:
        grouped: merged rows of the five components (0..1) with counts, both classes present.
        generator: randomness.
        draws: simulated data sets, p = (1 + number as extreme) / (1 + draws); None: as many as
            `BOOTSTRAP_DRAWS` says.

    Returns:
        Deviance, p-value and the simulated 95 % point.
    """
    default_score = (grouped.x @ DEFAULTS)[:, None]
    varying = np.ptp(grouped.x, axis=0) > 0.0
    x, proportions = grouped.x[:, varying], DEFAULTS[varying]
    null = fit_nonnegative(default_score, grouped.n, grouped.k[None])
    slope = float(null.slopes[0, 0])
    probability = special.expit(null.intercept[0] + slope * default_score[:, 0])
    observed = float(_deviances(default_score, x, proportions, grouped.n, grouped.k[None])[0])
    trials = grouped.n.astype(np.int64)
    if draws is None:
        draws = next((many for rows, many in BOOTSTRAP_DRAWS if len(trials) <= rows), LEAST_DRAWS)
    block = max(1, _BLOCK // len(trials))
    simulated = np.concatenate(
        [
            _deviances(
                default_score,
                x,
                proportions,
                grouped.n,
                generator.binomial(
                    trials, probability, size=(min(block, draws - start), len(trials))
                ).astype(np.float64),
            )
            for start in range(0, draws, block)
        ]
    )
    # Equal up to rounding counts as as extreme.
    extreme = int((simulated >= observed - 1e-9).sum())
    return DevianceTest(
        deviance=observed,
        p_value=(1 + extreme) / (1 + draws),
        threshold=float(np.quantile(simulated, 1.0 - SIGNIFICANCE)),
        default_slope=slope,
    )


def limit_change(
    live: Weights, learned: Weights, limit: float = WEEKLY_CHANGE_LIMIT
) -> tuple[Weights, bool]:
    """Move from ``live`` towards ``learned`` until one weight has changed by ``limit``.

    Walking along the straight line keeps sum, bounds and the proportions of the move, which
    cutting each weight by itself would not.

    Returns:
        The weights (three decimals, sum exactly 1) and whether the move was shortened.
    """
    start, end = np.array(live.as_tuple()), np.array(learned.as_tuple())
    largest = float(np.abs(end - start).max())
    if largest <= limit + 1e-9:
        return learned, False
    share, thousandth = limit / largest, 10.0**-DECIMALS
    while True:
        moved = rounded_weights((start + share * (end - start)).tolist())
        change = np.abs(np.array(moved.as_tuple()) - start).max()
        if change <= limit + 1e-9:
            return moved, True
        # Rounding pushed a weight over the limit: stop a thousandth earlier.
        share -= thousandth / largest
        if share <= 0.0:
            return live, True


def _deviances(
    default_score: FloatArray,
    x: FloatArray,
    proportions: FloatArray,
    n: FloatArray,
    k: FloatArray,
) -> FloatArray:
    null = fit_nonnegative(default_score, n, k)
    free = fit_nonnegative(
        x,
        n,
        k,
        prior_mean=null.slopes * proportions,
        prior_precision=_PRIOR_PRECISION,
    )
    result: FloatArray = np.maximum(2.0 * (free.log_posterior - null.log_posterior), 0.0)
    return result


def _gates(result: WeightsResult, test: DevianceTest) -> tuple[Gate, ...]:
    gain = result.gain if result.gain is not None else float("nan")
    others = result.n - result.n_converted
    return (
        Gate(
            name="converted",
            value=result.n_converted,
            bound=MINIMUM_PER_CLASS,
            passed=result.n_converted >= MINIMUM_PER_CLASS,
            text=f"{result.n_converted} leads converted, {MINIMUM_PER_CLASS} needed",
        ),
        Gate(
            name="not_converted",
            value=others,
            bound=MINIMUM_PER_CLASS,
            passed=others >= MINIMUM_PER_CLASS,
            text=f"{others} leads did not convert, {MINIMUM_PER_CLASS} needed",
        ),
        Gate(
            name="nested_deviance",
            value=test.p_value,
            bound=SIGNIFICANCE,
            passed=test.p_value <= SIGNIFICANCE,
            text=f"other proportions than the defaults explain the outcomes by a deviance of "
            f"{test.deviance:.1f}; {test.threshold:.1f} would be chance at {SIGNIFICANCE:.0%} "
            f"(p = {test.p_value:.3f})",
        ),
        Gate(
            name="out_of_fold_gain",
            value=gain,
            bound=0.0,
            passed=gain > 0.0,
            text=f"on leads they were not fitted on, the learned weights change the log-loss per "
            f"lead by {-gain:+.5f}; it must fall",
        ),
    )
