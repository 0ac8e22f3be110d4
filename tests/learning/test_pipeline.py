"""One run over a dataset: planted effects go live, noise does not, the same data give the same."""

import dataclasses
import datetime as dt
import json
from functools import cache

import numpy as np
import polars as pl
import pytest
from learning_cases import AS_OF, NOISE, PLANTED, Clock, dataset, learned, simulation, state

from cis_server.detectors.outcomes import population
from cis_server.detectors.runner import DETECTORS
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.learned import Learned, LivePropensity
from cis_server.domain.patterns import PATTERN_CLASSES
from cis_server.domain.propensity import SERVED_TARGETS, PropensityModel
from cis_server.domain.runs import LearnOptions, RunResult
from cis_server.domain.vocabulary import PatternStatus, PatternType, Promotion
from cis_server.domain.weights import COMPONENTS, DEFAULT_WEIGHTS, Weights
from cis_server.learning.first_touch import first_touch
from cis_server.learning.labels import learning_rows
from cis_server.learning.pipeline import learn
from cis_server.learning.pooling import pooled
from cis_server.learning.propensity_stage import raw_of
from cis_server.learning.stages import Stages
from cis_server.scoring.propensity import PropensityScorer


@cache
def planted() -> Learned:
    return learned(dataset("planted"), state(PLANTED))


@cache
def noise() -> Learned:
    return learned(dataset("noise"), state(NOISE))


def test_planted_authority_raises_its_weight_and_goes_live() -> None:
    weights = planted().result.weights
    assert weights.status == "success"
    assert weights.promoted
    assert not weights.forced
    assert weights.before == DEFAULT_WEIGHTS
    assert weights.after == weights.learned
    assert weights.after.authority > 0.35
    assert sum(round(1000 * value) for value in weights.after.as_tuple()) == 1000
    assert weights.low is not None
    assert weights.low.authority <= weights.after.authority


def test_the_model_passes_its_gates_and_tells_the_truth() -> None:
    outcome = planted().result.propensity
    assert outcome.status == "success", outcome.reason
    assert outcome.promoted
    assert outcome.pr_auc is not None
    assert outcome.pr_auc_baseline is not None
    assert outcome.pr_auc > outcome.pr_auc_baseline
    assert {gate.name for gate in outcome.gates} == {
        "positives", "leakage", "pr_auc_gain", "brier", "calibration_slope", "lift_at_10", "drift",
    }  # fmt: skip
    stored = next(model for model in planted().models if model.kind == "propensity")
    scorer = PropensityScorer(PropensityModel.from_json(json.loads(json.dumps(stored.content))))
    data = dataset("planted")
    rows = learning_rows(population(data, DetectorSettings()))
    at_first = first_touch(
        rows.leads, client=state(PLANTED).client, campaigns={}, as_of=data.window.as_of
    )
    raw = raw_of(rows.leads, at_first.points, at_first.days)
    index, value = scorer.encoder.encode_columns(raw, rows.leads.height)
    probability, low, high = scorer.rows(index, value).T
    ids = simulation().tables["leads"].filter(pl.col("client_id") == "planted")["lead_id"]
    truth = dict(zip(ids, simulation().truth["planted"].lead_probability, strict=True))
    true = np.array([truth[lead] for lead in rows.leads["lead_id"]])
    assert probability.mean() == pytest.approx(true.mean(), rel=0.15)
    logit = np.log(probability / (1 - probability)), np.log(true / (1 - true))
    assert np.corrcoef(*logit)[0, 1] > 0.85
    assert 0.75 < np.polyfit(*logit, 1)[0] < 1.3
    assert ((low <= true) & (true <= high)).mean() > 0.7


def test_noise_promotes_nothing() -> None:
    result = noise().result
    assert result.weights.status == "not_better"
    assert result.weights.after == DEFAULT_WEIGHTS
    assert result.propensity.status == "gate_failed"
    assert not result.promoted
    assert all(not model.decision.live for model in noise().models)
    assert all(model.decision.refused for model in noise().models)
    assert not all(gate.passed for gate in result.propensity.gates)


def test_force_promotes_and_names_what_it_passed_over() -> None:
    result = learned(dataset("noise"), state(NOISE), force=True).result
    refused = [gate for gate in result.propensity.gates if not gate.passed]
    assert refused
    assert result.propensity.promoted
    assert result.propensity.forced
    assert result.propensity.status == "gate_failed"
    for gate in refused:
        assert gate.name in result.propensity.reason
        assert gate.text in result.propensity.reason
    assert "by force" in result.reason


def test_a_manual_policy_waits_for_an_approver_unless_forced() -> None:
    waiting = learned(dataset("planted"), state(PLANTED, Promotion.MANUAL))
    assert not waiting.result.promoted
    assert waiting.result.weights.status == "success"
    assert waiting.result.weights.after == DEFAULT_WEIGHTS
    assert "approver" in waiting.result.weights.reason
    assert not any(m.decision.live for m in waiting.models)
    passed = [m for m in waiting.models if m.target in ("", "converted")]
    assert not any(m.decision.refused for m in passed)
    forced = learned(dataset("planted"), state(PLANTED, Promotion.MANUAL), force=True)
    assert forced.result.weights.promoted
    assert forced.result.weights.forced


def test_weights_set_by_hand_stay_even_under_force() -> None:
    by_hand = Weights(0.3, 0.2, 0.2, 0.15, 0.15)
    kept = state(PLANTED, live_weights=by_hand, weights_by_hand=True)
    weights = learned(dataset("planted"), kept, force=True).result.weights
    assert not weights.promoted
    assert weights.before == weights.after == by_hand
    assert weights.learned is not None
    assert weights.learned.authority > 0.35
    assert "by hand" in weights.reason


def test_a_later_promotion_moves_no_weight_by_more_than_a_week_allows() -> None:
    live = state(PLANTED, live_weights=DEFAULT_WEIGHTS, promotions=1)
    weights = learned(dataset("planted"), live).result.weights
    assert weights.promoted
    moved = np.subtract(weights.after.as_tuple(), DEFAULT_WEIGHTS.as_tuple())
    assert np.abs(moved).max() <= 0.05 + 1e-9
    assert moved[COMPONENTS.index("authority")] == pytest.approx(0.05)
    assert "week" in weights.reason


def test_a_version_says_how_many_leads_it_was_learned_from() -> None:
    """All of them, as every answer's ModelInfo promises, not the converted ones alone."""
    result = planted().result
    outcomes = {each.target: each for each in (result.propensity, *result.propensity_targets)}
    assert {model.kind for model in planted().models} == {"weights", "propensity"}
    for model in planted().models:
        if model.kind == "weights":
            assert model.sample_size == result.weights.n > 3 * result.weights.n_converted
        else:
            outcome = outcomes[model.target]
            assert model.sample_size == outcome.n_train + outcome.n_test


def test_a_dry_run_reports_and_promotes_nothing() -> None:
    result = learned(dataset("planted"), state(PLANTED), dry_run=True).result
    assert not result.promoted
    assert result.weights.after == DEFAULT_WEIGHTS
    assert result.weights.learned == planted().result.weights.learned
    assert "dry run" in result.reason


def content(of: Learned) -> bytes:
    """Everything that is stored, without times."""
    return json.dumps(
        {
            "patterns": {p.type: (p.content, p.sample_size, p.confidence) for p in of.patterns},
            "models": [
                (m.kind, m.content, m.metrics, m.gates, dataclasses.asdict(m.decision))
                for m in of.models
            ],
        },
        sort_keys=True,
        allow_nan=False,
    ).encode()


def test_the_same_data_give_the_same_bytes_whatever_the_row_order() -> None:
    data = dataset("planted")
    frames = {
        name: getattr(data, name).sample(fraction=1.0, shuffle=True, seed=4)
        for name in ("leads", "email_events", "meetings", "deals")
    }
    shuffled = dataclasses.replace(data, **frames)
    assert content(learned(shuffled, state(PLANTED))) == content(planted())


def test_results_survive_storage() -> None:
    result = planted().result
    assert RunResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result
    assert [outcome.type for outcome in result.patterns] == list(DETECTORS)
    found = {outcome.type for outcome in result.patterns if outcome.status is PatternStatus.OK}
    assert found >= {PatternType.WHO, PatternType.WHEN, PatternType.HOW}
    assert result.leads == dataset("planted").leads.height
    assert 0 < result.conversions <= result.leads


def few(data: Dataset, leads: int) -> Dataset:
    kept = data.leads.sort("lead_id").head(leads)
    ids = kept["lead_id"].implode()
    return dataclasses.replace(
        data,
        leads=kept,
        **{
            name: getattr(data, name).filter(pl.col("lead_id").is_in(ids))
            for name in ("activities", "meetings", "deals", "threads")
        },
    )


@pytest.mark.parametrize("leads", [0, 1, 45])
def test_too_little_data_is_a_finding_not_a_fault(leads: int) -> None:
    result = learned(few(dataset("planted"), leads), state(PLANTED), force=True)
    assert result.models == ()
    assert result.patterns == ()
    assert result.result.weights.status == "insufficient_data"
    assert result.result.propensity.status == "insufficient_data"
    assert {o.status for o in result.result.patterns} == {PatternStatus.INSUFFICIENT_DATA}
    assert not result.result.promoted


def test_nobody_converted_is_a_single_class() -> None:
    data = dataset("planted")
    lost = data.leads.filter(pl.col("converted_at").is_null())
    result = learned(dataclasses.replace(data, leads=lost), state(PLANTED)).result
    assert result.weights.status == "single_class"
    assert result.propensity.status == "single_class"


def test_equal_leads_leave_nothing_to_learn_from() -> None:
    data = dataset("planted")
    told = ("lead_id", "status", "created_at", "first_contacted_at", "converted_at",
            "sequence_completed_at", "conversion_type", "company_key", "unsubscribed",
            "rejection_reason", "tier")  # fmt: skip
    alike = data.leads.with_columns(
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in data.leads.schema.items()
        if name not in told
    )
    result = learned(dataclasses.replace(data, leads=alike), state(PLANTED), force=True).result
    assert result.weights.status == "no_variance"
    assert result.propensity.status == "no_variance"
    assert "computed again" in result.weights.reason
    assert not result.promoted


def test_stages_and_progress_tell_how_far_a_run_is() -> None:
    told: list[tuple[str, float]] = []
    stages = Stages(Clock(), lambda stage, fraction, *_: told.append((stage, fraction)))
    data = few(dataset("planted"), 800)
    learn(data, state(PLANTED), LearnOptions(as_of=AS_OF), stages)
    names = [stage for stage, _ in told]
    assert names == [
        *(f"detect_{kind}" for kind in DETECTORS),
        *("weights", "propensity", "policies", "recommend"),
    ]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0.0
    assert fractions[-1] < 1.0
    assert [stage.stage for stage in stages.finished] == names
    assert all(stage.rows is not None for stage in stages.finished)


def test_components_computed_again_agree_with_those_stored_at_first_touch() -> None:
    data = dataset("planted")
    leads = population(data, DetectorSettings()).leads
    client = state(PLANTED).client

    def points(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        found = first_touch(frame, client=client, campaigns={}, as_of=data.window.as_of)
        return found.points, found.reconstructed

    stored, rebuilt = points(leads)
    assert not rebuilt.any()
    again, rebuilt = points(leads.with_columns(components=pl.lit(None, dtype=pl.String)))
    assert rebuilt.all()
    # Whose title is written in no known way scored on the provider's seniority.
    assert (stored == again).mean(axis=0).min() > 0.97


def test_outcomes_do_not_leak_into_components_computed_again() -> None:
    data = dataset("planted")
    leads = population(data, DetectorSettings()).leads.with_columns(
        components=pl.lit(None, dtype=pl.String)
    )
    spoiled = leads.with_columns(
        bounce_count=pl.lit(3, dtype=pl.Int64),
        unsubscribed=pl.lit(True),
        status=pl.lit("unsubscribed"),
    )
    client = state(PLANTED).client
    one, other = (
        first_touch(frame, client=client, campaigns={}, as_of=data.window.as_of).points
        for frame in (leads, spoiled)
    )
    assert (one == other).all()
    assert one[:, COMPONENTS.index("risk")].min() > 0


def test_a_broken_stored_set_is_computed_again() -> None:
    data = dataset("planted")
    leads = population(data, DetectorSettings()).leads.head(4)
    broken = pl.Series(
        ['{"data_quality": 3}', '{"data_quality": 99, "authority": 1, "company_fit": 1,'
         ' "timing": 1, "risk": 1}', None, leads["components"][3]]
    )  # fmt: skip
    found = first_touch(
        leads.with_columns(components=broken),
        client=state(PLANTED).client,
        campaigns={},
        as_of=data.window.as_of,
    )
    assert found.reconstructed.tolist() == [True, True, True, False]
    assert np.isfinite(found.points).all()
    whole = first_touch(leads, client=state(PLANTED).client, campaigns={}, as_of=data.window.as_of)
    assert (found.points[0] == whole.points[0]).all()


def test_the_cohort_is_followed_for_the_same_time() -> None:
    data = dataset("planted")
    run = population(data, DetectorSettings())
    rows = learning_rows(run)
    assert rows.follow_up_days >= 30
    latest = AS_OF - dt.timedelta(days=rows.follow_up_days)
    assert rows.leads["contacted_at"].max() <= latest
    assert rows.leads["contacted_at"].min() >= run.window_start
    # Who is still open has not converted in that time; leaving such leads out would inflate rates.
    assert "open" in set(rows.leads["label"])
    true = simulation().truth["planted"].baseline
    assert float(rows.converted.mean() or 0) == pytest.approx(true, rel=0.2)
    for outcome in planted().result.patterns:
        if outcome.type is PatternType.WHO:
            assert (outcome.sample_size, outcome.n_converted) == (
                rows.leads.height,
                rows.converted.sum(),
            )
    assert planted().result.weights.n == rows.leads.height


def test_what_follows_the_booking_is_learned_and_stored() -> None:
    stored = {pattern.type: pattern for pattern in planted().patterns}
    statuses = {outcome.type: outcome.status for outcome in planted().result.patterns}
    for kind in (PatternType.FUNNEL, PatternType.CONVERSATION):
        assert statuses[kind] is PatternStatus.OK
        content = json.loads(json.dumps(stored[kind].content, allow_nan=False))
        assert PATTERN_CLASSES[kind].from_json(content).to_json() == stored[kind].content
        assert stored[kind].confidence == content["envelope"]["confidence"]
        broken = [b for b in content["envelope"]["blocks"] if b["status"] == "error"]
        assert broken == []


def test_every_target_has_a_model_or_a_named_reason() -> None:
    result = planted().result
    outcomes = (result.propensity, *result.propensity_targets)
    assert [outcome.target for outcome in outcomes] == list(SERVED_TARGETS)
    stored = {model.target for model in planted().models if model.kind == "propensity"}
    for outcome in outcomes:
        fitted = outcome.status in ("success", "gate_failed")
        assert (outcome.target in stored) == fitted
        assert outcome.reason
        assert bool(outcome.gates) == fitted


def test_a_client_that_shares_and_has_few_outcomes_is_told_what_the_others_say() -> None:
    data = dataset("planted")
    sharing = state(PLANTED)
    policy = dataclasses.replace(sharing.client.policy, pooling=True)
    sharing = dataclasses.replace(
        sharing, client=dataclasses.replace(sharing.client, policy=policy)
    )
    given = learned(data, sharing).contributions
    assert {part.target for part in given} >= {"converted", "call_booked"}
    assert planted().contributions == ()
    parts = [
        dataclasses.replace(next(p for p in given if p.target == "converted"), target="customer")
        for _ in range(5)
    ]
    prior = pooled(parts)
    assert prior is not None
    got = learned(data, dataclasses.replace(sharing, pools={"customer": prior.to_json()}))
    customer = got.result.propensity_targets[-1]
    assert customer.status == "insufficient_data"
    assert customer.promoted
    assert "5 other clients" in customer.reason
    (model,) = [model for model in got.models if model.target == "customer"]
    assert model.origin == "pooled"
    assert model.decision.live
    own = LivePropensity(content=model.content)
    kept = dataclasses.replace(
        sharing, pools={"customer": prior.to_json()}, live_propensity={"customer": own}
    )
    stays = learned(data, kept)
    assert "own model stays live" in stays.result.propensity_targets[-1].reason
    assert not [model for model in stays.models if model.target == "customer"]
