"""The mapping file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cis_server.capture.mapping import Section, parse_mapping, read_mapping
from cis_server.domain.vocabulary import TimePrecision
from cis_server.errors import DataError

FULL = """
[leads]
timezone = "Europe/Lisbon"
ignore = ["Internal Score"]
missing = ["Unknown", 999]
encoding = "windows-1252"
delimiter = ";"
dates = ["%d/%m/%Y", "%d/%m/%Y %H:%M"]
columns = { "Kunden Nummer" = "lead_id", Segment = "attributes.segment" }
constants = { country = "Portugal", is_hiring = true, created_at = 2024-05-01, attributes.x = "y" }
values.status = { "Closed - Won" = "converted" }
values.attributes.segment = { a = "Alpha" }

[activities]
timezone = { column = "Zone" }
precision = { column = "how exact" }
dates = { occurred_at = "unix" }
"""


def test_a_full_mapping() -> None:
    mapping = parse_mapping(tomllib.loads(FULL))
    assert set(mapping) == {"leads", "activities", "meetings", "deals"}
    leads = mapping["leads"]
    assert leads == Section(
        columns={"kundennummer": "lead_id", "segment": "attributes.segment"},
        values={
            "status": {"closed - won": "converted"},
            "attributes.segment": {"a": "Alpha"},
        },
        constants={
            "country": "Portugal",
            "is_hiring": "true",
            "created_at": "2024-05-01",
            "attributes.x": "y",
        },
        dates={"*": ("%d/%m/%Y", "%d/%m/%Y %H:%M")},
        timezone="Europe/Lisbon",
        ignore=frozenset({"internalscore"}),
        missing=frozenset({"unknown", "999"}),
        encoding="cp1252",
        delimiter=";",
    )
    activities = mapping["activities"]
    assert (activities.timezone_column, activities.precision_column) == ("zone", "howexact")
    assert activities.formats("occurred_at") == ("unix",)
    assert mapping["deals"] == Section()


def test_precision_may_be_stated() -> None:
    mapping = parse_mapping({"activities": {"precision": "weekday"}})
    assert mapping["activities"].precision is TimePrecision.WEEKDAY


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[lead]", r"unknown section \[lead\]; did you mean 'leads'"),
        ("leads = 3", r"\[leads\] must be a table"),
        ("[leads]\ncolumn = {}", "unknown key 'column'; did you mean 'columns'"),
        ("[leads.columns]\nA = 'job'", "columns: 'job' is no field"),
        ("[leads.columns]\nA = 'titel'", "did you mean 'title'"),
        ("[leads.columns]\nA = 'title'\nB = 'title'", "two columns are mapped to 'title'"),
        ("[meetings.columns]\nA = 'attributes.x'", "'attributes.x' is no field"),
        ("[leads]\ntimezone = 'Lisbon'", "'Lisbon' is no IANA time zone"),
        ("[activities]\nprecision = 'roughly'", "'roughly' is none of instant, hour"),
        ("[leads]\ndates = 'dd/mm/yyyy'", "no date format"),
        ("[leads]\ndates = {title = '%Y-%m'}", "'title' is no date field"),
        ("[leads]\ndates = [1]", "a format or a list of formats"),
        ("[leads]\nencoding = 'klingon'", "'klingon' is no text encoding"),
        ("[leads]\ndelimiter = ';;'", "one character"),
        ("[leads]\nignore = 'x'", "ignore: a list is expected"),
        ("[leads]\nvalues = {status = 'x'}", "a table of translations"),
        ("[leads]\nconstants = {title = [1]}", "constants.title"),
        ("[leads", "Expected"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, document: str, message: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(document, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_mapping(path)
    assert str(path) in str(caught.value)


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_mapping(tmp_path / "none.toml")
