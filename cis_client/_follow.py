"""Following a learning run to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TextIO, TypeVar

import grpc

from cis_client._reports import result_of
from cis_client.client import Client
from cis_client.errors import Internal, Temporary
from cis_client.v1.core_pb2 import RunState
from cis_client.v1.learning_service_pb2 import (
    GetLearningRunRequest,
    LearningRun,
    LearnProgress,
    LearnRequest,
    LearnResult,
)

BAR_WIDTH = 24
POLL_SECONDS = 1.0

_Result = TypeVar("_Result")


class RunFailedError(Exception):
    """The run ended in a fault.

    Attributes:
        run: as it stands in the store.
    """

    def __init__(self, run: LearningRun) -> None:
        self.run = run
        faults = (
            "; ".join(error.message for error in run.errors) or run.message or "no reason given"
        )
        super().__init__(f"run {run.run_id} failed: {faults or 'no reason given'}")


class ProgressLine:
    """Shows where a run stands: one line that is drawn anew at a terminal, else a line per stage.

    Args:
        out: where to show it.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._last = ""

    def show(self, progress: LearnProgress) -> None:
        """Draws the line, or adds one when the stage is a new one."""
        who = f"{progress.client_id}: " if progress.client_id else ""
        words = progress.message or progress.stage
        if self._live:
            full = round(progress.fraction * BAR_WIDTH)
            bar = "█" * full + "·" * (BAR_WIDTH - full)
            line = f"{bar} {progress.fraction:4.0%}  {who}{words}"[:110]
            self._out.write(f"\r\x1b[2K{line}")
            self._out.flush()
        elif (stage := f"{who}{progress.stage}") != self._last:
            self._last = stage
            self._out.write(f"{progress.fraction:4.0%}  {who}{words}\n")
            self._out.flush()

    def clear(self) -> None:
        """Leaves the terminal as it was."""
        if self._live:
            self._out.write("\r\x1b[2K")
            self._out.flush()


def start_run(client: Client, request: LearnRequest) -> LearnProgress | LearnResult:
    """Asks for a run and waits for the first thing it says; the run goes on without us."""
    with client.learn(request) as events:
        first = next(events)
    return first.progress if first.WhichOneof("event") == "progress" else first.result


def follow_run(
    client: Client,
    request: LearnRequest,
    show: Callable[[LearnProgress], None],
    sleep: Callable[[float], None] = time.sleep,
) -> LearnResult:
    """Asks for a run and follows it to its end, also when the stream breaks off.

    Args:
        client: the client.
        request: what to learn.
        show: is told where the run stands.
        sleep: waits between two looks once the stream is gone.

    Raises:
        CisError: the run could not be begun, or not be found again.
        RunFailedError: it ended in a fault.
    """
    return to_the_end(client, client.learn(request), "Learn", result_of, show, sleep)


def to_the_end(
    client: Client,
    stream: AbstractContextManager[Iterator[Any]],
    name: str,
    result: Callable[[LearningRun], _Result],
    show: Callable[[LearnProgress], None],
    sleep: Callable[[float], None],
) -> _Result:
    """Follows a stream of progress and its result; when it breaks off, asks for the run instead.

    Args:
        client: the client.
        stream: of the run, just begun.
        name: of the method, for the error.
        result: makes the result of a run that ended well.
        show: is told where the run stands.
        sleep: waits between two looks once the stream is gone.

    Raises:
        CisError: the run could not be begun, or not be found again.
        RunFailedError: it ended in a fault.
    """
    run_id = ""
    try:
        with stream as events:
            for event in events:
                if event.WhichOneof("event") == "result":
                    told: _Result = event.result
                    return told
                run_id = event.progress.run_id or run_id
                show(event.progress)
    except Temporary:
        if not run_id:
            raise
    if not run_id:
        raise Internal(f"the stream of {name} ended without a word", code=grpc.StatusCode.UNKNOWN)
    while True:
        run = client.get_learning_run(GetLearningRunRequest(run_id=run_id)).run
        if run.state == RunState.RUN_STATE_SUCCEEDED:
            return result(run)
        if run.state == RunState.RUN_STATE_FAILED:
            raise RunFailedError(run)
        show(
            LearnProgress(
                run_id=run_id,
                client_id=run.client_id,
                stage=run.stage,
                fraction=run.fraction,
                message=run.message,
            )
        )
        sleep(POLL_SECONDS)
