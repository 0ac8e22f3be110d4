"""The content of a message as features: what it says, never the words themselves.

Derived once, when a message is captured; learning reads these features and not the bodies. Keys
are those of the stored content snapshot. What cannot be told is None, never false: without the
lead's company nobody knows whether it was named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from cis_server.capture.content_words import (
    AMOUNT,
    ANGLE_WORDS,
    CTAS,
    MUTUAL_CONNECTION,
    PAIN_POINT_WORDS,
    RECENT_NEWS,
    SUBJECT_PATTERNS,
    Cta,
    plain,
)
from cis_server.capture.own_text import links, own_text
from cis_server.domain.content import NO_PATTERN, SUBJECT_LENGTHS
from cis_server.domain.lead import Lead

_QUESTION = re.compile(r"\?+")
_LEGAL_FORM = re.compile(
    r"[\s,]+(?:inc|incorporated|llc|llp|ltd|limited|pty|plc|corp|corporation|co|company|gmbh|ag|kg"
    r"|s\.?a|s\.?r\.?l|b\.?v|n\.?v|oy|ab|a/s|group|holdings?)\.?$",
    re.I,
)
_SHORT_NAME: Final = 3
_COMMON_WORDS: Final = frozenset(
    {"service", "services", "industry", "industries", "other", "general", "products", "goods"}
)
_GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED: Final = frozenset("^{}\\[~]|€\f")


def content_snapshot(
    subject: str | None,
    body: str,
    lead: Lead | None,
    channel: str,
    *,
    attachments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Features of one outbound message.

    Args:
        subject: None where the channel has none.
        body: as it was sent, plain or HTML; for a connection request the note, for a call the
            script or transcript.
        lead: whom it was for; None leaves the personalisation that needs it unknown.
        channel: e.g. ``email``.
        attachments: names of the files; None when it is not known whether there were any.

    Returns:
        JSON values by key: ``channel``, ``word_count`` and ``char_count`` of the author's own text,
        ``pain_points_used``, ``cta_used`` and ``cta_type`` (of the last call to action; None when
        there is none), ``ctas`` (all, in order), ``angles``, ``has_<way of personalising>`` (None
        when it cannot be told), ``has_question``, ``question_count``, ``links``, ``link_count``;
        with a subject ``subject_word_count`` and ``subject_patterns``; for sms ``segment_count``;
        with known attachments ``has_attachment`` and ``attachment_count``.
    """
    text = own_text(body)
    topic = _without_names(text, lead)
    asks = _ctas(text)
    questions = len(_QUESTION.findall(text))
    targets = links(body)
    snapshot: dict[str, Any] = {
        "channel": channel,
        "word_count": len(text.split()),
        "char_count": len(text),
        "pain_points_used": list(PAIN_POINT_WORDS.found(topic)),
        "cta_used": asks[-1].name if asks else None,
        "cta_type": asks[-1].kind if asks else None,
        "ctas": [ask.name for ask in asks],
        "angles": _angles(topic),
        **_personalisation(text, lead),
        "has_question": questions > 0,
        "question_count": questions,
        "links": list(targets),
        "link_count": len(targets),
    }
    if subject is not None and subject.strip():
        snapshot["subject_word_count"] = len(subject.split())
        snapshot["subject_patterns"] = subject_patterns(subject)
    if channel == "sms":
        snapshot["segment_count"] = sms_segments(body)
    if attachments is not None:
        snapshot["has_attachment"] = bool(attachments)
        snapshot["attachment_count"] = len(attachments)
    return snapshot


def subject_patterns(subject: str) -> list[str]:
    """Patterns of a subject line: the named ones (or ``other``), then its length class."""
    named = [name for name, pattern in SUBJECT_PATTERNS if pattern.search(subject)]
    words = len(subject.split())
    return [*(named or [NO_PATTERN]), SUBJECT_LENGTHS[(words > 3) + (words > 6)]]


def sms_segments(text: str) -> int:
    """Parts of a text message: 160 or 153 characters each in the GSM alphabet, else 70 or 67.

    Characters of the GSM extension table take two places and are not split between parts, nor are
    the surrogate pairs of a wide one (3GPP TS 23.038, TS 23.040). An empty text has none.
    """
    if all(letter in _GSM_BASIC or letter in _GSM_EXTENDED for letter in text):
        sizes = [2 if letter in _GSM_EXTENDED else 1 for letter in text]
        return _parts(sizes, 160, 153)
    return _parts([2 if ord(letter) > 0xFFFF else 1 for letter in text], 70, 67)


def _parts(sizes: list[int], single: int, each: int) -> int:
    if sum(sizes) <= single:
        return int(bool(sizes))
    parts, used = 1, 0
    for size in sizes:
        if used + size > each:
            parts, used = parts + 1, 0
        used += size
    return parts


def _ctas(text: str) -> list[Cta]:
    """Calls to action in the order they end; the ask of a message is its last."""
    letters = plain(text)
    asks = (cta for cta in CTAS if cta.part in letters)
    found = [(match.end(), cta) for cta in asks for match in cta.words.finditer(text)]
    return [cta for _, cta in sorted(found, key=lambda entry: entry[0])]


def _angles(text: str) -> list[str]:
    found = list(ANGLE_WORDS.found(text))
    if AMOUNT.search(text) and "roi_focused" not in found:
        found.insert(0, "roi_focused")
    return found or ["neutral"]


def _personalisation(text: str, lead: Lead | None) -> dict[str, bool | None]:
    company = lead.company_name if lead else None
    first = lead.first_name if lead else None
    industry = lead.industry if lead else None
    return {
        "has_first_name": _names(first, text) if _told(first) else None,
        "has_company_mention": _mentions(company, text) if _told(company) else None,
        "has_recent_news": RECENT_NEWS.search(text) is not None,
        "has_mutual_connection": MUTUAL_CONNECTION.search(text) is not None,
        "has_industry_specific": _speaks_of(industry, _without(text, *_company_names(lead)))
        if _told(industry)
        else None,
    }


def _told(value: str | None) -> bool:
    return value is not None and bool(value.strip())


def _names(name: str | None, text: str) -> bool:
    # Case counts: Will, Mark and Grace are words as well.
    return _whole(str(name).strip(), text, ignore_case=False) is not None


def _mentions(company: str | None, text: str) -> bool:
    """Whether the company is named, with or without its legal form.

    Names as short as "On" or "AI" count only as they are written and not at the head of a sentence.
    """
    name = _core_name(str(company))
    if len(name) > _SHORT_NAME:
        return _whole(name, text) is not None
    places = re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    return any(not re.search(r"(?:^|[.!?:\n])\s*$", text[: place.start()]) for place in places)


def _core_name(company: str) -> str:
    name = company.strip()
    while (shorter := _LEGAL_FORM.sub("", name)) and shorter != name:
        name = shorter
    return name


def _speaks_of(industry: str | None, text: str) -> bool:
    """Whether the industry is named, or a word of its name that is its own.

    Args:
        industry: name of the lead's industry.
        text: without the name of the company, which often holds that of its industry.
    """
    name = str(industry).strip()
    words = [word for word in re.split(r"[^\w]+", name) if len(word) > _SHORT_NAME]
    own = [word for word in words if word.lower() not in _COMMON_WORDS]
    return any(_whole(term, text) is not None for term in (name, *own))


def _whole(term: str, text: str, *, ignore_case: bool = True) -> re.Match[str] | None:
    spaced = r"\s+".join(re.escape(part) for part in term.split())
    return re.search(rf"(?<!\w){spaced}(?!\w)", text, re.I if ignore_case else 0)


def _without_names(text: str, lead: Lead | None) -> str:
    """The text without the lead's names: "Growth Partners" is no talk of growth."""
    return _without(text, *_company_names(lead), lead.industry if lead else None)


def _company_names(lead: Lead | None) -> tuple[str | None, ...]:
    if lead is None or lead.company_name is None:
        return ()
    return lead.company_name, _core_name(lead.company_name)


def _without(text: str, *names: str | None) -> str:
    for name in names:
        if name and name.strip():
            spaced = r"\s+".join(re.escape(part) for part in name.split())
            text = re.sub(rf"(?<!\w){spaced}(?!\w)", " ", text, flags=re.I)
    return text
