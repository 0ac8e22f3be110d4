"""ScoreTable over the wire: every figure is that of ScoreLead, and what is wrong is told."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from running_server import make_client, wait_until
from sqlalchemy import Engine
from table_leads import message, row, table

from cis_client import Client
from cis_client.errors import InvalidArgument
from cis_client.frames import table_request
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.domain.registry import ModelKind, NewModel
from cis_server.domain.weights import COMPONENTS, Weights
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.models import insert_model
from cis_server.scoring.features import FIXED_FEATURES

AS_OF = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
LEADS = 10_000


def model(seed: int) -> dict[str, Any]:
    """A propensity model that reads every feature there is, and two attributes."""
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
    ).to_json()


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = make_engine(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def acme(api: Client, engine: Engine, sql: Callable[..., Any]) -> str:
    """A client with everything that a score can depend on, half of it being rolled out."""
    make_client(
        api,
        "acme",
        competitor_domains=["rival.example"],
        icp=core.Icp(industries=["software"], employee_min=5, employee_max=50, countries=["AU"]),
    )
    api.upsert_campaigns(
        admin.UpsertCampaignsRequest(
            client_id="acme",
            campaigns=[
                admin.Campaign(
                    campaign_id="banks",
                    name="Banks",
                    icp=core.Icp(industries=["banking"], employee_min=1, employee_max=500),
                )
            ],
        )
    )
    own = "INSERT INTO suppression (client_id, kind, value) VALUES ('acme', %s, %s)"
    sql(own, "email", "listed@person.example")
    sql(own, "domain", "listed.example")
    everybody = "INSERT INTO global_suppression (kind, value, reason) VALUES (%s, %s, 'legal')"
    sql(everybody, "phone", "61400000001")
    sql(everybody, "lead_id", "lead-77")
    with tenant(engine, "acme") as connection:
        for weights in (Weights(0.1, 0.4, 0.2, 0.2, 0.1), Weights(0.3, 0.1, 0.3, 0.1, 0.2)):
            insert_model(
                connection, "acme", NewModel(kind=ModelKind.WEIGHTS, content=weights.as_dict())
            )
        for seed in (1, 2):
            new = NewModel(kind=ModelKind.PROPENSITY, content=model(seed), target="converted")
            insert_model(connection, "acme", new)
    found = api.list_models(learning.ListModelsRequest(client_id="acme")).models
    for version, share in _promotions([each.model_version for each in found]):
        api.promote_model(
            learning.PromoteModelRequest(
                client_id="acme", model_version=version, approver="ana", rollout_percentage=share
            )
        )
    wait_until(lambda: _rolled_out(api), 10, "the rollout")
    return "acme"


def _promotions(versions: Sequence[str]) -> list[tuple[str, int]]:
    """The older version of each kind in full, then the newer one for a share."""
    old, new = ([v for v in sorted(versions) if v.endswith(end)] for end in ("-1", "-2"))
    assert len(old) == len(new) == 2, versions
    return [*((version, 100) for version in old), (new[0], 30), (new[1], 55)]


def _rolled_out(api: Client) -> bool:
    seen = set()
    for number in range(40):
        score = score_lead(api, core.Lead(lead_id=f"x{number}"))
        seen.add((score.model.model_version, score.conversion_probability.model_version))
    listed = score_lead(api, core.Lead(lead_id="lead-77")).suppressed
    return listed and len(seen) == 4


def score_lead(api: Client, lead: core.Lead, **fields: Any) -> core.LeadScore:
    request = scoring.ScoreLeadRequest(client_id="acme", lead=lead, **fields)
    request.as_of_time.FromDatetime(AS_OF)
    return api.score_lead(request)


def told(api: Client, values: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What ScoreLead says of a row, by the names of the table."""
    try:
        score = score_lead(api, message(values), **fields)
    except InvalidArgument as refused:
        words = [f"{each.field}: {each.description}" for each in refused.violations]
        return {"error": "; ".join(words).replace("lead.", ""), "lead_id": values["lead_id"]}
    except ValueError:  # protobuf refuses a number beyond 32 bits itself
        return {"error": ..., "lead_id": values["lead_id"]}
    chance = score.conversion_probability
    return {
        "lead_id": score.lead_id,
        "score": score.score,
        "tier": core.Tier.Name(score.tier).removeprefix("TIER_").lower(),
        **{name: getattr(score.components, name) for name in COMPONENTS},
        "conversion_probability": chance.probability
        if score.HasField("conversion_probability")
        else None,
        "suppressed": score.suppressed,
        "suppression_reason": score.suppression_reason or None,
        "model_version": score.model.model_version or None,
        "probability_version": chance.model_version or None,
        "error": None,
    }


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    if expected["error"] is None:
        return found == expected
    nothing = {name: None for name in found if name not in ("lead_id", "error")}
    return {**nothing, **expected} == found


def sent(api: Client, pieces: Sequence[bytes], **fields: Any) -> pa.Table:
    """The answer to a table's bytes."""
    first = table_request("acme", as_of_time=AS_OF, **fields)
    requests = [first, *(scoring.ScoreTableRequest(arrow_ipc=piece) for piece in pieces)]
    with api.score_table(iter(requests)) as answers:
        return pa.ipc.open_stream(b"".join(each.arrow_ipc for each in answers)).read_all()


def stream(leads: pa.Table, rows_per_batch: int = 1000) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, leads.schema) as writer:
        writer.write_table(leads, max_chunksize=rows_per_batch)
    return sink.getvalue().to_pybytes()


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    pieces = []
    while data:
        size = chance.choice((1, 7, 100, 5000, 200_000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


ICP = core.Icp(industries=["health care"], employee_min=1, employee_max=10, countries=["US"])


def test_every_figure_is_that_of_score_lead(api: Client, acme: str) -> None:
    chance = random.Random(20260302)
    rows = [row(chance, number) for number in range(LEADS)]
    ways: tuple[dict[str, Any], ...] = ({}, {"campaign_id": "banks"}, {"icp": ICP})
    share = len(rows) // len(ways) + 1
    errors = 0
    for number, fields in enumerate(ways):
        part = rows[number * share : (number + 1) * share]
        answer = sent(api, cut(stream(table(part)), chance), **fields).to_pylist()
        assert len(answer) == len(part)
        with ThreadPoolExecutor(4) as callers:
            expected = callers.map(lambda values, given=fields: told(api, values, **given), part)
            for values, found, wanted in zip(part, answer, expected, strict=True):
                assert same(found, wanted), (values, found, wanted)
                errors += wanted["error"] is not None
    assert 100 < errors < 1000
    assert acme
