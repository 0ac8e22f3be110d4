"""Clients of other makers: Node with the proto files alone, and `buf curl` with reflection."""

from __future__ import annotations

import base64
import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.rpc import error_details_pb2
from running_server import ROOT

HERE = Path(__file__).parent
BUF = ROOT / "proto" / "node_modules" / ".bin" / "buf"
SERVICES = (
    "ScoringService",
    "RecommendationService",
    "PatternService",
    "LearningService",
    "AdminService",
    "CaptureService",
    "ExperimentService",
    "AnalyticsService",
)

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules").is_dir(),
    reason="node, or its packages, are not here; `make test` installs the packages",
)
needs_buf = pytest.mark.skipif(
    shutil.which("node") is None or not BUF.exists(),
    reason="buf is not here; `make test` installs it where there is npm",
)


@pytest.fixture(scope="module")
def told(installation: Any) -> dict[str, Any]:
    """What the Node client was told."""
    done = subprocess.run(
        ["node", "foreign_client.mjs", installation.target, "acme"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@needs_node
def test_node_scores_a_lead(told: dict[str, Any]) -> None:
    score = told["score"]
    assert score["lead_id"] == "node-1"
    assert 0 < score["score"] <= 100
    assert score["tier"].startswith("TIER_")
    assert score["components"]["authority"] == 25
    total = 0.0
    for name in ("data_quality", "authority", "company_fit", "timing", "risk"):
        total += score["contributions"][name]
    assert total == score["weighted_sum"]
    assert "email" in score["channels"]


@needs_node
def test_node_is_told_when_to_write(told: dict[str, Any]) -> None:
    windows = told["timing"]["windows"]
    assert len(windows) == 3
    for window in windows:
        seconds = window["start_time"].get("seconds", 0)
        local = dt.datetime.fromtimestamp(seconds, ZoneInfo("America/New_York"))
        assert local.hour == window.get("hour", 0)
        assert window["timezone"] == "America/New_York"


@needs_node
def test_node_lets_the_service_learn(told: dict[str, Any]) -> None:
    *progress, last = told["learned"]
    assert progress
    assert all("progress" in answer for answer in progress)
    (client,) = last["result"]["clients"]
    assert client["client_id"] == "acme"
    assert {pattern["type"] for pattern in client["patterns"]} >= {
        "PATTERN_TYPE_WHO",
        "PATTERN_TYPE_WHEN",
        "PATTERN_TYPE_HOW",
    }


@needs_node
def test_node_understands_refusals(told: dict[str, Any]) -> None:
    assert told["refused"]["code"] == "INVALID_ARGUMENT"
    assert "lead.employee_count" in told["refused"]["message"]
    assert told["refused"]["has_details"]
    assert told["unknown"]["code"] == "NOT_FOUND"


def buf_curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_buf
def test_buf_lists_the_services(installation: Any) -> None:
    done = buf_curl("--list-methods", f"http://{installation.target}")
    assert done.returncode == 0, done.stderr
    methods = done.stdout.split()
    for name in SERVICES:
        assert any(method.startswith(f"cis.v1.{name}/") for method in methods), name
    assert "cis.v1.LearningService/Learn" in methods
    assert "grpc.health.v1.Health/Check" in methods


@needs_buf
def test_buf_scores_a_lead(installation: Any) -> None:
    lead = {"leadId": "buf-1", "title": "CEO", "employeeCount": 12}
    done = buf_curl(
        "--data",
        json.dumps({"clientId": "acme", "lead": lead}),
        f"http://{installation.target}/cis.v1.ScoringService/ScoreLead",
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["leadId"] == "buf-1"
    assert answer["components"]["authority"] == 25


@needs_buf
def test_buf_shows_the_details_of_a_refusal(installation: Any) -> None:
    done = buf_curl(
        "--data",
        json.dumps({"clientId": "acme", "lead": {"employeeCount": -1}}),
        f"http://{installation.target}/cis.v1.ScoringService/ScoreLead",
    )
    assert done.returncode != 0
    refused = json.loads(done.stderr)
    assert refused["code"] == "invalid_argument"
    (detail,) = refused["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    packed = base64.b64decode(detail["value"] + "==")
    (violation,) = error_details_pb2.BadRequest.FromString(packed).field_violations
    assert violation.field == "lead.employee_count"
