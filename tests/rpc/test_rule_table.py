"""Every range that the protos state has its rule, and every rule a stated range."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

from cis_server.rpc.rule_table import BATCH_ITEMS, REQUIRED, RULES
from cis_server.rpc.rules import (
    Check,
    Instant,
    Items,
    Number,
    Text,
    channel,
    clock,
    currency,
    ip_address,
    iso_date,
    uuid_text,
    zone,
)

ROOT = Path(__file__).parents[2]

CHECKED_ELSEWHERE = {
    "UpsertClientRequest.update_mask",  # paths of a message: the converter knows them
    "SetWeightsRequest.weights",  # by the rules of Weights
    "DealItem.value",  # Money may be negative elsewhere; checked together with the deal
}
OWN_WORDS = {
    "ClientPolicy.tier_channels",
    "Campaign.allocation",
    "DecideRecommendationRequest.decision",
    "OutcomeItem.status",
    "ScoreTableRequest.arrow_ipc",
    "PowerPlan.base_rate",
    "PowerPlan.minimum_effect",
    "ExperimentVariant.weight",
    "Lead.attributes",
}
"""Rules whose words are one of a kind; they are compared by hand in `test_rules`."""


class Stated(NamedTuple):
    field: FieldDescriptorProto | None
    comment: str

    @property
    def range(self) -> str | None:
        found = re.search(r"Range: ((?:[^.]|\.(?=[.\d]))*)\.(?: |$)", self.comment)
        return found.group(1) if found else None


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Stated]:
    """Fields and choices of everything a request can hold, with their comments."""
    target = tmp_path_factory.mktemp("descriptors") / "set.binpb"
    proto = ROOT / "proto"
    sources = sorted(path.relative_to(proto).as_posix() for path in proto.glob("cis/v1/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", "--include_source_info"]
    subprocess.run([*command, f"--descriptor_set_out={target}", *sources], check=True, timeout=60)
    files = FileDescriptorSet.FromString(target.read_bytes()).file
    messages: dict[str, DescriptorProto] = {}
    found: dict[str, Stated] = {}
    todo: list[str] = []
    for file in files:
        notes = {
            tuple(at.path): " ".join(at.leading_comments.split())
            for at in file.source_code_info.location
        }
        for i, message in enumerate(file.message_type):
            messages[message.name] = message
            for j, field in enumerate(message.field):
                found[f"{message.name}.{field.name}"] = Stated(field, notes[4, i, 2, j])
            for j, oneof in enumerate(message.oneof_decl):
                if not oneof.name.startswith("_"):
                    found[f"{message.name}.{oneof.name}"] = Stated(None, notes[4, i, 8, j])
        todo += [method.input_type for service in file.service for method in service.method]
    reached: set[str] = set()
    while todo:
        name = todo.pop().removeprefix(".cis.v1.")
        if name in reached or name not in messages:
            continue
        reached.add(name)
        entries = [field for entry in messages[name].nested_type for field in entry.field]
        todo += [field.type_name for field in (*messages[name].field, *entries)]
    return {name: stated for name, stated in found.items() if name.split(".")[0] in reached}


def rule_of(name: str) -> Check | None:
    return RULES.get(f"cis.v1.{name}")


def test_every_stated_range_has_its_rule(reachable: Mapping[str, Stated]) -> None:
    stated = {name for name, it in reachable.items() if "Range:" in it.comment}
    assert len(stated) > 250
    assert {name for name in stated if rule_of(name) is None} == CHECKED_ELSEWHERE


def test_every_rule_names_a_field_that_states_it(reachable: Mapping[str, Stated]) -> None:
    for name in RULES:
        stated = reachable[name.removeprefix("cis.v1.")]
        assert "Range:" in stated.comment or "Must be" in stated.comment, name


def test_what_is_required_says_so(reachable: Mapping[str, Stated]) -> None:
    says = {f"cis.v1.{name}" for name, it in reachable.items() if "Required" in it.comment}
    assert says - REQUIRED == set()
    for name in REQUIRED:
        assert "equired" in reachable[name.removeprefix("cis.v1.")].comment, name


def test_items_of_batches_are_repeated_messages(reachable: Mapping[str, Stated]) -> None:
    for name in BATCH_ITEMS:
        field = reachable[name.removeprefix("cis.v1.")].field
        assert field is not None, name
        assert field.label == FieldDescriptorProto.LABEL_REPEATED, name
        assert field.type == FieldDescriptorProto.TYPE_MESSAGE, name


def test_rules_say_the_same_as_the_comments(reachable: Mapping[str, Stated]) -> None:
    compared = 0
    for name, stated in reachable.items():
        rule = rule_of(name)
        if rule is None or stated.range is None or name in OWN_WORDS:
            continue
        assert stated.field is not None
        repeated = stated.field.label == FieldDescriptorProto.LABEL_REPEATED
        wanted = rule_in_words(stated.range, repeated=repeated)
        if name == "Lead.lead_id":  # required only where a lead is stored
            wanted = Text(0, 128)
        assert rule == wanted, (name, stated.range)
        compared += 1
    assert compared > 240


def rule_in_words(words: str, *, repeated: bool) -> Check:
    """The rule that the words of a comment describe."""
    words = re.sub(r" \(2000 in the full view\)", "", words)
    words = re.sub(r", (after the start|not before|at least|unique in).*$", "", words)
    words = words.removesuffix(", finite").removesuffix(", ISO 4217")
    named = {
        "IANA name": zone,
        "IP address": ip_address,
        "ISO date": iso_date,
        "UUID": uuid_text,
        "`HH:MM`": clock,
        "three capital letters": currency,
        "`[a-z][a-z0-9_]{0,31}`": channel,
        "finite": Number(),
        "0 or more": Number(0),
        "year 1970..2200": Instant(),
        "year 1970..2200, not in the future": Instant(60),
        "year 1970..2200, at most a day in the future": Instant(86_400),
        "at most 7, none twice": Items(7, distinct=True),
        "at most 320 characters with an `@`": Text(0, 320, "@"),
    }
    if words in named:
        return named[words]
    if match := re.fullmatch(r"(?:(\d+)\.\.|at most )(\d+) characters", words):
        return Text(int(match[1] or 0), int(match[2]))
    if repeated and (match := re.fullmatch(r"(?:(\d+)\.\.|at most )(\d+)(.*)", words)):
        rest = re.sub(r"^,? ?(entries)? ?(each matching|each|of)? ?", "", match[3])
        each = rule_in_words(rest, repeated=False) if rest else None
        return Items(int(match[2]), least=int(match[1] or 0), each=each)
    if match := re.fullmatch(r"(-?[\d.]+?)\.\.(-?[\d.]+)", words):
        return Number(float(match[1]), float(match[2]))
    raise AssertionError(f"no rule can be made of {words!r}")
