"""What all tables share: the metadata, and the makers of the columns that come again and again."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)

from cis_server.domain.vocabulary import CHANNEL_PATTERN


def _last_column(constraint: Any, _table: Table) -> str:
    # The first column of nearly every foreign key is client_id, which tells nothing apart.
    return str(constraint.column_keys[-1])


metadata = MetaData(
    naming_convention={
        "last_column": _last_column,
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(last_column)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def client_key() -> Column[str]:
    """``client_id``, first part of every key of a tenant's table."""
    return Column("client_id", Text, primary_key=True)


def key(name: str) -> Column[str]:
    """A key that the caller may choose; UUID text when it does not."""
    return Column(name, Text, primary_key=True, server_default=text("(gen_random_uuid())::text"))


def uuid_key(name: str) -> Column[str]:
    """A key of our own on a big table, 16 bytes a row; text in Python."""
    return Column(
        name, Uuid(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()")
    )


def instant(name: str, *, now: bool = False) -> Column[Any]:
    """An instant with zone; with ``now`` required and by default the time of the transaction."""
    return Column(
        name,
        DateTime(timezone=True),
        nullable=not now,
        server_default=text("now()") if now else None,
    )


def flag(name: str, default: bool | None = None) -> Column[Any]:
    """A boolean: three-valued (null = unknown) unless a default is given."""
    if default is None:
        return Column(name, Boolean)
    return Column(name, Boolean, nullable=False, server_default=text(str(default).lower()))


def one_of(column: str, words: type[Enum]) -> CheckConstraint:
    """The column holds one of the values of a vocabulary, or null."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def is_channel(column: str = "channel") -> CheckConstraint:
    """The column holds a channel name, or null."""
    return CheckConstraint(f"{column} ~ '{CHANNEL_PATTERN}'", name=f"{column}_shape")


def within(column: str, low: float, high: float) -> CheckConstraint:
    """The column lies in ``low..high``, both ends included, or is null."""
    return CheckConstraint(f"{column} BETWEEN {low:g} AND {high:g}", name=f"{column}_range")


def short_id(column: str) -> CheckConstraint:
    """The column holds 1–128 characters, as every id that callers choose."""
    return CheckConstraint(f"length({column}) BETWEEN 1 AND 128", name=f"{column}_length")


def of_client() -> ForeignKeyConstraint:
    """The row belongs to a client and goes with it."""
    return ForeignKeyConstraint(["client_id"], ["clients.client_id"], ondelete="CASCADE")


def part_of(table: str, column: str) -> ForeignKeyConstraint:
    """The row belongs to a row of ``table`` of the same client and goes with it."""
    return ForeignKeyConstraint(
        ["client_id", column], [f"{table}.client_id", f"{table}.{column}"], ondelete="CASCADE"
    )


def refers_to(table: str, column: str, target: str | None = None) -> ForeignKeyConstraint:
    """The row names a row of ``table`` of the same client; forgets it when that is deleted."""
    return ForeignKeyConstraint(
        ["client_id", column],
        [f"{table}.client_id", f"{table}.{target or column}"],
        ondelete=f"SET NULL ({column})",
    )
