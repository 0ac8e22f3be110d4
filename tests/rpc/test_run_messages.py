"""A stored run as messages: what it says of weights and model, and in which words."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from cis_client.v1 import core_pb2 as core
from cis_server.domain.runs import (
    LearnOptions,
    PropensityOutcome,
    Run,
    RunResult,
    WeightsOutcome,
)
from cis_server.domain.vocabulary import RunState
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.rpc.messages.runs import client_result, run_message

AS_OF = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
LEARNED = Weights(data_quality=0.1, authority=0.4, company_fit=0.3, timing=0.1, risk=0.1)
LOW = Weights(data_quality=0.05, authority=0.3, company_fit=0.2, timing=0.05, risk=0.05)

WEIGHTS = WeightsOutcome(
    status="not_better",
    reason="the defaults are enough",
    before=DEFAULT_WEIGHTS,
    after=DEFAULT_WEIGHTS,
)
MODEL = PropensityOutcome(
    status="gate_failed",
    reason="live by force",
    promoted=True,
    forced=True,
    n_train=700,
    positives_train=70,
    n_test=300,
    positives_test=40,
    pr_auc=0.3,
    pr_auc_baseline=0.2,
)


def run(weights: WeightsOutcome = WEIGHTS) -> Run:
    result = RunResult(
        patterns=(),
        weights=weights,
        propensity=MODEL,
        promoted=True,
        reason="the whole story",
        seconds=2.0,
        leads=1000,
        activities=3000,
        conversions=110,
        snapshot_hash="abc",
        peak_memory_bytes=1,
    )
    return Run(
        client_id="acme",
        run_id="r",
        state=RunState.SUCCEEDED,
        options=LearnOptions(as_of=AS_OF),
        message=result.reason,
        result=result,
        requested_at=AS_OF,
    )


def test_a_model_that_went_live_does_not_speak_for_the_weights() -> None:
    found = client_result(run())
    assert not found.promoted
    assert not found.forced
    assert found.reason == "the defaults are enough"
    assert not found.HasField("weights_fitted")
    assert not found.HasField("weights_low")


def test_weights_that_went_live_by_force_say_so_with_their_intervals() -> None:
    forced = replace(
        WEIGHTS, promoted=True, forced=True, learned=LEARNED, after=LEARNED, low=LOW, high=LEARNED
    )
    found = client_result(run(forced))
    assert found.promoted
    assert found.forced
    assert found.weights_fitted.authority == 0.4
    assert found.weights_low.authority == 0.3
    assert found.weights_high.authority == 0.4


def test_the_model_says_what_it_rests_on() -> None:
    (found,) = client_result(run()).propensity
    assert found.target == core.CONVERSION_TARGET_CONVERTED
    # It is judged on the later leads, then fitted again on all of them.
    assert (found.n_train, found.n_train_converted) == (1000, 110)
    assert (found.evaluation.n, found.evaluation.n_converted) == (300, 40)
    assert found.promoted
    assert found.forced
    assert found.evaluation.gain == pytest.approx(0.1)


def test_a_run_tells_what_came_of_it() -> None:
    assert run_message([run()]).message == "the whole story"
