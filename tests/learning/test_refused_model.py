"""A model that is better on what it has seen and worse on what it has not is refused, by name."""

from __future__ import annotations

import numpy as np
from scipy import special

from cis_server.domain.vocabulary import Promotion
from cis_server.learning.metrics import pr_auc
from cis_server.learning.promotion import decided
from cis_server.learning.propensity import PropensityFit, learn_propensity
from cis_server.scoring.features import RawColumns
from cis_server.scoring.propensity import PropensityScorer

N, TRAIN = 3_000, 2_100
BASE = -2.4


def turned_round() -> tuple[PropensityFit, RawColumns, np.ndarray, np.ndarray]:
    """A fit on leads whose effects turn round where the held-out part begins.

    Returns:
        The fit, the features, the outcomes and the score that serves as the baseline.
    """
    rng = np.random.default_rng(12)
    strong = np.array([rng.choice(6, N) for _ in range(5)])
    effect = np.linspace(-1.2, 1.2, 6)
    eta = effect[strong].sum(axis=0)
    log_odds = BASE + np.where(np.arange(N) < TRAIN, eta, -eta)
    y = rng.random(N) < special.expit(log_odds)
    raw: RawColumns = {
        f"attribute:f{f}": [f"v{value}" for value in levels] for f, levels in enumerate(strong)
    }
    baseline = rng.random(N)
    fit = learn_propensity(
        raw,
        y,
        np.arange(N),
        [None] * N,
        np.random.default_rng(0),
        baseline_score=baseline,
        version="v1",
    )
    return fit, raw, y, baseline


def test_better_in_sample_and_worse_out_of_it_is_refused_by_name() -> None:
    fit, raw, y, baseline = turned_round()
    assert fit.model is not None
    scorer = PropensityScorer(fit.model)
    chance = scorer.rows(*scorer.encoder.encode_columns(raw, N))[:, 0]
    seen = np.arange(N) < TRAIN
    assert pr_auc(y[seen], chance[seen]) > 1.5 * pr_auc(y[seen], baseline[seen]), "in sample"
    outcome = fit.outcome
    assert outcome.pr_auc is not None
    assert outcome.pr_auc_baseline is not None
    assert outcome.pr_auc < outcome.pr_auc_baseline, "out of sample"
    assert not fit.passed
    failed = [gate for gate in outcome.gates if not gate.passed]
    assert "pr_auc_gain" in {gate.name for gate in failed}
    for policy in Promotion:
        fate = decided("conversion probability", outcome.gates, policy=policy, force=False)
        assert (fate.live, fate.refused) == (False, True)
        for gate in failed:
            assert gate.text
            assert gate.text in fate.reason
