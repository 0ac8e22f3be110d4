"""Rows found on suppression lists are those of `gate_reason`, however the lists are spread."""

from __future__ import annotations

import random

import numpy as np
import pytest
from columns_of_leads import columns_of

from cis_server.domain.lead import Lead
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.scoring.column_gates import GATES, competitor_rows, gate_rows
from cis_server.scoring.distinct_texts import DistinctTexts, RepeatedTexts, text_column_of
from cis_server.scoring.suppression import SuppressionIndex, gate_reason, is_competitor

SECRET = b"of this installation"


def leads(n: int) -> list[Lead]:
    chance = random.Random(n)
    domains = ("a.example", "WWW.b.example", "https://c.b.example/x", "", "é.example", "d..example")
    found = []
    for number in range(n):
        domain = chance.choice(domains)
        own = chance.choice((domain, "mail." + domain, "A.EXAMPLE", "other.example"))
        found.append(
            Lead(
                lead_id=f"lead-{number}",
                email=chance.choice((f"p{number}@{own}", None, "no-address")),
                domain=domain or None,
                phone=chance.choice((f"00 61 {number}", None)),
                personal_email=chance.choice((f"P{number}@home.example ", None)),
            )
        )
    return found


@pytest.mark.parametrize("spread", ["evenly", "low", "high", "one"])
def test_lists_of_any_spread(spread: str) -> None:
    people = leads(600)
    chance = random.Random(spread)
    keys = [
        suppression_key(kind, value, SECRET)
        for lead in chance.sample(people, 60)
        for kind, value in (
            (IdentifierKind.LEAD_ID, lead.lead_id),
            (IdentifierKind.EMAIL, lead.email),
            (IdentifierKind.PHONE, lead.phone),
        )
        if value and chance.random() < 0.4
    ]
    keys.append(suppression_key(IdentifierKind.DOMAIN, "b.example", SECRET))
    fill = {
        "evenly": [chance.randrange(2**64) for _ in range(5000)],
        "low": list(range(5000)),
        "high": [2**64 - 1 - k for k in range(5000)],
        "one": [],
    }[spread]
    index = SuppressionIndex.build([*keys, *fill] if spread != "one" else keys[-1:], SECRET)
    columns = columns_of(people)
    none = np.zeros(len(people), dtype=np.int64)
    found = [GATES[place] for place in gate_rows(columns, none, index)]
    expected = [gate_reason(lead, frozenset(), index) for lead in people]
    assert found == expected
    assert 10 < sum(reason is not None for reason in found) < 500


def test_competitors_by_the_filter_are_those_of_the_rule() -> None:
    people = leads(600)
    rivals = frozenset({"b.example", "mail.a.example", "é.example"})
    found = competitor_rows(columns_of(people), rivals).tolist()
    assert found == [is_competitor(lead, rivals) for lead in people]
    assert 50 < sum(found) < 500


def test_repeated_texts_are_judged_once_each() -> None:
    texts = text_column_of(["ceo", "vp", ""])
    places = np.array([1, 0, 2, 1, 1], dtype=np.int64)
    column = RepeatedTexts(texts.data, texts.start[places], texts.stop[places], texts, places)
    judged: list[str] = []

    def length(text: str) -> int:
        judged.append(text)
        return len(text)

    assert DistinctTexts().judged(column, length, "length", missing=-7).tolist() == [2, 3, -7, 2, 2]
    assert sorted(judged) == ["ceo", "vp"]
    assert [column.text(row) for row in range(5)] == ["vp", "ceo", "", "vp", "vp"]
