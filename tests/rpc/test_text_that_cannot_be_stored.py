"""Well-formed protobuf that is no value all the same: none of it may reach the database."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

import cis_client.v1
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.vocabulary import is_channel
from cis_server.errors import InvalidInput
from cis_server.rpc.pages import page_key, page_token
from cis_server.rpc.rule_table import RULES
from cis_server.rpc.rules import Entries, Items, check_request, currency, iso_date, uuid_text


def requests() -> Iterator[Descriptor]:
    """Every message of the contract that a request can hold."""
    waiting = []
    for module in pkgutil.iter_modules(cis_client.v1.__path__):
        if module.name.endswith("_service_pb2"):
            file = importlib.import_module(f"cis_client.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                waiting += [method.input_type for method in service.methods]
    seen = set()
    while waiting:
        message = waiting.pop()
        if message.full_name not in seen and message.file.package == "cis.v1":
            seen.add(message.full_name)
            yield message
            waiting += [f.message_type for f in message.fields if f.message_type is not None]


def texts() -> list[FieldDescriptor]:
    return [
        field
        for message in requests()
        if not message.GetOptions().map_entry
        for field in message.fields
        if field.type == FieldDescriptor.TYPE_STRING and field.name != "page_token"
    ]


@pytest.mark.parametrize("field", texts(), ids=lambda field: field.full_name)
def test_no_text_of_a_request_may_hold_the_null_character(field: FieldDescriptor) -> None:
    rule = RULES[field.full_name]
    assert isinstance(rule, Items) == field.is_repeated
    check = rule.each if isinstance(rule, Items) else rule
    assert check is not None
    assert check("a" * 12 + "\0") is not None


def test_keys_and_values_of_attributes_may_not_hold_the_null_character() -> None:
    rule = RULES["cis.v1.Lead.attributes"]
    assert isinstance(rule, Entries)
    assert rule({"plan": "pro"}) is None
    assert rule({"plan": "p\0"}) is not None
    assert rule({"p\0": "pro"}) is not None


def test_a_page_token_with_the_null_character_is_none() -> None:
    assert page_key(page_token("acme"), 1) == ("acme",)
    with pytest.raises(InvalidInput, match="page_token"):
        page_key(page_token("ac\0me"), 1)


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_an_instant_has_less_than_a_second_of_nanoseconds(nanos: int) -> None:
    request = scoring.ScoreLeadRequest(
        client_id="acme", lead_id="1", as_of_time=Timestamp(seconds=1_700_000_000, nanos=nanos)
    )
    with pytest.raises(InvalidInput, match="as_of_time"):
        check_request(request)


@pytest.mark.parametrize("text", ["2026-W01-1", "20260101", "2026-01-01\n", "2026-02-30"])
def test_only_calendar_dates_are_dates(text: str) -> None:
    assert iso_date("2026-01-01") is None
    assert iso_date(text) is not None


@pytest.mark.parametrize(
    "text", ["{3f0c4b2a-1111-4222-8333-444455556666}", "3f0c4b2a111142228333444455556666"]
)
def test_only_the_usual_form_of_a_uuid_is_one(text: str) -> None:
    assert uuid_text("3f0c4b2a-1111-4222-8333-444455556666") is None
    assert uuid_text(text) is not None


def test_a_line_break_at_the_end_is_not_overlooked() -> None:
    assert is_channel("email")
    assert not is_channel("email\n")
    assert currency("AUD") is None
    assert currency("AUD\n") is not None
