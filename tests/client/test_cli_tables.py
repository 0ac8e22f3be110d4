"""Tables, figures and the report that follows any pattern."""

from __future__ import annotations

import io
from typing import Any

import pytest
from google.protobuf.message import Message

from cis_client._follow import ProgressLine
from cis_client._leads_csv import LeadsFile
from cis_client._pattern_report import pattern_report
from cis_client._tables import LINE_WIDTH, Table, facts, interval, number, percent
from cis_client._words import enum_value, timestamp, word
from cis_client.v1.core_pb2 import DayOfWeek, Lead, PatternType, SegmentRate
from cis_client.v1.learning_service_pb2 import LearnProgress
from cis_client.v1.pattern_service_pb2 import GetPatternResponse
from cis_client.v1.patterns_pb2 import Pattern


def test_table() -> None:
    table = Table(("name", "n"), "title")
    table.add("a", "1")
    table.add("long name", "1 000")
    table.more = 3
    assert table.text().splitlines() == [
        "title",
        "name           n",
        "---------  -----",
        "a              1",
        "long name  1 000",
        "… and 3 more",
    ]
    assert Table(("a",), "empty").text() == "empty\n(nothing)"


def test_sentences_go_on_under_themselves() -> None:
    sentence = " ".join(["word"] * 40)
    table = Table(("gate", "meaning"))
    table.add("drift", sentence)
    table.add("lift", "short")
    shown = table.text().splitlines()
    assert max(map(len, shown)) <= LINE_WIDTH
    assert shown[2].startswith("drift  word")
    assert shown[3].startswith("       word")
    assert shown[-1] == "lift   short"
    assert " ".join(facts([("why", sentence)]).split()) == f"why {sentence}"
    assert max(map(len, facts([("why", sentence)]).splitlines())) <= LINE_WIDTH
    identifier = "x" * 150
    assert identifier in facts([("run", identifier)])


def test_cells_cannot_break_the_terminal() -> None:
    table = Table(("name",))
    table.add("a\nb\x1b[31mc")
    assert table.text().splitlines()[-1] == "a b [31mc"
    assert facts([("name", "a\tb"), ("none", "")]) == "name  a b"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "1.23 %"), (0.5, "50.0 %"), (1.0, "100.0 %"), (0.0, "0.00 %"), (None, "–")],
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_figures() -> None:
    assert interval(0.012, 0.34) == "1.20–34.0 %"
    assert interval(None, 0.1) == "–"
    assert [number(each) for each in (1234567, 0.5, 2.0, 1.23456, None)] == [
        "1 234 567",
        "0.5",
        "2",
        "1.235",
        "–",
    ]


def test_words() -> None:
    assert word(PatternType.DESCRIPTOR, PatternType.PATTERN_TYPE_WHO) == "who"
    assert word(PatternType.DESCRIPTOR, 0) == ""
    assert word(PatternType.DESCRIPTOR, 99) == "99"
    assert enum_value(PatternType.DESCRIPTOR, "Who") == PatternType.PATTERN_TYPE_WHO
    assert timestamp("2026-03-01").ToJsonString() == "2026-03-01T00:00:00Z"
    assert timestamp("2026-03-01T09:00+11:00").ToJsonString() == "2026-02-28T22:00:00Z"


class Filler:
    """Sets every field of a message, each text to one of its own."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def fill(self, message: Message, depth: int = 0) -> None:
        for field in message.DESCRIPTOR.fields:
            if field.name == "by_channel" and depth > 1:
                continue  # The contract leaves it empty inside itself.
            is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
            if is_map:
                value = field.message_type.fields_by_name["value"]
                entries: Any = getattr(message, field.name)
                if value.message_type is not None:
                    self.fill(entries[self.text("key")], depth + 1)
                else:
                    entries[self.text("key")] = self.scalar(value)
            elif field.message_type is not None and field.is_repeated:
                self.fill(getattr(message, field.name).add(), depth + 1)
            elif field.message_type is not None:
                if field.containing_oneof is None or len(field.containing_oneof.fields) == 1:
                    self.fill(getattr(message, field.name), depth + 1)
            elif field.is_repeated:
                getattr(message, field.name).append(self.scalar(field))
            else:
                setattr(message, field.name, self.scalar(field))

    def scalar(self, field: Any) -> Any:
        if field.enum_type is not None:
            return 1
        if field.cpp_type == field.CPPTYPE_STRING:
            return self.text(field.name)
        return True if field.cpp_type == field.CPPTYPE_BOOL else 1

    def text(self, name: str) -> str:
        self.texts.append(f"{name}#{len(self.texts)}")
        return self.texts[-1]


@pytest.mark.parametrize("detail", ["who", "what", "when", "how", "funnel", "conversation"])
def test_the_report_shows_every_text_of_every_pattern(detail: str) -> None:
    pattern = Pattern()
    filler = Filler()
    filler.fill(getattr(pattern, detail))
    response = GetPatternResponse(pattern=pattern)
    shown = "\n".join(pattern_report(response, top=10))
    # A list gives its name to the rate inside it, as `tuesday` does to its segment.
    nested = set(_nested_names(getattr(pattern, detail)))
    missing = [text for text in filler.texts if text not in shown and text not in nested]
    assert filler.texts
    assert missing == []


def _nested_names(message: Message) -> list[str]:
    found: list[str] = []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, SegmentRate):
            found.append(value.value)
        elif field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                found += [name for each in value.values() for name in _nested_names(each)]
        elif field.is_repeated:
            found += [name for each in value for name in _nested_names(each)]
        else:
            found += _nested_names(value)
    return found


@pytest.mark.parametrize(("q", "shown"), [(0.0, "<0.001"), (0.0004, "<0.001"), (0.012, "0.012")])
def test_no_q_value_is_zero(q: float, shown: str) -> None:
    pattern = Pattern()
    segment = pattern.who.title_rankings.add(value="ceo")
    segment.estimate.q_value = q
    *_, table = pattern_report(GetPatternResponse(pattern=pattern), 5)
    assert table.splitlines()[-1].split()[-2] == shown


def test_numbered_names_come_in_the_order_of_their_numbers() -> None:
    pattern = Pattern()
    for name in ("touch_10_plus", "touch_2", "touch_1"):
        pattern.when.converting_touch_distribution[name] = 0.25
    shown = "\n".join(pattern_report(GetPatternResponse(pattern=pattern), 5))
    assert shown.index("touch_1 ") < shown.index("touch_2 ") < shown.index("touch_10_plus")


def test_columns_that_say_nothing_more_are_left_out() -> None:
    pattern = Pattern()
    pattern.how.channel_transitions.add(from_channel="voice", to_channel="voice")
    report = "\n".join(pattern_report(GetPatternResponse(pattern=pattern), 5))
    assert "from channel  to channel" in report
    pattern.when.best_days.add(day="Monday", day_of_week=DayOfWeek.DAY_OF_WEEK_MONDAY)
    pattern.when.best_days.add(day="Tuesday", day_of_week=DayOfWeek.DAY_OF_WEEK_TUESDAY)
    report = "\n".join(pattern_report(GetPatternResponse(pattern=pattern), 5))
    assert "Monday" in report
    assert "day of week" not in report


def test_figures_of_one_table_stand_above_it() -> None:
    pattern = Pattern()
    found = pattern.who.attribute_rankings.add(attribute="attributes.age", coverage=0.5)
    found.segments.add(value="17–31")
    *_, block = pattern_report(GetPatternResponse(pattern=pattern), 5)
    heading, coverage, columns, *_ = block.splitlines()
    assert heading == "attribute rankings · attributes.age"
    assert coverage == "coverage  50.0 %"
    assert columns.startswith("value")


def test_a_pattern_that_was_never_learned() -> None:
    assert list(pattern_report(GetPatternResponse(), 5)) == ["no pattern has been learned yet"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_at_a_terminal_is_one_line() -> None:
    terminal = Terminal()
    line = ProgressLine(terminal)
    line.show(LearnProgress(stage="who", fraction=0.5, message="Ranking titles"))
    line.clear()
    assert terminal.getvalue() == (
        "\r\x1b[2K" + "█" * 12 + "·" * 12 + "  50%  Ranking titles" + "\r\x1b[2K"
    )


def test_every_lead_field_can_be_a_column() -> None:
    special = {
        "employment_history": '[{"company": "A", "current": true}]',
        "attributes": '{"k": "v", "n": 3, "none": null}',
        "email_status": "verified",
        "status": "new",
    }
    names = list(Lead.DESCRIPTOR.fields_by_name)
    cells = [special.get(name) or ("true" if _is_flag(name) else "7") for name in names]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    row = next(iter(LeadsFile(io.StringIO(",".join(names) + "\n" + ",".join(quoted) + "\n"))))
    assert row.error == ""
    assert row.lead is not None
    assert {field.name for field, _ in row.lead.ListFields()} == set(names)
    assert row.lead.employment_history[0].company == "A"
    assert dict(row.lead.attributes) == {"k": "v", "n": "3"}


def _is_flag(name: str) -> bool:
    field = Lead.DESCRIPTOR.fields_by_name[name]
    return field.cpp_type == field.CPPTYPE_BOOL


@pytest.mark.parametrize(
    ("column", "cell", "complaint"),
    [
        ("employee_count", "3.5", "'3.5' is not a whole number"),
        ("employee_count", "9999999999", "is not a whole number"),
        ("revenue", "lots", "'lots' is not a number"),
        ("is_hiring", "maybe", "'maybe' is neither true nor false"),
        ("email_status", "odd", "'odd' is none of catch_all, guessed, invalid"),
        ("attributes", "[1]", "is not a JSON object"),
        ("employment_history", "{}", "is not a JSON list of jobs"),
        ("employment_history", '[{"boss": 1}]', "is not a JSON list of jobs"),
    ],
)
def test_bad_cells(column: str, cell: str, complaint: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    row = next(iter(LeadsFile(io.StringIO(f"{column}\n{quoted}\n"))))
    assert row.lead is None
    assert complaint in row.error
