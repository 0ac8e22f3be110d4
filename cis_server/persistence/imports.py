"""Writing imported records: `COPY` into a temporary table, then one merge as the tenant.

What a file does not say stays as it is; what it says replaces what was stored, with exceptions
that protect people and history: an opt-out is never taken back, counts of bounces never go down, a
lead that has reached an outcome does not become new again, and a row never moves to another lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from cis_server.domain.clients import ClientPolicy, ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import LeadStatus, Promotion
from cis_server.persistence.client_rows import client_values
from cis_server.persistence.tables import clients, metadata

LINE: Final = "line_number"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that the database has no place for."""

    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Merge:
    """What became of the staged rows of one kind."""

    inserted: int
    updated: int
    unchanged: int
    refused: tuple[Refusal, ...]
    leads: frozenset[str]
    """Leads of the rows inserted or updated."""


def ensure_client(connection: Connection, client_id: str) -> bool:
    """Create the client, trialing and with automatic promotion, unless it is there.

    Returns:
        Whether it was created.
    """
    client = ClientRecord(
        client_id=client_id, name=client_id, policy=ClientPolicy(promotion=Promotion.AUTO)
    )
    statement = insert(clients).values(**client_values(client))
    created = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[clients.c.client_id],
            set_={"deleted_at": None},
            where=clients.c.deleted_at.is_not(None),
        ).returning(clients.c.client_id)
    )
    return created.first() is not None


def refresh_statistics(connection: Connection, changed: int) -> None:
    """Let the planner know of the rows just written, when there are enough to mislead it.

    Without it, what is derived from a first import is planned for empty tables and takes minutes.

    Args:
        connection: inside the transaction that wrote the rows.
        changed: how many rows were written.
    """
    if changed >= _MISLEADING_ROWS:
        connection.execute(text("SELECT cis_analyze()"))


_MISLEADING_ROWS: Final = 200


class Staging:
    """The rows of one file on their way into their table; lives as long as the transaction."""

    def __init__(self, connection: Connection, client_id: str, kind: str) -> None:
        """Prepare for rows of a kind: ``leads``, ``activities``, ``meetings`` or ``deals``.

        Args:
            connection: inside a transaction with the rights of `Role.APP` on the client.
            client_id: the client.
            kind: the table's name.
        """
        self._connection, self._client_id = connection, client_id
        self._plan = _PLANS[kind]
        self._staged = f"staged_{kind}"
        self._columns: tuple[str, ...] = ()

    def add(self, lines: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        """`COPY` rows into the temporary table.

        Args:
            lines: line of the file of each row.
            columns: database column -> one value a row; the same columns in every call. JSON
                columns are given as text.
        """
        if not self._columns:
            self._columns = tuple(columns)
            self._create()
        cursor = self._connection.connection.cursor()
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(self._staged),
            sql.SQL(", ").join(map(sql.Identifier, (LINE, *self._columns))),
        )
        with cursor.copy(statement) as copy:
            for row in zip(lines, *(columns[name] for name in self._columns), strict=True):
                copy.write_row(row)

    def recipients(self, lead_ids: Iterable[str]) -> dict[str, Lead]:
        """What messages may name of the leads they are for: first name, company and industry."""
        found = self._run(
            "SELECT lead_id, first_name, company_name, industry FROM leads"
            " WHERE client_id = :client AND lead_id = ANY(:leads)",
            leads=sorted(lead_ids),
        )
        return {
            row.lead_id: Lead(
                lead_id=row.lead_id,
                first_name=row.first_name,
                company_name=row.company_name,
                industry=row.industry,
            )
            for row in found
        }

    def merge(self) -> Merge:
        """Bring the staged rows into their table."""
        if not self._columns:
            return Merge(0, 0, 0, (), frozenset())
        self._run(f"ANALYZE {self._staged}")
        refused = [refusal for check in self._checks() for refusal in check]
        self._create_campaigns()
        staged = int(self._run(f"SELECT count(*) FROM {self._staged}").scalar_one())
        changed = self._run(self._upsert()).all()
        if "about_key" in self._columns:
            self._run(_LINK_ABOUT)
        inserted = sum(1 for row in changed if row.inserted)
        return Merge(
            inserted=inserted,
            updated=len(changed) - inserted,
            unchanged=staged - len(changed),
            refused=tuple(refused),
            leads=frozenset(row.lead_id for row in changed),
        )

    def _create(self) -> None:
        table = metadata.tables[self._plan.table]
        own = [name for name in self._columns if name in table.columns]
        helpers = [name for name in self._columns if name not in table.columns]
        selected = ", ".join([f"0 AS {LINE}", *own, *(f"NULL::text AS {name}" for name in helpers)])
        self._run(
            f"CREATE TEMPORARY TABLE {self._staged} ON COMMIT DROP AS"
            f" SELECT {selected} FROM {self._plan.table} WITH NO DATA"
        )

    def _checks(self) -> list[list[Refusal]]:
        found = []
        for check in self._plan.checks:
            if not set(check.needs) <= set(self._columns):
                continue
            rows = self._run(check.select.format(**self._names())).all()
            found.append([Refusal(row.line, check.field, check.reason.format(row)) for row in rows])
            if rows:
                self._run(
                    f"DELETE FROM {self._staged} WHERE {LINE} = ANY(:lines)",
                    lines=[row.line for row in rows],
                )
        return found

    def _create_campaigns(self) -> None:
        if "campaign_id" not in self._columns:
            return
        self._run(
            "INSERT INTO campaigns (client_id, campaign_id, name)"
            " SELECT DISTINCT :client, campaign_id, campaign_id"
            f" FROM {self._staged} WHERE campaign_id IS NOT NULL"
            " ON CONFLICT (client_id, campaign_id) DO NOTHING"
        )

    def _upsert(self) -> str:
        """One statement: values are completed from the stored row, compared, and written.

        Columns that may not be null take the stored value, else the default, where the file is
        silent; the others keep what is stored by way of `coalesce` at the conflict itself.
        """
        plan, table = self._plan, metadata.tables[self._plan.table]
        columns = [name for name in self._columns if name in table.columns]
        if "timezone_guess" in self._columns and "timezone" not in columns:
            columns.append("timezone")
        if "content_measured" in self._columns and "content_snapshot" not in columns:
            columns.append("content_snapshot")
        values, merged = [], {}
        for name in columns:
            column = table.columns[name]
            stated = f"s.{name}" if name in self._columns else "NULL"
            if name == "timezone" and "timezone_guess" in self._columns:
                values.append(f"coalesce({stated}, old.timezone, s.timezone_guess)")
                merged[name] = "coalesce(excluded.timezone, x.timezone)"
            elif name == "content_snapshot" and "content_measured" in self._columns:
                values.append(self._content(stated))
                merged[name] = f"coalesce(excluded.{name}, x.{name})"
            elif column.nullable or name in (plan.key, "lead_id"):
                values.append(stated)
                merged[name] = f"coalesce(excluded.{name}, x.{name})"
            else:
                default = column.server_default
                fallback = _default_sql(default) if default is not None else "NULL"
                values.append(f"coalesce({stated}, old.{name}, {fallback})")
                merged[name] = f"excluded.{name}"
            merged[name] = plan.merged.get(name, merged[name])
        settable = [name for name in columns if name not in (plan.key, "lead_id")]
        if settable:
            conflict = (
                "DO UPDATE SET "
                + ", ".join(f"{name} = {merged[name]}" for name in settable)
                + f" WHERE ({', '.join(f'x.{name}' for name in settable)})"
                + f" IS DISTINCT FROM ({', '.join(merged[name] for name in settable)})"
            )
        else:
            conflict = "DO NOTHING"
        return (
            f"INSERT INTO {plan.table} AS x (client_id, {', '.join(columns)})"
            f" SELECT :client, {', '.join(values)} FROM {self._staged} s"
            f" LEFT JOIN {plan.table} old"
            f" ON old.client_id = :client AND old.{plan.key} = s.{plan.key}"
            f" ORDER BY s.{LINE}"
            f" ON CONFLICT (client_id, {plan.key}) {conflict}"
            " RETURNING x.lead_id, (x.xmax = 0) AS inserted"
        )

    def _content(self, stated: str) -> str:
        """The stated snapshot with what was measured of the text, unless the text was measured
        before, by whoever captured the touch or by an import of the same words."""
        body = "s.full_message_body" if "full_message_body" in self._columns else "NULL::text"
        new = (
            "old.content_snapshot IS NULL OR"
            f" {body} IS NOT NULL AND (NOT jsonb_exists(old.content_snapshot, 'word_count')"
            f" OR old.full_message_body <> {body})"
        )
        measured = f"CASE WHEN {new} THEN s.content_measured::jsonb END"
        return f"nullif(coalesce({stated}::jsonb, '{{}}') || coalesce({measured}, '{{}}'), '{{}}')"

    def _names(self) -> dict[str, str]:
        return {"staged": self._staged, "table": self._plan.table, "key": self._plan.key}

    def _run(self, statement: str, **parameters: object) -> Any:
        if ":client" in statement:
            parameters["client"] = self._client_id
        return self._connection.execute(text(statement), parameters)


@dataclass(frozen=True, slots=True)
class _Check:
    """Rows that must not go on; the select gives their ``line`` and what the reason shows."""

    field: str
    reason: str
    """Formatted with the row of the select."""
    needs: tuple[str, ...]
    """Staged columns without which there is nothing to check."""
    select: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one kind of record is matched, checked and merged."""

    table: str
    key: str
    checks: tuple[_Check, ...] = ()
    merged: Mapping[str, str] = field(default_factory=dict)
    """Column -> SQL for its new value where it is not simply the file's, else the stored one."""


def _default_sql(default: Any) -> str:
    written = default.arg
    return str(written.text) if hasattr(written, "text") else "'" + str(written) + "'"


def _words(*statuses: LeadStatus) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


_BEGINNINGS: Final = _words(LeadStatus.NEW, LeadStatus.ENRICHED, LeadStatus.SCORED)

_LEAD_EXISTS: Final = _Check(
    "lead_id",
    "there is no lead {0.lead_id!r}",
    ("lead_id",),
    f"SELECT s.{LINE} AS line, s.lead_id FROM {{staged}} s WHERE NOT EXISTS ("
    "SELECT FROM leads l WHERE l.client_id = :client AND l.lead_id = s.lead_id) ORDER BY 1",
)


def _stays_with_lead(name: str) -> _Check:
    return _Check(
        name,
        f"this {name} belongs to lead {{0.lead_id!r}} already",
        ("lead_id",),
        f"SELECT s.{LINE} AS line, t.lead_id FROM {{staged}} s"
        " JOIN {table} t ON t.client_id = :client AND t.{key} = s.{key}"
        " WHERE t.lead_id <> s.lead_id ORDER BY 1",
    )


_LINK_ABOUT: Final = """
UPDATE activities a SET about_activity_id = t.activity_id
FROM staged_activities s
JOIN activities t ON t.client_id = :client AND t.idempotency_key = s.about_key
WHERE a.client_id = :client AND a.idempotency_key = s.idempotency_key
  AND a.about_activity_id IS DISTINCT FROM t.activity_id
"""

_PLANS: Final = {
    "leads": _Plan(
        "leads",
        "lead_id",
        merged={
            "status": (
                f"CASE WHEN x.status = '{LeadStatus.UNSUBSCRIBED}' THEN x.status"
                f" WHEN excluded.status IN ({_BEGINNINGS})"
                f" AND x.status NOT IN ({_BEGINNINGS}) THEN x.status ELSE excluded.status END"
            ),
            "unsubscribed": "x.unsubscribed OR excluded.unsubscribed",
            "do_not_contact": "x.do_not_contact OR excluded.do_not_contact",
            "bounce_count": "greatest(x.bounce_count, excluded.bounce_count)",
            "attributes": "x.attributes || excluded.attributes",
        },
    ),
    "activities": _Plan(
        "activities",
        "idempotency_key",
        checks=(
            _LEAD_EXISTS,
            _stays_with_lead("activity_id"),
            _Check(
                "about_activity_id",
                "there is no activity {0.about_key!r} of this lead",
                ("about_key",),
                f"SELECT s.{LINE} AS line, s.about_key FROM {{staged}} s"
                " WHERE s.about_key IS NOT NULL AND NOT EXISTS ("
                "SELECT FROM {staged} t WHERE t.idempotency_key = s.about_key"
                " AND t.lead_id = s.lead_id) AND NOT EXISTS ("
                "SELECT FROM activities t WHERE t.client_id = :client"
                " AND t.idempotency_key = s.about_key AND t.lead_id = s.lead_id) ORDER BY 1",
            ),
        ),
        merged={
            name: f"coalesce(x.{name} || excluded.{name}, excluded.{name}, x.{name})"
            for name in ("metadata", "content_snapshot")
        },
    ),
    "meetings": _Plan(
        "meetings", "meeting_id", checks=(_LEAD_EXISTS, _stays_with_lead("meeting_id"))
    ),
    "deals": _Plan(
        "deals",
        "deal_id",
        checks=(
            _LEAD_EXISTS,
            _stays_with_lead("deal_id"),
            _Check(
                "meeting_id",
                "there is no meeting {0.meeting_id!r}",
                ("meeting_id",),
                f"SELECT s.{LINE} AS line, s.meeting_id FROM {{staged}} s"
                " WHERE s.meeting_id IS NOT NULL AND NOT EXISTS (SELECT FROM meetings m"
                " WHERE m.client_id = :client AND m.meeting_id = s.meeting_id) ORDER BY 1",
            ),
            _Check(
                "external_deal_id",
                "the same deal of that CRM is deal {0.deal_id!r} already",
                ("external_crm", "external_deal_id"),
                f"SELECT s.{LINE} AS line, min(t.deal_id) AS deal_id FROM {{staged}} s JOIN ("
                "SELECT deal_id, external_crm, external_deal_id FROM deals"
                f" WHERE client_id = :client UNION ALL SELECT deal_id, external_crm,"
                " external_deal_id FROM {staged}) t USING (external_crm, external_deal_id)"
                " WHERE t.deal_id < s.deal_id OR t.deal_id > s.deal_id AND EXISTS ("
                "SELECT FROM deals d WHERE d.client_id = :client AND d.deal_id = t.deal_id)"
                " GROUP BY 1 ORDER BY 1",
            ),
        ),
    ),
}
