"""What an imported file may say: the fields of leads, activities, meetings and deals.

A field has the name that mappings and reports use, the database column it fills, how its text is
read, and the headers under which well-known CRM exports carry it. Columns that `rederive` owns
(touch numbers, gaps, first contact, converting touch, …) are no fields: they follow from events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

from cis_server.capture import values as v
from cis_server.capture.times import Place
from cis_server.domain.vocabulary import (
    ConversionType,
    EmailStatus,
    LeadStatus,
    LostReason,
    MeetingOutcome,
    MeetingType,
    Objection,
    RejectionReason,
    ReplyIntent,
)

TEXT_LIMIT: Final = 1_000
BODY_LIMIT: Final = 100_000
_TEXT: Final = v.text_of(TEXT_LIMIT)


class Kind(StrEnum):
    """How a field's text is read."""

    VALUE = "value"
    """By its own parser."""
    DATE = "date"
    """As a calendar date, with the mapping's formats."""
    TIME = "time"
    """As an instant with its precision, with the mapping's formats and zone."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing a file can say about a record."""

    name: str
    parse: v.Parser = _TEXT
    kind: Kind = Kind.VALUE
    aliases: tuple[str, ...] = ()
    column: str = ""
    """Database column; empty means the field's own name."""
    place: Place = Place.MIDDLE
    """Where in its day or month a coarse time is put."""
    required: bool = False

    @property
    def target(self) -> str:
        """The database column."""
        return self.column or self.name


@dataclass(frozen=True)
class RecordType:
    """A kind of file."""

    name: str
    """Section of the mapping and of the report."""
    fields: tuple[Field, ...]
    extras: str | None = None
    """JSON column that takes columns which are no field; None drops them."""
    attributes: str | None = None
    """JSON column that takes what a mapping calls ``attributes.x``."""
    timed_by: str | None = None
    """Time field whose precision is kept, in the column ``time_precision``."""
    by_name: dict[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the fields."""
        object.__setattr__(self, "by_name", {item.name: item for item in self.fields})

    @cached_property
    def by_header(self) -> dict[str, tuple[int, Field]]:
        """Plain header -> (rank of the spelling, field); the field's own name ranks first."""
        found: dict[str, tuple[int, Field]] = {}
        for item in self.fields:
            for rank, spelling in enumerate((item.name, *item.aliases)):
                found.setdefault(plain_header(spelling), (rank, item))
        return found


def plain_header(text: str) -> str:
    """A header as headers are compared: lower-case letters and digits only."""
    return "".join(char for char in text.casefold() if char.isalnum())


def record_types() -> Iterator[RecordType]:
    """Every kind of file, in the order they are imported."""
    yield from (LEADS, ACTIVITIES, MEETINGS, DEALS)


def _value(
    name: str,
    parse: v.Parser = _TEXT,
    *aliases: str,
    column: str = "",
    required: bool = False,
) -> Field:
    return Field(name, parse, aliases=aliases, column=column, required=required)


def _text(name: str, *aliases: str, column: str = "") -> Field:
    return Field(name, aliases=aliases, column=column)


def _date(name: str, *aliases: str) -> Field:
    return Field(name, kind=Kind.DATE, aliases=aliases)


def _event(name: str, *aliases: str, required: bool = False) -> Field:
    return Field(name, kind=Kind.TIME, aliases=aliases, required=required)


def _outcome(name: str, *aliases: str, column: str = "", required: bool = False) -> Field:
    return Field(
        name,
        kind=Kind.TIME,
        aliases=aliases,
        column=column,
        required=required,
        place=Place.END,
    )


_AMOUNT: Final = v.number_of(least=0)
_MONEY: Final = v.number_of(least=0, most=999_999_999_999)  # the column has twelve digits
_COUNT: Final = v.integer_of(least=0)
_LEAD_KEYS: Final = ("contact id", "record id", "person id", "apollo contact id", "vid")

_LEAD_WORDS: Final = {
    "customer": "converted",
    "opted_out": "unsubscribed",
    "opt_out": "unsubscribed",
    "contacted": "in_sequence",
}
_ADDRESS_WORDS: Final = {
    "valid": "verified",
    "deliverable": "verified",
    "accept_all": "catch_all",
    "catchall": "catch_all",
    "extrapolated": "guessed",
    "undeliverable": "invalid",
    "bounced": "invalid",
    "unavailable": "unknown",
    "unverified": "unknown",
}

LEADS: Final = RecordType(
    "leads",
    (
        _value("lead_id", v.parse_key, "id", *_LEAD_KEYS, required=True),
        _value("campaign_id", v.parse_key),
        _value("email", v.parse_email, "email address", "e-mail", "work email", "business email"),
        _value("email_status", v.choice_of(EmailStatus, _ADDRESS_WORDS)),
        _text("phone", "phone number", "mobile phone", "mobile", "work direct phone", "telephone"),
        _value("phone_verified", v.parse_boolean),
        _value("call_register_listed", v.parse_boolean, "do not call", "dncr"),
        _text(
            "linkedin_url",
            "person linkedin url",
            "linkedin profile",
            "linkedin profile url",
            "linkedin",
        ),
        _value("personal_email", v.parse_email, "home email", "secondary email"),
        _text("postal_address", "mailing address", "street address", "address"),
        _text("first_name", "given name"),
        _text("last_name", "surname", "family name"),
        _text("title", "job title", "position", "role"),
        _text("seniority", "management level", "seniority level"),
        _date("employment_start_date", "job start date", "start date in current role"),
        _value("employment_history", v.parse_objects),
        _text("linkedin_headline", "headline"),
        _text("person_city", "contact city"),
        _text("person_region", "person state", "contact state", "contact region"),
        _text("person_country", "contact country"),
        _value("timezone", v.parse_zone, "time zone", "iana timezone"),
        _text(
            "company_name",
            "company",
            "account name",
            "organization",
            "organisation",
            "organization name",
            "employer",
        ),
        _value(
            "domain",
            v.parse_domain,
            "website",
            "company website",
            "company domain",
            "company domain name",
            "website url",
        ),
        _text("industry", "company industry"),
        _value(
            "employee_count",
            _COUNT,
            "employees",
            "number of employees",
            "no of employees",
            "# employees",
            "headcount",
            "company headcount",
        ),
        _value("revenue", _AMOUNT, "annual revenue", "company revenue"),
        _value("technologies", v.list_of(_TEXT), "tech stack", "web technologies"),
        _value("total_funding", _AMOUNT, "total money raised"),
        _text("latest_funding_stage", "latest funding", "funding stage"),
        _date("latest_funding_date", "last raised at", "last funding date"),
        _value("is_hiring", v.parse_boolean, "hiring"),
        _value("founded_year", v.integer_of(least=1000, most=2199), "year founded"),
        _text("city", "company city"),
        _text("region", "company state", "company region", "state", "state/region", "province"),
        _text("country", "company country", "country/region"),
        _value("status", v.choice_of(LeadStatus, _LEAD_WORDS)),
        _value("bounce_count", _COUNT),
        _value(
            "unsubscribed",
            v.parse_boolean,
            "email opt out",
            "has opted out of email",
            "unsubscribed from all email",
        ),
        _value("do_not_contact", v.parse_boolean, "dnc"),
        _outcome("converted_at", "converted date", column="stated_converted_at"),
        _value("conversion_type", v.choice_of(ConversionType)),
        _outcome("sequence_completed_at", "sequence finished at"),
        _value("rejection_reason", v.choice_of(RejectionReason)),
        _text("rejection_notes"),
        _outcome("rejected_at"),
        _value("objections", v.list_of(v.choice_of(Objection)), "objections raised"),
        _event("created_at", "create date", "created date", "created on", "date added"),
        _text("enrichment_source"),
    ),
    extras="attributes",
    attributes="attributes",
)

ACTIVITIES: Final = RecordType(
    "activities",
    (
        _value("activity_id", v.parse_key, "id", "engagement id", "event id", "task id", "call id"),
        _value("lead_id", v.parse_key, *_LEAD_KEYS, required=True),
        _value("campaign_id", v.parse_key),
        _value("channel", v.parse_channel, "activity channel", "activity type"),
        _value("action", v.parse_action, "event", "event type", required=True),
        _event(
            "occurred_at",
            "activity date",
            "activity time",
            "timestamp",
            "event time",
            "date",
            "time",
            "sent at",
            required=True,
        ),
        _value("timezone", v.parse_zone, "lead timezone", "time zone"),
        _value("about_activity_id", v.parse_key, "touch id", "in reply to activity"),
        _value("decision_id", v.parse_key),
        _text("provider_message_id", "message id"),
        _text("mail_thread_id", "thread id"),
        _value("sequence_step", v.integer_of(least=0), "step", "step number"),
        _text("sequence_id"),
        _text("subject", "email subject", "subject line"),
        _value(
            "body",
            v.text_of(BODY_LIMIT),
            "message",
            "message body",
            "email body",
            column="full_message_body",
        ),
        _text("template_id"),
        _text("ab_test_id"),
        _text("ab_variant", "variant"),
        _value("links", v.list_of(_TEXT), column="links_included"),
        _text("ai_model", column="ai_model_used"),
        _text("prompt_version"),
        _text("provider"),
        _text("link_clicked", "clicked url"),
        _text("user_agent"),
        _text("device_type"),
        _value("intent", v.choice_of(ReplyIntent), "reply intent"),
    ),
    extras="metadata",
    attributes="content_snapshot",
    timed_by="occurred_at",
)

MEETINGS: Final = RecordType(
    "meetings",
    (
        _value("meeting_id", v.parse_key, "id", "event id"),
        _value("lead_id", v.parse_key, *_LEAD_KEYS, required=True),
        _value("campaign_id", v.parse_key),
        _outcome(
            "booked_at", "created at", "create date", "booking time", "created date", required=True
        ),
        _event("scheduled_at", "start time", "meeting time", "meeting date", "start date"),
        _value("duration_minutes", v.integer_of(least=0, most=1440), "duration"),
        _value("meeting_type", v.choice_of(MeetingType)),
        _value(
            "outcome",
            v.choice_of(
                MeetingOutcome,
                {
                    "completed": "good",
                    "canceled": "cancelled",
                    "scheduled": "pending",
                    "no_show_by_lead": "no_show",
                },
            ),
            "meeting outcome",
        ),
        _outcome("outcome_at"),
        _value("confirmed", v.parse_boolean),
        _value("reminder_sent", v.parse_boolean),
        _value("showed_up", v.parse_boolean, "attended", "showed"),
        _text("no_show_reason"),
        _value("rescheduled_count", _COUNT),
        _text("booking_method"),
        _text("notes"),
        _text("next_steps"),
        _text("external_deal_id"),
    ),
)

DEALS: Final = RecordType(
    "deals",
    (
        _value("deal_id", v.parse_key, "id", "record id", "opportunity id"),
        _value(
            "lead_id",
            v.parse_key,
            "contact id",
            "person id",
            "associated contact id",
            "associated contact ids",
            required=True,
        ),
        _value("meeting_id", v.parse_key),
        _text("name", "deal name", "opportunity name"),
        _value("value", _MONEY, "amount", "deal value", "deal amount"),
        _value("currency", v.parse_currency, "deal currency", "currency code"),
        _value("probability", v.percent, "deal probability"),
        _value("stage", v.parse_stage, "deal stage"),
        _value("won", v.parse_boolean, "is won", "is closed won"),
        _event("opened_at", "created at", "create date", "created date", required=True),
        _outcome("closed_at", "close date", "closed date"),
        _date("expected_close_date"),
        _value("lost_reason", v.choice_of(LostReason), "closed lost reason"),
        _text("lost_notes"),
        _text("external_crm", "crm"),
        _text("external_deal_id"),
    ),
)
