"""Page tokens: opaque, and refused when they are somebody else's."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.errors import InvalidInput
from cis_server.rpc.pages import page_key, page_token


@given(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1, max_size=3))
def test_a_token_gives_its_key_back(key: list[str]) -> None:
    assert page_key(page_token(*key), len(key)) == tuple(key)


def test_no_token_is_the_first_page() -> None:
    assert page_key("", 2) is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "ä",
        "AAAA",
        base64.urlsafe_b64encode(b'"text"').decode(),
        base64.urlsafe_b64encode(b"[1, 2]").decode(),
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
        page_token("one"),
    ],
)
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="page_token: is not a token"):
        page_key(token, 2)
