"""A propensity model made ready for serving: lead in, calibrated probability with interval out."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.lead import Lead
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.scores import Components, ConversionProbability, ProbabilityFactor
from cis_server.scoring.features import (
    ATTRIBUTE,
    COMPONENT_FEATURES,
    Encoder,
    RawValue,
    level_of,
    raw_features,
)
from cis_server.scoring.kernel import propensity_one, propensity_rows


class PropensityScorer:
    """The served form of a `PropensityModel`; build it once per model, it never changes.

    Attributes:
        model: the stored form.
        encoder: its feature space, prepared.
    """

    __slots__ = ("_coefficients", "_covariance", "encoder", "model")

    def __init__(self, model: PropensityModel) -> None:
        self.model = model
        self.encoder = Encoder(model.space)
        self._coefficients = np.array([model.intercept, *model.coefficients], dtype=np.float64)
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
        return self._named(
            propensity_one(
                index,
                value,
                self._coefficients,
                self._covariance,
                self.model.calibration_intercept,
                self.model.calibration_slope,
            )
        )

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
        index, value = self.encoder.encode(raw)
        slope = self.model.calibration_slope
        features = (feature.name for feature in self.model.space.features)
        parts = [
            (name, slope * float(self._coefficients[column + 1]) * number)
            for name, column, number in zip(features, index.tolist(), value.tolist(), strict=True)
            if column >= 0
        ]
        factors = (
            ProbabilityFactor(name, part, _words(name, raw.get(name), part))
            for name, part in sorted(parts, key=lambda part: -abs(part[1]))
            if part
        )
        base = self.model.calibration_intercept + slope * self.model.intercept
        return replace(probability, base_log_odds=base, factors=tuple(factors))

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
    return f"{what}: {math.exp(log_odds):.2f} times the odds"
