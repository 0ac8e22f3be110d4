"""Choices made under exploration, kept for judging policies; implements `DecisionSink`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from cis_server.domain.live_state import DecisionRecord
from cis_server.persistence.connections import tenant
from cis_server.persistence.tables import decision_log


class Decisions:
    """Writes decision records.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write_decisions(self, records: Sequence[DecisionRecord]) -> None:
        """Store the records, one statement a client; an id that is stored already is passed over.

        Raises:
            StoreUnavailable: the database is away.
        """
        ordered = sorted(records, key=lambda record: record.client_id)
        for client_id, group in groupby(ordered, key=lambda record: record.client_id):
            rows = [_row(record) for record in group]
            with tenant(self._engine, client_id) as connection:
                connection.execute(insert(decision_log).values(rows).on_conflict_do_nothing())


def _row(record: DecisionRecord) -> dict[str, object]:
    return {
        "client_id": record.client_id,
        "decision_id": record.decision_id,
        "decided_at": record.decided_at,
        "kind": record.kind,
        "lead_id": record.lead_id,
        "choice": record.choice,
        "propensity": record.propensity,
        "options": [
            {"choice": option.choice, "propensity": option.propensity, "best": option.best}
            for option in record.options
        ],
        "context": dict(record.context),
        "model_version": record.model_version,
    }
