"""One text of a file to one typed value.

Every parser takes a stripped, non-empty text and returns a value, or raises `ValueError` saying in
plain words what is wrong with the text; the caller adds which line and field it stood in. Empty
text and the words of `MISSING` mean "not known" and never reach a parser.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from cis_server.domain.local_time import find_zone
from cis_server.domain.vocabulary import Action, DealStage, is_channel, mapped_action

Parser: TypeAlias = Callable[[str], object]

MISSING: Final = frozenset({"", "null", "none", "n/a", "#n/a", "nan", "nat", "\\n"})
"""Texts, in lower case, that say nothing is known."""

SHOWN_LENGTH: Final = 60

_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0", "on"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0", "off"})
_EMAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_NUMBER = re.compile(r"[-+]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][-+]?\d{1,3})?")
_CURRENCY_SIGNS = "$€£¥"
_RANGE = re.compile(r"\d[\d,]*\s*(-|–|to|\+).*")
_CHANNEL_WORDS: Final[dict[str, str]] = {
    "e_mail": "email",
    "mail_merge": "email",
    "phone": "voice",
    "phone_call": "voice",
    "call": "voice",
    "calls": "voice",
    "telephone": "voice",
    "text": "sms",
    "text_message": "sms",
    "linkedin_message": "linkedin",
    "linked_in": "linkedin",
    "inmail": "linkedin",
    "letter": "mail",
    "direct_mail": "mail",
    "postal_mail": "mail",
}

_CRM_STAGES: Final[dict[str, DealStage]] = {
    name: stage
    for stage, names in {
        DealStage.QUALIFICATION: (
            "appointment_scheduled",
            "appointmentscheduled",
            "prospecting",
            "needs_analysis",
            "lead_in",
            "contact_made",
            "qualified",
        ),
        DealStage.PROPOSAL: (
            "qualified_to_buy",
            "qualifiedtobuy",
            "presentation",
            "presentation_scheduled",
            "presentationscheduled",
            "value_proposition",
            "quote",
            "proposal_made",
            "proposal/price_quote",
        ),
        DealStage.NEGOTIATION: (
            "decision_maker_bought_in",
            "decisionmakerboughtin",
            "decision_makers",
            "id._decision_makers",
            "perception_analysis",
            "negotiation/review",
            "negotiations_started",
        ),
        DealStage.CONTRACT_SENT: ("contractsent",),
        DealStage.CLOSED_WON: ("closedwon", "won"),
        DealStage.CLOSED_LOST: ("closedlost", "lost"),
    }.items()
    for name in names
}


def shown(text: str) -> str:
    """`text` as an error quotes it: in quotes, cut to a readable length."""
    cut = text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"
    return json.dumps(cut, ensure_ascii=False)


def is_missing(text: str | None) -> bool:
    """Whether `text` says that nothing is known."""
    return text is None or text.strip().lower() in MISSING


def text_of(limit: int) -> Callable[[str], str]:
    """Free text of up to `limit` characters."""

    def parse(text: str) -> str:
        _check_storable(text)
        if len(text) > limit:
            raise ValueError(f"{len(text)} characters, at most {limit} are kept")
        return text

    return parse


_SHORT_TEXT: Final = text_of(200)


def _check_storable(text: str) -> None:
    """Refuse what a database text cannot hold: NUL, and halves of surrogate pairs."""
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("holds half a surrogate pair")


def parse_key(text: str) -> str:
    """A caller's own key: 1 to 128 characters without control characters."""
    if len(text) > 128:
        raise ValueError(f"a key of {len(text)} characters, at most 128 are allowed")
    if not text.isprintable():
        raise ValueError(f"a key with control characters: {shown(text)}")
    return text


def parse_email(text: str) -> str:
    """An address, in lower case."""
    address = text.lower().removeprefix("mailto:")
    if _EMAIL.fullmatch(address) is None or len(address) > 254:
        raise ValueError(f"not an e-mail address: {shown(text)}")
    return address


def parse_domain(text: str) -> str:
    """A company's domain in lower case; a web address is cut down to it."""
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", text.lower())
    host = re.split(r"[/?#]", host, maxsplit=1)[0].rpartition("@")[2]
    host = host.partition(":")[0].removeprefix("www.").rstrip(".")
    try:
        ascii_host = host.encode("idna").decode()
    except UnicodeError:
        ascii_host = ""
    if _DOMAIN.fullmatch(ascii_host) is None:
        raise ValueError(f"not a domain or web address: {shown(text)}")
    return host


def parse_boolean(text: str) -> bool:
    """Yes or no, true or false, 1 or 0."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"not yes or no: {shown(text)}")


def parse_number(text: str) -> float:
    """A finite number; a currency sign in front and commas between thousands are allowed."""
    bare = text.lstrip(_CURRENCY_SIGNS).strip()
    if not any(char.isdigit() for char in bare) or _NUMBER.fullmatch(bare) is None:
        raise ValueError(f"not a number: {shown(text)}")
    number = float(bare.replace(",", ""))
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {shown(text)}")
    return number


def number_of(*, least: float, most: float = math.inf) -> Parser:
    """A number between `least` and `most`, both allowed."""

    def parse(text: str) -> float:
        return _checked(parse_number(text), text, least, most)

    return parse


def integer_of(*, least: int, most: int = 2**31 - 1) -> Parser:
    """A whole number between `least` and `most`, both allowed."""

    def parse(text: str) -> int:
        if _RANGE.fullmatch(text):
            raise ValueError(f"a range, not a number: {shown(text)}; translate it in the mapping")
        number = parse_number(text)
        if number != int(number):
            raise ValueError(f"not a whole number: {shown(text)}")
        return int(_checked(number, text, least, most))

    return parse


def _checked(number: float, text: str, least: float, most: float) -> float:
    if number < least:
        raise ValueError(f"{shown(text)} is below {least:.12g}")
    if number > most:
        raise ValueError(f"{shown(text)} is above {most:.12g}")
    return number


def choice_of(words: type[StrEnum], also: Mapping[str, str] | None = None) -> Parser:
    """One word of an enumeration; case does not matter, spaces and hyphens read as underscores.

    Args:
        words: the enumeration.
        also: further spellings, in the same plain form, and the word each stands for.
    """
    spellings = {**(also or {}), **{word.value: word.value for word in words}}

    def parse(text: str) -> str:
        word = spellings.get(_underscored(text))
        if word is None:
            allowed = ", ".join(item.value for item in words)
            raise ValueError(f"{shown(text)} is none of {allowed}")
        return word

    return parse


def list_of(parse_item: Parser) -> Parser:
    """Several values: a JSON array, or separated by ``;``, ``|`` or, failing those, commas."""

    def parse(text: str) -> list[object]:
        return [parse_item(item) for item in _items(text) if not is_missing(item)]

    return parse


def parse_zone(text: str) -> str:
    """An IANA time zone."""
    if find_zone(text) is None:
        raise ValueError(f"no IANA time zone: {shown(text)} (for example Australia/Sydney)")
    return text


def parse_channel(text: str) -> str:
    """A channel; everyday words for the well-known ones are understood."""
    name = _underscored(text)
    name = _CHANNEL_WORDS.get(name, name)
    if not is_channel(name):
        raise ValueError(f"no channel name: {shown(text)} (a letter, then letters, digits or _)")
    return name


def parse_action(text: str) -> tuple[Action, str | None]:
    """An action, current or legacy, and the channel that its name implies, if any."""
    found = mapped_action(_underscored(text))
    if found is None:
        allowed = ", ".join(action.value for action in Action)
        raise ValueError(f"{shown(text)} is none of {allowed}")
    return found


def parse_currency(text: str) -> str:
    """An ISO 4217 currency code, in upper case."""
    code = text.upper()
    if re.fullmatch("[A-Z]{3}", code) is None:
        raise ValueError(f"no currency code: {shown(text)} (three letters, for example AUD)")
    return code


def percent(text: str) -> float:
    """A share in percent, 0 to 100; the sign may stand behind it."""
    return _checked(parse_number(text.rstrip("%").rstrip()), text, 0, 100)


def parse_stage(text: str) -> tuple[DealStage | None, str]:
    """A pipeline stage and the file's own word for it; None for a word that is not known.

    The common stage names of well-known CRMs are mapped. An unknown name must not move a deal, so
    that it is kept beside the stage the deal already has.
    """
    name = _underscored(text)
    try:
        return DealStage(name), text
    except ValueError:
        return _CRM_STAGES.get(name), _SHORT_TEXT(text)


def parse_objects(text: str) -> str:
    """A JSON array of objects, checked and given on as text."""
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError(f"not JSON: {shown(text)}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"not a JSON array of objects: {shown(text)}")
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    _check_storable(written.replace("\\u0000", "\x00"))
    return written


def _underscored(text: str) -> str:
    return re.sub(r"[\s\-]+", "_", text.strip().lower())


def _items(text: str) -> list[str]:
    if text.startswith("["):
        try:
            value = json.loads(text)
        except ValueError:
            raise ValueError(f"not a JSON array: {shown(text)}") from None
        return [str(item).strip() for item in value if item is not None]
    for separator in (";", "|", ","):
        if separator in text:
            return [item.strip() for item in text.split(separator)]
    return [text]
