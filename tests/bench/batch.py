"""BatchScoreLeads on one core: leads a second in both views, beside an echo of as many bytes.

    python -m tests.bench.batch

Batches of 1000 leads of the simulator, no two alike, many batches in turn. The echo takes as many
bytes and gives as many back in the same process: what grpc alone costs. The bound is held by the
leads that one saturated core answers, from the processor time that the server spends on a call;
calls end to end, with a caller in Python on the other core, are shown beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import grpc
import numpy as np

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.propensity import FeatureSpace, PropensityModel
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.services.batch_scoring import BatchScoring
from cis_server.rpc.services.column_batches import checked_column_batches
from cis_server.scoring.components import components_of
from cis_server.scoring.features import learned_space, raw_features
from cis_server.scoring.icp import matcher
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.suppression import SuppressionIndex
from cis_server.serving.memo import MemoBudget
from cis_server.serving.scoring_answers import ScoringContext
from tests.bench.figures import Figure, report
from tests.bench.harness import (
    BATCH,
    CLIENT,
    SIZED,
    Side,
    bench_database,
    callers_elsewhere,
    compared,
    server_process,
)
from tests.bench.realistic_leads import AS_OF, realistic_leads

LEADS: Final = 1000
BATCHES: Final = 20
ROUNDS: Final = 3
SECONDS: Final = 2.0
WARM_SECONDS: Final = 5.0
BASIC_BOUND: Final = 250_000.0
FULL_BOUND: Final = 50_000.0


def figures() -> Iterator[Figure]:
    """The handler in this process, then calls on one core."""
    leads = realistic_leads(LEADS * BATCHES)
    parts = [leads[first : first + LEADS] for first in range(0, len(leads), LEADS)]
    basic = [_request(part, scoring.LEAD_SCORE_VIEW_BASIC) for part in parts]
    full = [_request(part, scoring.LEAD_SCORE_VIEW_FULL) for part in parts]
    yield from _handler(basic, full)
    with bench_database() as (url, _), server_process(url) as served, callers_elsewhere():
        for name, bodies, bound in (("basic", basic, BASIC_BOUND), ("full", full, FULL_BOUND)):
            side = Side(name, served.target, BATCH, bodies)
            answer = _settled(side)
            echo = Side("echo", served.echo, SIZED, [_sized(body, answer) for body in bodies])
            yield from _served(side, echo, served.pid, bound)


def _served(side: Side, echo: Side, pid: int, bound: float) -> Iterator[Figure]:
    """Leads a second of one view over the wire."""
    taken = compared([echo, side], pid, callers=2, seconds=SECONDS, rounds=ROUNDS)
    of_echo = [LEADS / calls.cpu_microseconds * 1e6 for calls in taken[echo.name]]
    yield Figure(
        f"{side.name} view, leads/s of one core",
        tuple(LEADS / calls.cpu_microseconds * 1e6 for calls in taken[side.name]),
        "leads/s",
        bound=bound,
        better="more",
        limit=sorted(of_echo)[ROUNDS // 2],
        note="by server CPU a call; limit: an echo of as many bytes",
    )
    yield Figure(
        f"{side.name} view, leads/s end to end",
        tuple(LEADS * calls.per_second for calls in taken[side.name]),
        "leads/s",
        better="more",
        limit=sorted(LEADS * calls.per_second for calls in taken[echo.name])[ROUNDS // 2],
        note="2 callers in Python on the other core",
    )
    yield Figure(
        f"{side.name} view, median call",
        tuple(calls.quantile(0.5) for calls in taken[side.name]),
        "ms",
        limit=sorted(calls.quantile(0.5) for calls in taken[echo.name])[ROUNDS // 2],
    )


def _request(leads: Sequence[core.Lead], view: scoring.LeadScoreView.ValueType) -> bytes:
    return scoring.BatchScoreLeadsRequest(
        client_id=CLIENT, leads=leads, view=view
    ).SerializeToString()


def _sized(body: bytes, answer: int) -> bytes:
    """A request for the echo: as many bytes as `body`, asking for so many."""
    return b"%010d" % answer + bytes(len(body) - 10)


def _settled(side: Side) -> int:
    """Size of an answer once the server answers as fast as it will."""
    with grpc.insecure_channel(side.target) as channel:
        unary = channel.unary_unary(side.method)
        until = time.monotonic() + WARM_SECONDS
        while time.monotonic() < until:
            for body in side.bodies:
                size = len(unary(body, timeout=60))
    return size


def _handler(bodies: Sequence[bytes], full: Sequence[bytes]) -> Iterator[Figure]:
    """What a batch costs without a call around it, in kinds of contexts."""
    requests = [scoring.BatchScoreLeadsRequest.FromString(body) for body in bodies]
    leads = [lead_from_message(lead, "lead") for lead in requests[0].leads]
    columns = checked_column_batches()
    nothing: Any = None
    for name, context in _contexts(leads):
        prepared = PreparedScoring(context, LeadTables(MemoBudget()))
        clear = BatchScoring(
            nothing,
            lambda _, held=prepared: held,  # type: ignore[misc]
            lambda *_, held=context: held,  # type: ignore[misc]
            nothing,
            store_seconds=0.25,
        )

        def handle(body: bytes, of: PreparedScoring = prepared) -> object:
            batch = columns.read(body)
            return None if batch is None else columns.answer(batch, of)

        def reference(body: bytes, of: BatchScoring = clear) -> object:
            request = scoring.BatchScoreLeadsRequest.FromString(body)
            return of.scored(request, nothing).SerializeToString()

        for view, those in (("basic", bodies), ("full", full)):
            slow = min(_microseconds(reference, those[:1]) for _ in range(2))
            yield Figure(
                f"{view} view, CPU a lead, {name}",
                tuple(_microseconds(handle, those[:5]) for _ in range(ROUNDS + 1))[1:],
                "µs",
                limit=slow,
                note="handler alone; limit: the reference, lead by lead",
            )


def _microseconds(handle: Callable[[bytes], object], bodies: Sequence[bytes]) -> float:
    """Processor time a lead."""
    started = time.process_time()
    for body in bodies:
        handle(body)
    return (time.process_time() - started) / (LEADS * len(bodies)) * 1e6


def _contexts(leads: Sequence[Lead]) -> Iterator[tuple[str, ScoringContext]]:
    plain = ScoringContext.plain(AS_OF.date())
    yield "plain", plain
    listed = [
        suppression_key(IdentifierKind.EMAIL, f"nobody-{i}@elsewhere.example", b"key")
        for i in range(100_000)
    ]
    yield (
        "100 000 suppressed, competitors",
        replace(
            plain,
            competitor_domains=tuple(f"rival-{i}.example" for i in range(20)),
            suppression=SuppressionIndex.build(listed, b"key"),
        ),
    )
    yield "with a model", replace(plain, model=_model(leads), model_version="p-1")


def _model(leads: Sequence[Lead]) -> PropensityScorer:
    """A model of every feature these leads have."""
    day, profile = AS_OF.date(), matcher(Icp())
    raw = [raw_features(lead, components_of(lead, icp=profile, as_of=day), day) for lead in leads]
    names = sorted({name for of in raw for name in of})
    space: FeatureSpace = learned_space(
        {name: [of.get(name) for of in raw] for name in names}, min_count=30
    )
    return PropensityScorer(
        PropensityModel(
            version="p-1",
            target="converted",
            space=space,
            intercept=-2.0,
            coefficients=(0.05,) * space.width,
            covariance=tuple(map(tuple, (0.01 * np.eye(space.width + 1)).tolist())),
            calibration_intercept=0.0,
            calibration_slope=1.0,
        )
    )


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
