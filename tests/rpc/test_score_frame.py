"""score_frame over a real server: the same kind of frame comes back, its rows where they were."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from running_server import make_client

from cis_client import AsyncClient, Client, ClientOptions
from cis_client.errors import InvalidArgument, NotFound
from cis_client.frames import BATCH_ROWS, SCORE_COLUMNS, TIERS
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring

AS_OF = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)

Scored = Callable[..., Any]


@pytest.fixture(scope="module", params=["Client", "AsyncClient"])
def scored(request: pytest.FixtureRequest, api: Client, target: str) -> Scored:
    """`score_frame` of either client, for a client that exists."""
    make_client(api, "framed")
    if request.param == "Client":

        def blocking(frame: Any, client_id: str = "framed", **given: Any) -> Any:
            return api.score_frame(frame, client_id, **{"as_of_time": AS_OF, **given})

        return blocking

    async def call(frame: Any, client_id: str, given: dict[str, Any]) -> Any:
        options = ClientOptions(target=target, retry_attempts=1, connections=1)
        async with AsyncClient(options) as client:
            return await client.score_frame(frame, client_id, **{"as_of_time": AS_OF, **given})

    def on_asyncio(frame: Any, client_id: str = "framed", **given: Any) -> Any:
        return asyncio.run(call(frame, client_id, given))

    return on_asyncio


LEADS = {
    "lead_id": ["a", "b", "c", None],
    "title": ["CEO", None, "intern", "VP"],
    "email": ["a@b.co", "x", None, "c@d.io"],
    "Email Status": ["verified", None, None, None],
    "employee_count": [20, None, 60, 5],
    "is_hiring": [True, None, False, True],
    "founded": [1999, 2001, None, 1980],
}


def alone(api: Client, lead: core.Lead) -> core.LeadScore:
    request = scoring.ScoreLeadRequest(client_id="framed", lead=lead)
    request.as_of_time.FromDatetime(AS_OF)
    return api.score_lead(request)


def test_pandas(scored: Scored, api: Client) -> None:
    frame = pd.DataFrame(LEADS, index=[7, 3, 3, 1])
    out = scored(frame)
    assert isinstance(out, pd.DataFrame)
    assert list(out.columns) == [*frame.columns, *SCORE_COLUMNS]
    pd.testing.assert_frame_equal(out[list(frame.columns)], frame)
    assert list(frame.columns) == list(LEADS), "the frame that was given is left as it was"
    lead = core.Lead(lead_id="a", title="CEO", email="a@b.co", employee_count=20, is_hiring=True)
    lead.email_status = core.EMAIL_STATUS_VERIFIED
    assert out["score"].iloc[0] == alone(api, lead).score
    assert out["score"].dtype == "Int32"
    assert list(out["score"].isna()) == [False, True, False, True]
    assert list(out["error"].fillna("")) == [
        "", "email: must contain '@'", "", "lead_id: is required"]  # fmt: skip
    assert list(out["tier"].cat.categories) == list(TIERS)
    assert out["tier"].cat.ordered
    assert out.attrs["cis"]["as_of_date"] == "2026-03-02"
    whole = scored(frame.iloc[[0, 2]])
    assert (whole["score"].dtype, whole["suppressed"].dtype) == ("int32", "bool")


def test_polars(scored: Scored) -> None:
    frame = pl.DataFrame(LEADS)
    out = scored(frame)
    assert isinstance(out, pl.DataFrame)
    assert out.select(frame.columns).equals(frame)
    assert out.schema["tier"] == pl.Enum(TIERS)
    assert out["score"].dtype == pl.Int32
    assert out["score"].is_null().to_list() == [False, True, False, True]
    with pytest.raises(TypeError, match="collect"):
        scored(frame.lazy())


def test_pyarrow_and_what_speaks_arrow(scored: Scored) -> None:
    table = pa.table(LEADS)
    out = scored(table)
    assert isinstance(out, pa.Table)
    assert out.select(table.column_names).equals(table)
    assert out.schema.metadata[b"as_of_date"] == b"2026-03-02"
    batch = scored(table.to_batches()[0])
    assert isinstance(batch, pa.RecordBatch)
    assert batch.column("score").equals(out.column("score").combine_chunks())

    class Exported:
        def __arrow_c_stream__(self, requested: object = None) -> object:
            return table.__arrow_c_stream__(requested)

    assert scored(Exported()).equals(out)
    for empty in (table.slice(0, 0), pd.DataFrame(LEADS).iloc[:0], pl.DataFrame(LEADS).clear()):
        found = scored(empty)
        assert (len(found), type(found)) == (0, type(empty))


def test_what_looks_like_numbers_is_text_where_it_must_be(scored: Scored, api: Client) -> None:
    frame = pd.DataFrame(
        {
            "lead_id": [1, 2],
            "phone": [61400000000.0, None],
            "seniority": pd.Categorical(["vp", None]),
            "is_hiring": [1, 0],
            "employment_start_date": pd.to_datetime(["2026-01-15", None]),
        }
    )
    out = scored(frame)
    assert list(out["error"].isna()) == [True, True]
    lead = core.Lead(lead_id="1", phone="61400000000", seniority="vp", is_hiring=True)
    lead.employment_start_date = "2026-01-15"
    assert out["score"].iloc[0] == alone(api, lead).score
    assert out["timing"].iloc[0] == 11


def test_more_rows_than_go_at_once_stay_in_order(scored: Scored) -> None:
    n = 2 * BATCH_ROWS + 5
    titles = pa.array(["CEO", "intern", None]).take(pa.array([i % 3 for i in range(n)]))
    table = pa.table({"lead_id": pa.array(range(n)).cast(pa.string()), "title": titles})
    out = scored(table)
    points = dict(zip(titles.to_pylist(), out["authority"].to_pylist(), strict=True))
    assert out["authority"].to_pylist() == [points[title] for title in titles.to_pylist()]
    assert len(set(points.values())) == 3
    chunks = [table.slice(i * 100, 100) for i in range(50)]
    assert scored(pa.concat_tables(chunks)).num_rows == 5000


def test_what_cannot_be_scored_is_named_at_once(scored: Scored) -> None:
    frame = pd.DataFrame(LEADS)
    with pytest.raises(ValueError, match="no column 'lead_id'"):
        scored(frame.drop(columns="lead_id"))
    with pytest.raises(ValueError, match="two columns are 'title': 'title' and 'Title'"):
        scored(frame.assign(Title="x"))
    with pytest.raises(ValueError, match="column 'score' already"):
        scored(frame.assign(score=1))
    assert "cis_score" in scored(frame.assign(score=1), prefix="cis_").columns
    with pytest.raises(ValueError, match="column 'title' cannot be sent"):
        scored(frame.assign(title=[object()] * 4))
    with pytest.raises(TypeError, match="list is no frame"):
        scored([1, 2])
    with pytest.raises(ValueError, match="no zone"):
        scored(frame, as_of_time=dt.datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(NotFound):
        scored(frame, "nobody")
    with pytest.raises(InvalidArgument, match="employee_count"):
        scored(frame.assign(employee_count="many"))
    assert not [t for t in threading.enumerate() if "consume_request" in t.name.lower()]


def test_the_client_brings_no_frame_library(target: str) -> None:
    program = (
        "import sys\nfrom cis_client import Client, ClientOptions\n"
        f"client = Client(ClientOptions(target={target!r}))\n"
        "heavy = {'pyarrow', 'pandas', 'polars', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.modules['pyarrow'] = None\n"
        "try:\n    client.score_frame(object(), 'x')\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "scoring a frame needs pyarrow: install cis[frames]", done.stderr
