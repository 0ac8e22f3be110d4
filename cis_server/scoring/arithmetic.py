"""The arithmetic of scoring in plain Python: the reference that `kernel` compiles.

A single lead is scored by these functions as they stand: handing seventeen numbers to compiled code
takes twice as long as working them out here. Nothing may be reordered: sums run in the order they
are written, so that compiled code gives the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


def weighted_part(points: float, most: float, weight: float) -> float:
    """What a component adds to the sum: points / maximum x 100 x weight (scoring sheet §4)."""
    return points / most * 100.0 * weight


def rounded_score(weighted_sum: float) -> float:
    """The score of a weighted sum: floor(clip(sum, 0, 100) + 1e-9) (scoring sheet §4)."""
    return float(math.floor(min(max(weighted_sum, 0.0), 100.0) + FLOOR_GUARD))


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


def logistic(log_odds: float) -> float:
    """1 / (1 + exp(-t)) without overflow on either side."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    grown = math.exp(log_odds)
    return grown / (1.0 + grown)


def propensity_arithmetic(
    index: Sequence[int] | NDArray[np.int32],
    value: Sequence[float] | NDArray[np.float64],
    coefficients: Sequence[float] | NDArray[np.float64],
    covariance: Sequence[Sequence[float]] | NDArray[np.float64],
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
    variance = covariance[0][0]
    before = [(0, 1.0)]  # the intercept, and the features that were added
    for k in range(len(index)):
        if index[k] < 0:
            continue
        column, filled = index[k] + 1, value[k]
        row = covariance[column]
        cross = 0.0
        for other, size in before:
            cross += row[other] * size
        eta += coefficients[column] * filled
        variance += filled * (2.0 * cross + filled * row[column])
        before.append((column, filled))
    spread = Z90 * math.sqrt(max(variance, 0.0))
    middle = calibration_intercept + calibration_slope * eta
    reach = calibration_slope * spread
    return logistic(middle), logistic(middle - reach), logistic(middle + reach)


def score_one(lead: CodedLead, weights: FiveFloats) -> Arithmetic:
    """`score_arithmetic` of one lead under the point table."""
    return score_arithmetic(lead, weights, POINTS)
