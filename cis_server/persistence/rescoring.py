"""Rescoring runs, and the stored leads they score: read and written in chunks, set by set."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from cis_server.domain.lead import Lead
from cis_server.domain.rescoring import (
    ACTIVE_STATUSES,
    RescoreOptions,
    RescoringRun,
    ScoredBy,
    TierMoves,
)
from cis_server.domain.scores import LeadScore
from cis_server.domain.vocabulary import RunState, Tier
from cis_server.errors import CisError
from cis_server.persistence.connections import operator, tenant, unavailable_as_such
from cis_server.persistence.leads import LEAD_COLUMNS, first_components, lead_of_row

_LONG_SECONDS: Final = 300.0
_ACTIVE = "l.deleted_at IS NULL AND l.status = ANY(:statuses)"
_OF_CAMPAIGN = "(CAST(:campaign AS text) IS NULL OR l.campaign_id = :campaign)"
_STATUSES = [status.value for status in ACTIVE_STATUSES]


class TakenOverError(CisError):
    """Another attempt works on the run; what this one wrote last was rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveLead:
    """A stored lead to score again."""

    lead_id: str
    lead: Lead | None
    """None: what is stored cannot be read."""
    campaign_id: str | None
    tier: Tier | None
    """Of the last scoring; None: never scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One lead's new score and what told it."""

    score: LeadScore
    before: Tier | None
    weights_version: str
    """Of the weights; empty for the defaults."""
    probability_version: str
    """Of the propensity model; empty without one."""


class RescoringRuns:
    """The rescoring runs of all clients, read and written with the owner's rights, as `Runs` are.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def request(self, client_id: str, run_id: str, options: RescoreOptions) -> str:
        """Store a queued run; the id of the run under way when the client has one already."""
        values = {
            "client": client_id,
            "run": run_id,
            "campaign": options.campaign_id,
            "as_of": options.as_of,
            "reason": options.reason,
        }
        insert = text(
            "INSERT INTO rescoring_runs (client_id, run_id, campaign_id, as_of, reason)"
            " VALUES (:client, :run, :campaign, :as_of, :reason)"
            " ON CONFLICT (client_id) WHERE state IN ('queued', 'running') DO NOTHING"
            " RETURNING run_id"
        )
        under_way = text(
            "SELECT run_id FROM rescoring_runs"
            " WHERE client_id = :client AND state IN ('queued', 'running')"
        )
        while True:
            with operator(self._engine) as connection:
                if connection.scalar(insert, values) is not None:
                    return run_id
                found = connection.scalar(under_way, {"client": client_id})
            if found is not None:
                return str(found)
            # The run that was in the way ended between the two statements.

    def read(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[RescoringRun]]:
        """Runs by id; unknown ids are left out."""
        query = text("SELECT * FROM rescoring_runs WHERE run_id = ANY(:runs) ORDER BY client_id")
        found: dict[str, list[RescoringRun]] = {}
        with operator(self._engine) as connection:
            for row in connection.execute(query, {"runs": list(run_ids)}):
                found.setdefault(row.run_id, []).append(_run(row))
        return found

    def orphaned(self) -> Sequence[tuple[str, str]]:
        """(client id, run id) of runs under way for a minute that have no job in the queue."""
        silent = text(
            "SELECT client_id, run_id FROM rescoring_runs WHERE state IN ('queued', 'running')"
            " AND coalesce(heartbeat_at, requested_at) < now() - interval '1 minute'"
            " ORDER BY client_id"
        )
        with operator(self._engine) as connection:
            runs = [(row.client_id, row.run_id) for row in connection.execute(silent)]
        # The queue belongs to the login, not to the owner of our tables.
        jobs = text(
            "SELECT args->>'run_id' AS run_id FROM procrastinate_jobs"
            " WHERE task_name = 'rescore' AND status IN ('todo', 'doing')"
        )
        with unavailable_as_such(), self._engine.begin() as connection:
            queued = set(connection.execute(jobs).scalars())
        return [run for run in runs if run[1] not in queued]

    def outdated(self) -> Sequence[tuple[str, str]]:
        """(client id, why) of clients that got other weights or another model since their leads
        were last asked to be scored again."""
        query = text(
            "SELECT e.client_id, (array_agg(e.kind || '-' || e.version || ' is ' || e.to_state"
            " ORDER BY e.event_number DESC))[1] AS reason"
            " FROM model_events e JOIN clients c USING (client_id)"
            " WHERE c.deleted_at IS NULL AND e.to_state IN ('live', 'rolling_out', 'rolled_back')"
            " AND e.occurred_at > coalesce((SELECT max(r.requested_at) FROM rescoring_runs r"
            "  WHERE r.client_id = e.client_id AND r.campaign_id IS NULL), '-infinity')"
            " GROUP BY e.client_id ORDER BY e.client_id"
        )
        with operator(self._engine) as connection:
            return [(row.client_id, row.reason) for row in connection.execute(query)]

    def claim(self, client_id: str, run_id: str) -> RescoringRun | None:
        """Begin an attempt; None when the run has ended or is unknown, then nothing is to do."""
        with operator(self._engine) as connection:
            row = connection.execute(
                text(
                    "UPDATE rescoring_runs SET state = 'running', attempts = attempts + 1,"
                    " started_at = coalesce(started_at, now()), heartbeat_at = now(),"
                    " message = 'scoring again'"
                    " WHERE client_id = :client AND run_id = :run"
                    " AND state IN ('queued', 'running') RETURNING *"
                ),
                {"client": client_id, "run": run_id},
            ).one_or_none()
        return None if row is None else _run(row)

    def begin_pass(self, run: RescoringRun, scored_by: ScoredBy) -> str:
        """Count the leads and say what scores them; the id of the last lead that is done already.

        A run that another attempt left goes on where that one stopped, provided the same weights
        and model are in force; else it begins anew.

        Raises:
            TakenOverError: another attempt works on the run.
        """
        with tenant(self._engine, run.client_id, statement_seconds=_LONG_SECONDS) as connection:
            total = connection.scalar(
                text(
                    f"SELECT count(*) FROM leads l WHERE l.client_id = :client AND {_ACTIVE}"
                    f" AND {_OF_CAMPAIGN}"
                ),
                {
                    "client": run.client_id,
                    "campaign": run.options.campaign_id,
                    "statuses": _STATUSES,
                },
            )
            same = "model->>'key' = :key"
            last = connection.scalar(
                text(
                    "UPDATE rescoring_runs SET total = :total, heartbeat_at = now(),"
                    f" last_lead_id = CASE WHEN {same} THEN last_lead_id ELSE '' END,"
                    f" scored = CASE WHEN {same} THEN scored ELSE 0 END,"
                    f" failed = CASE WHEN {same} THEN failed ELSE 0 END,"
                    f" moves = CASE WHEN {same} THEN moves ELSE '{{}}' END,"
                    " model = CAST(:model AS jsonb)"
                    " WHERE client_id = :client AND run_id = :run AND state = 'running'"
                    " AND attempts = :attempt RETURNING last_lead_id"
                ),
                {
                    **_key(run),
                    "total": total,
                    "key": scored_by.key,
                    "model": json.dumps(scored_by.to_json()),
                },
            )
        if last is None:
            raise TakenOverError("another attempt works on the run")
        return str(last)

    def active_leads(self, run: RescoringRun, after: str, limit: int) -> Sequence[ActiveLead]:
        """The next leads to score, in the order of their ids."""
        columns = ", ".join(f"l.{name}" for name in LEAD_COLUMNS)
        query = text(
            f"SELECT {columns}, l.campaign_id, l.tier FROM leads l"
            f" WHERE l.client_id = :client AND l.lead_id > :after AND {_ACTIVE} AND {_OF_CAMPAIGN}"
            " ORDER BY l.lead_id LIMIT :limit"
        )
        values = {
            "client": run.client_id,
            "after": after,
            "campaign": run.options.campaign_id,
            "statuses": _STATUSES,
            "limit": limit,
        }
        with tenant(self._engine, run.client_id, statement_seconds=_LONG_SECONDS) as connection:
            return [_active(row) for row in connection.execute(query, values)]

    def write_chunk(
        self,
        run: RescoringRun,
        scored: Sequence[Scored],
        *,
        last_lead_id: str,
        failed: int,
        scored_at: dt.datetime,
        as_of: dt.datetime,
        scorer_version: str,
    ) -> None:
        """Store the scores of a chunk and how far the run is, in one transaction.

        New and enriched leads become scored. Components before first outreach are left alone: they
        are what learning goes by, and an outcome may have changed the lead since.

        Raises:
            TakenOverError: another attempt works on the run; nothing was written.
        """
        with tenant(self._engine, run.client_id, statement_seconds=_LONG_SECONDS) as connection:
            written = _update_leads(
                connection, run.client_id, scored, scored_at, as_of, scorer_version
            )
            moves = Counter(
                _move_key(each.before, each.score.tier)
                for each in scored
                if each.score.lead_id in written
            )
            changed = connection.execute(
                text(
                    "UPDATE rescoring_runs r SET last_lead_id = :last, scored = scored + :scored,"
                    " failed = failed + :failed, heartbeat_at = now(),"
                    " moves = (SELECT coalesce(jsonb_object_agg(key, total), '{}') FROM ("
                    "  SELECT key, sum(value::bigint) AS total FROM ("
                    "   SELECT key, value FROM jsonb_each_text(r.moves) UNION ALL"
                    "   SELECT key, value FROM jsonb_each_text(CAST(:moves AS jsonb))) every_move"
                    "  GROUP BY key) summed)"
                    " WHERE client_id = :client AND run_id = :run AND state = 'running'"
                    " AND attempts = :attempt"
                ),
                {
                    **_key(run),
                    "last": last_lead_id,
                    "scored": len(written),
                    "failed": failed,
                    "moves": json.dumps(moves),
                },
            )
            if changed.rowcount != 1:
                raise TakenOverError("another attempt works on the run")

    def finish(self, run: RescoringRun, state: RunState, message: str) -> None:
        """End the run, or give it back to the queue (QUEUED); nothing when it was taken over."""
        with operator(self._engine) as connection:
            connection.execute(
                text(
                    "UPDATE rescoring_runs SET state = :state, message = :message,"
                    " heartbeat_at = now(),"
                    " finished_at = CASE WHEN :state = 'queued' THEN NULL ELSE now() END"
                    " WHERE client_id = :client AND run_id = :run AND state = 'running'"
                    " AND attempts = :attempt"
                ),
                {**_key(run), "state": state.value, "message": message},
            )


def _active(row: Row[Any]) -> ActiveLead:
    lead: Lead | None = None
    # Other programs may store JSON of any shape.
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        lead = lead_of_row(row)
    return ActiveLead(
        lead_id=row.lead_id, lead=lead, campaign_id=row.campaign_id, tier=_tier(row.tier)
    )


def _update_leads(
    connection: Connection,
    client_id: str,
    scored: Sequence[Scored],
    scored_at: dt.datetime,
    as_of: dt.datetime,
    scorer_version: str,
) -> set[str]:
    if not scored:
        return set()
    rows = connection.execute(
        text(
            "UPDATE leads l SET score = r.score, tier = r.tier,"
            " components = n.components,"
            f" components_at_first_touch = {first_components('n.components')},"
            " weights_used = CAST(r.weights AS jsonb), weights_source = r.source,"
            " weights_version = r.weights_version, conversion_probability = r.probability,"
            " probability_low = r.low, probability_high = r.high, probability_target = r.target,"
            " probability_version = r.probability_version, scored_at = :scored_at,"
            " score_as_of = :as_of, scorer_version = :scorer,"
            " status = CASE WHEN l.status IN ('new', 'enriched') THEN 'scored' ELSE l.status END"
            f" FROM unnest({_ARRAYS}) AS r ({_ARRAY_NAMES}) CROSS JOIN LATERAL ("
            "SELECT jsonb_build_object('data_quality', r.data_quality, 'authority', r.authority,"
            " 'company_fit', r.company_fit, 'timing', r.timing, 'risk', r.risk) AS components) n"
            " WHERE l.client_id = :client AND l.lead_id = r.lead_id AND l.deleted_at IS NULL"
            " RETURNING l.lead_id"
        ),
        {
            "client": client_id,
            "scored_at": scored_at,
            "as_of": as_of,
            "scorer": scorer_version,
            **_arrays(scored),
        },
    )
    return set(rows.scalars())


_COLUMNS: Final = {
    "lead_id": "text", "score": "smallint", "tier": "text", "data_quality": "smallint",
    "authority": "smallint", "company_fit": "smallint", "timing": "smallint", "risk": "smallint",
    "weights": "text", "source": "text", "weights_version": "text", "probability": "float8",
    "low": "float8", "high": "float8", "target": "text", "probability_version": "text",
}  # fmt: skip
_ARRAYS = ", ".join(f"CAST(:a_{name} AS {kind}[])" for name, kind in _COLUMNS.items())
_ARRAY_NAMES = ", ".join(_COLUMNS)


def _arrays(scored: Sequence[Scored]) -> dict[str, list[Any]]:
    weights: dict[Any, str] = {}
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for each in scored:
        score, chance = each.score, each.score.conversion_probability
        used = weights.get(score.weights)
        if used is None:
            used = weights[score.weights] = json.dumps(score.weights.as_dict())
        row = (
            score.lead_id,
            score.score,
            score.tier.label,
            *score.components.as_tuple(),
            used,
            score.weights_source.value,
            each.weights_version,
            None if chance is None else chance.probability,
            None if chance is None else chance.low,
            None if chance is None else chance.high,
            None if chance is None else chance.target,
            each.probability_version or None,
        )
        for name, value in zip(_COLUMNS, row, strict=True):
            columns[name].append(value)
    return {f"a_{name}": values for name, values in columns.items()}


def _key(run: RescoringRun) -> dict[str, Any]:
    return {"client": run.client_id, "run": run.run_id, "attempt": run.attempts}


def _move_key(before: Tier | None, after: Tier) -> str:
    return f"{before.label if before is not None else ''}>{after.label}"


def _moves(stored: Mapping[str, int]) -> TierMoves:
    found: dict[tuple[Tier | None, Tier], int] = {}
    for name, count in stored.items():
        before, _, after = name.partition(">")
        found[_tier(before or None), Tier[after.upper()]] = int(count)
    return found


def _tier(label: str | None) -> Tier | None:
    return None if label is None else Tier[label.upper()]


def _run(row: Row[Any]) -> RescoringRun:
    return RescoringRun(
        client_id=row.client_id,
        run_id=row.run_id,
        state=RunState(row.state),
        options=RescoreOptions(campaign_id=row.campaign_id, as_of=row.as_of, reason=row.reason),
        total=row.total,
        scored=row.scored,
        failed=row.failed,
        moves=_moves(row.moves),
        scored_by=ScoredBy.from_json(row.model) if row.model else None,
        message=row.message,
        attempts=row.attempts,
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
