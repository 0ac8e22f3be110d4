"""Leads of a `cis.v1.BatchScoreLeadsRequest` as columns, straight from its bytes.

Making Python objects of a thousand leads costs more than scoring them, so the request is not parsed
as a whole. What surrounds the leads is; the leads are walked where they lie
(`cis_server.scoring.lead_wire_kernel`), by the contract's own field numbers and the rules of
`rule_table`. Leads that break a rule, or that hold something out of the ordinary, are told apart,
to be parsed and checked one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.rpc.messages.values import number_of
from cis_server.rpc.rule_table import RULES
from cis_server.rpc.rules import Entries, Items, Number, Text, iso_date, zone
from cis_server.scoring.columns import (
    EMAIL_STATUSES,
    LEAD_STATUSES,
    Integers,
    LeadColumns,
    TextTables,
)
from cis_server.scoring.distinct_texts import TextColumn
from cis_server.scoring.lead_wire_kernel import Kind, read_leads, split_fields
from cis_server.scoring.text_kernel import NO_DATE

MOST_LEADS: Final = 10_000
MOST_FULL: Final = 2_000
"""Leads of a batch, and of one in the full view; a larger one is parsed, to be refused."""
_MOST_OTHERS: Final = 64
_LEADS: Final = scoring.BatchScoreLeadsRequest.DESCRIPTOR.fields_by_name["leads"].number
_EMPTY_LEAD: Final = scoring.BatchScoreLeadsRequest(leads=[core_pb2.Lead()]).SerializeToString()


@dataclass(frozen=True, slots=True)
class LeadBatch:
    """A request whose leads were not parsed."""

    body: bytes
    """The whole request."""
    data: NDArray[np.uint8]
    """The same bytes."""
    begin: NDArray[np.int64]
    """Shape (n,): where each lead lies."""
    end: NDArray[np.int64]
    head: scoring.BatchScoreLeadsRequest
    """Everything else. It holds one empty lead where the request holds any."""

    @property
    def client_id(self) -> str:
        """The client the request is about."""
        return self.head.client_id

    def __len__(self) -> int:
        return len(self.begin)

    def lead(self, row: int) -> core_pb2.Lead:
        """One lead, parsed.

        Raises:
            DecodeError: its bytes are no message.
        """
        return core_pb2.Lead.FromString(self.body[self.begin[row] : self.end[row]])

    def whole(self) -> scoring.BatchScoreLeadsRequest:
        """The request, parsed.

        Raises:
            DecodeError: its bytes are no message.
        """
        return scoring.BatchScoreLeadsRequest.FromString(self.body)


def batch_request(body: bytes) -> LeadBatch | None:
    """A request with its leads left unparsed; None for one that is not scored as columns.

    Those are requests of stored leads, with `persist`, and of nothing or of more than a request may
    hold: they are parsed as a whole.

    Raises:
        DecodeError: the bytes are no message.
    """
    data = np.frombuffer(body, dtype=np.uint8)
    begin, end = np.empty((2, min(MOST_LEADS, len(body) // 2)), dtype=np.int64)
    other_begin, other_end = np.empty((2, _MOST_OTHERS), dtype=np.int64)
    others = np.zeros(1, dtype=np.int64)
    count = split_fields(data, _LEADS, begin, end, other_begin, other_end, others)
    if count <= 0:
        return None
    places = zip(other_begin[: others[0]].tolist(), other_end.tolist(), strict=False)
    pieces = [body[first:last] for first, last in places]
    head = scoring.BatchScoreLeadsRequest.FromString(b"".join((*pieces, _EMPTY_LEAD)))
    full = head.view == scoring.LEAD_SCORE_VIEW_FULL
    if head.persist or (full and count > MOST_FULL):
        return None
    return LeadBatch(body, data, begin[:count], end[:count], head)


@dataclass(frozen=True, slots=True)
class ReadLeads:
    """The leads of a batch, n of them."""

    columns: LeadColumns
    regular: NDArray[np.bool_]
    """Shape (n,): those that are certain to be valid. Of the others the columns hold nothing."""
    postal_address: TextColumn
    call_register_listed: Integers
    """1, 0, or -1 for unknown, shape (n,)."""


def lead_columns(batch: LeadBatch, tables: TextTables, attributes: Sequence[str] = ()) -> ReadLeads:
    """The leads of a batch as columns.

    Args:
        batch: n leads.
        tables: the texts met so far.
        attributes: keys of the attributes that are wanted.
    """
    n = len(batch)
    texts = np.zeros((2, len(_TEXTS), n), dtype=np.int64)
    entries = np.zeros((2, len(attributes), n), dtype=np.int64)
    numbers = np.empty((len(_NUMBERS), n), dtype=np.int64)
    numbers[:] = _ABSENT[:, None]
    regular = np.empty(n, dtype=np.int64)
    keys = [key.encode() for key in attributes]
    read_leads(
        batch.data,
        batch.begin,
        batch.end,
        _LAYOUT,
        _JOB_LAYOUT,
        np.frombuffer(b"".join(keys), dtype=np.uint8),
        np.cumsum([len(key) for key in keys], dtype=np.int64),
        texts[0],
        texts[1],
        entries[0],
        entries[1],
        numbers,
        regular,
    )
    numbers[:, regular == 0] = _ABSENT[:, None]
    fields: dict[str, Any] = {
        name: TextColumn(batch.data, texts[0, place], texts[1, place])
        for place, name in enumerate(_TEXTS)
    }
    fields.update(zip(_NUMBERS, numbers, strict=True))
    fields["email_status"] = _EMAIL_STATUS[fields["email_status"]]
    fields["status"] = _LEAD_STATUS[fields["status"]]
    postal, listed = fields.pop("postal_address"), fields.pop("call_register_listed")
    known_zone = tables.zones.judged(fields.pop("timezone"), _is_zone, "zone", missing=1)
    columns = LeadColumns(
        **fields,
        attributes={
            key: TextColumn(batch.data, entries[0, place], entries[1, place])
            for place, key in enumerate(attributes)
        },
    )
    return ReadLeads(columns, (regular & known_zone) == 1, postal, listed)


_TEXTS: Final = (
    "lead_id",
    "email",
    "phone",
    "linkedin_url",
    "personal_email",
    "title",
    "seniority",
    "domain",
    "industry",
    "country",
    "timezone",
    "postal_address",
)
_NUMBERS: Final = (
    "email_status",
    "phone_verified",
    "employment_start_date",
    "employee_count",
    "latest_funding_date",
    "is_hiring",
    "status",
    "bounce_count",
    "unsubscribed",
    "do_not_contact",
    "call_register_listed",
)
_ABSENT: Final = np.array([0, -1, NO_DATE, 0, NO_DATE, -1, 0, 0, -1, -1, -1], dtype=np.int64)
"""What a number that is not in the message means; of enumerations the number 0."""
_LONGEST_ZONE: Final = 64
"""Longer names are left to the rules, which know none of them."""


def _is_zone(text: str) -> int:
    return int(zone(text) is None)


def _row(field: FieldDescriptor, place: int) -> tuple[int, int, int, int]:
    """The column of a layout that reads one field, by its type and its rule."""
    rule = RULES.get(field.full_name)
    types = FieldDescriptor
    if field.is_repeated:
        if (
            isinstance(rule, Entries)
            and isinstance(rule.key, Text)
            and isinstance(rule.value, Text)
        ):
            return Kind.MAP, rule.most, rule.value.most, rule.key.most
        if isinstance(rule, Items) and not rule.distinct:
            if field.message_type is core_pb2.Job.DESCRIPTOR and rule.each is None:
                return Kind.PERIODS, rule.most, 0, -1
            if isinstance(rule.each, Text) and not rule.each.least:
                return Kind.TEXTS, rule.most, rule.each.most, -1
    elif field.cpp_type == types.CPPTYPE_STRING and field.type == types.TYPE_STRING:
        if rule is iso_date:
            return Kind.DATE, 0, 0, place
        if rule is zone:
            return Kind.TEXT, 0, _LONGEST_ZONE, place
        if isinstance(rule, Text) and not rule.least and rule.containing in ("", "@"):
            return Kind.ADDRESS if rule.containing else Kind.TEXT, 0, rule.most, place
    elif field.cpp_type == types.CPPTYPE_BOOL and rule is None:
        return Kind.FLAG, 0, 1, place
    elif field.enum_type is not None and rule is None:
        numbers = sorted(field.enum_type.values_by_number)
        if numbers == list(range(len(numbers))):
            return Kind.ENUM, 0, numbers[-1], place
    elif field.cpp_type == types.CPPTYPE_INT32 and isinstance(rule, Number):
        if rule.least >= 0 and not rule.open_ends and rule.most < 2**31:
            return Kind.INTEGER, int(rule.least), int(rule.most), place
    elif field.cpp_type == types.CPPTYPE_DOUBLE and rule == Number(0):
        return Kind.AMOUNT, 0, 0, -1
    return Kind.IRREGULAR, 0, 0, -1


def _layout(message: Descriptor, places: Mapping[str, int]) -> NDArray[np.int64]:
    layout = np.zeros((4, max(message.fields_by_number) + 1), dtype=np.int64)
    for field in message.fields:
        layout[:, field.number] = _row(field, places.get(field.name, -1))
    return layout


_LAYOUT: Final = _layout(
    core_pb2.Lead.DESCRIPTOR,
    {name: place for names in (_TEXTS, _NUMBERS) for place, name in enumerate(names)},
)
_JOB_LAYOUT: Final = _layout(core_pb2.Job.DESCRIPTOR, {"start_date": 0, "end_date": 1})


def _places(enumeration: Any, words: Any, order: Sequence[Any], absent: int) -> NDArray[np.int64]:
    """Number of the contract -> place in `order`."""
    places = [absent] * len(enumeration.values())
    for word, number in number_of(enumeration, words).items():
        places[number] = order.index(word)
    return np.array(places, dtype=np.int64)


_EMAIL_STATUS: Final = _places(
    core_pb2.EmailStatus, EmailStatus, EMAIL_STATUSES, EMAIL_STATUSES.index(EmailStatus.UNKNOWN)
)
_LEAD_STATUS: Final = _places(core_pb2.LeadStatus, LeadStatus, LEAD_STATUSES, -1)
