"""What a propensity model has to show on leads it has not seen before it may go live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cis_server.domain.runs import Gate, PropensityOutcome
from cis_server.learning.drift import DRIFT_LIMIT
from cis_server.learning.leakage import MOST_SEPARATION, Leakage
from cis_server.learning.metrics import CalibrationSlope, Gain

POSITIVES_TO_PROMOTE: Final = 50
"""Converted leads in the training part that the gate asks for."""
MINIMUM_LIFT: Final = 1.5
SLOPE_LOW: Final = 0.8
SLOPE_HIGH: Final = 1.2
"""The 90 % interval of the calibration slope has to meet [SLOPE_LOW, SLOPE_HIGH]."""


def enough_positives(counts: PropensityOutcome) -> Gate:
    """Whether the training part holds enough conversions."""
    return Gate(
        name="positives",
        value=float(counts.positives_train),
        bound=float(POSITIVES_TO_PROMOTE),
        passed=counts.positives_train >= POSITIVES_TO_PROMOTE,
        text=f"{counts.positives_train} leads converted in the training part, "
        f"{POSITIVES_TO_PROMOTE} needed",
    )


_MEASURED: Final = (
    ("pr_auc_gain", 0.0, "the gain in average precision over the lead score"),
    ("brier", 0.0, "the Brier score"),
    ("calibration_slope", SLOPE_LOW, "the slope of the calibration"),
    ("lift_at_10", MINIMUM_LIFT, "the lift of the best tenth"),
    ("drift", DRIFT_LIMIT, "the shift of the scores between training and test"),
)


def no_leakage(found: Leakage) -> Gate:
    """Whether every feature was known before the first contact, and none tells the outcome."""
    return Gate(
        name="leakage",
        value=found.separation,
        bound=MOST_SEPARATION,
        passed=not found.leaks,
        text=found.text,
    )


def unmeasured() -> tuple[Gate, ...]:
    """The gates of a test part that nothing can be measured on; none passes."""
    return tuple(
        Gate(name=name, value=None, bound=bound, passed=False, text=f"{what} cannot be measured")
        for name, bound, what in _MEASURED
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the gates look at, on the test part."""

    pr_auc: float
    pr_auc_baseline: float
    gain: Gain
    brier: float
    brier_baseline: float
    slope: CalibrationSlope
    lift_at_10: float
    drift: float
    rate_train: float
    rate_test: float


def measured_gates(of: Figures) -> tuple[Gate, ...]:
    """The gates that look at the test part, each with value, bound and verdict in words."""
    gain, slope = of.gain, of.slope
    met = slope.low <= SLOPE_HIGH and slope.high >= SLOPE_LOW and slope.slope > 0.0
    return (
        Gate(
            name="pr_auc_gain",
            value=gain.low,
            bound=0.0,
            passed=gain.low > 0.0,
            text=f"average precision {of.pr_auc:.3f} against {of.pr_auc_baseline:.3f} of the lead "
            f"score; the gain lies between {gain.low:+.3f} and {gain.high:+.3f} "
            "(80 %) and must be above 0 throughout",
        ),
        Gate(
            name="brier",
            value=of.brier,
            bound=of.brier_baseline,
            passed=of.brier <= of.brier_baseline,
            text=f"mean squared error of the probabilities {of.brier:.4f}, at most "
            f"{of.brier_baseline:.4f} of the lead score",
        ),
        Gate(
            name="calibration_slope",
            value=slope.slope,
            bound=SLOPE_LOW,
            passed=met,
            text=f"calibration slope {slope.slope:.2f} with 90 % interval {slope.low:.2f} to "
            f"{slope.high:.2f}, which must meet {SLOPE_LOW} to {SLOPE_HIGH}"
            + ("" if met else f": {_miscalibrated(of)}"),
        ),
        Gate(
            name="lift_at_10",
            value=of.lift_at_10,
            bound=MINIMUM_LIFT,
            passed=of.lift_at_10 >= MINIMUM_LIFT,
            text=f"the best tenth converts {of.lift_at_10:.2f} times as often as the average, "
            f"{MINIMUM_LIFT} times needed",
        ),
        Gate(
            name="drift",
            value=of.drift,
            bound=DRIFT_LIMIT,
            passed=of.drift <= DRIFT_LIMIT,
            text=f"the scores of later leads differ from those of the training by a stability "
            f"index of {of.drift:.2f}, at most {DRIFT_LIMIT} allowed"
            + ("" if of.drift <= DRIFT_LIMIT else f": {_moved(of)}"),
        ),
    )


def _miscalibrated(of: Figures) -> str:
    if of.slope.slope <= 0.0:
        return "what the model calls likely is not likelier among later leads"
    if of.slope.slope < 1.0:
        return "its probabilities promise larger differences between leads than there are"
    return "later leads differ more from each other than its probabilities say"


def _moved(of: Figures) -> str:
    return (
        "those contacted later are other leads than it learned from "
        f"({of.rate_train:.1%} of the earlier converted, {of.rate_test:.1%} of the later), so that "
        "its probabilities need not hold for them; learn again over a time in which business was "
        "as it is now"
    )
