"""Texts to typed values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.capture import values as v
from cis_server.domain.vocabulary import Action, DealStage, EmailStatus, Objection

COUNT = v.integer_of(least=0)
STATUS = v.choice_of(EmailStatus, {"valid": "verified"})
OBJECTIONS = v.list_of(v.choice_of(Objection))
TEXTS = v.list_of(v.text_of(100))


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (v.parse_email, "Jane.Doe@Example.COM", "jane.doe@example.com"),
        (v.parse_email, "mailto:jane@example.com", "jane@example.com"),
        (v.parse_domain, "https://www.Acme.com/about?x=1", "acme.com"),
        (v.parse_domain, "acme.com.au", "acme.com.au"),
        (v.parse_domain, "http://user@acme.com:8080", "acme.com"),
        (v.parse_domain, "müller.de", "müller.de"),
        (v.parse_boolean, "Yes", True),
        (v.parse_boolean, "0", False),
        (v.parse_number, "$1,234.50", 1234.5),
        (v.parse_number, "-1e3", -1000.0),
        (v.parse_number, "1,234,567", 1234567.0),
        (COUNT, "1,200", 1200),
        (COUNT, "12.0", 12),
        (COUNT, "0", 0),
        (STATUS, "Catch All", "catch_all"),
        (STATUS, "catch-all", "catch_all"),
        (STATUS, "Valid", "verified"),
        (OBJECTIONS, "timing; Budget", ["timing", "budget"]),
        (TEXTS, "Salesforce, AWS", ["Salesforce", "AWS"]),
        (TEXTS, "a, b; c", ["a, b", "c"]),
        (TEXTS, '["a, b", null, "c"]', ["a, b", "c"]),
        (TEXTS, "one", ["one"]),
        (v.parse_zone, "Europe/Lisbon", "Europe/Lisbon"),
        (v.parse_channel, "Phone Call", "voice"),
        (v.parse_channel, "E-Mail", "email"),
        (v.parse_channel, "WhatsApp", "whatsapp"),
        (v.parse_action, "SENT", (Action.SENT, None)),
        (v.parse_action, "Email Sent", (Action.SENT, "email")),
        (v.parse_action, "voice_completed", (Action.SENT, "voice")),
        (v.parse_currency, "usd", "USD"),
        (v.percent, "40 %", 40.0),
        (v.parse_stage, "Closed Won", (DealStage.CLOSED_WON, "Closed Won")),
        (v.parse_stage, "contractsent", (DealStage.CONTRACT_SENT, "contractsent")),
        (v.parse_stage, "Cake eaten", (None, "Cake eaten")),
        (v.parse_objects, '[{"title": "CEO"}]', '[{"title": "CEO"}]'),
        (v.parse_key, "0031x", "0031x"),
    ],
)
def test_what_is_read(parse: v.Parser, text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (v.parse_email, "jane at example", "not an e-mail address"),
        (v.parse_email, "a@b.com, c@d.com", "not an e-mail address"),
        (v.parse_domain, "Acme Pty Ltd", "not a domain"),
        (v.parse_boolean, "maybe", "not yes or no"),
        (v.parse_number, "12 apples", "not a number"),
        (v.parse_number, "1,23", "not a number"),
        (v.parse_number, "1e999", "not a finite number"),
        (v.parse_number, ".", "not a number"),
        (COUNT, "-5", "is below 0"),
        (COUNT, "2.5", "not a whole number"),
        (COUNT, "11-50", "a range, not a number"),
        (COUNT, "10,001+", "a range, not a number"),
        (COUNT, "99999999999", "is above 2147483647"),
        (v.number_of(least=0, most=10), "11", "above 10"),
        (STATUS, "superb", "none of unknown, guessed"),
        (OBJECTIONS, "timing; weather", '"weather" is none of'),
        (TEXTS, "[1, 2", "not a JSON array"),
        (v.parse_zone, "Sydney", "no IANA time zone"),
        (v.parse_channel, "123", "no channel name"),
        (v.parse_action, "waved", "none of sent"),
        (v.parse_currency, "dollars", "no currency code"),
        (v.percent, "140", "is above 100"),
        (v.parse_objects, '{"a": 1}', "not a JSON array of objects"),
        (v.parse_objects, '[{"a": "\\u0000"}]', "NUL"),
        (v.parse_objects, '[{"a": "\\ud800"}]', "surrogate"),
        (v.parse_key, "x" * 129, "at most 128"),
        (v.parse_key, "a\tb", "control characters"),
        (v.text_of(3), "four", "at most 3"),
        (v.text_of(9), "a\x00b", "NUL"),
        (v.text_of(9), "\ud800", "surrogate"),
    ],
)
def test_what_is_refused_and_why(parse: v.Parser, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_whole_numbers_read_back(number: int) -> None:
    assert COUNT(str(number)) == COUNT(f"{number:,}") == COUNT(f"{number}.0") == number


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    parsers = (v.parse_number, v.parse_email, v.parse_domain, COUNT, TEXTS, v.parse_objects)
    assert all(_outcome(parse, text) for parse in parsers)


def _outcome(parse: v.Parser, text: str) -> tuple[str, object] | str:
    try:
        return "read", parse(text)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("text", ["", "  ", "NULL", "n/a", "NaN", None, "\\N"])
def test_what_says_nothing(text: str | None) -> None:
    assert v.is_missing(text)


def test_quoted_texts_stay_short() -> None:
    assert len(v.shown("x" * 1000)) <= v.SHOWN_LENGTH + 2
