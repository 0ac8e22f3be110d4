"""Wrong inputs from outside: the programs and a raw gRPC call name the field and say it in a code.

What single rules refuse is tested beside them (`tests/rpc`); here it travels all the way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from running_server import ROOT, code_of

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import recommendation_service_pb2_grpc as recommendation_grpc
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_client.v1 import scoring_service_pb2_grpc as scoring_grpc

USAGE, REFUSED, PARTLY, SOME_ROWS_REJECTED, FILE_UNUSABLE = 2, 4, 1, 6, 1


def run(
    program: str, *arguments: str, folder: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def cis(installation: Any, tmp_path: Path) -> Any:
    """The command `cis` as a program of its own, asking the installation."""

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("cis", *arguments, "--target", installation.target, folder=tmp_path)

    return ask


def test_a_negative_employee_count_costs_its_line_only(cis: Any, tmp_path: Path) -> None:
    leads = tmp_path / "leads.csv"
    leads.write_text("lead_id,employee_count\na,20\nb,-4\nc,30\n", encoding="utf-8")
    done = cis("score", "--client", "acme", "leads.csv", "--json")
    assert done.returncode == PARTLY, done.stderr
    found = json.loads(done.stdout)
    assert [score["lead_id"] for score in found["scores"]] == ["a", "c"]
    (failure,) = found["failures"]
    assert failure["line"] == 3
    assert "employee_count" in failure["message"]
    assert "-4" in failure["message"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["timing", "--client", "acme", "--timezone", "Mars/Olympus"], "timezone"),
        (["timing", "--client", ""], "client_id"),
        (["patterns", "--client", ""], "client_id"),
        (["learn", "--client", ""], "client_id"),
        (["learn", "--client", "acme", "--lookback-days", "-1"], "lookback_days"),
        (["channels", "--client", "acme", "--score", "101"], "score"),
    ],
)
def test_a_refusal_names_the_field(cis: Any, arguments: list[str], field: str) -> None:
    done = cis(*arguments)
    assert done.returncode == REFUSED, done.stderr
    assert done.stderr.startswith(f"cis: {field}: "), done.stderr
    assert done.stdout == ""


def test_a_moment_that_is_none_is_wrong_usage(cis: Any) -> None:
    done = cis("learn", "--client", "acme", "--as-of", "next tuesday")
    assert done.returncode == USAGE
    assert "--as-of" in done.stderr
    assert "next tuesday" in done.stderr


def violations(error: grpc.RpcError) -> dict[str, str]:
    """Field -> description, as a caller without our package reads them from the trailers."""
    status = rpc_status.from_call(error)
    assert status is not None
    found = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(found)
    return {each.field: each.description for each in found.field_violations}


@pytest.fixture(scope="module")
def channel(installation: Any) -> Any:
    with grpc.insecure_channel(installation.target) as channel:
        yield channel


def test_eleven_thousand_leads_are_too_many(channel: grpc.Channel) -> None:
    stub = scoring_grpc.ScoringServiceStub(channel)
    leads = [core.Lead(lead_id=str(number), title="CEO") for number in range(11_000)]
    with pytest.raises(grpc.RpcError) as refused:
        stub.BatchScoreLeads(
            scoring.BatchScoreLeadsRequest(client_id="acme", leads=leads), timeout=10
        )
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    assert violations(refused.value) == {"leads": "must hold at most 10000 entries, not 11000"}


def test_every_wrong_field_is_named_at_once(channel: grpc.Channel) -> None:
    stub = scoring_grpc.ScoringServiceStub(channel)
    lead = core.Lead(employee_count=-4, timezone="Mars/Olympus")
    with pytest.raises(grpc.RpcError) as refused:
        stub.ScoreLead(scoring.ScoreLeadRequest(client_id="", lead=lead), timeout=10)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    assert violations(refused.value).keys() == {
        "client_id",
        "lead.employee_count",
        "lead.timezone",
    }


def test_an_unknown_zone(channel: grpc.Channel) -> None:
    stub = recommendation_grpc.RecommendationServiceStub(channel)
    request = recommendation.GetTimingRequest(client_id="acme", timezone="Mars/Olympus")
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetTiming(request, timeout=10)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    assert violations(refused.value).keys() == {"timezone"}


def importing(folder: Path, database_url: str, client: str = "importer") -> Any:
    return run(
        "cis-server", "import", "--client", client, "--leads", "crm.csv",
        folder=folder, CIS_DATABASE_URL=database_url, CIS_DATA_DIR=str(folder), COLUMNS="200",
    )  # fmt: skip


def test_an_import_names_line_and_field(installation: Any, tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text(
        "lead_id,created_at,employee_count,timezone,status,converted_at\n"
        "a,2024-05-01,20,Europe/Vienna,new,\n"
        "b,next tuesday,20,,new,\n"
        "c,2024-05-01,-4,,new,\n"
        "d,2024-05-01,20,Mars/Olympus,new,\n"
        "e,2024-05-01,20,,converted,the day after\n"
        ",2024-05-01,20,,new,\n",
        encoding="utf-8",
    )
    done = importing(tmp_path, installation.database_url)
    assert done.returncode == SOME_ROWS_REJECTED, done.stderr
    report = json.loads((tmp_path / "import-report.json").read_text(encoding="utf-8"))
    (file,) = report["files"]
    assert {each["line"]: each["field"] for each in file["rejected"]} == {
        3: "created_at",
        4: "employee_count",
        5: "timezone",
        6: "converted_at",
        7: "lead_id",
    }
    assert file["inserted"] == 1
    for wrong in ("next tuesday", "-4", "Mars/Olympus", "the day after"):
        assert wrong in done.stdout


def test_an_import_for_nobody_stores_nothing(installation: Any, tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text("lead_id\na\n", encoding="utf-8")
    done = importing(tmp_path, installation.database_url, client="")
    assert done.returncode == FILE_UNUSABLE
    assert "--client" in done.stderr
    assert not (tmp_path / "import-report.json").exists()
