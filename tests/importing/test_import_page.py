"""The page on importing says what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from cis_server.capture.mapping import parse_mapping
from cis_server.domain.vocabulary import TimePrecision

PAGE = Path(__file__).parents[2] / "docs" / "import.md"


def test_the_mapping_on_the_page_is_a_mapping() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    mapping = parse_mapping(tomllib.loads(example))
    assert mapping["leads"].columns["funktion"] == "title"
    assert mapping["leads"].formats("converted_at") == ("%d.%m.%Y %H:%M", "%d.%m.%Y")
    assert mapping["activities"].precision is TimePrecision.DAY
