"""The pass over JSON texts against its plain loop, and against regular expressions."""

import json
import re
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cis_server.stats.arrays import IntArray
from cis_server.stats.keyed_values import (
    FALSE,
    FALSE_UNSPACED,
    TRUE,
    TRUE_UNSPACED,
    Form,
    Keys,
    keyed_values,
    keyed_values_reference,
)

# Keys of one length, keys that begin alike, and one looked for in two ways.
_SOUGHT: Final = (
    ("ab", Form.TEXT),
    ("xy", Form.LIST),
    ("abc", Form.WHOLE),
    ("abc", Form.NAMED),
    ("é", Form.FLAG),
    ("cd", Form.TEXT),
)
_PATTERNS: Final = {
    Form.TEXT: r'"(?:[^"\\]|\\.)*"|null',
    Form.LIST: r"\[[^\]]*\]|null",
    Form.WHOLE: r"[0-9]{1,9}",
}
_FLAGS: Final = {TRUE: ": true", FALSE: ": false", TRUE_UNSPACED: ":true", FALSE_UNSPACED: ":false"}
_PIECES: Final = (
    *('"ab"', '"abc"', '"xy"', '"cd"', '"é"', '"', "ab", ":", ": ", " ", ",", "\\", "\n", "ö", ""),
    *("null", "nul", "true", "tru", "false", "fals", "12", "1234567890", "-3", '"t"', '"t\\"u"'),
    *("[", "]", '["a", "b"]', "{", "}"),
)
_ANY_TEXT: Final = st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)
_VALUE: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 10**12) | st.text('ab"\\é]', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ab", "abc", "xy", "cd", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_OBJECT: Final = st.dictionaries(
    st.sampled_from(["ab", "abc", "xy", "cd", "é", "z"]), _VALUE, max_size=6
).map(lambda value: json.dumps(value, ensure_ascii=False))


def packed(texts: list[str]) -> tuple[NDArray[np.uint8], IntArray]:
    """Bytes of texts, and where each begins; nothing may be written to them."""
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded) or b"\0", dtype=np.uint8)
    start = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)
    start.setflags(write=False)
    return data, start


def searched(text: str, key: str, form: Form) -> Any:
    """What regular expressions find: a value, a number, bits, or whether there is a key."""
    places = [found.start() for found in re.finditer(f'(?="{key}")', text)]
    if text.count("{") > 1:
        own = at_the_top(text)
        places = [place for place in places if place in own]
    if form is Form.NAMED:
        return int(bool(places))
    if form is Form.FLAG:
        flags = (
            bit
            for bit, said in _FLAGS.items()
            for place in places
            if text.startswith(f'"{key}"{said}', place)
        )
        return sum(set(flags))
    pattern = re.compile(f'"{key}": ?({_PATTERNS[form]})')
    found = next(filter(None, (pattern.match(text, place) for place in places)), None)
    if form is Form.WHOLE:
        return int(found[1]) if found else -1
    return found[1] if found else None


def at_the_top(text: str) -> set[int]:
    """Where strings begin that stand in one object and in no other within it."""
    depth, places = 0, set()
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"?|[{}]', text, re.DOTALL):
        if token[0] in "{}":
            depth += 1 if token[0] == "{" else -1
        elif depth == 1:
            places.add(token.start())
    return places


@given(st.lists(_ANY_TEXT | _OBJECT, max_size=6))
def test_one_pass_finds_what_searches_find(texts: list[str]) -> None:
    data, start = packed(texts)
    keys = Keys.of(_SOUGHT)
    sought = (keys.data, keys.start, keys.form, keys.chain)
    found, spans, counts = keyed_values(data, start, *sought)
    plain, plain_spans, plain_counts = keyed_values_reference(data, start, *sought)
    assert np.array_equal(found, plain)
    assert np.array_equal(counts, plain_counts)
    for place, (key, form) in enumerate(_SOUGHT):
        own = spans[place, : counts[place]]
        assert np.array_equal(own, plain_spans[place, : counts[place]])
        values = [data[begin:end].tobytes().decode() for begin, end in own.tolist()]
        assert len(set(values)) == len(values)
        if form in (Form.TEXT, Form.LIST):
            told: list[Any] = [values[n] if n >= 0 else None for n in found[place].tolist()]
        else:
            told = found[place].tolist()
        assert told == [searched(text, key, form) for text in texts]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"z": {"abc": 3}, "abc": 50}', 50),
        ('{"abc": 50, "z": {"abc": 3}}', 50),
        ('{"z": {"abc": 3}}', -1),
        ('{"z": [{"abc": 3}, {"y": {"abc": 4}}], "abc": 50}', 50),
        # Braces within strings are no objects.
        ('{"y": "{{", "z": "}\\"{", "abc": 50}', 50),
        ('{"y": "\\\\", "z": {"abc": 3}, "abc": 50}', 50),
        # What a string says is no key.
        ('{"y": {}, "z": "\\"abc\\": 3, ", "abc": 50}', 50),
    ],
)
def test_keys_of_an_object_within_are_not_those_of_the_text(text: str, number: int) -> None:
    keys = Keys.of([("abc", Form.WHOLE)])
    data, start = packed([text])
    found, _, _ = keyed_values(data, start, keys.data, keys.start, keys.form, keys.chain)
    assert found.tolist() == [[number]]
    assert json.loads(text).get("abc", -1) == number


def test_many_values_keep_their_numbers() -> None:
    """More than fit a small table, some with the same bytes where hashes look."""
    words = [f'"{"x" * 40}{number:05d}{"y" * 40}"' for number in range(3_000)]
    texts = [f'{{"ab": {word}}}' for word in words] * 2
    keys = Keys.of([("ab", Form.TEXT)])
    data, start = packed(texts)
    found, spans, counts = keyed_values(data, start, keys.data, keys.start, keys.form, keys.chain)
    assert counts.tolist() == [3_000]
    assert found[0].tolist() == [*range(3_000), *range(3_000)]
    begin, end = spans[0, 2_999].tolist()
    assert data[begin:end].tobytes().decode() == words[2_999]
