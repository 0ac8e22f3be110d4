"""What a message contains: words matched whole, the last ask, nothing made up."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.capture.content_features import content_snapshot, sms_segments, subject_patterns
from cis_server.capture.content_words import ANGLE_WORDS, CTAS, PAIN_POINT_WORDS, plain
from cis_server.capture.own_text import links, own_text
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.domain import content
from cis_server.domain.lead import Lead

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
LEAD = Lead(first_name="Al", company_name="Acme Widgets Pty Ltd", industry="Real Estate")


def pains(text: str) -> list[str]:
    return list(PAIN_POINT_WORDS.found(text))


def snapshot(body: str, lead: Lead | None = LEAD, channel: str = "email") -> dict[str, object]:
    return content_snapshot(None, body, lead, channel)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Struggling to generate enough qualified leads for your pipeline?",
            ["leads"],
        ),
        ("Save time and generate more revenue with automation", ["revenue", "time", "cost"]),
        ("Poor ROI on every campaign", ["revenue", "cost"]),
        ("Here is the agenda of the meeting", []),
        # Substrings of other words, and words that stand in most mail.
        ("Our android app for Devonshire wondered about timely costumes", []),
        ("Is now a good time for your team?", []),
        ("We won; case closed", ["revenue"]),
        ("The hours are long and everybody is busy", ["time"]),
    ],
)
def test_pain_points(text: str, expected: list[str]) -> None:
    assert pains(text) == expected


def test_a_name_is_no_subject() -> None:
    lead = Lead(company_name="Revenue Pipeline Inc", industry="Budget Airlines")
    body = "I have been following Revenue Pipeline. We know Budget Airlines well."
    found = snapshot(body, lead)
    assert found["pain_points_used"] == []
    assert found["has_company_mention"] is True
    assert found["has_industry_specific"] is True


def test_the_ask_is_the_last_one() -> None:
    found = snapshot(
        "Happy to share a free audit. Worth 15 minutes?\nOr are you open to a quick chat?"
    )
    assert found["ctas"] == [
        "happy to share",
        "free audit",
        "worth 15 minutes",
        "open to a quick chat",
    ]
    assert (found["cta_used"], found["cta_type"]) == ("open to a quick chat", "soft_ask")
    none = snapshot("This is for information.")
    assert (none["cta_used"], none["cta_type"], none["ctas"]) == (None, None, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We noticed your site and keep wondering.", ["curiosity"]),
        ("Others in your field saw results for free.", ["social_proof"]),
        ("It costs 40% less.", ["roi_focused"]),
        ("From $5 a month.", ["roi_focused"]),
        ("A return within weeks, says our expert.", ["roi_focused", "authority"]),
        ("This is the best week of the year.", ["neutral"]),
        ("Only limited spots.", ["urgency"]),
        ("The leading and trusted one.", ["authority"]),
        ("Freedom, gifted riskily.", ["neutral"]),
    ],
)
def test_angles(text: str, expected: list[str]) -> None:
    assert snapshot(text)["angles"] == expected


@pytest.mark.parametrize(
    ("body", "flag", "expected"),
    [
        ("Hi Al, this also matters", "first_name", True),
        ("This also matters", "first_name", False),
        ("How is ACME widgets doing?", "company_mention", True),
        ("Acme is not the whole name", "company_mention", False),
        ("Congratulations on the recent funding round.", "recent_news", True),
        ("I saw that you raised in 2026", "recent_news", True),
        ("I noticed your site", "recent_news", False),
        ("The news from Warsaw: funding", "recent_news", False),
        ("We share a mutual connection", "mutual_connection", True),
        ("Kim was referred by Lee", "mutual_connection", True),
        ("Your connection request", "mutual_connection", False),
        ("The estate business is hard", "industry_specific", True),
        ("Realistic and unreal", "industry_specific", False),
    ],
)
def test_personalisation(body: str, flag: str, expected: bool) -> None:
    assert snapshot(body)[f"has_{flag}"] is expected


def test_short_company_names_are_taken_as_written() -> None:
    lead = Lead(company_name="On AG")
    assert snapshot("We follow On with interest", lead)["has_company_mention"] is True
    assert snapshot("We go on with interest", lead)["has_company_mention"] is False
    assert snapshot("Well. On Monday we start", lead)["has_company_mention"] is False


def test_what_cannot_be_told_is_none_and_not_false() -> None:
    for lead in (None, Lead(), Lead(first_name=" ", company_name="", industry=None)):
        found = snapshot("Hi Al, how is Acme?", lead)
        for flag in ("first_name", "company_mention", "industry_specific"):
            assert found[f"has_{flag}"] is None
    assert "has_attachment" not in snapshot("x")
    known = content_snapshot(None, "x", None, "email", attachments=[])
    assert (known["has_attachment"], known["attachment_count"]) == (False, 0)
    assert "subject_patterns" not in content_snapshot(" ", "x", None, "email")
    assert "segment_count" not in snapshot("x")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Question about your plans", ["question_about", "medium_subject"]),
        ("Quick question about X?", ["question_about", "quick_question", "ends_question",
                                     "medium_subject"]),
        ("RE: our call", ["reply_style", "short_subject"]),
        ("An idea for you", ["idea_for", "medium_subject"]),
        ("A thought for Monday", ["thought_about", "medium_subject"]),
        ("Kim - one thing", ["name_dash", "medium_subject"]),
        ("Hey Kim", ["casual_greeting", "short_subject"]),
        ("{{company}} next year", ["personalized", "short_subject"]),
        ("Introducing our new and much better way to work", ["introduction", "long_subject"]),
        ("Partnering up", ["partnership", "short_subject"]),
        ("Congrats!", ["congratulatory", "short_subject"]),
        ("An opportunity", ["opportunity", "short_subject"]),
        ("Recent numbers", ["other", "short_subject"]),
        ("Higher up", ["other", "short_subject"]),
    ],
)  # fmt: skip
def test_subject_patterns(subject: str, expected: list[str]) -> None:
    assert subject_patterns(subject) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 0),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 20, 2),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("\U0001f600" * 35, 1),
        ("\U0001f600" * 36, 2),
    ],
)
def test_sms_parts(text: str, parts: int) -> None:
    assert sms_segments(text) == parts
    assert content_snapshot(None, text, None, "sms")["segment_count"] == parts


@given(st.text(max_size=700))
def test_sms_parts_grow_with_the_text(text: str) -> None:
    assert sms_segments(text) <= sms_segments(text + "a") <= sms_segments(text) + 1 or not text


QUOTED = """Could we have a quick call?

Kind regards,
Alex Moss
Head of Revenue, Pipeline Ltd

On Mon, 2 Mar 2026 at 10:01, Kim <kim@example.com> wrote:
> I am happy to share my budget?
> Let me know
"""


def test_history_signature_and_links_do_not_count() -> None:
    found = snapshot(QUOTED)
    assert own_text(QUOTED) == "Could we have a quick call?"
    assert found["cta_used"] == "quick call"
    assert found["pain_points_used"] == []
    assert found["question_count"] == 1
    assert found["word_count"] == 6
    assert found["char_count"] == len("Could we have a quick call?")
    wrapped = "Fine.\nOn Mon, 2 Mar 2026 at 10:01, Kim Longname\n<kim@example.com> wrote:\nNo"
    assert own_text(wrapped) == "Fine."
    assert own_text("Yes\n-----Original Message-----\nNo") == "Yes"
    assert own_text("Sure\n--\nAlex") == "Sure"
    assert own_text("Thanks") == "Thanks"
    assert own_text("Best is yet to come") == "Best is yet to come"


def test_markup_and_links() -> None:
    body = (
        "<style>p {color: red}</style><p>Hi Al &amp; co,<br>see <a href='https://a.example/x?y=1'>"
        "our page</a>.</p><blockquote>budget?</blockquote>"
    )
    assert own_text(body) == "Hi Al & co,\nsee our page ."
    assert links(body) == ("https://a.example/x?y=1",)
    text = "See https://a.example/why?q=1. Or https://a.example/why?q=1, or www.b.example!"
    found = snapshot(text)
    assert found["links"] == ["https://a.example/why?q=1", "www.b.example"]
    assert found["link_count"] == 2
    assert found["question_count"] == 0
    assert found["has_question"] is False
    assert snapshot("a < b and c > d")["word_count"] == 7


@given(st.text(max_size=400), st.sampled_from(["email", "sms", "linkedin", "voice"]))
def test_any_text_has_a_snapshot_that_can_be_stored(body: str, channel: str) -> None:
    found = content_snapshot(body[:40], body, LEAD, channel)
    json.dumps(found, allow_nan=False)
    assert found["word_count"] >= 0
    assert set(found["pain_points_used"]) <= set(content.PAIN_POINTS)
    assert set(found["angles"]) <= set(content.ANGLES)


def test_words_stand_under_known_names() -> None:
    assert tuple(PAIN_POINT_WORDS.category) == content.PAIN_POINTS
    assert (*ANGLE_WORDS.category, "neutral") == content.ANGLES
    assert {cta.kind for cta in CTAS} == set(content.CTA_TYPES)


def test_simulated_snapshots_are_what_the_analyser_finds() -> None:
    simulation = simulate([ClientSpec(client_id="a", leads=500)], seed=3, as_of=AS_OF)
    names = simulation.tables["leads"].select("lead_id", "first_name", "company_name", "industry")
    sent = simulation.tables["activities"].filter(pl.col("action") == "sent")
    compared = 0
    for row in sent.join(names, on="lead_id").iter_rows(named=True):
        lead = Lead(**{key: row[key] for key in ("first_name", "company_name", "industry")})
        found = content_snapshot(row["subject"], row["full_message_body"], lead, row["channel"])
        said = json.loads(row["content_snapshot"])
        assert {key: found[key] for key in said} == said, row["full_message_body"]
        assert found["links"] == row["links_included"]
        compared += 1
    assert compared > 1500


_PHRASES = [
    word.pattern.pattern.replace(r"\s+", "  ").replace(r"\w*", "ed")
    for lexicon in (PAIN_POINT_WORDS, ANGLE_WORDS)
    for words in lexicon.category.values()
    for word in words
]


@given(
    st.lists(
        st.sampled_from([re.sub(r"\(\?[^)]*\)|\[([^\]]).*?\]", r"\1", p) for p in _PHRASES])
        | st.text("aeikls \u0130\u0131\u017f\u212ai\u0307\u00df-", max_size=8),
        max_size=6,
    ),
    st.sampled_from([str.upper, str.lower, str.title, lambda text: text.replace("i", "\u0130")]),
)
def test_a_word_is_found_by_its_pattern_whatever_is_looked_for_first(
    parts: list[str], write: Callable[[str], str]
) -> None:
    text = write(" ".join(parts))
    for lexicon in (PAIN_POINT_WORDS, ANGLE_WORDS):
        plainly = tuple(
            name
            for name, words in lexicon.category.items()
            if sum(word.weight for word in words if word.pattern.search(text)) >= 1
        )
        assert lexicon.found(text) == plainly
    for cta in CTAS:
        assert cta.part in plain(text) or not cta.words.search(text)
