"""The title parser: the point table, its traps, and canonical spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.titles import NO_TITLE, parse_title, title_words

POINTS = {
    25: """CEO|C.E.O.|c e o|Ceo & Founder|Co-Founder|Cofounder|co founder|Founder|Owner
        |Business Owner
        |Managing Director|Group Managing Director|Chief Executive Officer|Founder, CTO|Café Owner
        |CEO and Product Owner|President / CEO|ＣＥＯ""",
    22: """CTO|CFO|CMO|COO|CIO|C.T.O|Chief Technology Officer|Chief of Staff|C-Suite Executive
        |President|Chief Marketing & Sales Officer|Interim CFO|Chief Risk Officer""",
    18: """VP|V.P.|SVP|EVP|Vice President|Vice-President Marketing|VICE  PRESIDENT, Sales
        |Senior Vice President|Executive Vice-President|VP Engineering|VP of Sales""",
    15: """Director|International Sales Director|Director of Marketing|Head of Growth|Head, Sales
        |Executive Director|IT Director|Directör""",
    10: "Senior Manager|Senior Manager, Marketing|Sr. Manager",
    7: "Manager|Marketing Manager|General Manager|Team Lead|Lead Developer|Product Manager",
    5: """Product Owner|Technical Product Owner|Executive Assistant to the CEO
        |Assistant to the Owner
        |Executive Assistant, CEO Office|Personal Assistant to CEO and Founder|Intern|Coordinator
        |Sales Coordinator|Headhunter|Leadership Coach|Thought leadership|Engineer|Data Owner
        |Lead Generation Specialist|Receptionist|Directory Editor|Ownership Advocate|Former CEO
        |International Trader|Internal Auditor|Presidential Historian|Overheads Clerk|retired""",
}
CASES = [
    (title.strip(), points) for points, titles in POINTS.items() for title in titles.split("|")
]


@pytest.mark.parametrize(("title", "points"), CASES)
def test_points(title: str, points: int) -> None:
    assert parse_title(title).points == points


@pytest.mark.parametrize("title", [None, "", "   ", "--", ".", "…"])
def test_no_title_has_no_points(title: str | None) -> None:
    assert parse_title(title) == NO_TITLE


@pytest.mark.parametrize(
    "title",
    [
        "Marketing Intern",
        "Student",
        "Sales Co-ordinator Coordinator",
        "RECEPTIONIST",
        "PA, assistant",
    ],
)
def test_unsuitable_titles(title: str) -> None:
    assert parse_title(title).unsuitable


@pytest.mark.parametrize(
    "title", ["International Sales Director", "Internal Auditor", "Studentship Lead", "CEO"]
)
def test_words_that_only_contain_an_unsuitable_word_are_fine(title: str) -> None:
    assert not parse_title(title).unsuitable


@pytest.mark.parametrize(
    ("title", "canonical", "level", "function"),
    [
        ("C.E.O", "ceo", "ceo", "general"),
        ("Chief Exec", "ceo", "ceo", "general"),
        ("chief mktg officer", "cmo", "c_level", "marketing"),
        ("VP of Marketing", "vp marketing", "vp", "marketing"),
        ("Chief Finance Officer", "cfo", "c_level", "finance"),
        ("Chief Ops", "coo", "c_level", "operations"),
        ("Chief Tech Officer", "cto", "c_level", "technology"),
        ("CIO", "cio", "c_level", "technology"),
        ("Co-Founder", "owner", "founder", "general"),
        ("Principal", "owner", "staff", "general"),
        ("Managing Director", "managing director", "ceo", "general"),
        ("Director of Marketing", "marketing director", "director", "marketing"),
        ("Director, Marketing", "marketing director", "director", "marketing"),
        ("Sales Director", "sales director", "director", "sales"),
        ("Head of Sales", "head of sales", "head", "sales"),
        ("IT manager", "IT Manager", "manager", "technology"),
        ("  blue-collar  worker. ", "Blue-collar Worker", "staff", "other"),
        ("General Manager, Finance", "General Manager, Finance", "manager", "finance"),
    ],
)
def test_canonical_title_level_and_function(
    title: str, canonical: str, level: str, function: str
) -> None:
    parsed = parse_title(title)
    assert (parsed.canonical, parsed.level, parsed.function) == (canonical, level, function)


def test_directors_are_no_technology_chiefs_and_coordinators_no_operating_chiefs() -> None:
    assert parse_title("Director of Technology").canonical == "technology director"
    assert parse_title("Coordinator").canonical == "Coordinator"


@given(st.text(max_size=60))
def test_any_text_parses_and_case_and_outer_space_do_not_matter(text: str) -> None:
    parsed = parse_title(text)
    assert 0 <= parsed.points <= 25
    assert (parsed.points == 0) == (not title_words(text))
    assert parse_title(f"  {text}\n").points == parsed.points


@given(st.sampled_from([title for title, _ in CASES]))
def test_case_does_not_matter(title: str) -> None:
    assert parse_title(title.upper()).points == parse_title(title.lower()).points


@given(st.sampled_from(["Owner", "CTO", "Vice President", "Director", "Manager", "Clerk"]))
def test_a_second_role_never_weakens_the_first(role: str) -> None:
    alone = parse_title(role).points
    for other in ("Product Owner", "Manager", "Engineer", "Vice President"):
        assert parse_title(f"{role}, {other}").points == max(alone, parse_title(other).points)
