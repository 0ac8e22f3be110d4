"""What clients give to the pool: stored by the run of one, read for the runs of the others.

Only a client whose policy says so gives and gets. When it says no more, a trigger withdraws what it
gave in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from cis_server.domain.pooling import Contribution
from cis_server.persistence.connections import loader


def save_contributions(
    connection: Connection, client_id: str, contributions: Sequence[Contribution], run_id: str
) -> None:
    """Replace what a client gives by what its latest run found; nothing without its consent.

    Targets the run found nothing for are withdrawn: what was given rests on older data.
    """
    connection.execute(
        text("DELETE FROM pool_contributions WHERE client_id = :client"), {"client": client_id}
    )
    rows = [
        {
            "client": client_id,
            "target": item.target,
            "contribution": json.dumps(item.to_json(), allow_nan=False),
            "leads": item.leads,
            "positives": item.positives,
            "run": run_id,
        }
        for item in contributions
    ]
    if rows:
        connection.execute(
            text(
                "INSERT INTO pool_contributions"
                " (client_id, target, contribution, leads, positives, run_id)"
                " SELECT :client, :target, CAST(:contribution AS jsonb), :leads, :positives, :run"
                " FROM clients WHERE client_id = :client AND deleted_at IS NULL"
                " AND policy -> 'pooling' = 'true'"
            ),
            rows,
        )


def contributions_of_others(engine: Engine, client_id: str) -> list[Contribution]:
    """What every other client that shares gives, of all targets.

    A contribution that cannot be read is left out: it must not keep the others from learning.

    Args:
        engine: connections to the database.
        client_id: for whom; its own is not among them.

    Returns:
        Nothing when the client itself does not share.

    Raises:
        StoreUnavailable: the database is away.
    """
    query = text(
        "SELECT p.contribution FROM pool_contributions p"
        " JOIN clients c USING (client_id)"
        " WHERE c.deleted_at IS NULL AND c.policy -> 'pooling' = 'true'"
        " AND p.client_id <> :client AND EXISTS (SELECT FROM clients own"
        " WHERE own.client_id = :client AND own.deleted_at IS NULL"
        " AND own.policy -> 'pooling' = 'true')"
        " ORDER BY p.client_id, p.target"
    )
    found = []
    with loader(engine) as connection:
        for stored in connection.execute(query, {"client": client_id}).scalars():
            try:
                found.append(Contribution.from_json(stored))
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
    return found


def clients_without_model(engine: Engine) -> list[str]:
    """Clients that share, gave nothing themselves and have no model of their own in force.

    These have too few outcomes for a run; what the pool says is served to them as it is.

    Raises:
        StoreUnavailable: the database is away.
    """
    query = text(
        "SELECT c.client_id FROM clients c"
        " WHERE c.deleted_at IS NULL AND c.policy -> 'pooling' = 'true'"
        " AND NOT EXISTS (SELECT FROM pool_contributions p WHERE p.client_id = c.client_id)"
        " AND NOT EXISTS (SELECT FROM models m WHERE m.client_id = c.client_id"
        " AND m.kind = 'propensity' AND m.origin <> 'pooled'"
        " AND m.state IN ('live', 'rolling_out'))"
        " ORDER BY c.client_id"
    )
    with loader(engine) as connection:
        return list(connection.execute(query).scalars())
