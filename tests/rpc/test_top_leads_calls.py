"""ListTopLeads and RescoreLeads through a real server over a real Postgres."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from running_server import make_client, wait_until

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.persistence.connections import make_engine
from cis_server.worker.rescorer import Rescorer

Sql = Callable[..., list[tuple[Any, ...]]]
TITLES = ("CEO", "Engineer", "Head of Marketing", "Assistant", None)


def lead(number: int, **fields: Any) -> Lead:
    given: dict[str, Any] = {
        "lead_id": f"lead-{number:03}",
        "title": TITLES[number % 5],
        "email": f"someone{number}@company{number}.example",
        "email_status": EmailStatus.VERIFIED if number % 2 else EmailStatus.GUESSED,
        "industry": "software" if number % 3 else "farming",
        "country": "Australia",
        "employee_count": 20 if number % 4 else 4_000,
    }
    return Lead(**{**given, **fields})


@pytest.fixture
def ranked(api: Client, tenant_id: str, store_leads: Callable[..., None], sql: Sql) -> str:
    """A client with 40 scored leads, some of them given up."""
    store_leads(tenant_id, [lead(number) for number in range(40)])
    store_leads(
        tenant_id,
        [
            lead(90, status=LeadStatus.CONVERTED),
            lead(91, unsubscribed=True),
            lead(92, do_not_contact=True),
        ],
    )
    ids = [row[0] for row in sql("SELECT lead_id FROM leads WHERE client_id = %s", tenant_id)]
    api.batch_score_leads(
        scoring.BatchScoreLeadsRequest(client_id=tenant_id, lead_ids=ids, persist=True)
    )
    return tenant_id


def top(api: Client, client_id: str, **fields: Any) -> scoring.ListTopLeadsResponse:
    return api.list_top_leads(scoring.ListTopLeadsRequest(client_id=client_id, **fields))


def every_page(api: Client, client_id: str, size: int, **fields: Any) -> list[core.LeadScore]:
    found: list[core.LeadScore] = []
    token = ""
    while True:
        page = top(api, client_id, page_size=size, page_token=token, **fields)
        assert len(page.scores) <= size
        found += page.scores
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_pages_in_rank_order(api: Client, ranked: str, size: int) -> None:
    found = every_page(api, ranked, size)
    assert {each.lead_id for each in found} == {f"lead-{number:03}" for number in range(40)}
    assert [(-each.score, each.lead_id) for each in found] == sorted(
        (-each.score, each.lead_id) for each in found
    )


def test_each_is_the_score_that_was_stored(api: Client, ranked: str) -> None:
    found = top(api, ranked).scores[0]
    alone = api.score_lead(scoring.ScoreLeadRequest(client_id=ranked, lead_id=found.lead_id))
    for name in ("score", "tier", "components", "contributions", "weighted_sum", "weights"):
        assert getattr(found, name) == getattr(alone, name), name
    assert list(found.channels) == list(alone.channels)
    assert list(found.tier_channels) == list(alone.tier_channels)
    assert not found.suppressed
    assert abs(found.scored_time.ToDatetime(dt.UTC) - dt.datetime.now(dt.UTC)) < dt.timedelta(
        minutes=5
    )
    assert found.model.source == core.SOURCE_DEFAULT


def test_by_probability_with_those_without_last(api: Client, ranked: str, sql: Sql) -> None:
    sql(
        "UPDATE leads SET conversion_probability = .2, probability_low = .1, probability_high = .4,"
        " probability_target = 'converted', probability_version = 'propensity-7'"
        " WHERE client_id = %s AND lead_id IN ('lead-004', 'lead-009')",
        ranked,
    )
    sql(
        "UPDATE leads SET conversion_probability = .6"
        " WHERE client_id = %s AND lead_id = 'lead-019'",
        ranked,
    )
    order = scoring.LEAD_ORDER_CONVERSION_PROBABILITY
    for size in (1, 3, 100):
        found = every_page(api, ranked, size, order_by=order)
        assert len(found) == 40
        assert found[0].lead_id == "lead-019"
        assert {each.lead_id for each in found[1:3]} == {"lead-004", "lead-009"}
        assert [each.score for each in found[3:]] == sorted(
            (each.score for each in found[3:]), reverse=True
        )
    chance = found[1].conversion_probability
    assert (chance.probability, chance.low, chance.high) == (0.2, 0.1, 0.4)
    assert chance.model_version == "propensity-7"
    assert not found[3].HasField("conversion_probability")


def test_filters(api: Client, ranked: str, store_leads: Callable[..., None], sql: Sql) -> None:
    everybody = every_page(api, ranked, 100)
    some = (core.TIER_WARM, core.TIER_COLD)
    found = every_page(api, ranked, 3, tiers=some)
    assert [each.lead_id for each in found] == [
        each.lead_id for each in everybody if each.tier in some
    ]
    sql("INSERT INTO campaigns (client_id, campaign_id) VALUES (%s, 'spring')", ranked)
    store_leads(ranked, [lead(5), lead(6)], "spring")
    assert {each.lead_id for each in every_page(api, ranked, 1, campaign_id="spring")} == {
        "lead-005",
        "lead-006",
    }


def test_suppression_holds_at_once(api: Client, ranked: str, sql: Sql) -> None:
    best = [each.lead_id for each in top(api, ranked, page_size=4).scores]
    gone = best[:3]
    domains = [f"company{int(name.removeprefix('lead-'))}.example" for name in gone]
    sql(
        "INSERT INTO suppression (client_id, kind, value) SELECT %s, 'domain', unnest(%s::text[])",
        ranked,
        domains,
    )
    wait_until(lambda: top(api, ranked, page_size=1).scores[0].lead_id == best[3], 5.0)
    found = every_page(api, ranked, 2)
    assert not {each.lead_id for each in found} & set(gone)
    assert len(found) == 37


def test_odd_rows_of_other_programs_do_not_stop_the_list(
    api: Client, ranked: str, sql: Sql
) -> None:
    sql(
        "UPDATE leads SET components = '{\"authority\": \"much\"}', weights_source = 'astrology'"
        " WHERE client_id = %s AND lead_id = 'lead-001'",
        ranked,
    )
    sql(
        "UPDATE leads SET employment_history = '[1]' WHERE client_id = %s AND lead_id = 'lead-002'",
        ranked,
    )
    found = {each.lead_id: each for each in every_page(api, ranked, 4)}
    assert len(found) == 39
    assert not found["lead-001"].HasField("components")


def test_wrong_requests(api: Client, ranked: str) -> None:
    token = top(api, ranked, page_size=1).next_page_token
    with pytest.raises(InvalidArgument, match="page_token"):
        top(api, ranked, page_token="bm9uc2Vuc2U=")
    with pytest.raises(InvalidArgument, match="another order or filter"):
        top(api, ranked, page_token=token, tiers=[core.TIER_HOT])
    with pytest.raises(InvalidArgument, match="page_size"):
        top(api, ranked, page_size=1001)
    with pytest.raises(InvalidArgument, match=r"tiers\[0\]"):
        top(api, ranked, tiers=[core.TIER_UNSPECIFIED])
    with pytest.raises(NotFound):
        top(api, "nobody")
    assert not top(api, ranked, campaign_id="unknown").scores


def test_pages_are_read_along_an_index(ranked: str, sql: Sql) -> None:
    """Without one a page of a million leads would not fit into 250 ms."""
    ranks = (
        "score IS NOT NULL AND deleted_at IS NULL AND NOT unsubscribed AND NOT do_not_contact"
        " AND status IN ('new', 'enriched', 'scored', 'in_sequence')"
    )
    sql("SET enable_seqscan = off")
    sql("SET enable_sort = off")
    try:
        for name, after, order in (
            (
                "ix_leads_score",
                "score <= 40 AND (score < 40 OR lead_id > 'x')",
                "score DESC, lead_id",
            ),
            (
                "ix_leads_probability",
                "coalesce(conversion_probability, -1) <= .1"
                " AND (coalesce(conversion_probability, -1) < .1 OR score < 4)",
                "coalesce(conversion_probability, -1) DESC, score DESC, lead_id",
            ),
        ):
            plan = sql(
                f"EXPLAIN SELECT lead_id FROM leads WHERE client_id = %s AND {ranks}"
                f" AND {after} ORDER BY {order} LIMIT 10",
                ranked,
            )
            said = "\n".join(row[0] for row in plan)
            assert name in said, said
            assert "Sort" not in said, said
    finally:
        sql("RESET enable_seqscan")
        sql("RESET enable_sort")


@pytest.fixture
def worker(module_database_url: str) -> Iterator[Callable[[str, str], None]]:
    """Works one run off, as a worker process would."""
    engine = make_engine(module_database_url)
    rescorer = Rescorer(engine, module_database_url, lambda: dt.datetime.now(dt.UTC), chunk=5)
    yield lambda client_id, run_id: rescorer.rescore(client_id, run_id, False)
    engine.dispose()


def test_rescoring_is_followed_to_its_end(
    api: Client,
    tenant_id: str,
    store_leads: Callable[..., None],
    worker: Callable[[str, str], None],
) -> None:
    store_leads(tenant_id, [lead(number) for number in range(12)])
    request = scoring.RescoreLeadsRequest(client_id=tenant_id)
    with api.rescore_leads(request, timeout_seconds=30) as stream:
        first = next(stream)
        assert first.state == core.RUN_STATE_QUEUED
        with api.rescore_leads(request, timeout_seconds=30) as another:
            assert next(another).run_id == first.run_id
        thread = threading.Thread(target=worker, args=(tenant_id, first.run_id))
        thread.start()
        *_, last = stream
        thread.join()
    assert last.state == core.RUN_STATE_SUCCEEDED
    assert (last.total, last.scored, last.failed, last.fraction) == (12, 12, 0, 1.0)
    assert all(move.from_tier == core.TIER_UNSPECIFIED for move in last.tier_moves)
    counts = last.tier_counts
    assert counts.dead + counts.cold + counts.cool + counts.warm + counts.hot == 12
    assert last.model.source == core.SOURCE_DEFAULT
    assert len(top(api, tenant_id).scores) == 12


def test_the_work_goes_on_when_the_caller_leaves(
    api: Client,
    tenant_id: str,
    store_leads: Callable[..., None],
    worker: Callable[[str, str], None],
    sql: Sql,
) -> None:
    store_leads(tenant_id, [lead(1)])
    with api.rescore_leads(
        scoring.RescoreLeadsRequest(client_id=tenant_id), timeout_seconds=30
    ) as stream:
        run_id = next(stream).run_id
    jobs = sql("SELECT args FROM procrastinate_jobs WHERE task_name = 'rescore'")
    assert {"client_id": tenant_id, "run_id": run_id} in [job[0] for job in jobs]
    worker(tenant_id, run_id)
    assert top(api, tenant_id).scores[0].lead_id == "lead-001"


def test_nobody_s_leads_cannot_be_rescored(api: Client) -> None:
    with pytest.raises(NotFound, match="client 'nobody'"):
        list(api.rescore_leads(scoring.RescoreLeadsRequest(client_id="nobody")))


def test_clients_see_their_own_leads_only(api: Client, ranked: str) -> None:
    make_client(api, "other")
    assert not top(api, "other").scores
    assert top(api, ranked).scores
