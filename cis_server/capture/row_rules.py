"""What the fields of one row mean together, and the key by which a row is known again.

A row of events without an id of its own gets a key made from what it says, so that the same file
imported twice finds the same rows. Rows that say exactly the same are counted: the third of them
is the third in every import.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from cis_server.capture.conversion import Batch, Column, Rejection
from cis_server.capture.records import RecordType
from cis_server.domain.timezones import ZoneConfidence, timezone_of
from cis_server.domain.vocabulary import ConversionType, DealStage, LeadStatus

PREVIEW_LENGTH: Final = 200
KEY_PREFIX: Final = "import:"


class RowRules:
    """Applies the rules of one kind of record to the batches of one file, in file order."""

    def __init__(self, record: RecordType) -> None:
        """Start with no row seen."""
        self._rule = _RULES[record.name]
        self._seen = _Seen()

    def apply(self, batch: Batch) -> None:
        """Complete the batch's columns; rows that contradict themselves are rejected."""
        self._rule(batch, self._seen)


class _Seen:
    """Keys met so far in a file."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._alike: Counter[bytes] = Counter()

    def once(self, batch: Batch, column: str, name: str) -> None:
        """Reject rows whose key stood on an earlier line of the file."""
        repeated = []
        for line, key in zip(batch.lines, batch.columns[column], strict=True):
            first = self._lines.setdefault(key, line)
            if first != line:
                repeated.append(Rejection(line, name, f"the same {name} stands on line {first}"))
        batch.drop(repeated)

    def key(self, parts: Iterable[object]) -> str:
        """A key from what a row says and how many rows before it said the same."""
        text = "\x1f".join("" if part is None else str(part) for part in parts)
        digest = hashlib.blake2b(text.encode(), digest_size=16)
        number = self._alike[digest.digest()]
        self._alike[digest.digest()] += 1
        return f"{KEY_PREFIX}{digest.hexdigest()}:{number}"


def _leads(batch: Batch, seen: _Seen) -> None:
    seen.once(batch, "lead_id", "lead_id")
    _name_outcomes(batch)
    columns = batch.columns
    # A country that lies in several zones tells no hour; such leads stay without a zone.
    columns["timezone_guess"] = [
        None
        if guess is None or guess.confidence is ZoneConfidence.COUNTRY_GUESS
        else guess.timezone
        for guess in map(_zone_guess, *(_column(batch, name) for name in _PLACE))
    ]


def _name_outcomes(batch: Batch) -> None:
    """A time of conversion needs a status that has one; without a status it implies it."""
    kinds = _column(batch, "conversion_type")
    batch.columns.pop("conversion_type", None)  # follows from meetings, deals and status
    if "stated_converted_at" not in batch.columns:
        return
    rejected = []
    statuses = _column(batch, "status")
    told = zip(batch.lines, batch.columns["stated_converted_at"], kinds, strict=True)
    for index, (line, converted_at, kind) in enumerate(told):
        status = statuses[index]
        if converted_at is None:
            continue
        if status is None:
            booked = kind == ConversionType.MEETING_BOOKED
            statuses[index] = (LeadStatus.MEETING_BOOKED if booked else LeadStatus.CONVERTED).value
        elif status in _NOT_CONVERTED:
            rejected.append(Rejection(line, "converted_at", f"set, but the status is {status!r}"))
    batch.columns["status"] = statuses
    batch.drop(rejected)


_NOT_CONVERTED: Final = frozenset(
    {
        LeadStatus.NEW,
        LeadStatus.ENRICHED,
        LeadStatus.SCORED,
        LeadStatus.IN_SEQUENCE,
        LeadStatus.NOT_INTERESTED,
        LeadStatus.EXHAUSTED,
    }
)
_PLACE: Final = ("person_country", "person_region", "person_city", "country", "region", "city")


def _zone_guess(  # the person's own place counts before the company's
    person_country: str | None,
    person_region: str | None,
    person_city: str | None,
    country: str | None,
    region: str | None,
    city: str | None,
) -> Any:
    own = timezone_of(person_country, person_region, person_city)
    return own or timezone_of(country, region, city)


def _activities(batch: Batch, seen: _Seen) -> None:
    _name_actions(batch)
    columns = batch.columns
    given = _column(batch, "activity_id")
    told = zip(
        given,
        columns["lead_id"],
        columns["channel"],
        columns["action"],
        columns["occurred_at"],
        strict=True,
    )
    columns["idempotency_key"] = [own or seen.key(says) for own, *says in told]
    columns.pop("activity_id", None)
    if "about_activity_id" in columns:
        columns["about_key"] = columns.pop("about_activity_id")
    seen.once(batch, "idempotency_key", "activity_id")
    if "full_message_body" in batch.columns:
        batch.columns["content_preview"] = [
            None if body is None else body[:PREVIEW_LENGTH]
            for body in batch.columns["full_message_body"]
        ]


def _name_actions(batch: Batch) -> None:
    """Old action names imply their channel; it must not contradict the one that is stated."""
    columns = batch.columns
    rejected = []
    stated = _column(batch, "channel")
    actions: Column = []
    channels: Column = []
    for line, found, channel in zip(batch.lines, columns["action"], stated, strict=True):
        action, implied = found
        actions.append(action.value)
        channels.append(channel or implied)
        if channel is None and implied is None:
            rejected.append(Rejection(line, "channel", "missing"))
        elif implied is not None and channel not in (None, implied):
            reason = f"{channel!r}, but the action is one of channel {implied!r}"
            rejected.append(Rejection(line, "channel", reason))
    columns["action"], columns["channel"] = actions, channels
    batch.drop(rejected)


def _meetings(batch: Batch, seen: _Seen) -> None:
    columns = batch.columns
    told = zip(
        _column(batch, "meeting_id"),
        columns["lead_id"],
        columns["booked_at"],
        _column(batch, "scheduled_at"),
        strict=True,
    )
    columns["meeting_id"] = [own or seen.key(says) for own, *says in told]
    seen.once(batch, "meeting_id", "meeting_id")


def _deals(batch: Batch, seen: _Seen) -> None:
    columns = batch.columns
    told = zip(
        _column(batch, "deal_id"),
        columns["lead_id"],
        _column(batch, "name"),
        columns["opened_at"],
        strict=True,
    )
    columns["deal_id"] = [own or seen.key(says) for own, *says in told]
    seen.once(batch, "deal_id", "deal_id")
    _name_stages(batch)
    _date_closings(batch)


def _name_stages(batch: Batch) -> None:
    """Bring the stage, a stage name that is not known and the won flag of a deal together."""
    if not {"stage", "won"} & batch.columns.keys():
        return
    rejected = []
    stages: Column = []
    unmapped: Column = []
    told = zip(batch.lines, _column(batch, "stage"), _column(batch, "won"), strict=True)
    for line, named, won in told:
        stage, own_word = named or (None, None)
        closed = stage in (DealStage.CLOSED_WON, DealStage.CLOSED_LOST)
        if stage is not None and won and stage is not DealStage.CLOSED_WON:
            rejected.append(Rejection(line, "won", f"won, but the stage is {stage.value}"))
        elif stage is DealStage.CLOSED_WON and won is False:
            rejected.append(Rejection(line, "won", "not won, but the stage is closed_won"))
        stages.append(DealStage.CLOSED_WON if won and not closed else stage)
        unmapped.append(own_word if stage is None and not won else None)
    batch.columns.pop("won", None)
    batch.columns["stage"] = [None if stage is None else stage.value for stage in stages]
    batch.columns["unmapped_stage"] = unmapped
    batch.drop(rejected)


def _date_closings(batch: Batch) -> None:
    """What CRMs call the close date is, while a deal is open, the day it is expected to close."""
    columns = batch.columns
    if "closed_at" not in columns:
        return
    stages = _column(batch, "stage")
    closed = [stage in (DealStage.CLOSED_WON, DealStage.CLOSED_LOST) for stage in stages]
    expected = _column(batch, "expected_close_date")
    columns["expected_close_date"] = [
        day or (None if is_closed or at is None else at.date())
        for day, at, is_closed in zip(expected, columns["closed_at"], closed, strict=True)
    ]
    columns["closed_at"] = [
        at if is_closed else None
        for at, is_closed in zip(columns["closed_at"], closed, strict=True)
    ]


def _column(batch: Batch, name: str) -> Column:
    return batch.columns.get(name) or [None] * len(batch.lines)


_RULES: Final[dict[str, Callable[[Batch, _Seen], None]]] = {
    "leads": _leads,
    "activities": _activities,
    "meetings": _meetings,
    "deals": _deals,
}
