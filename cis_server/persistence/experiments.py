"""Experiments, who was assigned to which variant, and what became of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from cis_server.domain.experiments import (
    ENDED,
    Experiment,
    ExperimentMetric,
    ExperimentState,
    ExperimentVerdict,
    History,
    NewExperiment,
    PowerPlan,
    Standing,
    Variant,
    VariantCount,
)
from cis_server.errors import NotFound, PreconditionFailed
from cis_server.persistence.connections import tenant
from cis_server.persistence.experiment_counts import count, past


class Experiments:
    """The experiments of all clients; every method raises `StoreUnavailable` when it cannot.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def history(
        self, client_id: str, campaign_id: str | None, metric: ExperimentMetric, at: dt.datetime
    ) -> History:
        """What the past tells a plan, of a campaign or of the client.

        Raises:
            NotFound: no such client or campaign.
        """
        with tenant(self._engine, client_id) as connection:
            _known(connection, client_id, campaign_id)
            return past(connection, client_id, campaign_id, metric, at)

    def create(self, client_id: str, wanted: NewExperiment, by: str, at: dt.datetime) -> Experiment:
        """Store an experiment, running; two creations for one client take turns.

        Raises:
            NotFound: no such client or campaign.
            PreconditionFailed: EXPERIMENT_RUNNING in an overlapping campaign, or
                EXPERIMENT_EXISTS, a different one under that key.
        """
        with tenant(self._engine, client_id) as connection:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:client, 4))"),
                {"client": client_id},
            )
            _known(connection, client_id, wanted.campaign_id)
            stored = _read(connection, client_id, wanted.experiment_id)
            if stored is not None:
                if _same(stored, wanted):
                    return stored
                raise PreconditionFailed(
                    "EXPERIMENT_EXISTS",
                    f"experiment {wanted.experiment_id!r} exists and is a different one",
                    {"experiment_id": wanted.experiment_id},
                )
            _refuse_overlap(connection, client_id, wanted)
            _insert(connection, client_id, wanted, by, at)
            created = _read(connection, client_id, wanted.experiment_id)
        if created is None:
            raise NotFound("experiment", wanted.experiment_id)
        return created

    def get(self, client_id: str, experiment_id: str) -> Experiment:
        """One experiment.

        Raises:
            NotFound: no such client or experiment.
        """
        with tenant(self._engine, client_id) as connection:
            return _found(connection, client_id, experiment_id)

    def assign(
        self,
        client_id: str,
        experiment_id: str,
        lead_ids: Sequence[str],
        draw: Callable[[Experiment], Callable[[str], tuple[str, float]]],
        at: dt.datetime,
    ) -> Mapping[str, tuple[str, float]]:
        """Variants of leads, recorded; the first assignment of a lead holds. All or none.

        Args:
            client_id: whose.
            experiment_id: which.
            lead_ids: of stored leads.
            draw: for an experiment, what gives a lead its variant and that variant's probability.
            at: the time now.

        Raises:
            NotFound: no such client, experiment or lead.
            PreconditionFailed: EXPERIMENT_NOT_RUNNING, and a lead was not assigned before.
        """
        wanted = sorted(set(lead_ids))
        with tenant(self._engine, client_id) as connection:
            # Shared, so that assignments go on side by side but none comes after the end.
            planned = _found(connection, client_id, experiment_id, lock="FOR SHARE OF t")
            known = _assignments(connection, client_id, experiment_id, wanted)
            new = [lead for lead in wanted if lead not in known]
            if not new:
                return known
            if planned.state is not ExperimentState.RUNNING:
                raise PreconditionFailed(
                    "EXPERIMENT_NOT_RUNNING",
                    f"experiment {experiment_id!r} is {planned.state}: no new leads are assigned",
                    {"state": planned.state, "lead_id": new[0]},
                )
            drawn = draw(planned)
            _record(connection, client_id, experiment_id, {lead: drawn(lead) for lead in new}, at)
            known = _assignments(connection, client_id, experiment_id, wanted)
            for lead in new:
                if lead not in known:
                    raise NotFound("lead", lead)
        return known

    def counts(self, planned: Experiment, at: dt.datetime) -> Mapping[str, VariantCount]:
        """Leads by variant, as of `at`."""
        with tenant(self._engine, planned.client_id) as connection:
            return count(connection, planned, at)

    def end(
        self,
        client_id: str,
        experiment_id: str,
        by: str,
        at: dt.datetime,
        judged: Callable[[Experiment, Mapping[str, VariantCount]], Standing] | None,
    ) -> Experiment:
        """End an experiment for good.

        Args:
            client_id: whose.
            experiment_id: which.
            by: who ends it.
            at: when.
            judged: tells how it stands; None calls it off, without a verdict.

        Raises:
            NotFound: no such client or experiment.
            PreconditionFailed: EXPERIMENT_ENDED already, or EXPERIMENT_NOT_STARTED and not to be
                called off.
        """
        with tenant(self._engine, client_id) as connection:
            planned = _found(connection, client_id, experiment_id, lock="FOR UPDATE OF t")
            if planned.state in ENDED:
                raise PreconditionFailed(
                    "EXPERIMENT_ENDED",
                    f"experiment {experiment_id!r} is {planned.state} already",
                    {"state": planned.state, "ended_by": planned.ended_by},
                )
            if judged is not None and planned.state is ExperimentState.DRAFT:
                raise PreconditionFailed(
                    "EXPERIMENT_NOT_STARTED",
                    f"experiment {experiment_id!r} was never begun: it can only be called off",
                    {"state": planned.state},
                )
            final = None
            if judged is not None:
                counts = count(connection, planned, at)
                final = judged(planned, counts)
                _store_counts(connection, planned, counts)
            _store_end(connection, planned, by, at, final)
            return _found(connection, client_id, experiment_id)


def _known(connection: Connection, client_id: str, campaign_id: str | None = None) -> None:
    found = connection.execute(
        text(
            "SELECT EXISTS (SELECT FROM campaigns WHERE client_id = :client"
            " AND campaign_id = :campaign AND deleted_at IS NULL)"
            " FROM clients WHERE client_id = :client AND deleted_at IS NULL"
        ),
        {"client": client_id, "campaign": campaign_id},
    ).one_or_none()
    if found is None:
        raise NotFound("client", client_id)
    if campaign_id is not None and not found[0]:
        raise NotFound("campaign", campaign_id)


_READ = """
SELECT t.*, (
    SELECT jsonb_agg(jsonb_build_object(
        'name', v.name, 'description', coalesce(v.description, ''), 'weight', v.weight,
        'template_id', v.template_id))
    FROM ab_test_variants v WHERE v.client_id = t.client_id AND v.ab_test_id = t.ab_test_id
) AS variants
FROM ab_tests t WHERE t.client_id = :client AND t.ab_test_id = :test
"""


def _read(
    connection: Connection, client_id: str, experiment_id: str, lock: str = ""
) -> Experiment | None:
    row = (
        connection.execute(text(f"{_READ} {lock}"), {"client": client_id, "test": experiment_id})
        .mappings()
        .one_or_none()
    )
    return _experiment(dict(row)) if row is not None else None


def _found(
    connection: Connection, client_id: str, experiment_id: str, lock: str = ""
) -> Experiment:
    found = _read(connection, client_id, experiment_id, lock)
    if found is None:
        _known(connection, client_id)
        raise NotFound("experiment", experiment_id)
    return found


def _experiment(row: Mapping[str, Any]) -> Experiment:
    plan = row["plan"]
    order = {name: place for place, name in enumerate(plan.get("order", ("control",)))}
    variants = sorted(
        (Variant.from_json(variant) for variant in row["variants"] or ()),
        key=lambda variant: (order.get(variant.name, len(order)), variant.name),
    )
    return Experiment(
        experiment_id=row["ab_test_id"],
        client_id=row["client_id"],
        name=row["name"],
        hypothesis=row["hypothesis"] or "",
        campaign_id=row["campaign_id"],
        variants=tuple(variants),
        metric=ExperimentMetric(row["metric"]),
        plan=PowerPlan.from_json(plan),
        state=ExperimentState(row["status"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        ended_by=row["ended_by"] or "",
        final=Standing.from_json(row["evidence"]) if row["evidence"] else None,
    )


def _same(stored: Experiment, wanted: NewExperiment) -> bool:
    """Whether a request made again describes the experiment that exists; the sizes may have moved
    with the client's history."""
    names = ("name", "hypothesis", "campaign_id", "variants", "metric")
    sizes = ("minimum_effect", "power", "alpha")
    return all(getattr(stored, name) == getattr(wanted, name) for name in names) and all(
        getattr(stored.plan, name) == getattr(wanted.plan, name) for name in sizes
    )


def _refuse_overlap(connection: Connection, client_id: str, wanted: NewExperiment) -> None:
    running = connection.execute(
        text(
            "SELECT ab_test_id FROM ab_tests WHERE client_id = :client AND status = 'running'"
            " AND (campaign_id IS NULL OR CAST(:campaign AS text) IS NULL"
            " OR campaign_id = :campaign) ORDER BY started_at, ab_test_id LIMIT 1"
        ),
        {"client": client_id, "campaign": wanted.campaign_id},
    ).scalar()
    if running is not None:
        raise PreconditionFailed(
            "EXPERIMENT_RUNNING",
            f"experiment {running!r} runs in the same campaign; end it first",
            {"experiment_id": running},
        )


def _insert(
    connection: Connection, client_id: str, wanted: NewExperiment, by: str, at: dt.datetime
) -> None:
    weights = [variant.weight for variant in wanted.variants]
    plan = {**wanted.plan.to_json(), "order": [variant.name for variant in wanted.variants]}
    connection.execute(
        text(
            "INSERT INTO ab_tests (client_id, ab_test_id, campaign_id, name, hypothesis, metric,"
            " sample_size_target, split_percentage, status, plan, started_at, created_by)"
            " VALUES (:client, :test, :campaign, :name, :hypothesis, :metric, :target, :split,"
            " 'running', CAST(:plan AS jsonb), :at, :by)"
        ),
        {
            "client": client_id,
            "test": wanted.experiment_id,
            "campaign": wanted.campaign_id,
            "name": wanted.name,
            "hypothesis": wanted.hypothesis,
            "metric": wanted.metric.value,
            # A plan for a tiny effect may ask for more leads than the column, or the world, holds.
            "target": min(wanted.plan.leads_per_variant * len(weights), 2**31 - 1),
            "split": min(99, max(1, round(100 * weights[0] / sum(weights)))),
            "plan": json.dumps(plan, allow_nan=False),
            "at": at,
            "by": by,
        },
    )
    connection.execute(
        text(
            "INSERT INTO ab_test_variants (client_id, ab_test_id, name, description, template_id,"
            " weight) SELECT :client, :test, v.name, v.description, v.template_id, v.weight"
            " FROM jsonb_to_recordset(CAST(:variants AS jsonb))"
            " AS v(name text, description text, template_id text, weight float8)"
        ),
        {
            "client": client_id,
            "test": wanted.experiment_id,
            "variants": json.dumps([variant.to_json() for variant in wanted.variants]),
        },
    )


def _assignments(
    connection: Connection, client_id: str, experiment_id: str, lead_ids: Sequence[str]
) -> dict[str, tuple[str, float]]:
    rows = connection.execute(
        text(
            "SELECT lead_id, variant, propensity FROM ab_test_assignments"
            " WHERE client_id = :client AND ab_test_id = :test AND lead_id = ANY(:leads)"
        ),
        {"client": client_id, "test": experiment_id, "leads": list(lead_ids)},
    )
    return {row.lead_id: (row.variant, row.propensity) for row in rows}


def _record(
    connection: Connection,
    client_id: str,
    experiment_id: str,
    drawn: Mapping[str, tuple[str, float]],
    at: dt.datetime,
) -> None:
    connection.execute(
        text(
            "INSERT INTO ab_test_assignments"
            " (client_id, ab_test_id, lead_id, variant, propensity, assigned_at)"
            " SELECT :client, :test, l.lead_id, d.variant, d.propensity, :at"
            " FROM unnest(CAST(:leads AS text[]), CAST(:variants AS text[]),"
            " CAST(:propensities AS float8[])) AS d(lead_id, variant, propensity)"
            " JOIN leads l ON l.client_id = :client AND l.lead_id = d.lead_id"
            " AND l.deleted_at IS NULL"
            " ORDER BY l.lead_id ON CONFLICT DO NOTHING"
        ),
        {
            "client": client_id,
            "test": experiment_id,
            "leads": list(drawn),
            "variants": [variant for variant, _ in drawn.values()],
            "propensities": [propensity for _, propensity in drawn.values()],
            "at": at,
        },
    )


def _store_counts(
    connection: Connection, planned: Experiment, counts: Mapping[str, VariantCount]
) -> None:
    connection.execute(
        text(
            "UPDATE ab_test_variants v SET lead_count = c.n, success_count = c.k"
            " FROM unnest(CAST(:names AS text[]), CAST(:n AS int[]), CAST(:k AS int[]))"
            " AS c(name, n, k)"
            " WHERE v.client_id = :client AND v.ab_test_id = :test AND v.name = c.name"
        ),
        {
            "client": planned.client_id,
            "test": planned.experiment_id,
            "names": list(counts),
            "n": [count.contacted for count in counts.values()],
            "k": [count.succeeded for count in counts.values()],
        },
    )


def _store_end(
    connection: Connection, planned: Experiment, by: str, at: dt.datetime, final: Standing | None
) -> None:
    state = ExperimentState.CANCELLED if final is None else ExperimentState.COMPLETED
    winner = final.winner if final and final.verdict is ExperimentVerdict.WINNER else None
    connection.execute(
        text(
            "UPDATE ab_tests SET status = :state, ended_at = :at, ended_by = :by,"
            " verdict = :verdict, winner = :winner, evidence = CAST(:evidence AS jsonb)"
            " WHERE client_id = :client AND ab_test_id = :test"
        ),
        {
            "client": planned.client_id,
            "test": planned.experiment_id,
            "state": state.value,
            "at": at,
            "by": by,
            "verdict": final.verdict.value if final else None,
            "winner": winner,
            "evidence": json.dumps(final.to_json(), allow_nan=False) if final else None,
        },
    )
