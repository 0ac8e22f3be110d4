"""Words for the content of messages, as snapshots and patterns carry them."""

from __future__ import annotations

from typing import Final

PERSONALISATION: Final = (
    "company_mention",
    "first_name",
    "recent_news",
    "mutual_connection",
    "industry_specific",
)
"""Ways of personalising; the snapshot's key is ``has_<name>``."""

CTA_TYPES: Final = (
    "soft_ask",
    "time_specific",
    "value_offer",
    "direct_ask",
    "passive",
    "question",
    "casual",
)
PAIN_POINTS: Final = (
    "leads",
    "revenue",
    "time",
    "scaling",
    "competition",
    "cost",
    "quality",
    "clients",
)
ANGLES: Final = (
    "roi_focused",
    "social_proof",
    "curiosity",
    "fear_based",
    "value_add",
    "authority",
    "urgency",
    "neutral",
)
SUBJECT_LENGTHS: Final = ("short_subject", "medium_subject", "long_subject")
"""At most 3, 4 to 6, and 7 or more words."""
NO_PATTERN: Final = "other"
"""A subject in which no pattern was found."""
