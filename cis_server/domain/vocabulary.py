"""The words every part of the system shares: channels, actions, statuses, tiers, outcomes.

Enumerations are text in the database and in JSON. A list stands here once; the database checks,
the importer, the detectors and the proto converters all read it from here.
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum
from typing import Final

CHANNEL_PATTERN: Final = r"^[a-z][a-z0-9_]{0,31}$"
_CHANNEL = re.compile(CHANNEL_PATTERN)

WELL_KNOWN_CHANNELS: Final = ("email", "linkedin", "sms", "voice", "mail")


def is_channel(text: str) -> bool:
    """Whether ``text`` may name a channel: a lower-case letter, then up to 31 of ``[a-z0-9_]``."""
    return _CHANNEL.fullmatch(text) is not None  # a dollar sign allows a line break


class Action(StrEnum):
    """What happened on a channel. ``SENT`` is the one outbound touch, on every channel."""

    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    PROFILE_VIEWED = "profile_viewed"


# Older senders wrote one action per channel; `mapped_action` turns these into the words above.
LEGACY_ACTIONS: Final[dict[str, tuple[Action, str | None]]] = {
    "email_sent": (Action.SENT, "email"),
    "sms_sent": (Action.SENT, "sms"),
    "linkedin_sent": (Action.SENT, "linkedin"),
    "connection": (Action.SENT, "linkedin"),
    "connection_sent": (Action.SENT, "linkedin"),
    "message": (Action.SENT, "linkedin"),
    "message_sent": (Action.SENT, "linkedin"),
    "inmail_sent": (Action.SENT, "linkedin"),
    "voice_completed": (Action.SENT, "voice"),
    "call_completed": (Action.SENT, "voice"),
    "mail_sent": (Action.SENT, "mail"),
    "mail_delivered": (Action.SENT, "mail"),
    "email_delivered": (Action.DELIVERED, "email"),
    "email_opened": (Action.OPENED, "email"),
    "email_clicked": (Action.CLICKED, "email"),
    "email_replied": (Action.REPLIED, "email"),
    "email_bounced": (Action.BOUNCED, "email"),
    "complaint": (Action.COMPLAINED, None),
    "unsubscribe": (Action.UNSUBSCRIBED, None),
}


_ACTION_NAMES = frozenset(action.value for action in Action)


def mapped_action(text: str) -> tuple[Action, str | None] | None:
    """The action a current or legacy name stands for, and the channel the name implies, if any.

    Args:
        text: an action name as a sender wrote it; case and surrounding space do not matter.

    Returns:
        ``(action, channel or None)``, or None when the name is unknown.
    """
    name = text.strip().lower()
    if name in _ACTION_NAMES:
        return Action(name), None
    return LEGACY_ACTIONS.get(name)


class LeadStatus(StrEnum):
    """Where a lead stands. Scoring changes none of these but NEW and ENRICHED (to SCORED)."""

    NEW = "new"
    ENRICHED = "enriched"
    SCORED = "scored"
    IN_SEQUENCE = "in_sequence"
    MEETING_BOOKED = "meeting_booked"
    CONVERTED = "converted"
    NOT_INTERESTED = "not_interested"
    EXHAUSTED = "exhausted"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"


class EmailStatus(StrEnum):
    """What is known of an address."""

    UNKNOWN = "unknown"
    GUESSED = "guessed"
    CATCH_ALL = "catch_all"
    VERIFIED = "verified"
    INVALID = "invalid"


class TimePrecision(StrEnum):
    """How exactly an instant is known, finest first; coarse times stay out of finer analyses."""

    INSTANT = "instant"
    HOUR = "hour"
    DAY = "day"
    WEEKDAY = "weekday"
    MONTH = "month"


HOUR_PRECISE: Final = (TimePrecision.INSTANT, TimePrecision.HOUR)
"""Precise enough to tell the hour."""
WEEKDAY_PRECISE: Final = (*HOUR_PRECISE, TimePrecision.DAY, TimePrecision.WEEKDAY)
"""Precise enough to tell the weekday (WEEKDAY: the date stands in for its month)."""
GAP_PRECISE: Final = (*HOUR_PRECISE, TimePrecision.DAY)
"""Precise enough to tell days between two touches."""


class SubscriptionStatus(StrEnum):
    """Commercial state of a client; the first two may learn."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELLED = "cancelled"
    PAUSED = "paused"


LEARNING_SUBSCRIPTIONS: Final = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)


class ConversionType(StrEnum):
    """What made a lead count as converted."""

    MEETING_BOOKED = "meeting_booked"
    DEAL_WON = "deal_won"
    STATUS = "status"


class Tier(IntEnum):
    """Band of a score, coldest first so that comparison follows warmth."""

    DEAD = 0
    COLD = 1
    COOL = 2
    WARM = 3
    HOT = 4

    @property
    def label(self) -> str:
        """Lower-case name, as stored and shown."""
        return self.name.lower()


class PatternType(StrEnum):
    """The six detectors."""

    WHO = "who"
    WHAT = "what"
    WHEN = "when"
    HOW = "how"
    FUNNEL = "funnel"
    CONVERSATION = "conversation"


class PatternStatus(StrEnum):
    """How a detector's last run ended."""

    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    ERROR = "error"


class Source(StrEnum):
    """Where an answer comes from."""

    LEARNED = "learned"
    BLENDED = "blended"
    POOLED = "pooled"
    DEFAULT = "default"


class Verdict(StrEnum):
    """What the evidence says of a segment against its client's baseline."""

    WINNING = "winning"
    LOSING = "losing"
    UNDECIDED = "undecided"


class Promotion(StrEnum):
    """Who lets learned weights and models go live."""

    MANUAL = "manual"
    AUTO = "auto"


class RejectionReason(StrEnum):
    """Why a lead said no."""

    TIMING_NOT_NOW = "timing_not_now"
    BUDGET_CONSTRAINTS = "budget_constraints"
    USING_COMPETITOR = "using_competitor"
    NOT_DECISION_MAKER = "not_decision_maker"
    NO_NEED = "no_need"
    BAD_EXPERIENCE = "bad_experience"
    TOO_BUSY = "too_busy"
    NOT_INTERESTED_GENERIC = "not_interested_generic"
    DO_NOT_CONTACT = "do_not_contact"
    WRONG_CONTACT = "wrong_contact"
    COMPANY_POLICY = "company_policy"
    OTHER = "other"


class Objection(StrEnum):
    """What a lead objects to."""

    TIMING = "timing"
    BUDGET = "budget"
    AUTHORITY = "authority"
    NEED = "need"
    COMPETITOR = "competitor"
    TRUST = "trust"
    OTHER = "other"


class ReplyIntent(StrEnum):
    """What a reply wants."""

    MEETING_REQUEST = "meeting_request"
    INTERESTED = "interested"
    QUESTION = "question"
    OBJECTION = "objection"
    NOT_INTERESTED = "not_interested"
    UNSUBSCRIBE = "unsubscribe"
    OUT_OF_OFFICE = "out_of_office"
    AUTO_REPLY = "auto_reply"
    REFERRAL = "referral"
    WRONG_PERSON = "wrong_person"
    ANGRY_OR_COMPLAINT = "angry_or_complaint"
    UNCLEAR = "unclear"


class Sentiment(StrEnum):
    """Tone of a message."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"
    MIXED = "mixed"


class ThreadStatus(StrEnum):
    """State of a conversation."""

    ACTIVE = "active"
    RESOLVED = "resolved"
    STALE = "stale"
    CONVERTED = "converted"
    DEAD = "dead"


class ThreadOutcome(StrEnum):
    """How a conversation ended."""

    CONVERTED = "converted"
    REJECTED = "rejected"
    NO_RESPONSE = "no_response"
    ONGOING = "ongoing"
    MEETING_BOOKED = "meeting_booked"
    REFERRAL = "referral"
    FUTURE_INTEREST = "future_interest"


class MeetingType(StrEnum):
    """Purpose of a meeting."""

    DISCOVERY = "discovery"
    DEMO = "demo"
    FOLLOW_UP = "follow_up"
    CLOSE = "close"
    ONBOARDING = "onboarding"
    OTHER = "other"


class MeetingOutcome(StrEnum):
    """How a meeting ended."""

    GOOD = "good"
    BAD = "bad"
    RESCHEDULED = "rescheduled"
    NO_SHOW = "no_show"
    CANCELLED = "cancelled"
    PENDING = "pending"


class DealStage(StrEnum):
    """Pipeline stages in order."""

    QUALIFICATION = "qualification"
    PROPOSAL = "proposal"
    NEGOTIATION = "negotiation"
    VERBAL_COMMIT = "verbal_commit"
    CONTRACT_SENT = "contract_sent"
    CLOSED_WON = "closed_won"
    CLOSED_LOST = "closed_lost"


class LostReason(StrEnum):
    """Why a deal was lost."""

    PRICE_TOO_HIGH = "price_too_high"
    CHOSE_COMPETITOR = "chose_competitor"
    NO_BUDGET = "no_budget"
    TIMING_NOT_RIGHT = "timing_not_right"
    NO_DECISION = "no_decision"
    CHAMPION_LEFT = "champion_left"
    PROJECT_CANCELLED = "project_cancelled"
    WENT_SILENT = "went_silent"
    BAD_FIT = "bad_fit"
    OTHER = "other"


class EmailEventType(StrEnum):
    """What a mail provider reports."""

    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    DROPPED = "dropped"


class RunTrigger(StrEnum):
    """What set a learning run off."""

    REQUEST = "request"
    SCHEDULE = "schedule"
    BACKFILL = "backfill"


class RunState(StrEnum):
    """State of a learning run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
