"""Whom nobody may contact, and how an identifier is written so that it compares equal.

Serving processes hold no identifiers but 64-bit keyed hashes of them (`suppression_key`), so that a
dump of their memory is no list of addresses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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
    return _NORMALISED[kind](value) or None


def normalised_email(value: str) -> str:
    """`normalised_identifier` of an address; empty when nothing is left."""
    return value.strip().lower()


def normalised_phone(value: str) -> str:
    """`normalised_identifier` of a phone number; empty when nothing is left."""
    return _NOT_DIGITS.sub("", value).removeprefix("00")


def normalised_domain(value: str) -> str:
    """`normalised_identifier` of a domain; empty when nothing is left."""
    return value.strip().lower().lstrip("@.").removeprefix("www.").rstrip(".")


_NORMALISED: Final[Mapping[IdentifierKind, Callable[[str], str]]] = {
    IdentifierKind.EMAIL: normalised_email,
    IdentifierKind.DOMAIN: normalised_domain,
    IdentifierKind.PHONE: normalised_phone,
    IdentifierKind.LEAD_ID: str,
}


class GateReason(StrEnum):
    """What closed every channel of a lead when it was scored; the first that applies, in order."""

    UNSUBSCRIBED = "unsubscribed"
    DO_NOT_CONTACT = "do_not_contact"
    """Set by hand, by law or by a spam complaint."""
    COMPETITOR_DOMAIN = "competitor_domain"
    SUPPRESSION_LIST = "suppression_list"
    """The client's list or the global one."""


HASH_BYTES: Final = 8
"""64 bits: against 100 million entries a look-up hits by accident with a chance of 5e-12."""


def suppression_key(kind: IdentifierKind, value: str, secret: bytes) -> int:
    """The keyed hash by which an identifier is looked up.

    BLAKE2b (RFC 7693) in keyed mode over the kind and `normalised_identifier`: identifiers of
    different kinds never meet.

    Args:
        kind: what the value is.
        value: in any spelling.
        secret: the installation's key, up to 64 bytes.

    Returns:
        An unsigned 64-bit integer.
    """
    return normalised_key(f"{kind.value}\0", normalised_identifier(kind, value) or "", secret)


def normalised_key(kind: str, normalised: str, secret: bytes) -> int:
    """`suppression_key` of an identifier that is written as it should be.

    Args:
        kind: the `IdentifierKind`, followed by U+0000.
        normalised: see `normalised_identifier`.
        secret: the installation's key, up to 64 bytes.
    """
    digest = _blake2b((kind + normalised).encode(), digest_size=HASH_BYTES, key=secret).digest()
    return _from_bytes(digest, "little")


_blake2b, _from_bytes = hashlib.blake2b, int.from_bytes


def host_name(text: str) -> str | None:
    """The domain in whatever a CRM keeps as one: an address, a link, a bare name.

    ``https://www.Rival.example/about`` and ``sales@rival.example`` both give ``rival.example``.
    """
    host = _SCHEME.sub("", text.strip())
    host = _AFTER_HOST.split(host, maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
    return normalised_identifier(IdentifierKind.DOMAIN, host)


def with_parents(domain: str) -> tuple[str, ...]:
    """A normalised domain and every domain above it that has at least two labels."""
    names = [domain]
    while domain.count(".") > 1:
        domain = domain.partition(".")[2]
        names.append(domain)
    return tuple(names)


_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_AFTER_HOST = re.compile(r"[/?#\s]")
