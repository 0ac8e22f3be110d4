"""ScoreTable over the wire: every figure is that of ScoreLead, and what is wrong is told."""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from every_feature import every_feature_model
from running_server import make_client, wait_until
from sqlalchemy import Engine
from table_leads import message, row, table

from cis_client import Client
from cis_client.errors import DeadlineExceeded, InvalidArgument, NotFound, ResourceExhausted
from cis_client.frames import table_request
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.registry import ModelKind, NewModel
from cis_server.domain.weights import COMPONENTS, Weights
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.models import insert_model
from cis_server.rpc.services.score_table import MOST_TABLES

AS_OF = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
LEADS = 10_000


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
            new = NewModel(
                kind=ModelKind.PROPENSITY,
                content=every_feature_model(seed).to_json(),
                target="converted",
            )
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


def refusal(api: Client, pieces: Sequence[bytes]) -> tuple[str, str]:
    """Field and words of the refusal."""
    with pytest.raises(InvalidArgument) as refused:
        sent(api, pieces)
    (violation,) = refused.value.violations
    return violation.field, violation.description


def test_the_first_message_says_what_tells_the_scores(api: Client, acme: str) -> None:
    with api.score_table(iter([table_request(acme)])) as answers:
        first = next(answers)
        assert first.model.model_version
        assert first.weights.authority == 0.4
        assert (first.rollout.percentage, first.rollout.weights.authority) == (55, 0.1)
        assert {"lead_id", "title", "segment", "seats", "attributes"} <= set(first.columns)
        assert "city" not in first.columns
        with pytest.raises(InvalidArgument, match="no Arrow IPC stream"):
            next(answers)


def test_a_stored_answer_still_says_what_told_it(api: Client, acme: str) -> None:
    answer = sent(api, [stream(table([{"lead_id": "a"}]))])
    told_by = {key.decode(): value.decode() for key, value in answer.schema.metadata.items()}
    assert told_by["model_version"].endswith("-1")
    assert told_by["probability_version"].endswith("-1")
    assert (told_by["as_of_date"], told_by["stale"]) == ("2026-03-02", "false")
    assert acme
    assert answer.column_names[:2] == ["lead_id", "score"]
    assert answer.column_names[-1] == "error"


def test_a_table_without_rows(api: Client, acme: str) -> None:
    answer = sent(api, [stream(table([]))])
    assert (answer.num_rows, answer.num_columns) == (0, 14)
    assert acme


OTHER_TYPES: dict[str, list[pa.DataType]] = {
    "title": [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    "email": [pa.string_view(), pa.dictionary(pa.uint16(), pa.large_string())],
    "lead_id": [pa.large_string(), pa.dictionary(pa.int64(), pa.string())],
    "employee_count": [pa.float64(), pa.int32(), pa.decimal128(22, 2), pa.uint64()],
    "bounce_count": [pa.int8(), pa.float32()],
    "employment_start_date": [
        *(pa.date32(), pa.date64(), pa.timestamp("us"), pa.timestamp("ns", "Asia/Tokyo")),
    ],
}


def test_every_type_says_the_same(api: Client, acme: str) -> None:
    rows: list[dict[str, Any]] = [
        {"lead_id": "a", "title": "CEO", "email": "a@b.co", "employee_count": 20},
        {"lead_id": "b", "employment_start_date": "2026-01-15", "bounce_count": 3},
        {"lead_id": "c", "title": "VP Sales", "email": "é@b.co", "employee_count": 60},
    ]
    plain = table(rows)
    expected = sent(api, [stream(plain)])
    for name, kinds in OTHER_TYPES.items():
        place = plain.column_names.index(name)
        for kind in kinds:
            column = plain.column(name)
            if pa.types.is_dictionary(kind):
                column = column.dictionary_encode()
            elif pa.types.is_timestamp(kind) and kind.tz is not None:
                column = pc.assume_timezone(column.cast(pa.timestamp(kind.unit)), kind.tz)
            elif name == "employment_start_date":
                column = column.cast(pa.timestamp("us"))
            column = column.cast(kind)
            changed = plain.set_column(place, name, column)
            assert changed.schema.field(name).type == kind
            assert sent(api, [stream(changed)]).equals(expected), (name, kind)
    words = [None, "EMAIL_STATUS_VERIFIED", "catch-all"]
    numbers = [0, core.EMAIL_STATUS_VERIFIED, core.EMAIL_STATUS_CATCH_ALL]
    place = plain.column_names.index("email_status")
    said = [
        sent(api, [stream(plain.set_column(place, "email_status", pa.array(values)))])
        for values in (words, numbers)
    ]
    assert said[0].equals(said[1])
    assert acme


def test_attributes_come_as_columns_a_map_or_a_struct(api: Client, acme: str) -> None:
    pairs = [{"segment": "gold", "seats": "25"}, {"segment": "silver"}, {}]
    ids = pa.array(["a", "b", "c"])
    as_map = pa.array([list(each.items()) for each in pairs], pa.map_(pa.string(), pa.string()))
    tables = (
        pa.table({"lead_id": ids, "attributes": as_map}),
        pa.table({"lead_id": ids, "attributes": pa.array(pairs)}),
        pa.table({"lead_id": ids, "segment": pa.array(["gold", "silver", None]),
                  "seats": pa.array([25.0, None, float("nan")])}),
        pa.table({"lead_id": ids, "attributes": pa.array([{"segment": "gold"}] + 2 * [None]),
                  "segment": ["x", "silver", None], "seats": pa.array([25, None, None])}),
    )  # fmt: skip
    answers = [sent(api, [stream(each)]) for each in tables]
    assert len({row["conversion_probability"] for row in answers[0].to_pylist()}) == 3
    assert all(answer.equals(answers[0]) for answer in answers[1:])
    long = pa.array([[("segment", "x" * 1001)], [("k" * 129, "v")], [("a", "b")]], as_map.type)
    wrong = sent(api, [stream(pa.table({"lead_id": ids, "attributes": long}))]).to_pylist()
    assert [bool(row["error"]) for row in wrong] == [True, True, False]
    assert acme


def test_a_wrong_column_is_named(api: Client, acme: str) -> None:
    ids = pa.array(["a"])
    for columns, field, words in (
        ({"title": pa.array(["x"])}, "arrow_ipc.lead_id", "is required"),
        ({"lead_id": pa.array([1])}, "arrow_ipc.lead_id", "must be text, not int64"),
        ({"lead_id": ids, "title": pa.array([2.5])}, "arrow_ipc.title", "text, not double"),
        ({"lead_id": ids, "is_hiring": pa.array(["yes"])}, "arrow_ipc.is_hiring", "bool"),
        ({"lead_id": ids, "employee_count": ids}, "arrow_ipc.employee_count", "numbers"),
        ({"lead_id": ids, "technologies": ids}, "arrow_ipc.technologies", "lists of text"),
        ({"lead_id": ids, "attributes": ids}, "arrow_ipc.attributes", "map or struct"),
        ({"lead_id": ids, "segment": pa.array([[1]])}, "arrow_ipc.segment", "text or numbers"),
    ):
        found = refusal(api, [stream(pa.table(columns))])
        assert found[0] == field
        assert words in found[1]
    twice = pa.Table.from_arrays([ids, ids, ids], names=["lead_id", "x", "x"])
    assert refusal(api, [stream(twice)]) == ("arrow_ipc.x", "comes twice")
    assert acme


def test_what_is_no_table_is_told(api: Client, acme: str) -> None:
    whole = stream(table([{"lead_id": "a", "title": "CEO"}]))
    compressed = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(compressed, pa.schema([("lead_id", "string")]), options=options) as out:
        out.write_batch(pa.record_batch({"lead_id": ["a" * 100] * 100}))
    for data, words in (
        (b"", "is required"),
        (b"lead_id,title\na,CEO\n", "is not an Arrow IPC stream"),
        (whole[:-60], "ends in the middle"),
        (whole + b"x", "goes on after the end"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "message header of"),
        (compressed.getvalue().to_pybytes(), "compressed"),
    ):
        field, description = refusal(api, [data])
        assert field == "arrow_ipc"
        assert words in description, description
    many = pa.table({"lead_id": pa.nulls(2**20 + 1)})
    assert "1048576 is the most" in refusal(api, [stream(many, 2**21)])[1]
    large = pa.table({"lead_id": pa.array(["a"]), "x": pa.array(["y" * 2**25])})
    data = stream(large)
    pieces = [data[begin : begin + 2**23] for begin in range(0, len(data), 2**23)]
    assert "send smaller batches" in refusal(api, pieces)[1]
    assert acme


def test_bytes_changed_on_the_way_never_crash_the_server(api: Client, acme: str) -> None:
    chance = random.Random(7)
    whole = stream(table([row(chance, number) for number in range(20)]))
    outcomes = set()
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            outcomes.add(sent(api, [bytes(broken)]).num_rows)
        except InvalidArgument as refused:
            outcomes.add(refused.violations[0].field.partition(".")[0])
    assert outcomes <= {"arrow_ipc", 20, 0}
    assert sent(api, [whole]).num_rows == 20
    assert acme


def test_no_client_and_an_unknown_one(api: Client, acme: str) -> None:
    for first, kind in (
        (scoring.ScoreTableRequest(arrow_ipc=b"x"), InvalidArgument),
        (scoring.ScoreTableRequest(client_id="nobody"), NotFound),
    ):
        with pytest.raises(kind), api.score_table(iter([first])) as answers:
            list(answers)
    with pytest.raises(InvalidArgument, match="client_id"), api.score_table(iter([])) as answers:
        list(answers)
    assert acme


def test_a_caller_that_does_not_read_is_not_read_from(api: Client, acme: str) -> None:
    leads = stream(table([{"lead_id": "a" * 100}] * 4000))
    batch = leads[leads.index(b"\xff\xff\xff\xff", 8) : -8]
    schema = leads[: leads.index(b"\xff\xff\xff\xff", 8)]
    taken = 0

    def endless() -> Iterator[scoring.ScoreTableRequest]:
        nonlocal taken
        yield table_request(acme)
        yield scoring.ScoreTableRequest(arrow_ipc=schema)
        while True:
            taken += 1
            yield scoring.ScoreTableRequest(arrow_ipc=batch)

    with api.score_table(endless()) as answers:
        assert next(answers).columns
        seen = -1
        while seen < taken:  # until nothing more is taken for a while
            seen = taken
            time.sleep(0.3)
        assert 0 < taken < 200
    # The call is gone, and its place with it.
    assert sent(api, [stream(table([{"lead_id": "a"}]))]).num_rows == 1


def test_places_come_back_when_callers_leave_or_run_out_of_time(api: Client, acme: str) -> None:
    def silent() -> Iterator[scoring.ScoreTableRequest]:
        yield table_request(acme)
        gone.wait(20)

    gone = threading.Event()
    open_calls = []
    for _ in range(MOST_TABLES):
        call = api.score_table(silent(), timeout_seconds=60)
        assert next(call).columns
        open_calls.append(call)
    with pytest.raises(ResourceExhausted) as shed, api.score_table(silent()) as answers:
        next(answers)
    assert shed.value.retry_after_seconds
    for call in open_calls[1:]:
        call.cancel()

    def scored() -> bool:
        try:
            return sent(api, [stream(table([{"lead_id": "a"}]))]).num_rows == 1
        except ResourceExhausted:
            return False

    wait_until(scored, 10, "a place")
    open_calls[0].cancel()
    with (
        pytest.raises(DeadlineExceeded),
        api.score_table(silent(), timeout_seconds=0.2) as answers,
    ):
        list(answers)
    gone.set()
