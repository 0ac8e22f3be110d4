"""What a learning run looks at: one client's window as tables, and where they came from.

`persistence.dataset` fills it from Postgres, the simulator can fill it directly, detectors and the
learner only read it. Columns hold learning facts only: no names, addresses, numbers or bodies.

Missing is null, never false or zero. All instants are UTC (`Datetime("us", "UTC")`).

leads (one row a lead, non-deleted, with an outreach or an outcome in the window)
    lead_id text; campaign_id text; status text; title, seniority text; industry text;
    employee_count int; revenue, total_funding float; technologies list[text];
    latest_funding_stage text; latest_funding_date, employment_start_date date; is_hiring bool;
    founded_year int; city, region, country text (company); person_city, person_region,
    person_country text; timezone text; email_status text; has_email, has_phone, phone_verified,
    has_linkedin, has_personal_email bool; call_register_listed bool; bounce_count int;
    unsubscribed, do_not_contact bool; company_key text (hashed domain, for grouping);
    employment_history text (JSON); attributes text (JSON object); objections list[text];
    rejection_reason text; created_at, first_contacted_at, converted_at, sequence_completed_at
    instant; conversion_type text; score int, tier text (as of first contact, else null);
    components text (JSON object of the five raw points at first touch, else null)
activities (one row an event, in (lead_id, occurred_at, activity_id) order)
    activity_id, lead_id, campaign_id, channel, action text; occurred_at instant;
    time_precision text; touch_number int; gap_days float; local_weekday int (ISO 1..7);
    local_hour int (0..23); lead_timezone text; converting bool; human_opened_at,
    human_clicked_at, replied_at instant; machine_open bool; minutes_to_open, minutes_to_click,
    minutes_to_reply float; template_id, ab_test_id, ab_variant, ai_model, prompt_version text;
    links int; content text (JSON of the content snapshot without any text of the message)
email_events
    activity_id, lead_id, event_type text; occurred_at instant; is_machine bool
meetings
    meeting_id, lead_id, campaign_id text; booked_at, scheduled_at instant; confirmed,
    reminder_sent, showed_up bool; rescheduled_count int; meeting_type, outcome text;
    converting_channel text; deal_id text
deals
    deal_id, lead_id, meeting_id, currency, stage, lost_reason, first_touch_channel text;
    value float; won bool; created_at, closed_at instant; touches_before_deal int
deal_stages
    deal_id, from_stage, to_stage text; changed_at instant; days_in_previous_stage float
threads
    thread_id, lead_id, channel, status, outcome text; created_at, outcome_at instant;
    message_count, our_message_count, their_message_count int; escalated bool
messages
    thread_id, direction, intent, objection, sentiment text; sentiment_score float;
    sent_at instant; response_minutes float; position int; question_key text
decisions (one row a logged choice and activity that it led to, one without activity if none)
    decision_id, kind text; decided_at instant; choice text; propensity float; best text (what
    would have been chosen without exploration); best_propensity float; activity_id, lead_id,
    channel text; occurred_at instant; converting bool (of the activity, else null)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FRAMES = (
    "leads",
    "activities",
    "email_events",
    "meetings",
    "deals",
    "deal_stages",
    "threads",
    "messages",
    "decisions",
)


def no_decisions() -> pl.DataFrame:
    """The frame of a client that explored nothing."""
    import polars as pl

    text, instant = pl.String, pl.Datetime("us", "UTC")
    return pl.DataFrame(
        schema={
            "decision_id": text,
            "kind": text,
            "decided_at": instant,
            "choice": text,
            "propensity": pl.Float64,
            "best": text,
            "best_propensity": pl.Float64,
            "activity_id": text,
            "lead_id": text,
            "channel": text,
            "occurred_at": instant,
            "converting": pl.Boolean,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a run looks at.

    `as_of` is the instant of knowledge: nothing later is seen, and an outcome later than it has
    not happened yet. `start` = `as_of` - look-back, on the time of the touch or of the outcome.
    """

    start: dt.datetime
    as_of: dt.datetime

    @property
    def lookback_days(self) -> float:
        """Length of the window in days."""
        return (self.as_of - self.start) / dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One client's tables for one run; columns as in the module's docstring."""

    client_id: str
    window: Window
    leads: pl.DataFrame
    activities: pl.DataFrame
    email_events: pl.DataFrame
    meetings: pl.DataFrame
    deals: pl.DataFrame
    deal_stages: pl.DataFrame
    threads: pl.DataFrame
    messages: pl.DataFrame
    decisions: pl.DataFrame = field(default_factory=no_decisions)
    content_hash: str = ""
    """Over all rows in key order: the same data give the same hash whatever the row order."""
    path: str | None = None
    """Folder of the saved Parquet files, if saved."""

    def columns(self, frame: str, names: Iterable[str]) -> pl.DataFrame:
        """Some columns of a frame, as far as there are any of the name.

        The way to read the large frames: of a saved dataset these lie on disk, and only what is
        named is read.

        Args:
            frame: one of `FRAMES`.
            names: of columns; the result has them in this order.
        """
        table: pl.DataFrame = getattr(self, frame)
        return table.select([name for name in names if name in table.columns])

    def rows(self, frame: str, names: Iterable[str], rows: pl.Series) -> pl.DataFrame:
        """Some columns, as of `columns`, of some rows.

        Args:
            frame: one of `FRAMES`.
            names: of columns.
            rows: whole numbers from 0, in the order wanted.
        """
        table = self.columns(frame, names)
        # Without columns a frame has no rows to choose from.
        return table[rows] if table.columns else table

    def pieces(self, frame: str, names: Iterable[str], rows: pl.Series) -> Iterator[pl.DataFrame]:
        """The parts of `rows` in order, for columns too large to be held as a whole.

        Args:
            frame, names, rows: as of `rows`.
        """
        yield self.rows(frame, names, rows)

    def height(self, frame: str) -> int:
        """Rows of a frame, one of `FRAMES`."""
        table: pl.DataFrame = getattr(self, frame)
        return table.height
