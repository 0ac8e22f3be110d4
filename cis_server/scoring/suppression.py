"""The hard gate: whom nobody may contact, whatever the score (scoring sheet §5, defect 8).

Unsubscribed, do-not-contact (a spam complaint sets it), competitor, or on a suppression list (the
client's or the global one): the effective tier is dead and no channel is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.lead import Lead
from cis_server.domain.suppression import (
    GateReason,
    IdentifierKind,
    host_name,
    normalised_email,
    normalised_key,
    normalised_phone,
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
    looks: tuple[_FirstLook, ...] = field(default=(), repr=False, compare=False)
    """One for each list; made here unless they are handed on."""

    def __post_init__(self) -> None:
        if len(self.looks) != len(self.lists):
            object.__setattr__(self, "looks", tuple(map(_FirstLook, self.lists)))

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
        return SuppressionIndex(
            self.lists + other.lists, self.secret or other.secret, self.looks + other.looks
        )

    def __len__(self) -> int:
        return sum(len(array) for array in self.lists)

    def contains(self, kind: IdentifierKind, value: str) -> bool:
        """Whether the value (in any spelling of its kind) is on a list."""
        return self.holds_any((suppression_key(kind, value, self.secret),)) if len(self) else False

    def holds_any(self, keys: Sequence[int]) -> bool:
        """Whether any of the keys is on a list; made for few keys, see `held` for many."""
        for look, array in zip(self.looks, self.lists, strict=True):
            near = [key for key in keys if look.may_hold(key)]
            if near:
                wanted = np.array(near, dtype=np.uint64)
                place = np.minimum(np.searchsorted(array, wanted), len(array) - 1)
                if (array[place] == wanted).any():
                    return True
        return False

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
        secret = self.secret
        keys = [normalised_key("lead_id\0", lead_id, secret)] if lead_id else []
        if email and (text := normalised_email(email)):
            keys.append(normalised_key("email\0", text, secret))
        if personal_email and (text := normalised_email(personal_email)):
            keys.append(normalised_key("email\0", text, secret))
        if phone and (text := normalised_phone(phone)):
            keys.append(normalised_key("phone\0", text, secret))
        domains = sorted(_domains(domain, email, personal_email))
        keys += [normalised_key("domain\0", name, secret) for name in domains]
        return keys


class _FirstLook:
    """A bit for each of many ranges of hashes, set where a list has one: most hashes that are not
    on the list end here. Two to four bytes for an entry of eight."""

    __slots__ = ("_bits", "_shift")

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        # 16 to 32 ranges for an entry: one look in 16 at most goes on for nothing.
        ranges = max(len(hashes).bit_length() + 4, 3)
        self._shift = 64 - ranges
        places = hashes >> np.uint64(self._shift)
        octets = (places >> np.uint64(3)).astype(np.int64)
        bits = np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))
        found = np.zeros(1 << (ranges - 3), dtype=np.uint8)
        if len(hashes):  # sorted, so that those of one octet stand side by side
            starts = np.flatnonzero(np.diff(octets, prepend=-1))
            found[octets[starts]] = np.bitwise_or.reduceat(bits, starts)
        self._bits = found.tobytes()

    def may_hold(self, key: int) -> bool:
        """False when the list surely does not hold the hash."""
        place = key >> self._shift
        return self._bits[place >> 3] >> (place & 7) & 1 == 1


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
