"""Row-level security: no role sees or writes what is not its own."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from cis_server.persistence.connections import Role, loader, tenant
from cis_server.persistence.tables import metadata

TENANT_TABLES = [t.name for t in metadata.sorted_tables if "client_id" in t.columns]

_FILL = """
INSERT INTO clients (client_id) VALUES (:c);
INSERT INTO users (user_id, email) VALUES (:c || '-u', :c || '@example.org');
INSERT INTO memberships (client_id, user_id, accepted_at) VALUES (:c, :c || '-u', now());
INSERT INTO campaigns (client_id, campaign_id) VALUES (:c, 'k');
INSERT INTO campaign_resources (client_id, campaign_id, channel, value) VALUES (:c, 'k', 'email', 'v');
INSERT INTO campaign_sequences (client_id, campaign_id, step_number, channel) VALUES (:c, 'k', 1, 'sms');
INSERT INTO templates (client_id, channel) VALUES (:c, 'email');
INSERT INTO leads (client_id, lead_id, campaign_id) VALUES (:c, 'l', 'k');
INSERT INTO lead_pool (pool_id) VALUES (:c || '-p');
INSERT INTO pool_assignments (client_id, pool_id, lead_id) VALUES (:c, :c || '-p', 'l');
INSERT INTO conversation_threads (client_id, thread_id, lead_id, channel) VALUES (:c, 't', 'l', 'email');
INSERT INTO activities (client_id, activity_id, lead_id, channel, action)
    VALUES (:c, '00000000-0000-0000-0000-000000000001', 'l', 'email', 'sent');
INSERT INTO email_events (client_id, activity_id, lead_id, event_type)
    VALUES (:c, '00000000-0000-0000-0000-000000000001', 'l', 'opened');
INSERT INTO replies (client_id, lead_id, channel) VALUES (:c, 'l', 'email');
INSERT INTO thread_messages (client_id, thread_id, direction) VALUES (:c, 't', 'inbound');
INSERT INTO meetings (client_id, lead_id) VALUES (:c, 'l');
INSERT INTO deals (client_id, deal_id, lead_id) VALUES (:c, 'd', 'l');
INSERT INTO revenue_attribution
    (client_id, deal_id, model, activity_id, activity_channel, credit_share, touch_position, total_touches)
    VALUES (:c, 'd', 'linear', '00000000-0000-0000-0000-000000000001', 'email', 1, 1, 1);
INSERT INTO ab_tests (client_id, ab_test_id, name) VALUES (:c, 'ab', 'n');
INSERT INTO ab_test_variants (client_id, ab_test_id, name) VALUES (:c, 'ab', 'A');
INSERT INTO ab_test_assignments (client_id, ab_test_id, lead_id, variant, propensity) VALUES (:c, 'ab', 'l', 'A', .5);
INSERT INTO suppression (client_id, kind, value) VALUES (:c, 'email', 'x@example.org');
INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence, valid_until)
    VALUES (:c, 'who', '{}', 1, .5, now());
INSERT INTO pattern_history (client_id, pattern_type, version, patterns, sample_size, confidence, valid_until)
    VALUES (:c, 'who', 1, '{}', 1, .5, now());
INSERT INTO pattern_status (client_id, pattern_type, status) VALUES (:c, 'who', 'ok');
INSERT INTO models (client_id, kind, version, parameters) VALUES (:c, 'weights', 1, '{}');
INSERT INTO pool_contributions (client_id, target, contribution, leads, positives)
    VALUES (:c, 'converted', '{}', 1, 1);
INSERT INTO learning_runs (client_id) VALUES (:c);
INSERT INTO rescoring_runs (client_id) VALUES (:c);
INSERT INTO recommendations (client_id, kind, title) VALUES (:c, 'gap', 't');
INSERT INTO decision_log (client_id, kind, choice) VALUES (:c, 'timing', 'x');
INSERT INTO dataset_snapshots (client_id, content_hash, window_start, as_of) VALUES (:c, 'h', now(), now());
INSERT INTO access_audit (client_id, actor, action) VALUES (:c, 'a', 'b');
INSERT INTO model_events (client_id, model_id, kind, version, to_state, rollout, actor) VALUES (:c, 'm', 'weights', 1, 'live', 1, 'a');
INSERT INTO health_checks (client_id, checked_on) VALUES (:c, '2026-01-01');
"""  # noqa: E501


@pytest.fixture
def two_clients(database: Engine) -> Engine:
    with database.begin() as connection:
        for client in ("a", "b"):
            for statement in filter(str.strip, _FILL.split(";")):
                connection.execute(text(statement), {"c": client})
    return database


def test_the_fixture_fills_every_tenant_table(two_clients: Engine) -> None:
    with two_clients.begin() as connection:
        for table in TENANT_TABLES:
            clients = connection.execute(text(f"SELECT DISTINCT client_id FROM {table}")).scalars()
            assert set(clients) == {"a", "b"}, table


@pytest.mark.parametrize("role", [Role.APP, Role.READER])
def test_no_table_shows_another_clients_row(two_clients: Engine, role: Role) -> None:
    with tenant(two_clients, "a", role) as connection:
        for table in TENANT_TABLES:
            clients = connection.execute(text(f"SELECT DISTINCT client_id FROM {table}")).scalars()
            assert list(clients) == ["a"], table


def test_without_a_client_nothing_is_seen(two_clients: Engine) -> None:
    for client in ("", "nobody"):
        with tenant(two_clients, client) as connection:
            for table in TENANT_TABLES:
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


def test_shared_tables_show_only_what_belongs_to_the_client(two_clients: Engine) -> None:
    with tenant(two_clients, "a") as connection:
        assert connection.execute(text("SELECT pool_id FROM lead_pool")).scalars().all() == ["a-p"]
        assert connection.execute(text("SELECT user_id FROM users")).scalars().all() == ["a-u"]


@pytest.mark.parametrize("table", ["leads", "patterns", "suppression", "meetings"])
def test_rows_of_another_client_cannot_be_changed_or_taken(two_clients: Engine, table: str) -> None:
    with tenant(two_clients, "a") as connection:
        for statement in (
            f"UPDATE {table} SET created_at = now() WHERE client_id = 'b'",
            f"DELETE FROM {table} WHERE client_id = 'b'",
        ):
            assert connection.execute(text(statement)).rowcount == 0
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        tenant(two_clients, "a") as connection,
    ):
        connection.execute(text(f"UPDATE {table} SET client_id = 'b'"))


def test_another_clients_rows_cannot_be_written(two_clients: Engine) -> None:
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        tenant(two_clients, "a") as connection,
    ):
        connection.execute(text("INSERT INTO leads (client_id, lead_id) VALUES ('b', 'new')"))


def test_the_reader_writes_nothing(two_clients: Engine) -> None:
    for table in TENANT_TABLES:
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            tenant(two_clients, "a", Role.READER) as connection,
        ):
            connection.execute(text(f"DELETE FROM {table}"))


def test_the_loader_reads_resident_state_of_all_and_nothing_else(two_clients: Engine) -> None:
    resident = {
        "clients", "campaigns", "patterns", "pattern_status", "models", "suppression",
        "pool_contributions",
    }  # fmt: skip
    for table in TENANT_TABLES:
        if table in resident:
            with loader(two_clients) as connection:
                query = text(f"SELECT DISTINCT client_id FROM {table}")
                assert set(connection.execute(query).scalars()) == {"a", "b"}, table
        else:
            with pytest.raises(ProgrammingError, match="denied"), loader(two_clients) as connection:
                connection.execute(text(f"SELECT FROM {table}"))


def test_the_list_for_all_clients_answers_yes_or_no_only(two_clients: Engine) -> None:
    with two_clients.begin() as connection:
        connection.execute(
            text("INSERT INTO global_suppression (kind, value) VALUES ('email', ' Spam@Trap.org ')")
        )
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        tenant(two_clients, "a") as connection,
    ):
        connection.execute(text("SELECT * FROM global_suppression"))
    ask = text("SELECT cis_is_globally_suppressed('email', :value)")
    with tenant(two_clients, "a") as connection:
        assert connection.execute(ask, {"value": "spam@trap.ORG"}).scalar() is True
        assert connection.execute(ask, {"value": "ham@trap.org"}).scalar() is False


def test_a_connection_forgets_role_and_client(two_clients: Engine) -> None:
    with tenant(two_clients, "a") as connection:
        assert connection.execute(text("SELECT current_user")).scalar() == "cis_app"
    with two_clients.begin() as connection:
        assert connection.execute(text("SELECT current_user = session_user")).scalar()
        assert not connection.execute(
            text("SELECT current_setting('cis.client_id', true)")
        ).scalar()


def test_a_client_takes_everything_of_its_own_away(two_clients: Engine) -> None:
    with two_clients.begin() as connection:
        connection.execute(text("SET LOCAL ROLE cis_owner"))
        connection.execute(text("DELETE FROM clients WHERE client_id = 'a'"))
        left = {
            table: set(connection.execute(text(f"SELECT client_id FROM {table}")).scalars())
            for table in TENANT_TABLES
        }
    # Who looked at what stays on record.
    assert {t for t, clients in left.items() if "a" in clients} <= {"access_audit", "dirty_leads"}
    assert all("b" in clients for clients in left.values())
