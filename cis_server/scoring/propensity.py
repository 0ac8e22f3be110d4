"""A propensity model made ready for serving: lead in, calibrated probability with interval out."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.lead import Lead
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.scores import Components, ConversionProbability, ProbabilityFactor
from cis_server.scoring.arithmetic import propensity_arithmetic
from cis_server.scoring.compiled import propensity_rows
from cis_server.scoring.features import (
    ATTRIBUTE,
    COMPONENT_FEATURES,
    Encoder,
    RawValue,
    level_of,
    raw_features,
)

_LOG_ODDS_SHOWN: Final = math.log(1000.0)
"""A factor beyond is said to be over that."""


class FeaturePart(NamedTuple):
    """One feature of one lead."""

    name: str
    raw: RawValue
    column: int
    """The column it fills; -1 for none."""
    value: float
    """What it fills it with."""
    log_odds: float
    """What it adds to the calibrated log-odds."""

    def factor(self) -> ProbabilityFactor:
        """The same in words."""
        return ProbabilityFactor(
            self.name, self.log_odds, _words(self.name, self.raw, self.log_odds)
        )


class PropensityScorer:
    """The served form of a `PropensityModel`; build it once per model, it never changes.

    Attributes:
        model: the stored form.
        encoder: its feature space, prepared.
    """

    __slots__ = ("_coefficients", "_covariance", "_intercept_first", "encoder", "model")

    def __init__(self, model: PropensityModel) -> None:
        self.model = model
        self.encoder = Encoder(model.space)
        self._intercept_first = (model.intercept, *model.coefficients)
        self._coefficients = np.array(self._intercept_first, dtype=np.float64)
        self._covariance = np.array(model.covariance, dtype=np.float64)

    def probability(
        self, lead: Lead, components: Components, as_of: dt.date
    ) -> ConversionProbability:
        """Probability for one lead with its 90 % interval.

        Args:
            lead: the lead.
            components: its points.
            as_of: the day ages are counted to.
        """
        index, value = self.encoder.encode(raw_features(lead, components, as_of))
        return self._named(self.of_encoded(index.tolist(), value.tolist()))

    def explained(
        self, probability: ConversionProbability, lead: Lead, components: Components, as_of: dt.date
    ) -> ConversionProbability:
        """The probability of `probability` with what each feature did to it.

        The model is additive: logit P = (a + b * b0) + sum over features of b * coefficient *
        value, so the parts are exact and need no approximation.

        Args:
            probability: of this lead.
            lead: the lead.
            components: its points.
            as_of: the day ages are counted to.
        """
        raw = raw_features(lead, components, as_of)
        parts = [
            self.part(place, raw.get(name)) for place, (name, _) in enumerate(self.encoder.slots)
        ]
        factors = (
            part.factor()
            for part in sorted(parts, key=lambda part: -abs(part.log_odds))
            if part.log_odds
        )
        return replace(probability, base_log_odds=self.base_log_odds, factors=tuple(factors))

    @property
    def base_log_odds(self) -> float:
        """Calibrated log-odds before any feature."""
        model = self.model
        return model.calibration_intercept + model.calibration_slope * model.intercept

    def part(self, place: int, raw: RawValue) -> FeaturePart:
        """What one feature's value does to the probability, whatever the others are.

        Args:
            place: of the feature in the space.
            raw: its raw value.
        """
        name, slot = self.encoder.slots[place]
        column, value = slot(raw)
        log_odds = 0.0
        if column >= 0:
            each = float(self._coefficients[column + 1])
            log_odds = self.model.calibration_slope * each * value
        return FeaturePart(name, raw, column, value, log_odds)

    def of_encoded(
        self, index: Sequence[int], value: Sequence[float]
    ) -> tuple[float, float, float]:
        """Probability, low and high of one encoded lead.

        Args:
            index: the column each feature of the space fills, -1 for none.
            value: what it fills it with.
        """
        return propensity_arithmetic(
            index,
            value,
            self._intercept_first,
            self.model.covariance,
            self.model.calibration_intercept,
            self.model.calibration_slope,
        )

    def rows_of(self, raw: Sequence[dict[str, RawValue]]) -> NDArray[np.float64]:
        """Probabilities of many leads, equal to `probability` of each to the last bit.

        Args:
            raw: raw features of each lead, from `raw_features`.

        Returns:
            Shape (n, 3): probability, low, high.
        """
        names = [feature.name for feature in self.model.space.features]
        columns = {name: [features.get(name) for features in raw] for name in names}
        return self.rows(*self.encoder.encode_columns(columns, len(raw)))

    def rows(self, index: NDArray[np.int32], value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability, low and high of n encoded leads (`Encoder.encode_columns`), shape (n, 3)."""
        return propensity_rows(
            index,
            value,
            self._coefficients,
            self._covariance,
            self.model.calibration_intercept,
            self.model.calibration_slope,
        )

    def _named(self, row: Sequence[float]) -> ConversionProbability:
        probability, low, high = row
        return ConversionProbability(probability, low, high, self.model.target)


def _words(feature: str, value: RawValue, log_odds: float) -> str:
    """One feature in words: what it is, and what it multiplies the odds by."""
    name = feature.removeprefix(ATTRIBUTE).replace("_", " ")
    if value is None:
        what = f"{name} not known"
    elif feature in COMPONENT_FEATURES and isinstance(value, float):
        what = f"{name.removeprefix('component ')} at {value:.0%} of its points"
    else:
        shown = level_of(value) if isinstance(value, str) else f"{value:.4g}"
        what = f'{name} "{shown[:60]}"'
    return f"{what}: {_times(log_odds)} times the odds"


def _times(log_odds: float) -> str:
    """The factor in words; a number far beyond all others has one that no float can hold."""
    if log_odds > _LOG_ODDS_SHOWN:
        return f"over {math.exp(_LOG_ODDS_SHOWN):.0f}"
    return f"{math.exp(log_odds):.2f}"
