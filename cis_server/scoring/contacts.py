"""Which contact data of a lead can be used, and which channels they reach (scoring sheet §6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus


def is_email_address(text: str | None) -> bool:
    """Whether it has the shape of an address: something, one @, a domain of two labels or more."""
    return text is not None and _EMAIL.match(text) is not None


def is_phone_number(text: str | None) -> bool:
    """Whether it holds as many digits as the shortest numbers people have (5)."""
    return text is not None and _FIVE_DIGITS.match(text) is not None


def is_linkedin_profile(text: str | None) -> bool:
    """Whether it is the address of a person's profile: a host, then ``/in/name`` or its kin.

    A company page is not a person. The scheme may be left out; the host is not checked, because
    data providers hand out their own short links.
    """
    return text is not None and _PROFILE.match(text) is not None


def is_filled(text: str | None) -> bool:
    """Whether it holds more than space."""
    return text is not None and not text.isspace() and text != ""


def is_mailable(lead: Lead) -> bool:
    """Whether the lead has an address that is not known to be invalid."""
    return lead.email_status is not EmailStatus.INVALID and is_email_address(lead.email)


def reaches(channel: str, lead: Lead) -> bool:
    """Whether the lead has the contact datum the channel needs.

    A channel that is not well known needs nothing that is known here: whether it can be used is
    for the client's policy to say.
    """
    needed = _NEEDS.get(channel)
    return needed is None or needed(lead)


def closed_channels(lead: Lead) -> frozenset[str]:
    """Channels closed for this lead alone: an invalid address closes e-mail, a call-register hit
    voice and sms (scoring sheet §5). A past bounce closes nothing."""
    closed: frozenset[str] = frozenset()
    if lead.email_status is EmailStatus.INVALID:
        closed |= {"email"}
    if lead.call_register_listed:
        closed |= {"voice", "sms"}
    return closed


_EMAIL = re.compile(r"^\s*[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+\s*$")
_FIVE_DIGITS = re.compile(r"(?:\D*+\d){5}")  # possessive: nothing to go back for
_PROFILE = re.compile(
    r"^\s*(?:https?://)?[\w-]+(?:\.[\w-]+)+(?::\d+)?/"
    r"(?:in|pub|profile|sales/people|sales/lead|talent/profile)/[^\s/]",
    re.IGNORECASE,
)

_NEEDS: Final[dict[str, Callable[[Lead], bool]]] = {
    "email": is_mailable,
    "sms": lambda lead: is_phone_number(lead.phone),
    "voice": lambda lead: is_phone_number(lead.phone),
    "linkedin": lambda lead: is_linkedin_profile(lead.linkedin_url),
    "mail": lambda lead: is_filled(lead.postal_address),
}
