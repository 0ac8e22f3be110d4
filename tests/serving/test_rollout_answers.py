"""Two versions in memory: which answers, when one of them cannot, and what it costs otherwise."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from serving_fakes import NOW, client_state, live

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import ClientState, RollingOut
from cis_server.domain.propensity import CategoricalFeature, FeatureSpace, PropensityModel
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.vocabulary import Source
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.serving.health import WarningKind
from cis_server.serving.scoring_answers import (
    ScoringContext,
    scored_batch,
    scored_lead,
    scoring_context,
)
from cis_server.serving.snapshot import NO_LIST, ClientSnapshot, Refusal, built_client

OLD, NEW = Weights(0.1, 0.4, 0.2, 0.2, 0.1), Weights(0.3, 0.1, 0.3, 0.1, 0.2)
LEADS = [Lead(lead_id=f"lead-{i}", title="CEO") for i in range(400)]
HALF = RolloutShare.of("acme", "weights", "", 2, 50)
OTHER_HALF = RolloutShare.of("acme", "propensity", "converted", 2, 50)


def rolling(
    content: object, version: str, share: RolloutShare, until: dt.datetime | None = None
) -> RollingOut:
    return RollingOut(record=live(content, version, until), share=share)  # type: ignore[arg-type]


def model(version: str, intercept: float) -> dict[str, object]:
    space = FeatureSpace((CategoricalFeature("industry", ("software",)),))
    width = space.width
    covariance = tuple(
        tuple(0.01 if row == column else 0.0 for column in range(width + 1))
        for row in range(width + 1)
    )
    return PropensityModel(
        version=version,
        target="converted",
        space=space,
        intercept=intercept,
        coefficients=(0.0,) * width,
        covariance=covariance,
    ).to_json()


def built(
    state: ClientState, previous: ClientSnapshot | None = None
) -> tuple[ClientSnapshot, tuple[Refusal, ...]]:
    return built_client(state, NO_LIST, NO_LIST, previous)


def context_of(state: ClientState, now: dt.datetime = NOW, *, away: bool = False) -> ScoringContext:
    return scoring_context(built(state)[0], now, database_away=away)


def test_without_a_rollout_one_context_serves_all() -> None:
    context = context_of(client_state(weights=OLD.as_dict()))
    assert context.rollout is None
    assert context.of("lead-1") is context
    assert set(map(id, scored_batch(LEADS, context, with_reasons=False).told)) == {id(context)}


def test_each_lead_is_answered_by_its_version_alone_and_in_a_batch() -> None:
    state = replace(
        client_state(weights=OLD.as_dict(), model=model("m1", -3.0)),
        weights_rollout=rolling(NEW.as_dict(), "w2", HALF),
        model_rollout=rolling(model("m2", -1.0), "m2", OTHER_HALF),
    )
    context = context_of(state)
    batch = scored_batch(LEADS, context, with_reasons=True)
    seen = set()
    for lead, score, told in zip(LEADS, batch.scores, batch.told, strict=True):
        weights = ("w2", NEW) if HALF.takes(lead.lead_id) else ("w1", OLD)
        chance = ("m2", -1.0) if OTHER_HALF.takes(lead.lead_id) else ("m1", -3.0)
        assert (told.model_info.model_version, score.weights) == weights
        assert told.model_version == chance[0]
        assert score.conversion_probability is not None
        assert (score.conversion_probability.probability > 0.2) == (chance[1] == -1.0)
        assert score == scored_lead(lead, context)
        seen.add((weights[0], chance[0]))
    assert len(seen) == 4, "the two rollouts are drawn apart from each other"
    assert (batch.weights, batch.model_info.model_version) == (OLD, "w1")


def test_a_rollout_in_place_of_the_defaults() -> None:
    state = replace(client_state(), weights_rollout=rolling(NEW.as_dict(), "w2", HALF))
    sources = {
        told.model_info.source: score.weights
        for score, told in zip(
            *(lambda b: (b.scores, b.told))(
                scored_batch(LEADS, context_of(state), with_reasons=False)
            ),
            strict=True,
        )
    }
    assert sources == {Source.DEFAULT: DEFAULT_WEIGHTS, Source.LEARNED: NEW}


def test_a_profile_given_later_counts_for_both_versions() -> None:
    state = replace(
        client_state(weights=OLD.as_dict()),
        weights_rollout=rolling(NEW.as_dict(), "w2", RolloutShare(HALF.key, 100)),
    )
    own = Icp(industries=("banking",), employee_min=1, employee_max=9)
    assert replace(context_of(state), icp=own).of("lead-1").icp == own


@pytest.mark.parametrize("away", [False, True])
def test_an_expired_version_serves_nobody_while_that_can_be_known(away: bool) -> None:
    state = replace(
        client_state(weights=OLD.as_dict()),
        weights_rollout=rolling(NEW.as_dict(), "w2", HALF, NOW),
    )
    before = context_of(state, NOW - dt.timedelta(seconds=1))
    assert before.rollout is not None
    after = context_of(state, NOW, away=away)
    assert (after.rollout is not None) == away


def test_a_version_that_cannot_be_used_serves_nobody() -> None:
    state = replace(
        client_state(weights=OLD.as_dict()),
        weights_rollout=rolling({"authority": 7}, "w2", HALF),
        model_rollout=rolling({"format": 99}, "m2", OTHER_HALF),
    )
    snapshot, refusals = built(state)
    assert snapshot.rollout is None
    assert snapshot.weights == OLD
    assert [refusal.kind for refusal in refusals] == [
        WarningKind.WEIGHTS_REFUSED,
        WarningKind.MODEL_REFUSED,
    ]
