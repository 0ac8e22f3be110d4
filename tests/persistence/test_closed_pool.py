"""A pool that is closed leaves no connection open, whatever is under way."""

from __future__ import annotations

from sqlalchemy import text

from cis_server.persistence.connections import close_engine, make_engine


def test_a_connection_at_work_is_closed_when_it_comes_back(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        close_engine(engine)
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert not raw.closed  # type: ignore[attr-defined]
    assert raw.closed  # type: ignore[attr-defined]
