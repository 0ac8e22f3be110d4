"""A propensity model as it is stored and served: encoding, coefficients, covariance, calibration.

Penalised logistic regression: eta = b0 + sum over features of (coefficient x encoded value),
P = 1 / (1 + exp(-(a + b * eta))) after Platt's calibration. Each feature of a lead touches at
most one column of the design matrix (a number fills its own column or, when missing, the column of
its missing flag; a category fills the column of its level), so a lead is a short list of (column,
value) pairs, see `cis_server.scoring.features`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

FORMAT: Final = 1
"""Version of the stored form."""

SERVED_TARGETS: Final = ("converted", "call_booked", "qualified", "customer")
"""A lead is told one conversion probability: that of the first of these with a model in force."""

OTHER_LEVEL: Final = "(other)"
"""Level that stands for every value the training data had too few of, or never had."""
MISSING_LEVEL: Final = "(missing)"
"""Level that stands for "not known"."""


@dataclass(frozen=True, slots=True)
class NumericFeature:
    """A number, standardised: (value - mean) / scale in one column."""

    name: str
    mean: float
    scale: float
    """Above 0; the value is divided by it."""
    flags_missing: bool = False
    """Whether a second column holds 1 where the value is missing (the first then holds 0, that is
    the mean). Without it a missing value reads as the mean."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return 2 if self.flags_missing else 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (self.name, f"{self.name}={MISSING_LEVEL}")[: self.width]


@dataclass(frozen=True, slots=True)
class CategoricalFeature:
    """A category, one-hot: one column a level.

    A value that is no level falls to `OTHER_LEVEL`, a missing one to `MISSING_LEVEL`; where the
    feature has no such level it fills no column, as the reference does.
    """

    name: str
    levels: tuple[str, ...]
    reference: str = ""
    """The level without a column, which the others are compared with."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.levels)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(f"{self.name}={level}" for level in self.levels)


Feature: TypeAlias = NumericFeature | CategoricalFeature


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """Which features a model reads and how each is encoded; fixed when the model is trained.

    Feature names are those of `cis_server.scoring.features`. Columns follow the order of the
    features; the intercept is no column.
    """

    features: tuple[Feature, ...]

    @property
    def width(self) -> int:
        """Number of columns of the design matrix, p."""
        return sum(feature.width for feature in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the p columns."""
        return tuple(name for feature in self.features for name in feature.columns)

    def offsets(self) -> Iterator[tuple[Feature, int]]:
        """Each feature with its first column."""
        first = 0
        for feature in self.features:
            yield feature, first
            first += feature.width

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON values."""
        return [_feature_to_json(feature) for feature in self.features]

    @classmethod
    def from_json(cls, data: list[Mapping[str, Any]]) -> FeatureSpace:
        """Rebuild from `to_json`.

        Raises:
            ValueError, KeyError, TypeError: the stored form is broken.
        """
        return cls(tuple(_feature_from_json(item) for item in data))


@dataclass(frozen=True, slots=True, kw_only=True)
class PropensityModel:
    """A fitted, calibrated model.

    Raises:
        ValueError: on construction, when shapes do not fit or a number is not finite.
    """

    version: str
    target: str
    """What is predicted, e.g. ``meeting_booked``."""
    space: FeatureSpace
    intercept: float
    coefficients: tuple[float, ...]
    """One a column of `space`, log-odds."""
    covariance: tuple[tuple[float, ...], ...]
    """Laplace approximation: inverse of the penalised information at the mode, (p + 1) x (p + 1),
    intercept first, symmetric."""
    calibration_intercept: float = 0.0
    """Platt's a."""
    calibration_slope: float = 1.0
    """Platt's b, above 0."""

    def __post_init__(self) -> None:
        width = self.space.width
        if len(self.coefficients) != width:
            raise ValueError(f"{width} coefficients are needed, not {len(self.coefficients)}")
        if len(self.covariance) != width + 1 or any(
            len(row) != width + 1 for row in self.covariance
        ):
            raise ValueError(f"the covariance must be {width + 1} x {width + 1}")
        if not self.calibration_slope > 0:
            raise ValueError("the calibration slope must be above 0")
        numbers = (self.intercept, self.calibration_intercept, self.calibration_slope)
        rows = (numbers, self.coefficients, *self.covariance)
        if not all(math.isfinite(number) for row in rows for number in row):
            raise ValueError("a model must hold finite numbers only")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the covariance as its lower triangle, row by row."""
        return {
            "format": FORMAT,
            "version": self.version,
            "target": self.target,
            "features": self.space.to_json(),
            "intercept": self.intercept,
            "coefficients": list(self.coefficients),
            "covariance_lower": [
                value for i, row in enumerate(self.covariance) for value in row[: i + 1]
            ],
            "calibration": {
                "intercept": self.calibration_intercept,
                "slope": self.calibration_slope,
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PropensityModel:
        """Rebuild from `to_json`, bit for bit.

        Raises:
            ValueError, KeyError, TypeError: the stored form is broken or of another format.
        """
        if data["format"] != FORMAT:
            raise ValueError(f"unknown format {data['format']!r} of a propensity model")
        coefficients = tuple(float(value) for value in data["coefficients"])
        return cls(
            version=str(data["version"]),
            target=str(data["target"]),
            space=FeatureSpace.from_json(data["features"]),
            intercept=float(data["intercept"]),
            coefficients=coefficients,
            covariance=_symmetric(data["covariance_lower"], len(coefficients) + 1),
            calibration_intercept=float(data["calibration"]["intercept"]),
            calibration_slope=float(data["calibration"]["slope"]),
        )


def _symmetric(lower: list[float], size: int) -> tuple[tuple[float, ...], ...]:
    """The full matrix of a lower triangle stored row by row."""
    if len(lower) != size * (size + 1) // 2:
        raise ValueError("the stored covariance has the wrong length")

    def at(i: int, j: int) -> float:
        row, column = max(i, j), min(i, j)
        return float(lower[row * (row + 1) // 2 + column])

    return tuple(tuple(at(i, j) for j in range(size)) for i in range(size))


def _feature_to_json(feature: Feature) -> dict[str, Any]:
    if isinstance(feature, NumericFeature):
        return {
            "kind": "numeric",
            "name": feature.name,
            "mean": feature.mean,
            "scale": feature.scale,
            "flags_missing": feature.flags_missing,
        }
    return {
        "kind": "categorical",
        "name": feature.name,
        "levels": list(feature.levels),
        "reference": feature.reference,
    }


def _feature_from_json(data: Mapping[str, Any]) -> Feature:
    if data["kind"] == "numeric":
        mean, scale = float(data["mean"]), float(data["scale"])
        if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"feature {data['name']!r} has no usable scale")
        return NumericFeature(str(data["name"]), mean, scale, bool(data["flags_missing"]))
    if data["kind"] == "categorical":
        levels = tuple(str(level) for level in data["levels"])
        return CategoricalFeature(str(data["name"]), levels, str(data["reference"]))
    raise ValueError(f"unknown kind of feature {data['kind']!r}")
