"""The suppression lists: read whole for serving, added to and taken from by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, text

from cis_server.domain.suppression import IdentifierKind, SuppressionEntry, SuppressionReason

# What any two readings of a list agree on when and only when its entries are the same (but for an
# accident of 64-bit hashes). Counts and sums need no order.
REVISION = (
    "count(*) || '-' || sum(hashtextextended(kind || chr(31) || value || chr(31) || reason, 0))"
)
"""SQL aggregate over `suppressed_identifiers`."""


def add_suppressions(connection: Connection, entries: Sequence[SuppressionEntry]) -> int:
    """Add entries in one statement a list; gives back how many are new.

    Values are normalised by the database. An entry that exists keeps its reason.

    Args:
        connection: with the rights of `Role.APP` for one client's entries, of `Role.OWNER` for
            entries of the list that holds for all (``client_id`` None).
        entries: any number.
    """
    rows = json.dumps(
        [
            {
                "client_id": entry.client_id,
                "kind": entry.kind.value,
                "value": entry.value,
                "reason": entry.reason.value,
            }
            for entry in entries
        ]
    )
    source = (
        " FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
        " AS r (client_id text, kind text, value text, reason text)"
    )
    added = 0
    if any(entry.client_id is not None for entry in entries):
        added += connection.execute(
            text(
                "INSERT INTO suppression (client_id, kind, value, reason)"
                f" SELECT client_id, kind, value, reason{source} WHERE client_id IS NOT NULL"
                " ON CONFLICT DO NOTHING"
            ),
            {"rows": rows},
        ).rowcount
    if any(entry.client_id is None for entry in entries):
        added += connection.execute(
            text(
                "INSERT INTO global_suppression (kind, value, reason)"
                f" SELECT kind, value, reason{source} WHERE client_id IS NULL"
                " ON CONFLICT DO NOTHING"
            ),
            {"rows": rows},
        ).rowcount
    return added


def remove_suppression(
    connection: Connection, client_id: str | None, kind: IdentifierKind, value: str
) -> bool:
    """Take an entry from a client's list (or the one for all); whether it was there.

    A lead that has opted out itself stays closed: that is no entry of a list.
    """
    where = "kind = :kind AND value = cis_normalise_identifier(:kind, :value)"
    parameters = {"kind": kind.value, "value": value}
    if client_id is None:
        done = connection.execute(text(f"DELETE FROM global_suppression WHERE {where}"), parameters)
    else:
        done = connection.execute(
            text(f"DELETE FROM suppression WHERE client_id = :client AND {where}"),
            {**parameters, "client": client_id},
        )
    return done.rowcount > 0


def read_suppressions(connection: Connection, client_id: str | None) -> list[SuppressionEntry]:
    """Everything that closes leads of one client, or of all (None): lists, flags and events.

    Args:
        connection: with the rights of `Role.LOADER`.
        client_id: None reads the list that holds for all clients.
    """
    rows = connection.execute(
        text(
            "SELECT client_id, kind, value, reason FROM suppressed_identifiers"
            " WHERE client_id IS NOT DISTINCT FROM CAST(:client AS text)"
        )
        if client_id is None
        else text(
            "SELECT client_id, kind, value, reason FROM suppressed_identifiers"
            " WHERE client_id = :client"
        ),
        {"client": client_id},
    )
    return [
        SuppressionEntry(
            row.client_id, IdentifierKind(row.kind), row.value, SuppressionReason(row.reason)
        )
        for row in rows
    ]
