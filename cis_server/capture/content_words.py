"""The words by which the content of a message is told, and how much each of them tells.

A word that belongs to one subject alone is specific and tells it by itself (weight 1). A word that
stands in most business mail ("time", "team", "results") tells half: it takes two different ones.
Words are matched whole, in the forms written here; ``*`` at the end allows any ending. The lists
are those of the pattern facts, sections 8.3 to 8.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SPECIFIC: Final = 1.0
GENERIC: Final = 0.5


@dataclass(frozen=True, slots=True)
class Word:
    """A word or phrase, matched whole.

    Attributes:
        pattern: matches it.
        weight: how much it tells.
        part: letters that stand in every text with a match, in the form of `plain`. To look for
            them costs a hundredth of the pattern, and most words are in no given message.
    """

    pattern: re.Pattern[str]
    weight: float
    part: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Categories and the words that tell them, in order."""

    category: Mapping[str, tuple[Word, ...]]

    def found(self, text: str) -> tuple[str, ...]:
        """Categories whose distinct words in the text weigh 1 or more, in category order."""
        letters = plain(text)
        return tuple(
            name
            for name, words in self.category.items()
            if sum(
                word.weight for word in words if word.part in letters and word.pattern.search(text)
            )
            >= SPECIFIC
        )


def plain(text: str) -> str:
    """Text in which letters that patterns take for the same are the same.

    Patterns without case take the dotless i and the dotted capital one for an i, case folding
    does not.
    """
    return text.casefold().replace("\u0131", "i").replace("i\u0307", "i")


def _lexicon(words: Mapping[str, tuple[str, str]]) -> Lexicon:
    """From comma-separated lists: category -> (specific words, generic words)."""
    return Lexicon(
        {
            name: tuple(
                Word(_pattern(entry), weight, _longest_part(entry))
                for listed, weight in zip(lists, (SPECIFIC, GENERIC), strict=True)
                for entry in _entries(listed)
            )
            for name, lists in words.items()
        }
    )


def _entries(listed: str) -> Iterable[str]:
    return (entry.strip() for entry in listed.split(",") if entry.strip())


def _pattern(entry: str) -> re.Pattern[str]:
    body = re.escape(entry.removesuffix("*")).replace(r"\ ", r"\s+").replace("'", "['\u2019]")
    return re.compile(rf"(?<!\w){body}" + (r"\w*" if entry.endswith("*") else r"(?!\w)"), re.I)


def _longest_part(entry: str) -> str:
    """The longest run of letters and digits of a phrase."""
    return max(re.split(r"[^a-z0-9]+", entry.lower()), key=len)


PAIN_POINT_WORDS: Final = _lexicon(
    {
        "leads": (
            "leads, lead gen, lead generation, pipeline, prospects, qualified, mql, mqls, sqls",
            "opportunities, inbound, sql",
        ),
        "revenue": (
            "revenue*, roi, profit*, income",
            "sales, growth, deals, closed, won, booking, bookings",
        ),
        "time": (
            "manual, manually, automat*, overwhelm*, tedious, repetitive",
            "time, hours, efficien*, busy, bandwidth",
        ),
        "scaling": (
            "scale, scaling, scalable, capacity, bottleneck*",
            "growth, bandwidth, hire, hiring, team, expand, expanding, growing",
        ),
        "competition": (
            "competitor*, competition, market share, catching up, outpac*",
            "behind, losing, threat*",
        ),
        "cost": (
            "cost, costs, costly, expensive, budget*, waste*, wasting, spending, save, saves,"
            " saving, savings, roi",
            "afford, price, prices, pricing, investment",
        ),
        "quality": (
            "consistent, consistently, consistency, reliable, reliability",
            "quality, results, performance, outcomes, better, improve*",
        ),
        "clients": (
            "retention, churn*, testimonials, referrals",
            "clients, customers, satisfaction, reviews",
        ),
    }
)

ANGLE_WORDS: Final = _lexicon(
    {
        "roi_focused": (
            "roi, revenue, profit*, return, returns, save, saves, saving, boost*, double",
            "increase*, growth",
        ),
        "social_proof": (
            "clients like, companies like, case study, case studies, worked with, others in your,"
            " results for",
            "helped, clients, results",
        ),
        "curiosity": ("noticed, wondering, curious, quick question, saw that, idea for,"
                      " thought about", ""),
        "fear_based": ("missing out, losing, falling behind, struggl*", "behind, risk*, problem*,"
                       " challenge*, pain"),
        "value_add": ("complimentary, free audit, free analysis, free assessment, no cost, gift",
                      "free, audit, analysis, assessment, bonus"),
        "authority": ("expert*, specialist*", "experience*, trusted, leading, years, top, best"),
        "urgency": ("deadline, today only, last chance, limited",
                    "spots, ending, this week"),
    }
)  # fmt: skip
AMOUNT: Final = re.compile(r"[$€£]\s?\d|\d\s?(?:%|per\s?cent\b)", re.I)
"""An amount of money or a percentage: the angle of return on investment."""


@dataclass(frozen=True, slots=True)
class Cta:
    """A call to action."""

    name: str
    kind: str
    words: re.Pattern[str]
    part: str
    """As in `Word`."""


def _cta(name: str, kind: str, pattern: str | None = None) -> Cta:
    body = pattern or re.escape(name).replace(r"\ ", r"\s+")
    words = re.compile(rf"(?<!\w){body}" + ("" if pattern else r"(?!\w)"), re.I)
    # Every form of a phrase begins alike.
    return Cta(name, kind, words, _longest_part(name.split()[0]))


CTAS: Final = (
    _cta("open to a quick chat", "soft_ask"),
    _cta("worth 15 minutes", "time_specific", r"worth\s+(?:15|fifteen)\s+min(?:ute)?s?\b"),
    _cta("worth a conversation", "soft_ask"),
    _cta("worth exploring", "soft_ask"),
    _cta("free audit", "value_offer"),
    _cta("free analysis", "value_offer"),
    _cta("quick call", "soft_ask"),
    _cta("schedule a call", "direct_ask"),
    _cta("book a time", "direct_ask"),
    _cta("interested in learning", "soft_ask"),
    _cta("happy to share", "value_offer"),
    _cta("let me know", "passive"),
    _cta("thoughts?", "question", r"thoughts\s*\?"),
    _cta("make sense to connect", "soft_ask", r"makes?\s+sense\s+to\s+connect\b"),
    _cta("grab 15 minutes", "time_specific", r"grab\s+(?:15|fifteen)\s+min(?:ute)?s?\b"),
    _cta("coffee chat", "casual"),
    _cta("quick question", "question"),
)
"""Phrases by which a message asks for something."""

SUBJECT_PATTERNS: Final = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        ("question_about", r"\bquestions?\s+(?:about|for|regarding)\b"),
        ("quick_question", r"^\s*quick\s+question\b"),
        ("reply_style", r"^\s*re\s*:"),
        ("idea_for", r"\bideas?\s+for\b"),
        ("thought_about", r"\bthoughts?\s+(?:about|for|on)\b"),
        ("personalized", r"\{\{?\s*(?:company|first)[ _]?(?:name)?\s*\}?\}"),
        ("name_dash", r"^\s*[\w'\u2019]+\s*(?:[-\u2013\u2014]\s|\s[-\u2013\u2014])"),
        ("ends_question", r"\?\s*$"),
        ("casual_greeting", r"^\s*(?:hey|hi)\s+\w+"),
        ("introduction", r"\b(?:intro|introduction|introductions|introducing)\b"),
        ("partnership", r"\b(?:partner|partners|partnering|partnership|collaborat\w*)\b"),
        ("opportunity", r"\bopportunit(?:y|ies)\b"),
        ("congratulatory", r"\b(?:congrats|congratulations|congratulating)\b"),
    )
)
"""Named patterns of subject lines; a line may have several."""

_EVENT = (
    r"(?:announcement|announced|funding|round|raise|raised|series\s+[a-h]\b|launch\w*|acqui\w+"
    r"|merger|award\w*|appointment|appointed|promotion|promoted|new\s+(?:role|office|site|hire"
    r"|position)|expansion|expanding|opening|opened|ipo|milestone|news|article|interview|podcast"
    r"|press|report|anniversary|last\s+(?:week|month|quarter)|(?:19|20)\d\d"
    r"|january|february|april|june|july|august|september|october|november|december)\b"
)
RECENT_NEWS: Final = re.compile(
    r"\b(?:notic(?:ed|ing)|(?:just\s+)?saw|congrats|congratulations|read|heard)\b"
    rf"[^.!?\n]*\b{_EVENT}",
    re.I,
)
"""Somebody noticed something, and says what or when: "I noticed your site" is no news."""
MUTUAL_CONNECTION: Final = re.compile(
    r"\bmutual\s+(?:connection|friend|contact|acquaintance|colleague)s?\b"
    r"|\b(?:connection|friend|contact)s?\s+in\s+common\b"
    r"|\b(?:referred|introduced|recommended)\s+(?:me|us|you|that\s+(?:i|we)|(?:i|we))\b"
    r"|\b(?:was|were|been|got)\s+(?:referred|introduced|recommended)\b"
    r"|\b\w+\s+(?:suggested|recommended)\s+(?:i|we)\s+(?:reach|contact|write|speak|talk)",
    re.I,
)
"""An acquaintance is named; the word "connection" alone stands in every request to connect."""
