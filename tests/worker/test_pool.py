"""The pool in a real database: consent, leaving oneself out, and who is served by it."""

from __future__ import annotations

import datetime as dt
import json
from functools import cache

import numpy as np
from scipy import special
from sqlalchemy import Engine, text

from cis_server.domain.live_state import ClientState
from cis_server.domain.pooling import Contribution
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.vocabulary import Source
from cis_server.learning.pooling import PooledPrior, contribution, pooled
from cis_server.persistence.connections import tenant
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.persistence.models import ModelKind, NewModel, activate, insert_model
from cis_server.persistence.pooling import (
    clients_without_model,
    contributions_of_others,
    save_contributions,
)
from cis_server.worker.pool import pools_for, serve_pooled

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
GIVERS = tuple(f"giver{i}" for i in range(6))


@cache
def given(seed: int) -> Contribution:
    draw = np.random.default_rng(seed)
    level = draw.choice(["a", "b", "c"], 600)
    effect = {"a": 0.0, "b": 1.0, "c": -1.0}
    y = draw.random(600) < special.expit(-1.5 + np.array([effect[name] for name in level]))
    part = contribution({"industry": level.tolist()}, y, "converted")
    assert part is not None
    return part


def client(engine: Engine, client_id: str, *, pooling: bool = True) -> None:
    with tenant(engine, client_id) as connection:
        connection.execute(
            text("INSERT INTO clients (client_id, policy) VALUES (:c, CAST(:p AS jsonb))"),
            {"c": client_id, "p": json.dumps({"pooling": pooling})},
        )


def policy(engine: Engine, client_id: str, *, pooling: bool) -> None:
    with tenant(engine, client_id) as connection:
        connection.execute(
            text("UPDATE clients SET policy = CAST(:p AS jsonb) WHERE client_id = :c"),
            {"c": client_id, "p": json.dumps({"pooling": pooling})},
        )


def give(engine: Engine, client_id: str, part: Contribution) -> None:
    with tenant(engine, client_id) as connection:
        save_contributions(connection, client_id, [part], "run")


def filled(engine: Engine) -> None:
    for seed, name in enumerate(GIVERS):
        client(engine, name)
        give(engine, name, given(seed))


def served(engine: Engine, url: str, client_id: str) -> ClientState:
    state = PostgresSnapshotSource(engine, url).load_client(client_id)
    assert isinstance(state, ClientState)
    return state


def test_everybody_gets_what_the_others_gave_and_not_its_own(database: Engine) -> None:
    filled(database)
    client(database, "newcomer")
    assert contributions_of_others(database, "newcomer") == [given(i) for i in range(6)]
    assert contributions_of_others(database, "giver2") == [given(i) for i in (0, 1, 3, 4, 5)]
    prior = PooledPrior.from_json(pools_for(database, "giver2")["converted"])
    expected = pooled([given(i) for i in (0, 1, 3, 4, 5)])
    assert expected is not None
    assert prior.model() == expected.model()
    # Five others are needed: without one of them giver2 hears nothing.
    policy(database, "giver0", pooling=False)
    assert pools_for(database, "giver2") == {}


def test_without_consent_nothing_is_given_and_nothing_got(database: Engine) -> None:
    filled(database)
    client(database, "private", pooling=False)
    give(database, "private", given(9))
    assert contributions_of_others(database, "private") == []
    assert len(contributions_of_others(database, "giver0")) == 5
    policy(database, "giver1", pooling=False)
    with tenant(database, "giver1") as connection:
        assert connection.scalar(text("SELECT count(*) FROM pool_contributions")) == 0
    assert given(1) not in contributions_of_others(database, "giver0")
    policy(database, "giver1", pooling=True)
    assert given(1) not in contributions_of_others(database, "giver0")


def test_a_client_without_outcomes_is_served_the_pooled_answer_exactly(
    database: Engine, database_url: str
) -> None:
    filled(database)
    client(database, "newcomer")
    client(database, "private", pooling=False)
    assert clients_without_model(database) == ["newcomer"]
    assert serve_pooled(database, NOW) == 1
    live = served(database, database_url, "newcomer").model
    assert live is not None
    assert live.source is Source.POOLED
    expected = pooled([given(i) for i in range(6)])
    assert expected is not None
    assert PropensityModel.from_json(live.content) == expected.model(live.version)
    assert served(database, database_url, "private").model is None
    # Nothing has changed, so nothing new goes live.
    assert serve_pooled(database, NOW) == 0
    policy(database, "newcomer", pooling=False)
    assert served(database, database_url, "newcomer").model is None
    with tenant(database, "newcomer") as connection:
        told = connection.execute(
            text("SELECT to_state, actor FROM model_events ORDER BY event_number")
        )
        assert [tuple(row) for row in told][-1] == ("retired", "policy")


def test_a_model_of_ones_own_stays(database: Engine, database_url: str) -> None:
    filled(database)
    client(database, "own")
    prior = pooled([given(i) for i in range(6)])
    assert prior is not None
    with tenant(database, "own") as connection:
        stored = insert_model(
            connection,
            "own",
            NewModel(
                kind=ModelKind.PROPENSITY,
                target="converted",
                content=prior.model("propensity-1").to_json(),
            ),
        )
        activate(connection, "own", stored.model_id, by="learning", at=NOW)
    assert clients_without_model(database) == []
    assert serve_pooled(database, NOW) == 0
    live = served(database, database_url, "own").model
    assert live is not None
    assert live.source is Source.LEARNED
