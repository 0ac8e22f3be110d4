"""The model registry over the wire: what approvers do, what is refused, what is recorded."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from running_server import make_client
from sqlalchemy import Engine

from cis_client import Client
from cis_client.errors import FailedPrecondition, InvalidArgument, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.bootstrap import now
from cis_server.domain.clients import ClientPolicy, ClientRecord
from cis_server.domain.registry import BY_ALARM, ModelKind, ModelState, NewModel, StoredModel
from cis_server.domain.vocabulary import Promotion
from cis_server.domain.weights import COMPONENTS, Weights
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.models import activate, events_of, get_model, insert_model, settle
from cis_server.persistence.registry import obstacle_to_learning, rollback_on_drift

ONE = Weights(0.1, 0.4, 0.2, 0.2, 0.1)
TWO = Weights(0.3, 0.1, 0.3, 0.1, 0.2)
THREE = Weights(0.2, 0.2, 0.2, 0.2, 0.2)
FIGURES = {"n": 400, "n_converted": 33, "log_loss": 0.2, "baseline_log_loss": 0.3}
PASSED = {"deviance_test": {"name": "deviance_test", "value": 12.0, "bound": 8.8, "passed": True}}
FAILED = {"deviance_test": {**PASSED["deviance_test"], "value": 2.0, "passed": False}}


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    made = make_engine(module_database_url)
    yield made
    made.dispose()


Learned = Callable[..., str]


@pytest.fixture
def learned(engine: Engine, tenant_id: str) -> Learned:
    """Stores learned weights as a run does; their label."""

    def store(
        weights: Weights, gates: Mapping[str, Any] = PASSED, *, rejected: bool = False, **more: Any
    ) -> str:
        with tenant(engine, tenant_id) as connection:
            model = insert_model(
                connection,
                tenant_id,
                NewModel(
                    kind=ModelKind.WEIGHTS,
                    content=weights.as_dict(),
                    gates=gates,
                    metrics={
                        "n": 400,
                        "n_converted": 33,
                        "log_loss": 0.2,
                        "baseline_log_loss": 0.3,
                    },
                    lineage={
                        "snapshot_hash": "ab" * 32,
                        "code_version": "1.2",
                        "libraries": {"numpy": "2"},
                        "options": {"lookback_days": 90},
                        "window_start": "2026-01-01T00:00:00+00:00",
                    },
                    sample_size=33,
                    **more,
                ),
            )
            state = ModelState.REJECTED if rejected else ModelState.CANDIDATE
            settle(connection, tenant_id, model.model_id, state, "as the run found")
        return model.label

    return store


def score(api: Client, client_id: str, lead_id: str = "lead-1") -> core.LeadScore:
    lead = core.Lead(lead_id=lead_id, title="CEO", email="a@b.example")
    return api.score_lead(scoring.ScoreLeadRequest(client_id=client_id, lead=lead))


def promote(api: Client, client_id: str, label: str, **more: Any) -> learning.PromoteModelResponse:
    return api.promote_model(
        learning.PromoteModelRequest(
            client_id=client_id, model_version=label, approver="ana", **more
        )
    )


def roll_back(api: Client, client_id: str) -> learning.RollbackModelResponse:
    return api.rollback_model(
        learning.RollbackModelRequest(
            client_id=client_id, kind=learning.MODEL_KIND_WEIGHTS, approver="ben", reason="worse"
        )
    )


def by_hand(
    api: Client, client_id: str, weights: Weights, approver: str = "eva"
) -> learning.SetWeightsResponse:
    return api.set_weights(
        learning.SetWeightsRequest(
            client_id=client_id, weights=core.Weights(**weights.as_dict()), approver=approver
        )
    )


def get(api: Client, client_id: str, label: str) -> learning.Model:
    return api.get_model(learning.GetModelRequest(client_id=client_id, model_version=label)).model


def weights_of(api: Client, client_id: str) -> patterns.GetWeightsResponse:
    return api.get_weights(patterns.GetWeightsRequest(client_id=client_id))


def values(weights: core.Weights) -> tuple[float, ...]:
    return tuple(getattr(weights, name) for name in COMPONENTS)


def test_promote_then_back_step_by_step(api: Client, tenant_id: str, learned: Learned) -> None:
    first, second = learned(ONE), learned(TWO)
    assert (first, second) == ("weights-1", "weights-2")
    promoted = promote(api, tenant_id, first, reason="looks right")
    assert not promoted.HasField("replaced_version")
    assert (promoted.model.state, promoted.model.rollout_percentage) == (
        learning.MODEL_STATE_LIVE,
        100,
    )
    assert (promoted.model.approver, promoted.model.reason) == ("ana", "looks right")
    # The process that promoted answers by it at once.
    assert score(api, tenant_id).model.model_version == first
    assert promote(api, tenant_id, second).replaced_version == first
    assert get(api, tenant_id, first).state == learning.MODEL_STATE_RETIRED
    assert weights_of(api, tenant_id).previous_version == first
    back = roll_back(api, tenant_id)
    assert (back.rolled_back_version, back.model.model_version) == (second, first)
    assert back.model.state == learning.MODEL_STATE_LIVE
    assert score(api, tenant_id).model.model_version == first
    again = roll_back(api, tenant_id)
    assert again.rolled_back_version == first
    assert not again.HasField("model"), "the defaults are in force again"
    assert score(api, tenant_id).model.source == core.SOURCE_DEFAULT
    with pytest.raises(FailedPrecondition) as refused:
        roll_back(api, tenant_id)
    assert refused.value.reason == "NOTHING_LIVE"


def test_what_was_taken_back_does_not_come_back_by_itself(
    api: Client, tenant_id: str, learned: Learned
) -> None:
    first, second = learned(ONE), learned(TWO)
    for label in (first, second, first):
        promote(api, tenant_id, label)
    assert roll_back(api, tenant_id).model.model_version == second
    # `second` had replaced `first`, which has been taken back since.
    assert not roll_back(api, tenant_id).HasField("model")


def test_a_version_tells_everything(api: Client, tenant_id: str, learned: Learned) -> None:
    parent = learned(ONE)
    promote(api, tenant_id, parent)
    label = learned(TWO)
    promote(api, tenant_id, label, rollout_percentage=25, reason="a try")
    promote(api, tenant_id, label)
    model = get(api, tenant_id, label)
    assert values(model.weights) == TWO.as_tuple()
    assert (model.kind, model.origin) == (
        learning.MODEL_KIND_WEIGHTS,
        learning.MODEL_ORIGIN_LEARNED,
    )
    assert (model.sample_size, model.converted) == (400, 33)
    assert model.evaluation.gain == pytest.approx(0.1)
    assert model.lineage.parent_version == parent
    assert model.lineage.snapshot_hash == "ab" * 32
    assert model.lineage.parameters["lookback_days"] == "90"
    assert model.lineage.library_versions["numpy"] == "2"
    assert model.lineage.window_start_time.ToJsonString() == "2026-01-01T00:00:00Z"
    assert [(g.name, g.value, g.passed) for g in model.gates] == [("deviance_test", 12.0, True)]
    assert model.replaced_version == parent
    told = [(e.to_state, e.rollout_percentage, e.actor, e.reason) for e in model.history]
    assert told == [
        (learning.MODEL_STATE_CANDIDATE, 0, "learning", ""),
        (learning.MODEL_STATE_CANDIDATE, 0, "learning", "as the run found"),
        (learning.MODEL_STATE_LIVE, 25, "ana", "a try"),
        (learning.MODEL_STATE_LIVE, 100, "ana", ""),
    ]
    times = [e.event_time.ToNanoseconds() for e in model.history]
    assert times == sorted(times)
    replaced = get(api, tenant_id, parent).history[-1]
    assert (replaced.actor, replaced.reason) == ("ana", f"replaced by {label}")


def test_refusals_name_their_reason(api: Client, tenant_id: str, learned: Learned) -> None:
    good, bad = learned(ONE), learned(TWO, FAILED, rejected=True)
    old = learned(THREE, valid_until=now())

    def refused(call: Callable[[], object]) -> tuple[str, Mapping[str, str]]:
        with pytest.raises(FailedPrecondition) as caught:
            call()
        return str(caught.value.reason), caught.value.metadata

    def reject(label: str) -> learning.RejectModelResponse:
        return api.reject_model(
            learning.RejectModelRequest(
                client_id=tenant_id, model_version=label, approver="cy", reason="no"
            )
        )

    reason, told = refused(lambda: promote(api, tenant_id, bad))
    assert (reason, told["gates"]) == ("GATE_FAILED", "deviance_test")
    assert refused(lambda: promote(api, tenant_id, old))[0] == "VERSION_EXPIRED"
    assert refused(lambda: reject(bad))[0] == "NOT_A_CANDIDATE"
    rejected = reject(good).model
    assert (rejected.state, rejected.approver) == (learning.MODEL_STATE_REJECTED, "cy")
    reason, told = refused(lambda: promote(api, tenant_id, good))
    assert (reason, told["rejected_by"]) == ("REJECTED", "cy")
    promote(api, tenant_id, good, force=True, rollout_percentage=5)
    assert refused(lambda: reject(good))[0] == "IN_FORCE"
    reason, told = refused(lambda: promote(api, tenant_id, bad, force=True))
    assert (reason, told["rolling_out"]) == ("ROLLOUT_UNDER_WAY", good)
    promote(api, tenant_id, good)
    assert refused(lambda: promote(api, tenant_id, good))[0] == "ALREADY_LIVE"
    promote(api, tenant_id, bad, force=True)


def test_what_does_not_exist_is_not_found(api: Client, tenant_id: str, learned: Learned) -> None:
    learned(ONE)
    for label in ("weights-2", "propensity-1", "weights", "weights-x", "weights-99999999999"):
        with pytest.raises(NotFound, match="model"):
            get(api, tenant_id, label)
        with pytest.raises(NotFound, match="model"):
            promote(api, tenant_id, label)
    calls: list[Callable[[str], object]] = [
        lambda name: get(api, name, "weights-1"),
        lambda name: promote(api, name, "weights-1"),
        lambda name: roll_back(api, name),
        lambda name: by_hand(api, name, ONE),
        lambda name: api.list_models(learning.ListModelsRequest(client_id=name)),
    ]
    for call in calls:
        with pytest.raises(NotFound, match="client 'nobody'"):
            call("nobody")


def test_wrong_requests_name_the_field(api: Client, tenant_id: str, learned: Learned) -> None:
    label = learned(ONE)
    for share in (0, 101):
        with pytest.raises(InvalidArgument, match="rollout_percentage"):
            promote(api, tenant_id, label, rollout_percentage=share)
    with pytest.raises(InvalidArgument, match="approver: is required"):
        api.promote_model(learning.PromoteModelRequest(client_id=tenant_id, model_version=label))
    with pytest.raises(InvalidArgument, match="must add up to 1"):
        by_hand(api, tenant_id, Weights(0.2, 0.2, 0.2, 0.2, 0.3))
    with pytest.raises(InvalidArgument, match=r"weights\.authority"):
        by_hand(api, tenant_id, Weights(0.1, 0.6, 0.1, 0.1, 0.1))
    with pytest.raises(InvalidArgument, match="approver: must name a person"):
        by_hand(api, tenant_id, ONE, approver="learning")
    request = learning.RollbackModelRequest(client_id=tenant_id, approver="ben")
    with pytest.raises(InvalidArgument, match="kind"):
        api.rollback_model(request)
    request.kind = learning.MODEL_KIND_PROPENSITY
    with pytest.raises(InvalidArgument, match="target"):
        api.rollback_model(request)
    with pytest.raises(InvalidArgument, match="page_token"):
        api.list_models(learning.ListModelsRequest(client_id=tenant_id, page_token="x"))


def test_versions_are_listed_by_pages_and_filters(
    api: Client, tenant_id: str, learned: Learned
) -> None:
    labels = [learned(ONE) for _ in range(5)]
    promote(api, tenant_id, labels[0])
    promote(api, tenant_id, labels[1], rollout_percentage=30)
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = api.list_models(
            learning.ListModelsRequest(client_id=tenant_id, page_size=2, page_token=token)
        )
        seen += [model.model_version for model in page.models]
        token = page.next_page_token
    assert seen == labels[::-1]
    assert not token
    live = api.list_models(
        learning.ListModelsRequest(client_id=tenant_id, states=[learning.MODEL_STATE_LIVE])
    ).models
    assert {m.model_version: m.rollout_percentage for m in live} == {labels[0]: 70, labels[1]: 30}
    none = learning.ListModelsRequest(client_id=tenant_id, states=[learning.MODEL_STATE_APPROVED])
    assert not api.list_models(none).models
    other = learning.ListModelsRequest(client_id=tenant_id, kind=learning.MODEL_KIND_PROPENSITY)
    assert not api.list_models(other).models


def test_weights_by_hand_stay_and_learned_ones_stand_beside(
    api: Client, tenant_id: str, learned: Learned, engine: Engine
) -> None:
    before = learned(ONE)
    promote(api, tenant_id, before)
    set_ = by_hand(api, tenant_id, TWO).model
    assert (set_.origin, set_.state) == (
        learning.MODEL_ORIGIN_MANUAL,
        learning.MODEL_STATE_LIVE,
    )
    assert (set_.approver, set_.HasField("evaluation")) == ("eva", False)
    assert not set_.HasField("valid_until_time")
    now_ = weights_of(api, tenant_id)
    assert (now_.manual, now_.previous_version, now_.sample_size) == (True, before, 0)
    assert (values(now_.weights), values(now_.learned_weights)) == (TWO.as_tuple(), ONE.as_tuple())
    newest = learned(THREE)
    with tenant(engine, tenant_id) as connection:
        told = obstacle_to_learning(connection, tenant_id, ModelKind.WEIGHTS, "")
        assert told is not None
        assert "by hand" in told
        assert obstacle_to_learning(connection, tenant_id, ModelKind.PROPENSITY, "x") is None
    answer = api.get_weights(patterns.GetWeightsRequest(client_id=tenant_id))
    for _ in range(200):
        if answer.learned_version == newest:
            break
        answer = api.get_weights(patterns.GetWeightsRequest(client_id=tenant_id))
    assert (answer.learned_version, values(answer.learned_weights)) == (newest, THREE.as_tuple())
    assert values(answer.weights) == TWO.as_tuple()
    promote(api, tenant_id, newest)
    after = weights_of(api, tenant_id)
    assert (after.manual, after.converted, after.sample_size) == (False, 33, 400)
    assert not after.HasField("learned_weights")
    assert after.previous_version == set_.model_version


def test_a_batch_says_which_version_told_each_score(
    api: Client, tenant_id: str, learned: Learned
) -> None:
    promote(api, tenant_id, learned(ONE))
    rolling = learned(TWO)
    promote(api, tenant_id, rolling, rollout_percentage=40)
    leads = [core.Lead(lead_id=f"lead-{i}", title="CEO") for i in range(500)]
    leads.append(core.Lead(title="CEO"))
    for view in (scoring.LEAD_SCORE_VIEW_BASIC, scoring.LEAD_SCORE_VIEW_FULL):
        answer = api.batch_score_leads(
            scoring.BatchScoreLeadsRequest(client_id=tenant_id, leads=leads, view=view)
        )
        assert (answer.model.model_version, values(answer.weights)) == (
            "weights-1",
            ONE.as_tuple(),
        )
        own = [s for s in answer.scores if s.HasField("model")]
        assert {s.model.model_version for s in own} == {rolling}
        assert answer.rollout.model.model_version == rolling
        assert values(answer.rollout.weights) == TWO.as_tuple()
        assert (answer.rollout.percentage, answer.rollout.scores) == (40, len(own))
        # Five standard errors of a share of 40 % among 500.
        assert abs(len(own) - 200) < 5 * (500 * 0.4 * 0.6) ** 0.5
        assert not answer.scores[-1].HasField("model"), "a lead without an id is in no rollout"
        for each in answer.scores[:20]:
            alone = score_as(api, tenant_id, each.lead_id)
            assert alone.score == each.score
            assert alone.model.model_version == (each.model.model_version or "weights-1")
    shown = weights_of(api, tenant_id)
    assert (shown.rollout_version, shown.rollout_percentage) == (rolling, 40)
    assert values(shown.rollout_weights) == TWO.as_tuple()


def score_as(api: Client, client_id: str, lead_id: str) -> core.LeadScore:
    lead = core.Lead(lead_id=lead_id, title="CEO")
    return api.score_lead(scoring.ScoreLeadRequest(client_id=client_id, lead=lead))


def test_a_larger_share_keeps_whom_it_had(api: Client, tenant_id: str, learned: Learned) -> None:
    label = learned(ONE)
    leads = [core.Lead(lead_id=f"lead-{i}") for i in range(300)]
    request = scoring.BatchScoreLeadsRequest(client_id=tenant_id, leads=leads)
    taken: list[set[str]] = []
    for share in (10, 35, 80):
        promote(api, tenant_id, label, rollout_percentage=share)
        answer = api.batch_score_leads(request)
        taken.append({s.lead_id for s in answer.scores if s.HasField("model")})
    for smaller, larger in itertools.pairwise(taken):
        assert smaller < larger
    assert roll_back(api, tenant_id).rolled_back_version == label
    assert not any(s.HasField("model") for s in api.batch_score_leads(request).scores)


def test_two_approvers_at_once_leave_one_live(
    api: Client, tenant_id: str, learned: Learned
) -> None:
    labels = [learned(ONE) for _ in range(6)]
    failures: list[BaseException] = []

    def go(label: str) -> None:
        try:
            promote(api, tenant_id, label)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=go, args=(label,)) for label in labels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    models = api.list_models(learning.ListModelsRequest(client_id=tenant_id)).models
    states = [m.state for m in models]
    assert states.count(learning.MODEL_STATE_LIVE) == 1
    assert states.count(learning.MODEL_STATE_RETIRED) == 5


def live_for(engine: Engine, client_id: str, weights: Weights, **more: Any) -> StoredModel:
    with tenant(engine, client_id) as connection:
        new = NewModel(kind=ModelKind.WEIGHTS, content=weights.as_dict(), **more)
        model = insert_model(connection, client_id, new)
        return activate(connection, client_id, model.model_id, by="learning", at=now())


@pytest.mark.parametrize("policy", list(Promotion))
def test_a_drift_alarm_takes_back_by_policy(
    policy: Promotion, api: Client, engine: Engine, tenant_id: str
) -> None:
    del api
    record = ClientRecord(client_id=tenant_id, policy=ClientPolicy(promotion=policy))
    Clients(engine).upsert(record)
    first = live_for(engine, tenant_id, ONE)
    second = live_for(engine, tenant_id, TWO)
    with tenant(engine, tenant_id) as connection:
        rolled = rollback_on_drift(
            connection, tenant_id, second.model_id, at=now(), reason="PSI .31 > .2"
        )
    if policy is Promotion.MANUAL:
        assert rolled is None
        return
    assert rolled is not None
    assert rolled.in_force is not None
    assert (rolled.taken_back.label, rolled.in_force.label) == (second.label, first.label)
    with tenant(engine, tenant_id) as connection:
        *_, last = events_of(connection, tenant_id, second.model_id)
        assert (last.actor, last.reason) == (BY_ALARM, "PSI .31 > .2")
        # The same alarm once more: the version it judged is not in force any longer.
        again = rollback_on_drift(
            connection, tenant_id, second.model_id, at=now(), reason="PSI .31 > .2"
        )
        assert again is None
        assert get_model(connection, tenant_id, first.model_id).state is ModelState.LIVE
    hand = live_for(engine, tenant_id, THREE, origin="manual")
    with tenant(engine, tenant_id) as connection:
        assert rollback_on_drift(connection, tenant_id, hand.model_id, at=now(), reason="x") is None


def test_one_client_s_versions_are_not_another_s(
    api: Client, tenant_id: str, learned: Learned
) -> None:
    label = learned(ONE)
    other = f"{tenant_id}-other"
    make_client(api, other)
    with pytest.raises(NotFound):
        promote(api, other, label)
    assert not api.list_models(learning.ListModelsRequest(client_id=other)).models
