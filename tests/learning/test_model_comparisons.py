"""A model beside the live one and beside gradient trees: in the run, the registry and the page."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from functools import cache

import pytest
from learning_cases import AS_OF, PLANTED, dataset, state

from cis_client._reports import evaluation_report
from cis_server.detectors.outcomes import population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.learned import LivePropensity
from cis_server.domain.model_comparison import CHALLENGER, LIVE, ModelComparison, comparisons_of
from cis_server.domain.registry import ModelKind, ModelState, StoredModel
from cis_server.domain.runs import LearnOptions, PropensityOutcome, Run, RunResult, WeightsOutcome
from cis_server.domain.vocabulary import RunState
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.learning.propensity_stage import LearnedTargets, learn_targets
from cis_server.reports.run_report import run_report
from cis_server.rpc.messages.models import evaluation_of
from cis_server.rpc.messages.runs import client_result


@cache
def second_run() -> LearnedTargets:
    """A run that finds a model live which had learned until sixty days before."""
    data = dataset("planted")
    leads = population(data, DetectorSettings())
    options = LearnOptions(as_of=AS_OF)
    first = learn_targets(leads, data, state(PLANTED), options, lambda _: None)
    stored = next(model for model in first.models if model.target == "converted")
    live = LivePropensity(
        content={**stored.content, "version": "propensity-7"},
        seen_until=AS_OF - dt.timedelta(days=60),
    )
    found = state(PLANTED, live_propensity={"converted": live})
    return learn_targets(leads, data, found, options, lambda _: None)


def outcome() -> PropensityOutcome:
    return second_run().outcomes[0]


def run(told: PropensityOutcome) -> Run:
    weights = WeightsOutcome(
        status="not_better", reason="enough", before=DEFAULT_WEIGHTS, after=DEFAULT_WEIGHTS
    )
    result = RunResult(
        patterns=(), weights=weights, propensity=told, promoted=True, reason="live", seconds=1.0,
        leads=3, activities=9, conversions=1, snapshot_hash="ab", peak_memory_bytes=1,
    )  # fmt: skip
    return Run(
        client_id="planted",
        run_id="r",
        state=RunState.SUCCEEDED,
        options=LearnOptions(as_of=AS_OF),
        result=result,
    )


def page(told: PropensityOutcome) -> str:
    return run_report(run(told), [], drift_limit=0.2)


def test_a_run_tells_the_gain_over_what_is_live_and_over_trees() -> None:
    live, trees = outcome().comparisons
    assert (live.other, live.version) == (LIVE, "propensity-7")
    assert live.gain is not None
    assert live.low is not None
    assert live.high is not None
    assert live.low <= live.gain <= live.high
    assert live.level == 0.8
    assert 0 < live.n_converted < live.n <= outcome().n_test
    assert live.pr_auc is not None
    assert live.other_pr_auc is not None
    assert live.gain == pytest.approx(live.pr_auc - live.other_pr_auc)
    assert (trees.other, trees.version) == (CHALLENGER, "")
    assert (trees.n, trees.pr_auc) == (outcome().n_test, outcome().pr_auc)
    assert trees.gain is not None
    assert trees.low is None
    assert PropensityOutcome.from_json(json.loads(json.dumps(outcome().to_json()))) == outcome()


def test_run_and_registry_say_the_same_on_the_wire() -> None:
    told = client_result(run(outcome())).propensity[0].evaluation.comparisons
    model = next(model for model in second_run().models if model.target == "converted")
    assert "comparisons" not in model.metrics
    stored = StoredModel(
        model_id="m",
        kind=ModelKind.PROPENSITY,
        version=8,
        state=ModelState.LIVE,
        origin="learned",
        content=model.content,
        target="converted",
        metrics=json.loads(json.dumps(model.metrics)),
        reason="",
        created_at=AS_OF,
        promoted_at=None,
        promoted_by=None,
    )
    evaluation = evaluation_of(stored)
    assert list(evaluation.comparisons) == list(told)
    live, trees = told
    assert (live.other, live.model_version) == ("live", "propensity-7")
    assert (live.interval_level, live.HasField("gain")) == (0.8, True)
    assert not trees.HasField("model_version")
    assert not trees.HasField("low")
    shown = evaluation_report("found", evaluation)
    assert f"beside propensity-7    {live.gain:+.4f} PR-AUC (80% interval" in shown
    assert f"beside gradient trees  {trees.gain:+.4f} PR-AUC on {trees.n} leads" in shown


def test_the_page_shows_both() -> None:
    text = page(outcome())
    live, trees = outcome().comparisons
    assert text.count("Beside other models") == 1
    assert "propensity-7, live until now" in text
    assert f"{live.gain:+.3f} ({live.low:+.3f} to {live.high:+.3f}, 80%)" in text
    assert "gradient trees" in text
    assert f">{trees.gain:+.3f}<" in text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.03, "better than what is live"),
        (-0.03, -0.01, "worse than what is live"),
        (-0.01, 0.03, "no clear difference"),
    ],
)
def test_the_page_says_what_a_gain_means(low: float, high: float, words: str) -> None:
    compared = ModelComparison(
        other=LIVE, version="v", n=300, n_converted=30, pr_auc=0.2, other_pr_auc=0.19, gain=0.01,
        low=low, high=high, level=0.8,
    )  # fmt: skip
    assert words in page(dataclasses.replace(outcome(), comparisons=(compared,)))


def test_what_could_not_be_compared_says_why() -> None:
    figures = {
        "pr_auc": 0.3, "n_test": 50, "positives_test": 4,
        "live": {"version": "v", "n": 10, "positives": 1, "reason": "1 of the 10 converted"},
        "challenger": {"method": "trees", "reason": "the training part has one class only"},
    }  # fmt: skip
    live, trees = comparisons_of(figures)
    assert (live.reason, live.gain, live.n) == ("1 of the 10 converted", None, 10)
    assert (trees.reason, trees.gain) == ("the training part has one class only", None)
    text = page(dataclasses.replace(outcome(), comparisons=(live, trees)))
    assert "1 of the 10 converted" in text
    assert "the training part has one class only" in text
    assert comparisons_of({"n": 400, "log_loss": 0.2}) == ()
