"""The arithmetic of scoring, compiled: one lead and arrays run the same machine code.

Each kernel is compiled from the plain Python function beside it (`score_arithmetic`,
`propensity_arithmetic`), which is its reference: a test compares the two to the last bit. Nothing
here may be reordered or fused (no `fastmath`): sums run in the order they are written.

This is the only module of the scorer that imports numba (about 0.75 s); machine code is cached on
disk, so that later processes load it instead of compiling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from cis_server.errors import ConfigurationError
from cis_server.scoring.points import POINTS, PointTable

FLOOR_GUARD: Final = 1e-9
"""Added before rounding down, so that 59.999999999999 from binary fractions counts as 60."""

Z90: Final = 1.6448536269514722
"""95 % quantile of the standard normal law: half-width of a 90 % interval in standard errors."""


class CodedLead(NamedTuple):
    """A lead as the kernel reads it: small integers. -1 means unknown where 0 has a meaning."""

    email: int = 0
    """0 none or invalid, 1 unverified, 2 verified."""
    phone: int = 0
    """0 none, 1 unverified, 2 verified."""
    linkedin: int = 0
    personal_email: int = 0
    authority: int = 0
    """Points of the title, 0..25."""
    industry: int = 0
    """1 when a target industry matches."""
    headcount: int = 0
    """0 when unknown."""
    headcount_min: int = 0
    headcount_max: int = 0
    country: int = 0
    """A `CountryFit`."""
    role_days: int = -1
    """Days since the role started; -1 when unknown or in the future."""
    hiring: int = 0
    funding_days: int = -1
    """Days since the latest funding; -1 when unknown or in the future."""
    bounced: int = 0
    unsubscribed: int = 0
    competitor: int = 0
    unsuitable: int = 0


class Arithmetic(NamedTuple):
    """Everything the kernel works out of a lead; all floats."""

    data_quality: float
    authority: float
    company_fit: float
    timing: float
    risk: float
    data_quality_part: float
    authority_part: float
    company_fit_part: float
    timing_part: float
    risk_part: float
    weighted_sum: float
    score: float
    tier: float


CODED_WIDTH: Final = len(CodedLead._fields)
ARITHMETIC_WIDTH: Final = len(Arithmetic._fields)

FiveFloats = tuple[float, float, float, float, float]

_F = TypeVar("_F", bound=Callable[..., object])
_reference = cast(Callable[[_F], _F], register_jitable)
"""Marks a plain Python function that compiled code may call; in Python it stays as written."""


@_reference
def weighted_part(points: float, most: float, weight: float) -> float:
    """What a component adds to the sum: points / maximum x 100 x weight (scoring sheet §4)."""
    return points / most * 100.0 * weight


@_reference
def rounded_score(weighted_sum: float) -> float:
    """The score of a weighted sum: floor(clip(sum, 0, 100) + 1e-9) (scoring sheet §4)."""
    return float(math.floor(min(max(weighted_sum, 0.0), 100.0) + FLOOR_GUARD))


@_reference
def score_arithmetic(lead: CodedLead, weights: FiveFloats, p: PointTable) -> Arithmetic:
    """Points, weighted parts, sum, score and tier of one lead (scoring sheet §1, §4, §5, §6).

    part = points / maximum x 100 x weight; the parts are added in the fixed order of the five
    components; score = floor(clip(sum, 0, 100) + 1e-9).

    Args:
        lead: the coded lead.
        weights: five weights in the order of `COMPONENTS`, sum 1.
        p: the point table.
    """
    quality = 0.0
    if lead.email == 2:
        quality += p.email_verified
    elif lead.email == 1:
        quality += p.email_unverified
    if lead.phone == 2:
        quality += p.phone_verified
    elif lead.phone == 1:
        quality += p.phone_unverified
    if lead.linkedin == 1:
        quality += p.linkedin
    if lead.personal_email == 1:
        quality += p.personal_email
    quality = min(quality, p.max_data_quality)

    authority = min(float(lead.authority), p.max_authority)

    fit = 0.0
    if lead.industry == 1:
        fit += p.industry
    if lead.headcount > 0:
        if lead.headcount < lead.headcount_min:
            fit += p.size_below
        elif lead.headcount <= lead.headcount_max:
            fit += p.size_in_range
        elif lead.headcount <= p.size_above_factor * lead.headcount_max:
            fit += p.size_above
    if lead.country == 2:
        fit += p.country
    elif lead.country == 1:
        fit += p.country_aliased
    fit = min(fit, p.max_company_fit)

    timing = 0.0
    if lead.role_days >= 0:
        if lead.role_days < p.new_role_days:
            timing += p.new_role
        elif lead.role_days < p.recent_role_days:
            timing += p.recent_role
    if lead.hiring == 1:
        timing += p.hiring
    if lead.funding_days >= 0:
        if lead.funding_days < p.fresh_funding_days:
            timing += p.fresh_funding
        elif lead.funding_days < p.recent_funding_days:
            timing += p.recent_funding
    timing = min(timing, p.max_timing)

    risk = p.max_risk
    if lead.bounced == 1:
        risk -= p.bounce
    if lead.unsubscribed == 1:
        risk -= p.unsubscribed
    if lead.competitor == 1:
        risk -= p.competitor
    if lead.unsuitable == 1:
        risk -= p.unsuitable_title
    risk = max(risk, 0.0)

    part_quality = weighted_part(quality, p.max_data_quality, weights[0])
    part_authority = weighted_part(authority, p.max_authority, weights[1])
    part_fit = weighted_part(fit, p.max_company_fit, weights[2])
    part_timing = weighted_part(timing, p.max_timing, weights[3])
    part_risk = weighted_part(risk, p.max_risk, weights[4])
    total = part_quality + part_authority + part_fit + part_timing + part_risk
    score = rounded_score(total)

    tier = 0.0
    if score >= p.hot_from:
        tier = 4.0
    elif score >= p.warm_from:
        tier = 3.0
    elif score >= p.cool_from:
        tier = 2.0
    elif score >= p.cold_from:
        tier = 1.0
    return Arithmetic(
        quality,
        authority,
        fit,
        timing,
        risk,
        part_quality,
        part_authority,
        part_fit,
        part_timing,
        part_risk,
        total,
        score,
        tier,
    )


@_reference
def logistic(log_odds: float) -> float:
    """1 / (1 + exp(-t)) without overflow on either side."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    grown = math.exp(log_odds)
    return grown / (1.0 + grown)


@_reference
def propensity_arithmetic(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
) -> tuple[float, float, float]:
    """Calibrated probability of one encoded lead with a 90 % interval.

    eta = beta' x, Var(eta) = x' C x (delta method on the log-odds with the Laplace covariance C,
    Bishop 2006 §4.5), P = 1 / (1 + exp(-(a + b eta))) (Platt 1999); the interval is that of eta
    carried through the same monotone map.

    Args:
        index: shape (F,), the column each feature fills, -1 for none.
        value: shape (F,), what it fills it with.
        coefficients: shape (p + 1,), intercept first.
        covariance: shape (p + 1, p + 1), symmetric, intercept first.
        calibration_intercept: a.
        calibration_slope: b > 0.

    Returns:
        ``(probability, low, high)``.
    """
    eta = coefficients[0]
    variance = covariance[0, 0]
    for i in range(index.shape[0]):
        if index[i] < 0:
            continue
        column = index[i] + 1
        eta += coefficients[column] * value[i]
        cross = covariance[0, column]
        for j in range(i):
            if index[j] >= 0:
                cross += covariance[index[j] + 1, column] * value[j]
        variance += value[i] * (2.0 * cross + value[i] * covariance[column, column])
    spread = Z90 * math.sqrt(max(variance, 0.0))
    middle = calibration_intercept + calibration_slope * eta
    reach = calibration_slope * spread
    return logistic(middle), logistic(middle - reach), logistic(middle + reach)


def _compiled(signature: object) -> Callable[[_F], _F]:
    """Compile for one explicit signature, cached on disk."""
    return cast(Callable[[_F], _F], numba.njit(signature, cache=True, error_model="python"))


_INT_ROWS = numba.types.Array(numba.int64, 2, "C")
_FLOAT_ROWS = numba.types.Array(numba.float64, 2, "C")
_FLOATS = numba.types.Array(numba.float64, 1, "C")
_FIVE = numba.types.UniTuple(numba.float64, 5)
_LEAD = numba.typeof(CodedLead())
_TABLE = numba.typeof(POINTS)
_ARITHMETIC = numba.typeof(Arithmetic(*(0.0,) * ARITHMETIC_WIDTH))

_score = _compiled(_ARITHMETIC(_LEAD, _FIVE, _TABLE))(score_arithmetic)


@_compiled(numba.void(_INT_ROWS, _FIVE, _TABLE, _FLOAT_ROWS))
def _score_rows(
    codes: NDArray[np.int64], weights: FiveFloats, points: PointTable, out: NDArray[np.float64]
) -> None:
    for i in range(codes.shape[0]):
        c = codes[i]
        lead = CodedLead(
            c[0],
            c[1],
            c[2],
            c[3],
            c[4],
            c[5],
            c[6],
            c[7],
            c[8],
            c[9],
            c[10],
            c[11],
            c[12],
            c[13],
            c[14],
            c[15],
            c[16],
        )
        result = score_arithmetic(lead, weights, points)
        for j in range(len(result)):
            out[i, j] = result[j]


_propensity = _compiled(
    numba.types.UniTuple(numba.float64, 3)(
        numba.types.Array(numba.int32, 1, "C"),
        _FLOATS,
        _FLOATS,
        _FLOAT_ROWS,
        numba.float64,
        numba.float64,
    )
)(propensity_arithmetic)


@_compiled(
    numba.void(
        numba.types.Array(numba.int32, 2, "C"),
        _FLOAT_ROWS,
        _FLOATS,
        _FLOAT_ROWS,
        numba.float64,
        numba.float64,
        _FLOAT_ROWS,
    )
)
def _propensity_rows(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
    out: NDArray[np.float64],
) -> None:
    for i in range(index.shape[0]):
        out[i, 0], out[i, 1], out[i, 2] = propensity_arithmetic(
            index[i],
            value[i],
            coefficients,
            covariance,
            calibration_intercept,
            calibration_slope,
        )


def score_one(lead: CodedLead, weights: FiveFloats) -> Arithmetic:
    """`score_arithmetic` of one lead under the point table, compiled."""
    return _score(lead, weights, POINTS)


def score_rows(leads: NDArray[np.int64], weights: FiveFloats) -> NDArray[np.float64]:
    """`score_arithmetic` of many leads, compiled.

    Args:
        leads: shape (n, `CODED_WIDTH`), one `CodedLead` a row.
        weights: as for `score_arithmetic`.

    Returns:
        Shape (n, `ARITHMETIC_WIDTH`), one `Arithmetic` a row.
    """
    out = np.empty((len(leads), ARITHMETIC_WIDTH))
    _score_rows(np.ascontiguousarray(leads, dtype=np.int64), weights, POINTS, out)
    return out


def propensity_rows(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
) -> NDArray[np.float64]:
    """`propensity_arithmetic` of many leads, compiled.

    Args:
        index: shape (n, F).
        value: shape (n, F).
        coefficients, covariance, calibration_intercept, calibration_slope: as there.

    Returns:
        Shape (n, 3): probability, low, high.
    """
    out = np.empty((len(index), 3))
    _propensity_rows(
        np.ascontiguousarray(index, dtype=np.int32),
        np.ascontiguousarray(value, dtype=np.float64),
        coefficients,
        covariance,
        calibration_intercept,
        calibration_slope,
        out,
    )
    return out


def propensity_one(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
) -> tuple[float, float, float]:
    """`propensity_arithmetic` of one lead, compiled; arguments as there."""
    return _propensity(
        index, value, coefficients, covariance, calibration_intercept, calibration_slope
    )


def warm_up() -> None:
    """Run every kernel once and hold it against its reference.

    Machine code read from a stale or foreign cache would give wrong scores without any error; a
    serving process calls this before it reports that it is ready.

    Raises:
        ConfigurationError: a kernel disagrees with its reference.
    """
    weights = (0.1, 0.4, 0.2, 0.2, 0.1)
    leads = [
        CodedLead(*(2, 1, 1, 0, 18, 1, 60, 5, 50, 1, 240, 1, 400, 0, 0, 0, 1)),
        CodedLead(*(1, 2, 0, 1, 22, 0, 3, 5, 50, 2, 10, 0, 20, 1, 0, 0, 0)),
        CodedLead(*(0, 0, 0, 0, 0, 0, 200, 5, 50, 0, -1, 0, -1, 0, 1, 1, 0)),
    ]
    expected = [score_arithmetic(lead, weights, POINTS) for lead in leads]
    rows = score_rows(np.array(leads, dtype=np.int64), weights)
    index, value = np.array([0, -1, 1], dtype=np.int32), np.array([0.3, 1.0, -2.0])
    model = (np.array([-2.0, 0.7, 0.1]), np.eye(3) * 0.5 + 0.1, 0.2, 0.9)
    chance = propensity_arithmetic(index, value, *model)
    agree = (
        [score_one(lead, weights) for lead in leads] == expected
        and [tuple(row) for row in rows.tolist()] == [tuple(item) for item in expected]
        and propensity_one(index, value, *model) == chance
        and tuple(propensity_rows(index[None], value[None], *model)[0].tolist()) == chance
    )
    if not agree:
        raise ConfigurationError(
            "the compiled scoring kernels disagree with their reference; clear the numba cache"
        )
