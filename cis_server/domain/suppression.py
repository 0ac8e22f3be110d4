"""Whom nobody may contact, and how an identifier is written so that it compares equal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class IdentifierKind(StrEnum):
    """What a suppression entry names."""

    EMAIL = "email"
    DOMAIN = "domain"
    PHONE = "phone"
    LEAD_ID = "lead_id"


class SuppressionReason(StrEnum):
    """Why it is there."""

    UNSUBSCRIBE = "unsubscribe"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    LEGAL = "legal"
    MANUAL = "manual"
    DO_NOT_CONTACT = "do_not_contact"
    COMPETITOR = "competitor"
    BLACKLISTED = "blacklisted"
    SPAM_TRAP = "spam_trap"


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """One identifier that may not be contacted."""

    client_id: str | None
    """None: for every client."""
    kind: IdentifierKind
    value: str
    """As `normalised_identifier` writes it."""
    reason: SuppressionReason


_NOT_DIGITS = re.compile(r"[^0-9]+")


def normalised_identifier(kind: IdentifierKind, value: str) -> str | None:
    """The one way to write an identifier, or None when nothing is left of it.

    E-mail addresses and domains lose surrounding space and case, domains a leading ``@``, ``.`` or
    ``www.`` and a trailing point; of a phone number only the digits stay, without the ``00`` that
    dials abroad; a lead id is compared as it is.
    """
    if kind is IdentifierKind.LEAD_ID:
        return value or None
    text = value.strip().lower()
    if kind is IdentifierKind.PHONE:
        return _NOT_DIGITS.sub("", text).removeprefix("00") or None
    if kind is IdentifierKind.DOMAIN:
        text = text.lstrip("@.").removeprefix("www.").rstrip(".")
    return text or None
