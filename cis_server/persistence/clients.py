"""Clients and campaigns: implements the port of the admin service."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import ColumnClause, Connection, Engine, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.vocabulary import SubscriptionStatus
from cis_server.persistence.client_rows import campaign_values, client_record, client_values
from cis_server.persistence.connections import loader, tenant
from cis_server.persistence.tables import campaigns, clients

# A row that an upsert has just inserted has no earlier version, so its xmax is 0.
_IS_NEW: ColumnClause[bool] = literal_column("xmax = 0")


class Clients:
    """Reads all clients with the loader's rights, writes one with its own.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, client_id: str) -> ClientRecord | None:
        """One client that is not deleted."""
        query = select(clients).where(
            clients.c.client_id == client_id, clients.c.deleted_at.is_(None)
        )
        with loader(self._engine) as connection:
            row = connection.execute(query).mappings().first()
        return client_record(dict(row)) if row is not None else None

    def page(
        self, after: str | None, limit: int, statuses: Sequence[SubscriptionStatus]
    ) -> Sequence[ClientRecord]:
        """Clients in order of id, those after ``after``; no statuses: any."""
        query = select(clients).where(clients.c.deleted_at.is_(None))
        if after is not None:
            query = query.where(clients.c.client_id > after)
        if statuses:
            query = query.where(clients.c.subscription_status.in_(statuses))
        query = query.order_by(clients.c.client_id).limit(limit)
        with loader(self._engine) as connection:
            return [client_record(dict(row)) for row in connection.execute(query).mappings()]

    def upsert(self, client: ClientRecord) -> tuple[ClientRecord, bool]:
        """Store a client; the client as stored, and whether it is new."""
        # Without a look at what is stored, so that a client that cannot be read can be mended.
        with tenant(self._engine, client.client_id) as connection:
            return _upserted(connection, client)

    def change(
        self, client_id: str, changed: Callable[[ClientRecord | None], ClientRecord]
    ) -> tuple[ClientRecord, bool]:
        """Store what ``changed`` makes of the client as stored (None: not yet), nobody in between.

        Two changes of one client take turns, also while it does not exist and has no row to lock.

        Returns:
            The client as stored, and whether it is new.
        """
        turn = text("SELECT pg_advisory_xact_lock(hashtextextended(:client, 3))")
        query = select(clients).where(
            clients.c.client_id == client_id, clients.c.deleted_at.is_(None)
        )
        with tenant(self._engine, client_id) as connection:
            connection.execute(turn, {"client": client_id})
            row = connection.execute(query).mappings().first()
            stored = client_record(dict(row)) if row is not None else None
            return _upserted(connection, changed(stored))

    def upsert_campaigns(self, client_id: str, wanted: Sequence[CampaignRecord]) -> tuple[int, int]:
        """Store campaigns of a known client in one statement; (created, updated)."""
        statement = insert(campaigns).values([campaign_values(client_id, c) for c in wanted])
        kept = ("client_id", "campaign_id")
        change = {
            column: statement.excluded[column]
            for column in campaign_values(client_id, wanted[0])
            if column not in kept
        }
        upsert = statement.on_conflict_do_update(
            index_elements=[campaigns.c.client_id, campaigns.c.campaign_id],
            set_={**change, "deleted_at": None, "updated_at": func.now()},
        ).returning(_IS_NEW.label("is_new"))
        with tenant(self._engine, client_id) as connection:
            is_new = [row.is_new for row in connection.execute(upsert)]
        return sum(is_new), len(is_new) - sum(is_new)


def _upserted(connection: Connection, client: ClientRecord) -> tuple[ClientRecord, bool]:
    values = client_values(client)
    change = {key: value for key, value in values.items() if key != "client_id"}
    statement = (
        insert(clients)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[clients.c.client_id], set_={**change, "deleted_at": None}
        )
        .returning(clients, _IS_NEW.label("is_new"))
    )
    row = connection.execute(statement).mappings().one()
    return client_record(dict(row)), bool(row["is_new"])
