"""The hard gate for columns: `cis_server.scoring.suppression` for many leads at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.suppression import GateReason
from cis_server.scoring.columns import Integers, LeadColumns, opted_out
from cis_server.scoring.distinct_texts import text_column_of
from cis_server.scoring.identifier_kernel import (
    DOMAIN,
    EMAIL,
    EMAIL_DOMAIN,
    FILTER_PLACES,
    LEAD_ID,
    PHONE,
    listed_rows,
    mark_names,
    names_met,
)
from cis_server.scoring.suppression import SuppressionIndex, belongs_to
from cis_server.scoring.text_kernel import ASK

GATES: Final = (None, *GateReason)
"""What the numbers of `gate_rows` mean."""


def competitor_rows(columns: LeadColumns, competitor_domains: frozenset[str]) -> Integers:
    """1 where `is_competitor` holds, else 0; shape (n,).

    Args:
        columns: n leads.
        competitor_domains: prepared by `cis_server.scoring.suppression.competitor_set`.
    """
    found = np.zeros(len(columns), dtype=np.int64)
    if not competitor_domains:
        return found
    wanted = _filter_of(competitor_domains)
    for column, of_address in ((columns.domain, False), (columns.email, True)):
        names_met(column.data, column.start, column.stop, of_address, wanted, found)
    for row in np.flatnonzero(found == ASK).tolist():
        domain, email = columns.domain.text(row), columns.email.text(row)
        found[row] = belongs_to(competitor_domains, domain, email)
    return found


@lru_cache(maxsize=64)
def _filter_of(names: frozenset[str]) -> NDArray[np.uint8]:
    """Where `names_met` looks for the names."""
    column = text_column_of(sorted(names))
    wanted = np.zeros(FILTER_PLACES, dtype=np.uint8)
    mark_names(column.data, column.start, column.stop, wanted)
    return wanted


def gate_rows(columns: LeadColumns, competitor: Integers, index: SuppressionIndex) -> Integers:
    """Why each lead may not be contacted, equal to `gate_reason` of each.

    Args:
        columns: n leads.
        competitor: as from `competitor_rows`.
        index: the client's and the global list.

    Returns:
        Places in `GATES`, shape (n,); 0 where the gate is open.
    """
    gates = np.select(
        [opted_out(columns), columns.do_not_contact == 1, competitor == 1],
        [_UNSUBSCRIBED, _DO_NOT_CONTACT, _COMPETITOR],
        default=0,
    ).astype(np.int64, copy=False)
    if len(index):
        gates[_listed(columns, gates, index)] = _LISTED
    return gates


_UNSUBSCRIBED: Final = GATES.index(GateReason.UNSUBSCRIBED)
_DO_NOT_CONTACT: Final = GATES.index(GateReason.DO_NOT_CONTACT)
_COMPETITOR: Final = GATES.index(GateReason.COMPETITOR_DOMAIN)
_LISTED: Final = GATES.index(GateReason.SUPPRESSION_LIST)
_NO_KEYS: Final = np.zeros(0, dtype=np.uint64)


def _listed(columns: LeadColumns, gates: Integers, index: SuppressionIndex) -> NDArray[np.bool_]:
    """Where the gate is open but for the lists."""
    found = np.where(gates == 0, 0, -1)
    secret = np.frombuffer(index.secret, dtype=np.uint8)
    lists = [array for array in index.lists if len(array)]
    for first in range(0, len(lists), 2):  # two at once: the client's and the global one
        pair = (*lists[first : first + 2], _NO_KEYS)
        for kind, column in (
            (LEAD_ID, columns.lead_id),
            (EMAIL, columns.email),
            (EMAIL, columns.personal_email),
            (PHONE, columns.phone),
            (DOMAIN, columns.domain),
            (EMAIL_DOMAIN, columns.email),
            (EMAIL_DOMAIN, columns.personal_email),
        ):
            known = columns.domain
            listed_rows(
                kind,
                *(column.data, column.start, column.stop),
                *(known.data, known.start, known.stop),
                *(secret, pair[0], pair[1]),
                found,
            )
    for row in np.flatnonzero(found == ASK).tolist():
        texts = (
            columns.lead_id,
            columns.email,
            columns.personal_email,
            columns.phone,
            columns.domain,
        )
        found[row] = index.holds_any(index.keys(*(column.text(row) for column in texts)))
    listed: NDArray[np.bool_] = found == 1
    return listed
