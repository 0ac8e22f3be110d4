"""What leads write back: texts with a known intent, objection and tone."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.int64]


class ReplyText(NamedTuple):
    """One way to answer, and what it means."""

    kind: str
    """What happened: ``yes``, ``question``, ``no``, ``stop`` or ``automatic``."""
    text: str
    intent: str
    objection: str | None
    sentiment: str
    sentiment_score: float
    rejection: str | None = None
    question: str | None = None


REPLIES: Final = (
    ReplyText("yes", "Sounds interesting. When are you free?", "meeting_request", None,
              "positive", 0.6, None, "When are you free?"),
    ReplyText("yes", "Yes, please set up a meeting for next week.", "meeting_request", None,
              "positive", 0.5),
    ReplyText("yes", "Great timing. Tell me more, my calendar is open on Thursday.", "interested",
              None, "positive", 0.8),
    ReplyText("yes", "Thanks, I would love to see it. Let's talk.", "meeting_request", None,
              "positive", 0.8),
    ReplyText("question", "How does it work with our current tools?", "question", None, "neutral",
              0.0, None, "How does it work with our current tools?"),
    ReplyText("question", "What does the set-up look like? And who runs it?", "question", None,
              "neutral", 0.0, None, "What does the set-up look like?"),
    ReplyText("question", "Can you explain which countries you cover?", "question", None,
              "neutral", 0.0, None, "Can you explain which countries you cover?"),
    ReplyText("no", "Thank you, but this is not the right time. Maybe later.", "objection",
              "timing", "neutral", 0.0, "timing_not_now"),
    ReplyText("no", "We have no budget for this, it is too expensive.", "objection", "budget",
              "negative", -0.3, "budget_constraints"),
    ReplyText("no", "It is not my decision, my boss would have to approve.", "objection",
              "authority", "neutral", 0.0, "not_decision_maker"),
    ReplyText("no", "We do not need it, we are happy with current arrangements.", "objection",
              "need", "neutral", 0.1, "no_need"),
    ReplyText("no", "We are already signed with a different provider.", "objection", "competitor",
              "neutral", 0.0, "using_competitor"),
    ReplyText("no", "Never heard of you. Is this legit?", "objection", "trust", "negative", -0.4,
              "other"),
    ReplyText("no", "Not interested, no thanks.", "not_interested", None, "negative", -0.3,
              "not_interested_generic"),
    ReplyText("stop", "Please remove me from your list.", "unsubscribe", None, "negative", -0.4,
              "do_not_contact"),
    ReplyText("stop", "Stop. Do not contact me again.", "unsubscribe", None, "negative", -0.6,
              "do_not_contact"),
    ReplyText("automatic", "I am out of the office until Monday with limited access to mail.",
              "out_of_office", None, "neutral", 0.0),
    ReplyText("automatic", "Thank you for your message. This is an automatic reply, we will get "
              "back to you.", "auto_reply", None, "neutral", 0.0),
)  # fmt: skip

ANSWERS: Final = (
    "Thank you for getting back to me. Here is a link to my calendar.",
    "Good question. In short: it takes one afternoon, and I can show you on a call.",
    "Understood, thank you for telling me. I will not write again about it.",
)


def draw_replies(kinds: list[str], rng: np.random.Generator) -> Codes:
    """An index into `REPLIES` for each kind, evenly among the texts of the kind."""
    wanted = pl.Series(kinds, dtype=pl.String)
    out = np.zeros(len(kinds), dtype=np.int64)
    for kind in sorted({row.kind for row in REPLIES}):
        options = np.array([k for k, row in enumerate(REPLIES) if row.kind == kind])
        chosen = (wanted == kind).to_numpy()
        out[chosen] = options[rng.integers(len(options), size=int(chosen.sum()))]
    return out


def reply_columns(codes: Codes) -> dict[str, pl.Series]:
    """Columns of the replies table for these texts."""
    return {
        "content": _column("text", codes),
        "intent": _column("intent", codes),
        "objection_type": _column("objection", codes),
        "sentiment": _column("sentiment", codes),
        "sentiment_score": pl.Series([row.sentiment_score for row in REPLIES]).gather(codes),
        "question_extracted": _column("question", codes),
        "rejection_reason": _column("rejection", codes),
    }


def answer_to(kinds: pl.Series) -> pl.Series:
    """What we write back to replies of these kinds."""
    by_kind = {"yes": ANSWERS[0], "question": ANSWERS[1], "no": ANSWERS[2], "stop": ANSWERS[2]}
    return kinds.replace_strict(by_kind, default=None, return_dtype=pl.String)


def _column(name: str, codes: Codes) -> pl.Series:
    return pl.Series([getattr(row, name) for row in REPLIES], dtype=pl.String).gather(codes)
