"""Pooling across clients: a random-effects meta-analysis of their models, as the prior of one.

Every client's coefficients are theta_k ~ N(mu, T), T diagonal: clients differ, some columns more
than others. What is known of theta_k is the quadratic summary of its likelihood (`Contribution`),
so that mu and T follow from contributions alone (Laird & Ware 1982, "Random-effects models for
longitudinal data"; Jackson, White & Riley 2013 for the meta-analysis of several coefficients).
T is found by the EM algorithm with mu integrated out. The prior of another client is the
predictive law N(mu, Var(mu) + T): without data of its own it gets mu, exactly.

A column takes part only where at least `LEAST_CONTRIBUTORS` other clients have it, so that nothing
of a single client, such as the name of a level only it knows, is visible in the result; the rest of
a client's model stays its own business with prior mean 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from cis_server.domain.pooling import Column, Contribution
from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    Feature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.learning.design import MOST_COLUMNS, bounded_space, sparse_design
from cis_server.scoring.features import RawValue
from cis_server.stats.arrays import FloatArray
from cis_server.stats.logistic import GaussianPrior, fit_logistic

LEAST_CONTRIBUTORS: Final = 5
"""Other clients a column of the pooled model rests on."""
LEAST_POSITIVES: Final = 20
"""Converted leads, and others, that a client needs to contribute."""

# Of a contribution's own fit: keeps a level without a success finite, and is taken out again.
_RIDGE: Final = 0.1
# Prior of mu around 0 (the intercept's is next to nothing): sets the level that one column per
# level leaves open, and shrinks as a model without a pool would.
_MU_PRECISION: Final = 0.25
_INTERCEPT_PRECISION: Final = 1e-4
# Inverse-gamma prior of the variances between clients: as much as 2 clients saying .05.
_TAU_COUNT, _TAU_GUESS = 2.0, 0.05
_ROUNDS: Final = 200
_STILL: Final = 1e-4
_EIGENVALUE: Final = 1e-9


def contribution(
    raw: Mapping[str, Sequence[RawValue]], y: ArrayLike, target: str
) -> Contribution | None:
    """What a client adds to the pool.

    Args:
        raw: feature name -> n values at first contact.
        y: (n,) outcomes 0/1.
        target: what ``y`` says.

    Returns:
        The summary of the client's likelihood; None when there is too little to summarise.
    """
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    n, positives = len(outcome), int(outcome.sum())
    if min(positives, n - positives) < LEAST_POSITIVES:
        return None
    own = bounded_space(raw, n)
    if not own.width:
        return None
    space = full_space(own)
    fit = fit_logistic(sparse_design(space, raw, n), outcome, prior_precision=_RIDGE)
    mode = np.append(fit.intercept, fit.coefficients)
    # At the mode the likelihood's own gradient is what the ridge pulls; a Newton step undoes it.
    pull = np.append(1e-4, np.full(space.width, _RIDGE)) * mode
    values, vectors = linalg.eigh(fit.information)
    known = values > _EIGENVALUE * values[-1]
    directions = vectors[:, known]
    step = directions @ ((directions.T @ pull) / values[known])
    raw_units = _to_raw_units(columns_of(space), _numbers(space))
    return Contribution(
        target=target,
        columns=columns_of(space),
        coefficients=tuple((raw_units @ (mode + step)).tolist()),
        information=_rows(_congruent(fit.information, linalg.inv(raw_units))),
        leads=n,
        positives=positives,
    )


def full_space(space: FeatureSpace) -> FeatureSpace:
    """The same features with a column for every level, the reference included."""
    return FeatureSpace(
        tuple(
            CategoricalFeature(feature.name, (feature.reference, *feature.levels))
            if isinstance(feature, CategoricalFeature) and feature.reference
            else feature
            for feature in space.features
        )
    )


def columns_of(space: FeatureSpace) -> tuple[Column, ...]:
    """The shared names of the columns of a space."""
    found: list[Column] = []
    for feature in space.features:
        if isinstance(feature, NumericFeature):
            found += [Column(feature.name, None), Column(feature.name, MISSING_LEVEL)][
                : feature.width
            ]
        else:
            found += [Column(feature.name, level) for level in feature.levels]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class PooledPrior:
    """What the other clients say about a client nothing is known of.

    Attributes:
        target: what is predicted.
        space: the shared columns, each with `LEAST_CONTRIBUTORS` clients or more.
        mean: (p + 1,) log-odds in that space, intercept first.
        covariance: (p + 1, p + 1) of another client's coefficients around the mean.
        between: (p + 1,) variance between clients.
        contributors: clients it rests on.
        leads: of theirs.
        positives: of theirs.
    """

    target: str
    space: FeatureSpace
    mean: FloatArray
    covariance: FloatArray
    between: FloatArray
    contributors: int
    leads: int
    positives: int

    def prior(self, space: FeatureSpace, penalty: float) -> GaussianPrior:
        """The prior of a client's fit in its own encoding.

        Args:
            space: the client's.
            penalty: precision, around 0, of the columns that the pool does not have.
        """
        full = full_space(space)
        columns, own = columns_of(self.space), columns_of(full)
        at = {column: i + 1 for i, column in enumerate(columns)}
        # "(other)" holds other levels at every client, so it means nothing elsewhere.
        shared = [
            i + 1 for i, column in enumerate(own) if column in at and column.level != OTHER_LEVEL
        ]
        chosen = np.zeros((len(own) + 1, len(columns) + 1))
        chosen[0, 0] = 1.0
        chosen[shared, [at[own[i - 1]] for i in shared]] = 1.0
        there = linalg.inv(_to_raw_units(own, _numbers(full)))
        translated = there @ chosen @ _to_raw_units(columns, _numbers(self.space))
        alone = np.setdiff1d(np.arange(1, len(own) + 1), shared)
        translated[alone] = 0.0
        local = np.zeros(len(own) + 1)
        local[alone] = 1.0 / penalty
        onto = _to_reference(space, full)
        covariance = onto @ (translated @ self.covariance @ translated.T + np.diag(local)) @ onto.T
        precision = linalg.inv(covariance)
        return GaussianPrior(onto @ translated @ self.mean, (precision + precision.T) / 2.0)

    def joined(self, own: FeatureSpace) -> FeatureSpace:
        """The columns of the pool, and those of the client that the pool does not have.

        What a client has seen too seldom for a column of its own is still told by the pool.

        Args:
            own: the client's features; its levels the pool lacks come last of their feature.

        Returns:
            At most `MOST_COLUMNS` columns, those of the pool first.
        """
        features: list[Feature] = list(self.space.features)
        at = {feature.name: i for i, feature in enumerate(features)}
        room = MOST_COLUMNS - self.space.width
        for feature in full_space(own).features:
            if feature.name not in at:
                plain = next(item for item in own.features if item.name == feature.name)
                if plain.width <= room:
                    features.append(plain)
                    room -= plain.width
                continue
            there = features[at[feature.name]]
            if isinstance(there, CategoricalFeature) and isinstance(feature, CategoricalFeature):
                extra = [level for level in feature.levels if level not in there.levels][:room]
                features[at[feature.name]] = CategoricalFeature(there.name, (*there.levels, *extra))
                room -= len(extra)
        return FeatureSpace(tuple(features))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model().to_json(),
            "between": self.between.tolist(),
            "contributors": self.contributors,
            "leads": self.leads,
            "positives": self.positives,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PooledPrior:
        """Rebuild from `to_json`, bit for bit.

        Raises:
            ValueError, KeyError, TypeError: the stored form is broken or of another format.
        """
        model = PropensityModel.from_json(data["model"])
        return cls(
            target=model.target,
            space=model.space,
            mean=np.array([model.intercept, *model.coefficients]),
            covariance=np.array(model.covariance),
            between=np.array(data["between"], dtype=np.float64),
            contributors=int(data["contributors"]),
            leads=int(data["leads"]),
            positives=int(data["positives"]),
        )

    def model(self, version: str = "") -> PropensityModel:
        """The pooled answer itself, as a model that serving can load."""
        return PropensityModel(
            version=version,
            target=self.target,
            space=self.space,
            intercept=float(self.mean[0]),
            coefficients=tuple(self.mean[1:].tolist()),
            covariance=_rows(self.covariance),
        )


def pooled(contributions: Sequence[Contribution]) -> PooledPrior | None:
    """Combine the contributions of other clients.

    Args:
        contributions: of one target, none of them of the client the result is for.

    Returns:
        The prior; None with fewer than `LEAST_CONTRIBUTORS`, or when they share no column.

    Raises:
        ValueError: contributions to several targets.
    """
    if len(contributions) < LEAST_CONTRIBUTORS:
        return None
    if len({item.target for item in contributions}) > 1:
        raise ValueError("only contributions to one target can be pooled")
    # In an order of their own, so that the sums come out alike whoever asks for them.
    parts = sorted(contributions, key=lambda item: (item.leads, item.positives, item.coefficients))
    space = _shared_space(parts)
    if not space.width:
        return None
    columns, numbers = columns_of(space), _numbers(space)
    summaries = [_summary(item, columns, numbers) for item in parts]
    mean, covariance, between = _meta_analysis(summaries, len(columns) + 1)
    return PooledPrior(
        target=parts[0].target,
        space=space,
        mean=mean,
        covariance=covariance,
        between=between,
        contributors=len(parts),
        leads=sum(item.leads for item in parts),
        positives=sum(item.positives for item in parts),
    )


def _shared_space(parts: Sequence[Contribution]) -> FeatureSpace:
    """Columns that enough clients have; what most of them hold as a number is one."""
    counted = Counter(column for item in parts for column in item.columns)
    enough = {column for column, count in counted.items() if count >= LEAST_CONTRIBUTORS}
    features: list[Feature] = []
    known = {
        name: max(counted[column] for column in enough if column.feature == name)
        for name in {column.feature for column in enough}
    }
    room = MOST_COLUMNS
    for name in sorted(known, key=lambda name: (-known[name], name)):
        levels = sorted(
            column.level
            for column in enough
            if column.feature == name and column.level not in (None, OTHER_LEVEL)
        )
        as_number = counted[Column(name, None)]
        as_category = max((counted[Column(name, level)] for level in levels), default=0)
        if Column(name, None) in enough and as_number >= as_category:
            mean, scale = _moments(parts, name)
            features.append(NumericFeature(name, mean, scale, MISSING_LEVEL in levels))
        elif levels:
            features.append(CategoricalFeature(name, tuple(levels[:room])))
        else:
            continue
        room -= features[-1].width
        if room < 2:
            break
    return FeatureSpace(tuple(features))


def _moments(parts: Sequence[Contribution], name: str) -> tuple[float, float]:
    """Mean and standard deviation of a number over clients, their medians.

    The information of intercept and coefficient holds weighted sums of 1, x and x squared.
    """
    number, missing = Column(name, None), Column(name, MISSING_LEVEL)
    means, deviations = [], []
    for item in parts:
        if number not in item.columns:
            continue
        i = item.columns.index(number) + 1
        total = item.information[0][0]
        if missing in item.columns:
            k = item.columns.index(missing) + 1
            total -= item.information[k][k]
        mean = item.information[0][i] / total
        means.append(mean)
        deviations.append(max(item.information[i][i] / total - mean * mean, 0.0) ** 0.5)
    scale = float(np.median(deviations))
    return float(np.median(means)), scale if scale > 0.0 else 1.0


@dataclass(frozen=True, slots=True)
class _Summary:
    """A contribution in the shared columns: log L = h' theta - theta' I theta / 2."""

    rows: list[int]
    """Which of the p + 1 coefficients it knows."""
    information: FloatArray
    natural: FloatArray


def _summary(
    item: Contribution, columns: Sequence[Column], numbers: Mapping[str, tuple[float, float]]
) -> _Summary:
    """The contribution to the shared columns, with what is the client's own profiled out."""
    at = {column: i + 1 for i, column in enumerate(columns)}
    shared = [0] + [i + 1 for i, column in enumerate(item.columns) if column in at]
    own = [i + 1 for i, column in enumerate(item.columns) if column not in at]
    back = _to_raw_units(item.columns, numbers)
    raw = np.array(item.information)
    natural = back.T @ (raw @ np.array(item.coefficients))
    information = _congruent(raw, back)
    inside, target = information[np.ix_(shared, shared)], natural[shared]
    if own:
        across = information[np.ix_(shared, own)]
        alone = information[np.ix_(own, own)]
        # Its own columns may be a turn of the shared ones (all levels of a category together).
        alone = alone + np.diag(np.diag(alone) * 1e-6 + 1e-12)
        solved = linalg.solve(alone, np.column_stack([across.T, natural[own]]), assume_a="pos")
        inside = inside - across @ solved[:, :-1]
        target = target - across @ solved[:, -1]
    rows = [0] + [at[item.columns[i - 1]] for i in shared[1:]]
    return _Summary(rows, (inside + inside.T) / 2.0, target)


def _meta_analysis(
    summaries: Sequence[_Summary], size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(mean, predictive covariance, variance between clients)."""
    between = np.full(size, _TAU_GUESS)
    counts = np.zeros(size)
    for part in summaries:
        counts[part.rows] += 1.0
    for _ in range(_ROUNDS):
        mean, spread = _population(summaries, between)
        squares = np.zeros(size)
        for part in summaries:
            squares[part.rows] += _deviation_squares(part, mean, spread, between)
        updated = (squares + _TAU_COUNT * _TAU_GUESS) / (counts + _TAU_COUNT)
        moved = float(np.max(np.abs(updated - between) / between))
        between = updated
        if moved < _STILL:
            break
    mean, spread = _population(summaries, between)
    return mean, spread + np.diag(between), between


def _population(
    summaries: Sequence[_Summary], between: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of mu given the variances between clients."""
    size = len(between)
    precision = np.diag(np.append(_INTERCEPT_PRECISION, np.full(size - 1, _MU_PRECISION)))
    natural = np.zeros(size)
    for part in summaries:
        # theta_k integrated out: W = (I + T^-1)^-1 between the data and mu.
        inverse = 1.0 / between[part.rows]
        inner = _inverse(part.information + np.diag(inverse))
        weight = np.diag(inverse) - inverse[:, None] * inner * inverse[None, :]
        precision[np.ix_(part.rows, part.rows)] += weight
        natural[part.rows] += inverse * (inner @ part.natural)
    covariance = _inverse(precision)
    return covariance @ natural, covariance


def _deviation_squares(
    part: _Summary, mean: FloatArray, spread: FloatArray, between: FloatArray
) -> FloatArray:
    """Expected squares of theta_k - mu given everything."""
    inverse = 1.0 / between[part.rows]
    inner = _inverse(part.information + np.diag(inverse))
    deviation = inner @ (part.natural - part.information @ mean[part.rows])
    # theta_k - mu = inner (h - I mu): its spread holds that of mu, too.
    across = inner @ part.information
    shared = np.einsum("ij,jk,ik->i", across, spread[np.ix_(part.rows, part.rows)], across)
    result: FloatArray = deviation**2 + np.diag(inner) + shared
    return result


def _inverse(matrix: FloatArray) -> FloatArray:
    factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
    result: FloatArray = linalg.cho_solve(factor, np.eye(len(matrix)), check_finite=False)
    return (result + result.T) / 2.0


def _numbers(space: FeatureSpace) -> dict[str, tuple[float, float]]:
    """Mean and scale of every number of a space."""
    return {
        feature.name: (feature.mean, feature.scale)
        for feature in space.features
        if isinstance(feature, NumericFeature)
    }


def _to_raw_units(
    columns: Sequence[Column], numbers: Mapping[str, tuple[float, float]]
) -> FloatArray:
    """(p + 1, p + 1): standardised coefficients -> coefficients per unit of each number."""
    result = np.eye(len(columns) + 1)
    at = {column: i + 1 for i, column in enumerate(columns)}
    for column, i in at.items():
        if column.level is None and column.feature in numbers:
            mean, scale = numbers[column.feature]
            result[i, i] = 1.0 / scale
            result[0, i] = -mean / scale
            missing = at.get(Column(column.feature, MISSING_LEVEL))
            if missing is not None:
                # A missing number stands at 0 in either form; its flag makes up for the mean.
                result[missing, i] = mean / scale
    return result


def _to_reference(space: FeatureSpace, full: FeatureSpace) -> FloatArray:
    """(q + 1, p + 1): coefficients with a column for every level -> those against a reference."""
    result = np.zeros((space.width + 1, full.width + 1))
    result[0, 0] = 1.0
    pairs = zip(space.offsets(), full.offsets(), strict=True)
    for (feature, first), (_, start) in pairs:
        against = isinstance(feature, CategoricalFeature) and bool(feature.reference)
        for k in range(feature.width):
            result[first + 1 + k, start + 1 + k + against] = 1.0
        if against:
            result[0, start + 1] = 1.0
            result[first + 1 : first + 1 + feature.width, start + 1] = -1.0
    return result


def _congruent(matrix: FloatArray, by: FloatArray) -> FloatArray:
    result: FloatArray = by.T @ matrix @ by
    return (result + result.T) / 2.0


def _rows(matrix: FloatArray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
