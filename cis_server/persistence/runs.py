"""Learning runs: requested by serving processes, worked off by workers, read by followers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping

from cis_server.domain.runs import (
    BackfillNeed,
    Eligibility,
    LearnOptions,
    Run,
    RunResult,
    Stage,
)
from cis_server.domain.vocabulary import RunState, RunTrigger, SubscriptionStatus
from cis_server.persistence.connections import operator, unavailable_as_such
from cis_server.persistence.tables import activities, clients, leads, learning_runs, patterns

_UNDER_WAY = (RunState.QUEUED, RunState.RUNNING)


class Runs:
    """The learning runs of all clients.

    Runs are the installation's own work, not one tenant's, so they are read and written with the
    owner's rights; every statement names its clients.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def eligibility(
        self, client_id: str | None, as_of: dt.datetime, lookback_days: int
    ) -> Sequence[Eligibility]:
        """Conversions within the look-back of one client (empty when unknown) or of all."""
        counted = (
            select(func.count())
            .select_from(leads)
            .where(
                leads.c.client_id == clients.c.client_id,
                leads.c.deleted_at.is_(None),
                leads.c.converted_at > as_of - dt.timedelta(days=lookback_days),
                leads.c.converted_at <= as_of,
            )
            .scalar_subquery()
        )
        query = select(clients.c.client_id, clients.c.subscription_status, counted).where(
            clients.c.deleted_at.is_(None)
        )
        if client_id is not None:
            query = query.where(clients.c.client_id == client_id)
        with operator(self._engine) as connection:
            return [
                Eligibility(
                    client_id=row[0],
                    subscription_status=SubscriptionStatus(row[1]),
                    conversions=row[2],
                )
                for row in connection.execute(query.order_by(clients.c.client_id))
            ]

    def backfill_needs(
        self, client_id: str | None, as_of: dt.datetime, lookback_days: int
    ) -> Sequence[BackfillNeed]:
        """Touches within the look-back and valid patterns of one client (empty when unknown) or of
        all that are not deleted."""
        touches = (
            select(func.count())
            .select_from(activities)
            .where(
                activities.c.client_id == clients.c.client_id,
                activities.c.action == "sent",
                activities.c.occurred_at > as_of - dt.timedelta(days=lookback_days),
                activities.c.occurred_at <= as_of,
            )
            .scalar_subquery()
        )
        valid = (
            select(func.count())
            .select_from(patterns)
            .where(patterns.c.client_id == clients.c.client_id, patterns.c.valid_until > as_of)
            .scalar_subquery()
        )
        query = select(clients.c.client_id, clients.c.subscription_status, touches, valid).where(
            clients.c.deleted_at.is_(None)
        )
        if client_id is not None:
            query = query.where(clients.c.client_id == client_id)
        with operator(self._engine) as connection:
            return [
                BackfillNeed(
                    client_id=row[0],
                    subscription_status=SubscriptionStatus(row[1]),
                    touches=row[2],
                    valid_patterns=row[3],
                )
                for row in connection.execute(query.order_by(clients.c.client_id))
            ]

    def request(
        self,
        client_id: str,
        run_id: str,
        options: LearnOptions,
        trigger: RunTrigger = RunTrigger.REQUEST,
    ) -> str:
        """Store a queued run; the id of the run under way when the client has one already.

        A run that exists under this id, ended or not, is not stored again.
        """
        statement = (
            insert(learning_runs)
            .values(
                client_id=client_id,
                run_id=run_id,
                state=RunState.QUEUED,
                trigger=trigger,
                as_of=options.as_of,
                options=options.to_json(),
                dry_run=options.dry_run,
            )
            .on_conflict_do_nothing()
            .returning(learning_runs.c.run_id)
        )
        in_the_way = (
            select(learning_runs.c.run_id)
            .where(
                learning_runs.c.client_id == client_id,
                or_(learning_runs.c.state.in_(_UNDER_WAY), learning_runs.c.run_id == run_id),
            )
            .order_by(learning_runs.c.run_id != run_id)
            .limit(1)
        )
        while True:
            with operator(self._engine) as connection:
                if connection.scalar(statement) is not None:
                    return run_id
                found = connection.scalar(in_the_way)
            if found is not None:
                return str(found)
            # The run that was in the way ended between the two statements.

    def read(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Run]]:
        """Runs by id, one per client in order of client id; unknown ids are left out."""
        query = (
            select(learning_runs)
            .where(learning_runs.c.run_id.in_(run_ids))
            .order_by(learning_runs.c.client_id)
        )
        found: dict[str, list[Run]] = {}
        with operator(self._engine) as connection:
            for row in connection.execute(query).mappings():
                run = _run(row)
                found.setdefault(run.run_id, []).append(run)
        return found

    def recent(
        self,
        client_id: str | None,
        states: Sequence[RunState],
        limit: int,
        before: tuple[dt.datetime, str] | None,
    ) -> Sequence[Run]:
        """Newest first; `before` = (requested_at, run_id) of the last run of the page before."""
        query = select(learning_runs)
        if client_id is not None:
            query = query.where(learning_runs.c.client_id == client_id)
        if states:
            query = query.where(learning_runs.c.state.in_(states))
        if before is not None:
            key = tuple_(learning_runs.c.requested_at, learning_runs.c.run_id)
            query = query.where(key < before)
        query = query.order_by(
            learning_runs.c.requested_at.desc(),
            learning_runs.c.run_id.desc(),
            learning_runs.c.client_id,
        ).limit(limit)
        with operator(self._engine) as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def orphaned(self) -> Sequence[tuple[str, str]]:
        """(client id, run id) of runs under way for a minute that have no job in the queue."""
        silent = (
            select(learning_runs.c.client_id, learning_runs.c.run_id)
            .where(
                learning_runs.c.state.in_(_UNDER_WAY),
                func.coalesce(learning_runs.c.heartbeat_at, learning_runs.c.requested_at)
                < func.now() - dt.timedelta(minutes=1),
            )
            .order_by(learning_runs.c.client_id)
        )
        with operator(self._engine) as connection:
            runs = [(row.client_id, row.run_id) for row in connection.execute(silent)]
        # The queue belongs to the login, not to the owner of our tables.
        jobs = text(
            "SELECT args->>'client_id' AS client_id, args->>'run_id' AS run_id"
            " FROM procrastinate_jobs WHERE task_name = 'learn' AND status IN ('todo', 'doing')"
        )
        with unavailable_as_such(), self._engine.begin() as connection:
            queued = {(row.client_id, row.run_id) for row in connection.execute(jobs)}
        return [run for run in runs if run not in queued]

    def claim(self, client_id: str, run_id: str, code_version: str) -> Run | None:
        """Begin an attempt; None when the run has ended or is unknown, then nothing is to do."""
        with operator(self._engine) as connection:
            row = (
                connection.execute(
                    update(learning_runs)
                    .where(_is(client_id, run_id), learning_runs.c.state.in_(_UNDER_WAY))
                    .values(
                        state=RunState.RUNNING,
                        attempts=learning_runs.c.attempts + 1,
                        started_at=func.coalesce(learning_runs.c.started_at, func.now()),
                        heartbeat_at=func.now(),
                        stage="",
                        fraction=0.0,
                        stages=[],
                        code_version=code_version,
                    )
                    .returning(learning_runs)
                )
                .mappings()
                .first()
            )
        return _run(row) if row is not None else None

    def progress(
        self,
        client_id: str,
        run_id: str,
        *,
        stage: str,
        fraction: float,
        message: str,
        stages: Sequence[Stage],
        attempt: int,
    ) -> None:
        """Say how far the run is; also its sign of life. Nothing for an attempt that is over."""
        with operator(self._engine) as connection:
            connection.execute(
                update(learning_runs)
                .where(_is(client_id, run_id), _in_attempt(attempt))
                .values(
                    stage=stage,
                    fraction=fraction,
                    message=message,
                    stages=[stage_.to_json() for stage_ in stages],
                    heartbeat_at=func.now(),
                )
            )

    def postpone(self, client_id: str, run_id: str, message: str, *, attempt: int) -> None:
        """Give the run back to the queue: the same work is tried again later.

        Nothing happens when another attempt has taken the run over.
        """
        with operator(self._engine) as connection:
            connection.execute(
                update(learning_runs)
                .where(_is(client_id, run_id), _in_attempt(attempt))
                .values(state=RunState.QUEUED, message=message, heartbeat_at=func.now())
            )

    def end_without_result(
        self,
        client_id: str,
        run_id: str,
        message: str,
        stages: Sequence[Stage],
        *,
        attempt: int,
    ) -> None:
        """End well a backfill after which there was nothing to learn from.

        Nothing happens when another attempt has taken the run over.
        """
        with operator(self._engine) as connection:
            connection.execute(
                update(learning_runs)
                .where(_is(client_id, run_id), _in_attempt(attempt))
                .values(
                    state=RunState.SUCCEEDED,
                    stage="done",
                    fraction=1.0,
                    message=message,
                    stages=[stage.to_json() for stage in stages],
                    finished_at=func.now(),
                    error_code=None,
                    error=None,
                )
            )

    def fail(self, client_id: str, run_id: str, code: str, message: str, *, attempt: int) -> None:
        """End the run without a result.

        Nothing happens when another attempt has taken the run over.
        """
        with operator(self._engine) as connection:
            connection.execute(
                update(learning_runs)
                .where(_is(client_id, run_id), _in_attempt(attempt))
                .values(
                    state=RunState.FAILED,
                    error_code=code,
                    error=message,
                    finished_at=func.now(),
                )
            )


def finish_run(
    connection: Connection,
    client_id: str,
    run_id: str,
    attempt: int,
    result: RunResult,
    stages: Sequence[Stage],
) -> bool:
    """End the run with its result, in the transaction that writes everything else.

    Args:
        attempt: the attempt that claims to have finished.

    Returns:
        False when another attempt has taken the run over meanwhile: then nothing may be written.
    """
    changed = connection.execute(
        update(learning_runs)
        .where(_is(client_id, run_id), _in_attempt(attempt))
        .values(
            state=RunState.SUCCEEDED,
            stage="done",
            fraction=1.0,
            message=result.reason,
            results=result.to_json(),
            stages=[stage.to_json() for stage in stages],
            snapshot_hash=result.snapshot_hash,
            finished_at=func.now(),
            error_code=None,
            error=None,
        )
    )
    return changed.rowcount == 1


def _is(client_id: str, run_id: str) -> ColumnElement[bool]:
    return and_(learning_runs.c.client_id == client_id, learning_runs.c.run_id == run_id)


def _in_attempt(attempt: int) -> ColumnElement[bool]:
    return and_(learning_runs.c.state == RunState.RUNNING, learning_runs.c.attempts == attempt)


def _run(row: RowMapping) -> Run:
    return Run(
        client_id=row["client_id"],
        run_id=row["run_id"],
        state=RunState(row["state"]),
        options=LearnOptions.from_json(row["options"]),
        trigger=RunTrigger(row["trigger"]),
        stage=row["stage"],
        fraction=row["fraction"],
        message=row["message"],
        stages=tuple(Stage.from_json(stage) for stage in row["stages"]),
        result=RunResult.from_json(row["results"]) if row["results"] else None,
        counts=row["counts"],
        error_code=row["error_code"] or "",
        error=row["error"] or "",
        attempts=row["attempts"],
        code_version=row["code_version"] or "",
        requested_at=row["requested_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
