"""The text of a database error, which goes to the log, quotes no parameters."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError


def test_parameters_are_not_quoted(database: Engine) -> None:
    with pytest.raises(DBAPIError) as raised, database.connect() as connection:
        connection.execute(text("SELECT :email, 1 / 0"), {"email": "dana@northwind.example"})
    assert "division by zero" in str(raised.value)
    assert "dana" not in str(raised.value)
