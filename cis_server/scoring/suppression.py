"""The hard gate: whom nobody may contact, whatever the score (scoring sheet §5, defect 8).

Unsubscribed, do-not-contact (a spam complaint sets it), competitor, or on a suppression list (the
client's or the global one): the effective tier is dead and no channel is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.lead import Lead
from cis_server.domain.suppression import (
    GateReason,
    IdentifierKind,
    host_name,
    normalised_identifier,
    suppression_key,
    with_parents,
)
from cis_server.domain.vocabulary import LeadStatus


@dataclass(frozen=True, slots=True)
class SuppressionIndex:
    """Resident suppression lists: sorted 64-bit keyed hashes, searched by bisection.

    Kinds share an array, because the kind is part of what is hashed. Lists are kept side by side,
    not merged, so that all clients share the one global array.
    """

    lists: tuple[NDArray[np.uint64], ...] = ()
    """Each sorted ascending."""
    secret: bytes = b""
    """Key of `suppression_key`; needed as soon as a list is not empty."""

    @classmethod
    def build(cls, hashes: Iterable[int] | NDArray[np.uint64], secret: bytes) -> SuppressionIndex:
        """An index over one list.

        Args:
            hashes: `suppression_key` of every entry, in any order, duplicates allowed. Signed
                64-bit values (as databases store them) are read as the same bits unsigned.
            secret: the key they were made with.
        """
        array = hashes if isinstance(hashes, np.ndarray) else _unsigned(hashes)
        if array.dtype == np.int64:
            array = array.view(np.uint64)
        return cls((np.unique(array.astype(np.uint64, copy=False)),), secret)

    def merged(self, other: SuppressionIndex) -> SuppressionIndex:
        """Both indexes as one; the arrays are shared, not copied.

        Raises:
            ValueError: the two were made with different keys.
        """
        if self.lists and other.lists and self.secret != other.secret:
            raise ValueError("suppression lists made with different keys cannot be merged")
        return SuppressionIndex(self.lists + other.lists, self.secret or other.secret)

    def __len__(self) -> int:
        return sum(len(array) for array in self.lists)

    def contains(self, kind: IdentifierKind, value: str) -> bool:
        """Whether the value (in any spelling of its kind) is on a list."""
        return self.holds_any((suppression_key(kind, value, self.secret),)) if len(self) else False

    def holds_any(self, keys: Sequence[int]) -> bool:
        """Whether any of the keys is on a list."""
        return bool(self.held(np.array(keys, dtype=np.uint64)).any())

    def held(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each key whether it is on a list; same shape."""
        found = np.zeros(keys.shape, dtype=np.bool_)
        for array in self.lists:
            if len(array):
                place = np.minimum(np.searchsorted(array, keys), len(array) - 1)
                found |= array[place] == keys
        return found

    def keys_of(self, lead: Lead) -> list[int]:
        """`keys` of a lead."""
        return self.keys(lead.lead_id, lead.email, lead.personal_email, lead.phone, lead.domain)

    def keys(
        self,
        lead_id: str,
        email: str | None,
        personal_email: str | None,
        phone: str | None,
        domain: str | None,
    ) -> list[int]:
        """Keys under which a lead could be listed: its addresses, their domains and the domains
        above them, its phone, its company's domain and its id."""
        names = [(IdentifierKind.LEAD_ID, lead_id)]
        names += [(IdentifierKind.EMAIL, text) for text in (email, personal_email) if text]
        if phone:
            names.append((IdentifierKind.PHONE, phone))
        domains = sorted(_domains(domain, email, personal_email))
        names += [(IdentifierKind.DOMAIN, name) for name in domains]
        return [
            suppression_key(kind, value, self.secret)
            for kind, value in names
            if normalised_identifier(kind, value)
        ]


NO_SUPPRESSION = SuppressionIndex()
"""No list at all."""


def gate_reason(
    lead: Lead, competitor_domains: frozenset[str], index: SuppressionIndex = NO_SUPPRESSION
) -> GateReason | None:
    """Why the lead may not be contacted at all, or None when it may.

    Args:
        lead: the lead.
        competitor_domains: prepared by `competitor_set`.
        index: the client's and the global list.
    """
    reason = _own_reason(lead, competitor_domains)
    if reason is None and len(index) and index.holds_any(index.keys_of(lead)):
        return GateReason.SUPPRESSION_LIST
    return reason


def gate_reasons(
    leads: Sequence[Lead], competitor_domains: frozenset[str], index: SuppressionIndex
) -> list[GateReason | None]:
    """`gate_reason` of many leads with one search of the lists."""
    reasons = [_own_reason(lead, competitor_domains) for lead in leads]
    if not len(index):
        return reasons
    keys: list[int] = []
    owner: list[int] = []
    for i, lead in enumerate(leads):
        if reasons[i] is None:
            own = index.keys_of(lead)
            keys.extend(own)
            owner.extend([i] * len(own))
    hits = np.flatnonzero(index.held(np.array(keys, dtype=np.uint64)))
    for hit in hits.tolist():
        reasons[owner[hit]] = GateReason.SUPPRESSION_LIST
    return reasons


def has_unsubscribed(lead: Lead) -> bool:
    """Whether the lead opted out, by flag or by status."""
    return lead.unsubscribed is True or lead.status is LeadStatus.UNSUBSCRIBED


def is_competitor(lead: Lead, competitor_domains: frozenset[str]) -> bool:
    """Whether the company's domain or that of the work address is a competitor's or below it."""
    return bool(competitor_domains) and belongs_to(competitor_domains, lead.domain, lead.email)


def belongs_to(domains: frozenset[str], domain: str | None, email: str | None) -> bool:
    """Whether a domain, or that of an address, is one of `domains` or below one of them.

    Args:
        domains: prepared by `competitor_set`.
        domain: as written; None for none.
        email: as written; None for none.
    """
    return not domains.isdisjoint(_domains(domain, email))


@lru_cache(maxsize=1024)
def competitor_set(domains: tuple[str, ...]) -> frozenset[str]:
    """Prepare a client's competitor domains for `is_competitor`."""
    return frozenset(name for name in map(host_name, domains) if name)


def _own_reason(lead: Lead, competitor_domains: frozenset[str]) -> GateReason | None:
    """What the lead itself says."""
    if has_unsubscribed(lead):
        return GateReason.UNSUBSCRIBED
    if lead.do_not_contact:
        return GateReason.DO_NOT_CONTACT
    if is_competitor(lead, competitor_domains):
        return GateReason.COMPETITOR_DOMAIN
    return None


def _domains(domain: str | None, *emails: str | None) -> set[str]:
    """Domains of a company and of addresses, with those above them."""
    names = set(_domain_names(domain)) if domain else set()
    for email in emails:
        if email and "@" in email:
            names.update(_domain_names(email.rpartition("@")[2]))
    return names


@lru_cache(maxsize=16384)
def _domain_names(text: str) -> tuple[str, ...]:
    domain = host_name(text)
    return with_parents(domain) if domain else ()


def _unsigned(hashes: Iterable[int]) -> NDArray[np.uint64]:
    return np.array([value % 2**64 for value in hashes], dtype=np.uint64)
