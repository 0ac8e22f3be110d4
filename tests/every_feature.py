"""A propensity model that reads whatever a model can read."""

from __future__ import annotations

import random

from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.scoring.features import FIXED_FEATURES


def every_feature_model(seed: int) -> PropensityModel:
    """It reads every feature there is, and the attributes ``segment`` and ``seats``."""
    chance = random.Random(seed)
    words = {
        "title": ("founder & ceo", "vp sales"),
        "title_level": ("vp", "manager", OTHER_LEVEL, MISSING_LEVEL),
        "title_function": ("sales", OTHER_LEVEL),
        "industry": ("software", "banking", OTHER_LEVEL, MISSING_LEVEL),
        "size_range": ("1-5", "16-30", "501+", MISSING_LEVEL),
        "seniority": ("vp", OTHER_LEVEL),
        "country": ("us", "de", OTHER_LEVEL),
        "email_status": ("verified", "invalid"),
        "has_email": ("yes",),
        "has_phone": ("yes",),
        "has_linkedin": ("yes",),
        "hiring": ("yes", MISSING_LEVEL),
        "role_age": ("0-89 days", "720+ days", MISSING_LEVEL),
        "funding_age": ("90-179 days", MISSING_LEVEL),
        "attribute:segment": ("gold", "silver", OTHER_LEVEL, MISSING_LEVEL),
    }
    features = [
        CategoricalFeature(name, words[name], "no" if name.startswith("has") else "")
        if name in words
        else NumericFeature(name, chance.random(), 500.0 if ":" in name else 0.3, True)
        for name in (*FIXED_FEATURES, "attribute:segment", "attribute:seats")
    ]
    space = FeatureSpace(tuple(features))
    n = space.width + 1
    root = [[chance.gauss(0, 0.1) for _ in range(n)] for _ in range(n)]
    covariance = tuple(
        tuple(sum(a * b for a, b in zip(one, other, strict=True)) for other in root) for one in root
    )
    return PropensityModel(
        version="",
        target="converted",
        space=space,
        intercept=-1.5,
        coefficients=tuple(chance.gauss(0, 0.5) for _ in range(n - 1)),
        covariance=covariance,
        calibration_intercept=0.2,
        calibration_slope=0.9,
    )
