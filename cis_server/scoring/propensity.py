"""A propensity model made ready for serving: lead in, calibrated probability with interval out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.lead import Lead
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.scores import Components, ConversionProbability
from cis_server.scoring.features import Encoder, RawValue, raw_features
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
