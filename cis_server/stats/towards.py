"""Rates of one part (a channel) pulled towards rates known from elsewhere (all other channels).

k_i of n_i converted in segment i of the part; p_i ~ Beta(m_i s, (1 - m_i) s), where m_i is what is
expected from elsewhere. How much elsewhere counts, s, is not known: it is integrated out on a grid
under the same hyperprior as in `stats.shrinkage`, so that a channel that goes its own way is left
to go it once it has the evidence, and a thin one follows the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cis_server.stats.arrays import FloatArray
from cis_server.stats.beta_mixture import mixture_quantiles
from cis_server.stats.shrinkage import HIGH_QUANTILE, LOW_QUANTILE

_STRENGTHS = 28
_REACH = 7.0
_PRECISION = 1e-10


def shrink_towards(
    k: ArrayLike, n: ArrayLike, expected: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Posterior mean, 5 % and 95 % quantile of each segment's rate.

    Args:
        k: (m,) converted per segment.
        n: (m,) units per segment; 0 gives the law of a new segment.
        expected: (m,) rates known from elsewhere, strictly between 0 and 1.

    Returns:
        Three arrays of shape (m,).

    Raises:
        ValueError: impossible counts, or an expected rate outside 0..1.
    """
    won, units, centre = (
        np.asarray(value, dtype=np.float64).reshape(-1) for value in (k, n, expected)
    )
    if not (won.shape == units.shape == centre.shape and ((won >= 0) & (won <= units)).all()):
        raise ValueError("0 <= k <= n must hold in every segment")
    if ((centre <= 0) | (centre >= 1)).any():
        raise ValueError("expected rates lie strictly between 0 and 1")
    seen = units[units > 0]
    scale = float(np.sqrt(seen.mean() * np.exp(np.log(seen).mean()))) if seen.size else 10.0
    # s / (s + scale) is uniform under the hyperprior; even steps of its log-odds reach strengths
    # far from the scale, and its density there is f (1 - f).
    factor = special.expit(np.linspace(-_REACH, _REACH, _STRENGTHS))
    strength = max(scale, 2.0) * factor / (1.0 - factor)
    a0, b0 = centre[:, None] * strength, (1.0 - centre)[:, None] * strength
    a, b = a0 + won[:, None], b0 + (units - won)[:, None]
    log_weight = np.log(factor * (1.0 - factor))
    log_weight += (special.betaln(a, b) - special.betaln(a0, b0)).sum(axis=0)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean: FloatArray = (a / (a + b)) @ weight
    low, high = mixture_quantiles((LOW_QUANTILE, HIGH_QUANTILE), a, b, weight, precision=_PRECISION)
    return mean, low, high
