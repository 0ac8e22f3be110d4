"""The command ``cis`` against a server with fixed answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_test_server import CliServer, serving

from cis_client.cli import main
from cis_client.v1.core_pb2 import EmailStatus

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[CliServer]:
    with serving() as it:
        yield it


@pytest.fixture
def cis(server: CliServer, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--target", server.target])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


LEADS = """\
lead_id,Employee Count,email_status,Favourite Colour,technologies,is_hiring
a,90,verified,red,k8s; go,yes
b,40,guessed,,,
c,many,,blue,,
d,-5,,"two
lines",,
e,7,,green
f,55.0,Catch-All,,,no
"""


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    path = tmp_path / "leads.csv"
    path.write_text(LEADS, encoding="utf-8-sig")
    return path


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_score_shows_best_leads_and_what_failed(cis: Run, leads: Path, server: CliServer) -> None:
    server.scoring.batches.clear()
    code, out, err = cis("score", "--client", "acme", leads)
    assert (code, err) == (1, "")
    shown = lines(out)
    start = shown.index("best leads")
    assert shown[start + 3 : start + 6] == [
        "2 a 90 hot 9.00 %",
        "8 f 55 cool 5.50 %",
        "3 b 40 cool 4.00 %",
    ]
    assert "hot 1 33.3 %" in shown
    assert "4 – Employee Count: 'many' is not a whole number" in shown
    assert "5 d leads[2].employee_count: is below 0" in shown
    assert "7 – has 4 cells where the header has 6" in shown
    assert "scored 3" in shown
    assert "not scored 3" in shown
    assert "mean score 61.7" in shown

    sent = server.scoring.batches[0]
    first = sent.leads[0]
    assert sent.client_id == "acme"
    assert (first.employee_count, first.is_hiring) == (90, True)
    assert first.email_status == EmailStatus.EMAIL_STATUS_VERIFIED
    assert list(first.technologies) == ["k8s", "go"]
    assert dict(first.attributes) == {"Favourite Colour": "red"}
    assert not sent.leads[1].attributes
    assert not sent.leads[1].HasField("is_hiring")
    assert sent.leads[3].email_status == EmailStatus.EMAIL_STATUS_CATCH_ALL


def test_score_writes_every_row_with_its_score(cis: Run, leads: Path, tmp_path: Path) -> None:
    out = tmp_path / "scored.csv"
    code, shown, _ = cis("score", "--client", "acme", leads, "-o", out)
    assert code == 1
    assert "best leads" not in shown
    text = out.read_text()
    header, first, *_ = text.splitlines()
    assert header == (
        "lead_id,Employee Count,email_status,Favourite Colour,technologies,is_hiring,cis_score,"
        "cis_tier,cis_suppressed,cis_suppression_reason,cis_conversion_probability,cis_error"
    )
    assert first == "a,90,verified,red,k8s; go,yes,90,hot,false,,0.09,"
    assert "c,many,,blue,,,,,,,,Employee Count: 'many' is not a whole number" in text
    assert list(tmp_path.glob(".*")) == []

    # Scored again, the columns of the first run are replaced and not taken for attributes.
    cis("score", "--client", "acme", out, "-o", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().splitlines()[1] == first


def test_score_sends_batches_of_a_thousand(cis: Run, tmp_path: Path, server: CliServer) -> None:
    server.scoring.batches.clear()
    path = tmp_path / "many.csv"
    path.write_text("lead_id,employee_count\n" + "".join(f"{i},{i % 90}\n" for i in range(2_500)))
    code, out, _ = cis("score", "--client", "acme", path)
    assert code == 0
    assert [len(batch.leads) for batch in server.scoring.batches] == [1_000, 1_000, 500]
    assert "scored 2 500" in lines(out)
    assert "… and 2480 more" in out


def test_score_in_json(cis: Run, leads: Path) -> None:
    code, out, _ = cis("score", "--client", "acme", leads, "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["scored"], found["failed"]) == (3, 3)
    assert [(each["line"], each["score"]) for each in found["scores"]] == [
        (2, 90),
        (3, 40),
        (8, 55),
    ]
    assert [each["line"] for each in found["failures"]] == [4, 5, 7]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b"lead_id,Lead ID\n1,2\n", "two columns are 'lead_id'"),
        (b"lead_id,title\n1,\xff\xfe\n", "is not UTF-8"),
    ],
)
def test_score_says_what_is_wrong_with_a_file(
    cis: Run, tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    code, out, err = cis("score", "--client", "acme", path)
    assert (code, out) == (2, "")
    assert complaint in err


def test_score_of_a_missing_file(cis: Run, tmp_path: Path) -> None:
    code, _, err = cis("score", "--client", "acme", tmp_path / "none.csv")
    assert code == 2
    assert "No such file" in err


def test_score_explains_one_lead(cis: Run) -> None:
    code, out, _ = cis("score", "--client", "acme", "--lead-id", "x")
    assert code == 0
    shown = lines(out)
    assert "score 71 (71.25)" in shown
    assert "conversion 12.0 % (10.0–15.0 %)" in shown
    assert "authority 25 0.2500 25.00" in shown
    assert "+10.50 Decides alone" in shown
    assert "what the probability of converted is made of" in shown
    assert "-2.600 before anything of the lead counts" in shown
    assert "+0.900 × 2.46 industry is software" in shown
    assert "-0.300 × 0.74 country is nz" in shown
    assert any(
        line.startswith("weights learned, version v-9, from 12 345 units, confidence 87.0 %, ")
        for line in shown
    )


def test_score_of_one_lead_in_json_has_its_factors(cis: Run) -> None:
    code, out, _ = cis("score", "--client", "acme", "--lead-id", "x", "--json")
    assert code == 0
    told = json.loads(out)["conversion_probability"]
    assert told["base_log_odds"] == -2.6
    assert [(each["feature"], each["log_odds"]) for each in told["factors"]] == [
        ("industry", 0.9),
        ("country", -0.3),
    ]


def test_timing(cis: Run) -> None:
    code, out, _ = cis("timing", "--client", "acme", "--timezone", "Australia/Sydney")
    assert code == 0
    shown = lines(out)
    assert "send at 2026-03-02 22:17 UTC" in shown
    assert "zone Australia/Sydney (exact)" in shown
    assert "gap 3 days (2–5)" in shown
    assert "Tue 2026-03-03 09:00 2026-03-02 22:00 – learned 1" in shown
    assert "tuesday 8.00 % (6.40–10.0 %, n 400) winning learned" in shown


def test_channels(cis: Run) -> None:
    code, out, _ = cis("channels", "--client", "acme", "--tier", "HOT", "--used", "email,voice")
    assert code == 0
    shown = lines(out)
    assert "next email" in shown
    assert "tier hot" in shown
    assert "voice no – – – not for this tier" in shown
    assert "email → voice – –" in shown


def test_weights(cis: Run) -> None:
    code, out, _ = cis("weights", "--client", "acme")
    assert code == 0
    assert "authority 0.3500 0.2500" in lines(out)
    assert "learned from 2 000 leads, 150 converted" in lines(out)


def test_patterns(cis: Run) -> None:
    code, out, _ = cis("patterns", "--client", "acme")
    assert code == 0
    assert "who ok 2 000 150 7.50 % 90.0 % 2026-03-15 00:00 (stale)" in lines(out)
    assert "what insufficient_data – – – – – too little" in lines(out)


def test_one_pattern(cis: Run) -> None:
    code, out, _ = cis("patterns", "--client", "acme", "--type", "who", "--top", "2")
    assert code == 0
    shown = lines(out)
    assert "title rankings" in shown
    assert "value rate 90 % interval sample converted lift q verdict" in shown
    assert "ceo 12.0 % 9.60–15.0 % 200 20 1.50 0.012 winning" in shown
    assert "… and 1 more" in shown
    assert "intern" not in out


def test_learn_starts_a_run(cis: Run) -> None:
    code, out, _ = cis("learn", "--client", "acme")
    assert (code, out) == (0, "run run-1 is under way: cis runs --run run-1\n")


def assert_result_is_shown(out: str) -> None:
    shown = lines(out)
    assert "who ok 2 000 150 90.0 %" in shown
    assert "what insufficient_data 0 0 0.00 % 7 conversions, 20 needed" in shown
    assert "state success, live" in shown
    assert "why better on outcomes not seen" in shown
    assert "authority 0.2500 0.3500 0.3500 0.3000–0.4000" in shown
    assert "min_converted yes 150 50 enough" in shown
    assert "gain +0.01230 log_loss (80% interval +0.00100 to +0.02000)" in shown
    assert "conversion model (converted)" in shown
    assert "state gate_failed, not live" in shown
    assert "PR-AUC 0.3100 (baseline 0.0750)" in shown
    gain = "+0.0500 PR-AUC (80% interval -0.0100 to +0.1000) on 200 leads"
    assert f"beside propensity-4 {gain}" in shown
    assert "beside gradient trees one class only" in shown
    assert "small 0 3 conversions, 20 needed" in shown


def test_learn_follows_to_the_result(cis: Run) -> None:
    code, out, err = cis("learn", "--client", "acme", "--follow", "--as-of", "2026-03-01")
    assert code == 0
    # Not a terminal: one line for each stage.
    assert lines(err) == ["0% acme: queued", "10% acme: extract", "60% acme: who"]
    assert_result_is_shown(out)


def test_learn_goes_on_by_asking_when_the_stream_breaks(cis: Run, server: CliServer) -> None:
    server.learning.polls = 0
    code, out, _ = cis("learn", "--client", "breaks", "--follow")
    assert code == 0
    assert server.learning.polls == 2
    assert_result_is_shown(out)


def test_learn_in_json(cis: Run) -> None:
    code, out, _ = cis("learn", "--client", "acme", "--follow", "--json")
    assert code == 0
    assert json.loads(out)["clients"][0]["weights_after"]["authority"] == 0.35


def test_learn_refused(cis: Run) -> None:
    code, out, err = cis("learn", "--client", "small", "--follow")
    assert (code, out, err) == (4, "", "cis: 7 conversions, 20 needed\n")


def test_runs(cis: Run, server: CliServer) -> None:
    code, out, _ = cis("runs")
    assert code == 0
    assert "run-1 acme failed 100.0 % publish 2026-03-01 06:00 12.3 disk full" in lines(out)
    server.learning.polls = 1
    code, out, _ = cis("runs", "--run", "run-1")
    assert code == 0
    assert "state succeeded, 100.0 %" in lines(out)
    assert "extract 1.50 2 000" in lines(out)
    assert_result_is_shown(out)


def test_health(cis: Run) -> None:
    code, out, _ = cis("health", "--client", "acme")
    assert code == 0
    assert "(the server) serving" in lines(out)
    assert "acme high expired who the pattern is 20 days old learn again" in lines(out)
    code, out, _ = cis("health", "--json")
    assert json.loads(out)["serving"] is True
    assert len(json.loads(out)["services"]) == 9


def test_health_of_every_client(cis: Run) -> None:
    code, out, _ = cis("health", "--all")
    assert code == 0
    for client in ("acme", "beta"):
        assert f"{client} high expired who the pattern is 20 days old learn again" in lines(out)
    code, out, _ = cis("health", "--all", "--json")
    assert [each["client_id"] for each in json.loads(out)["health"]["clients"]] == ["acme", "beta"]


def test_backfill(cis: Run, server: CliServer) -> None:
    code, out, _ = cis("backfill", "--client", "acme")
    assert (code, out) == (0, "run run-1 is under way: cis runs --run run-1\n")
    code, out, err = cis("backfill", "--all", "--follow")
    assert code == 0
    assert "mark" in err
    assert "acme 7 2 1 200 30 6 of 6 patterns found" in lines(out)
    assert "idle 0 3 touches" in lines(out)
    # What was then learned is told as after Learn.
    assert "authority 0.2500 0.3500 0.3500 0.3000–0.4000" in lines(out)
    # The process that streams is killed; the run goes on and is found again.
    server.learning.polls = 0
    code, out, _ = cis("backfill", "--client", "breaks", "--follow", "--json")
    assert code == 0
    assert server.learning.polls == 2
    assert json.loads(out)["run_id"] == "run-1"


def test_health_of_a_server_that_takes_no_calls(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as drained:
        drained.health.enter_graceful_shutdown()
        assert main(["health", "--target", drained.target]) == 1
    assert "not_serving" in capsys.readouterr().out


def test_refusals_name_the_field(cis: Run) -> None:
    code, _, err = cis("timing", "--client", "acme", "--timezone", "Mars/Base")
    assert (code, err) == (4, "cis: timezone: is no IANA zone\n")
    code, _, err = cis("score", "--client", "acme", "--lead-id", "nobody")
    assert (code, err) == (4, "cis: lead 'nobody' does not exist\n")


def test_nobody_there(free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "--client", "acme", "--target", f"127.0.0.1:{free_port}"]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"cis: no answer from 127.0.0.1:{free_port}: ")
    assert "refused" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["patterns", "--client", "acme", "--type", "whom"], "'whom' is none of who, what, when"),
        (["learn", "--client", "acme", "--as-of", "soon"], "'soon' is no ISO date or time"),
        (["learn"], "one of the arguments --client --all is required"),
        (["score", "--client", "acme"], "FILE --lead-id is required"),
        (["runs", "--count", "0"], "'0' is not a whole number above 0"),
    ],
)
def test_wrong_usage(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_target_from_the_environment(
    server: CliServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIS_TARGET", server.target)
    assert main(["weights", "--client", "acme"]) == 0
    assert "authority" in capsys.readouterr().out


def test_the_installed_command(server: CliServer) -> None:
    command = Path(sys.executable).with_name("cis")
    done = subprocess.run(
        f"{command} patterns --client acme --type who --target {server.target} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("pattern      who, version 3.0\n", "")
    help_text = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "3    no answer" in help_text.stdout
