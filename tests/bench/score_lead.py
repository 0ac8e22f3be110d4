"""ScoreLead over 5000 distinct leads: the handler alone, and a whole call beside a bare echo.

    python -m tests.bench.score_lead

The leads are those of the simulator: no two alike, 466 bytes on average. The reference is the clear
path that the bytes are tested against: check, convert, score, build the message, serialise it. All
is processor time, as the machine may be shared.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.propensity import FeatureSpace, PropensityModel
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.persistence.connections import make_engine
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.rules import check_request
from cis_server.rpc.services.scoring import ScoringService
from cis_server.scoring.components import components_of
from cis_server.scoring.features import learned_space, raw_features
from cis_server.scoring.icp import matcher
from cis_server.scoring.kernel import warm_up
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.suppression import SuppressionIndex
from cis_server.serving.advisor import Advisor
from cis_server.serving.memo import MemoBudget
from cis_server.serving.scoring_answers import ScoringContext
from cis_server.serving.store import SnapshotStore
from tests.bench.figures import Figure, report
from tests.bench.frames import poured_in_turn
from tests.bench.harness import (
    CLIENT,
    ECHO,
    SCORE,
    Side,
    bench_database,
    callers_elsewhere,
    compared,
    server_process,
)
from tests.bench.realistic_leads import AS_OF, realistic_leads

LEADS: Final = 5000
ROUNDS: Final = 5
SECONDS: Final = 3.0
LOOK_UPS: Final = 13
"""Tables a lead is looked up in, at least."""


def figures() -> Iterator[Figure]:
    """The handler in this process, then calls on one core."""
    leads = realistic_leads(LEADS)
    bodies = [
        scoring.ScoreLeadRequest(client_id=CLIENT, lead=lead).SerializeToString() for lead in leads
    ]
    warm_up()
    with bench_database() as (url, _):
        yield from _handler(url, bodies)
        with server_process(url) as served, callers_elsewhere():
            echo = Side("bare echo", served.echo, ECHO, [b""])
            score = Side("ScoreLead", served.target, SCORE, bodies)
            taken = compared([echo, score], served.pid, callers=8, seconds=SECONDS, rounds=ROUNDS)
            pairs = list(zip(taken[echo.name], taken[score.name], strict=True))
            yield Figure(
                "whole call, server CPU",
                tuple(calls.cpu_microseconds for _, calls in pairs),
                "µs",
                note="8 callers in Python; limit: the bare echo, an empty message",
                limit=sorted(calls.cpu_microseconds for calls, _ in pairs)[ROUNDS // 2],
            )
            busy = poured_in_turn([echo, score], served.pid, SECONDS, ROUNDS)
            yield Figure(
                "calls/s on one core, of the echo's",
                tuple(b.per_second / a.per_second for a, b in busy),
                bound=0.85,
                better="more",
                note="one pinned server, its caller on the same core",
            )
            yield Figure(
                "calls/s on one core",
                tuple(calls.per_second for _, calls in busy),
                "calls/s",
                limit=sorted(calls.per_second for calls, _ in busy)[ROUNDS // 2],
                better="more",
            )


def _handler(url: str, bodies: Sequence[bytes]) -> Iterator[Figure]:
    engine = make_engine(url)
    store = SnapshotStore(PostgresSnapshotSource(engine, url), _now)
    store.start()
    store.wait_until_loaded(10)
    advisor = Advisor(store, None, None, _now)  # type: ignore[arg-type]  # not asked here

    def service() -> ScoringService:
        return ScoringService(
            advisor,
            None,  # type: ignore[arg-type]
            _now,
            top_leads=None,  # type: ignore[arg-type]
            rescorings=None,  # type: ignore[arg-type]
            store_seconds=0.25,
        )

    def reference(of: ScoringService, request: Any) -> bytes:
        check_request(request)
        return of._score_lead(request, None).SerializeToString()  # type: ignore[arg-type]

    def taken(handle: Callable[[ScoringService, Any], object], count: int) -> list[float]:
        """Microseconds a call of a new service, then of the same one again."""
        held = service()
        return [
            _microseconds(lambda request: handle(held, request), bodies[:count]) for _ in range(2)
        ]

    try:
        clear = tuple(taken(reference, 1000)[0] for _ in range(3))
        yield Figure("reference, CPU a call", clear, "µs")
        runs = [
            taken(lambda of, request: of.ScoreLead(request, None), LEADS) for _ in range(ROUNDS)
        ]  # type: ignore[arg-type]
        cold, warm = zip(*runs, strict=True)
        slow = min(clear)
        note = "limit: the reference"
        yield Figure("handler, CPU a call, nothing kept", cold, "µs", limit=slow, note=note)
        yield Figure("handler, CPU a call, leads seen before", warm, "µs", limit=slow, note=note)
        context = advisor.scoring_context(CLIENT, as_of=AS_OF)
        yield from _contexts(context, bodies)
    finally:
        store.stop()
        engine.dispose()


def _contexts(plain: ScoringContext, bodies: Sequence[bytes]) -> Iterator[Figure]:
    """The writer alone, in contexts that ask more of it."""
    leads = [scoring.ScoreLeadRequest.FromString(body).lead for body in bodies]
    budget = MemoBudget()
    writer = PreparedScoring(plain, LeadTables(budget)).writer("")
    for lead in leads:
        writer.write(lead)
    found = 1.0 - budget.made / (LEADS * LOOK_UPS)
    yield Figure("look-ups that found, first time through", (found,))
    contexts = {
        "suppression lists": replace(plain, suppression=_lists(1_000_000)),
        "a live model": replace(plain, model=_model(leads, plain), model_version="m1"),
    }
    for name, context in {"neither": plain, **contexts}.items():
        writer = PreparedScoring(context, LeadTables(MemoBudget())).writer("")
        spent = []
        for _ in range(ROUNDS):
            started = time.thread_time()
            for lead in leads:
                writer.write(lead)
            spent.append((time.thread_time() - started) / len(leads) * 1e6)
        yield Figure(f"one lead to bytes, with {name}", tuple(spent[1:]), "µs")


def _microseconds(handle: Callable[[Any], object], bodies: Sequence[bytes]) -> float:
    requests = [scoring.ScoreLeadRequest.FromString(body) for body in bodies]
    started = time.thread_time()
    for request in requests:
        handle(request)
    return (time.thread_time() - started) / len(requests) * 1e6


def _lists(count: int) -> SuppressionIndex:
    secret = b"bench"
    hashes = np.random.default_rng(1).integers(0, 2**64, count, dtype=np.uint64)
    own = SuppressionIndex.build(
        [suppression_key(IdentifierKind.DOMAIN, f"firm{n}.example", secret) for n in range(1000)],
        secret,
    )
    return own.merged(SuppressionIndex.build(hashes, secret))


def _model(messages: Sequence[core.Lead], context: ScoringContext) -> PropensityScorer:
    """A model over every feature that these leads have."""
    leads = [lead_from_message(message, "") for message in messages[:2000]]
    icp = matcher(context.icp)
    rows = [
        raw_features(lead, components_of(lead, icp=icp, as_of=context.as_of), context.as_of)
        for lead in leads
    ]
    names = sorted({name for row in rows for name in row})
    raw = {name: [row.get(name) for row in rows] for name in names}
    space: FeatureSpace = learned_space(raw, min_count=20)
    width = space.width
    rng = np.random.default_rng(1)
    covariance = np.eye(width + 1) * 0.05
    return PropensityScorer(
        PropensityModel(
            version="m1",
            target="converted",
            space=space,
            intercept=-2.0,
            coefficients=tuple(rng.normal(0, 0.3, width).tolist()),
            covariance=tuple(map(tuple, covariance.tolist())),
        )
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
