"""ScoreLead on one core, beside a bare echo in the same process, and with 200 followers of a run.

python -m tests.bench.serving
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from tests.bench.figures import Figure, report
from tests.bench.harness import (
    ECHO,
    SCORE,
    Side,
    bench_database,
    called,
    callers_elsewhere,
    compared,
    followers,
    h2load,
    has_h2load,
    score_request,
    server_process,
)

FOLLOWERS: Final = 200
SECONDS: Final = 3.0
ROUNDS: Final = 3


def figures() -> Iterator[Figure]:
    """Processor time a call, tail latency alone and beside followers."""
    body = [score_request()]
    with bench_database() as (url, folder), server_process(url) as served, callers_elsewhere():
        echo = Side("bare echo", served.echo, ECHO, body)
        score = Side("ScoreLead", served.target, SCORE, body)
        busy = compared([echo, score], served.pid, callers=8, seconds=SECONDS, rounds=ROUNDS)
        limit = [calls.cpu_microseconds for calls in busy[echo.name]]
        spent = [calls.cpu_microseconds for calls in busy[score.name]]
        yield Figure("bare echo, server CPU a call", tuple(limit), "µs")
        yield Figure(
            "calls/s on one core, of the echo's",
            tuple(a / b for a, b in zip(limit, spent, strict=True)),
            bound=0.85,
            better="more",
            note="by server CPU a call, 8 callers",
        )
        alone = compared([echo, score], served.pid, callers=1, seconds=SECONDS, rounds=ROUNDS)
        yield Figure(
            "p99 alone on a connection, of the echo's",
            tuple(
                b.quantile(0.99) / a.quantile(0.99)
                for a, b in zip(alone[echo.name], alone[score.name], strict=True)
            ),
            bound=1.3,
        )
        if has_h2load():
            rates = [(h2load(echo, folder), h2load(score, folder)) for _ in range(ROUNDS)]
            yield Figure(
                "calls/s by h2load, of the echo's",
                tuple(b / a for a, b in rates),
                bound=0.85,
                better="more",
            )
        idle = [calls.quantile(0.99) for calls in alone[score.name]]
        with followers(served.target, url, FOLLOWERS):
            beside = [called(score, served.pid, 1, SECONDS).quantile(0.99) for _ in range(ROUNDS)]
        yield Figure(
            f"p99 with {FOLLOWERS} followers, of that with none",
            tuple(b / a for a, b in zip(idle, beside, strict=True)),
            bound=1.5,
        )


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
