"""The how-to on the Bank Marketing data: its commands run, and what it says comes true.

Every `sh` block of the page is run in order, in a folder of its own that holds the data set and the
examples. Nothing in the blocks is replaced: free ports and the data folder come through the
settings (`CIS_PORT`, `CIS_HTTP_PORT`, `CIS_TARGET`, `CIS_DATA_DIR`), and the block that only says
`cis-server serve` is started in the background, as the page tells the reader to.
"""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from doc_pages import ROOT, Block, blocks, clean_environment, free_port, masked, run_block
from doc_pages import short_folder as temporary
from running_server import connected, wait_until

from cis_client import Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring

PAGE = ROOT / "docs" / "bank-marketing.md"
REAL_FILE = ROOT / "../shared/data/bank-marketing.csv"
SERVE = "cis-server serve"
SYDNEY = "Australia/Sydney"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL_FILE.exists(), reason="the Bank Marketing file is not here"),
]


@dataclass(frozen=True)
class Followed:
    """The page after all of it was done; the server still runs."""

    outputs: dict[Block, str]
    api: Client


@pytest.fixture(scope="module")
def followed() -> Iterator[Followed]:
    port, health_port = free_port(), free_port()
    with temporary() as folder:
        shutil.copy(REAL_FILE, folder / "bank-marketing.csv")
        (folder / "examples").symlink_to(ROOT / "examples")
        environment = clean_environment(
            CIS_DATA_DIR=str(folder / "data"),
            CIS_PORT=str(port),
            CIS_HTTP_PORT=str(health_port),
            CIS_TARGET=f"127.0.0.1:{port}",
        )
        outputs: dict[Block, str] = {}
        server: subprocess.Popen[bytes] | None = None
        try:
            for block in blocks(PAGE, "sh"):
                if block.text.strip() == SERVE:
                    server = start_server(folder, environment)
                else:
                    outputs[block] = run_block(block, folder, environment)
            assert server is not None, "the page does not start a server"
            with connected(f"127.0.0.1:{port}") as api:
                yield Followed(outputs, api)
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            if server is not None and server.poll() is None:
                server.kill()
                server.wait()


def start_server(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    said = folder / "serve.out"
    with said.open("wb") as out, (folder / "serve.err").open("wb") as err:
        server = subprocess.Popen(
            SERVE.split(), cwd=folder, env=environment, stdout=out, stderr=err
        )

    def ready() -> bool:
        assert server.poll() is None, (folder / "serve.err").read_text()
        return "health on" in said.read_text()

    try:
        wait_until(ready, 60.0, "serving")
    except AssertionError:
        server.kill()
        server.wait()
        raise
    return server


def test_the_excerpts_have_the_form_of_what_is_printed(followed: Followed) -> None:
    page = blocks(PAGE, "sh", "text")
    printed: set[str] = set()
    missing = []
    for block in page:
        if block.language == "sh":
            printed |= {masked(line) for line in followed.outputs.get(block, "").splitlines()}
            if "cis runs" in block.text:  # the run says again what `cis learn` has said
                printed |= {masked(line) for line in learned(followed).splitlines()}
        else:
            missing += [line for line in block.text.splitlines() if masked(line) not in printed]
            assert block.text.strip()
    assert missing == []


def learned(followed: Followed) -> str:
    (output,) = [text for block, text in followed.outputs.items() if "cis learn" in block.text]
    return output


def test_every_row_is_imported(followed: Followed) -> None:
    run = the_run(followed)
    assert run.counts["leads"] == 41_188
    assert run.counts["conversions"] == 4_640
    assert run.counts["activities"] == 105_754


def who(followed: Followed) -> dict[str, core.RateEstimate]:
    request = patterns.GetPatternRequest(client_id="bank", type=core.PATTERN_TYPE_WHO)
    ranked = followed.api.get_pattern(request).pattern.who.title_rankings
    return {segment.value.lower(): segment.estimate for segment in ranked}


def test_students_and_retired_people_come_before_blue_collar_workers(followed: Followed) -> None:
    found = who(followed)
    order = list(found)
    assert order.index("blue-collar") > max(order.index("student"), order.index("retired"))
    for better in ("student", "retired"):
        assert found[better].low > found["blue-collar"].high
    assert found["student"].stratified_lift > 1.5
    # The file itself counts 275 of 875 and 638 of 9254; the latest leads were not followed for
    # long enough, and what came of the first calls of others only later does not count.
    assert found["student"].rate == pytest.approx(275 / 875, rel=0.05)
    assert 0.95 * 875 < found["student"].sample <= 875
    assert found["blue-collar"].rate == pytest.approx(638 / 9254, rel=0.05)
    assert 0.95 * 9254 < found["blue-collar"].sample <= 9254


def weekdays(followed: Followed) -> set[int]:
    """ISO numbers of the weekdays that GetTiming names as good ones."""
    request = recommendation.GetTimingRequest(client_id="bank", timezone=SYDNEY)
    best = followed.api.get_timing(request).best_days
    assert best
    return {day.day_of_week for day in best}


def test_there_are_weekdays_and_no_hours(followed: Followed) -> None:
    request = patterns.GetPatternRequest(client_id="bank", type=core.PATTERN_TYPE_WHEN)
    answer = followed.api.get_pattern(request)
    found = answer.pattern.when
    days = [day.day_of_week for day in found.best_days]
    assert set(days) <= set(range(core.DAY_OF_WEEK_MONDAY, core.DAY_OF_WEEK_FRIDAY + 1))
    assert len(days) == len(set(days)) >= 3
    # The weekday of the last call is known, of all leads that were followed for long enough.
    assert 41_000 < sum(day.segment.estimate.sample for day in found.best_days) <= 41_188
    assert list(found.best_hours) == []
    assert not found.HasField("surface")
    assert all(not channel.best_hours for channel in found.by_channel)
    blocks_out = {block.block: block for block in answer.pattern.blocks}
    assert blocks_out["best_hours"].status == core.PATTERN_STATUS_INSUFFICIENT_DATA
    assert "known local hour" in blocks_out["best_hours"].reason


@pytest.mark.parametrize("zone", [SYDNEY, "America/New_York", "Asia/Kolkata", "Europe/Lisbon"])
def test_timing_names_a_future_slot_on_such_a_weekday(followed: Followed, zone: str) -> None:
    request = recommendation.GetTimingRequest(client_id="bank", timezone=zone)
    answer = followed.api.get_timing(request)
    assert answer.timezone == zone
    assert answer.model.source == core.SOURCE_LEARNED
    assert {day.day_of_week for day in answer.best_days} == weekdays(followed)
    first = answer.windows[0]
    start = first.start_time.ToDatetime(dt.UTC)
    local = start.astimezone(ZoneInfo(zone))
    assert start > dt.datetime.now(dt.UTC)
    assert dt.datetime.fromisoformat(first.local_start) == local
    assert local.isoweekday() in weekdays(followed)
    assert first.estimate.sample > 1000
    end = first.end_time.ToDatetime(dt.UTC)
    assert start <= answer.next_send_time.ToDatetime(dt.UTC) < end
    assert {hour.source for hour in answer.best_hours} == {core.SOURCE_DEFAULT}


PEOPLE = {
    "student": {"age": "22", "marital": "single", "education": "high.school"},
    "blue-collar": {"age": "41", "marital": "married", "education": "basic.9y"},
}


def probability(followed: Followed, title: str, **attributes: str) -> core.ConversionProbability:
    lead = core.Lead(lead_id="x", title=title, country="Portugal", attributes=attributes)
    request = scoring.ScoreLeadRequest(client_id="bank", lead=lead)
    answer = followed.api.score_lead(request)
    assert answer.HasField("conversion_probability")
    return answer.conversion_probability


@pytest.mark.parametrize("contact", ["cellular", "telephone"])
def test_a_student_converts_more_probably_than_a_blue_collar_worker(
    followed: Followed, contact: str
) -> None:
    student, worker = (
        probability(
            followed, title, **person, default="no", housing="yes", loan="no", contact=contact,
            previous="0",
        )
        for title, person in PEOPLE.items()
    )  # fmt: skip
    assert student.low > worker.high
    assert student.probability > 1.5 * worker.probability


def test_the_title_alone_makes_the_difference(followed: Followed) -> None:
    for contact, marital in product(("cellular", "telephone"), ("single", "married")):
        both = {"contact": contact, "marital": marital, "age": "30", "previous": "0"}
        student = probability(followed, "student", **both)
        assert student.probability > 1.5 * probability(followed, "blue-collar", **both).probability


def the_run(followed: Followed) -> learning.LearningRun:
    request = learning.ListLearningRunsRequest(client_id="bank", page_size=1)
    (listed,) = followed.api.list_learning_runs(request).runs
    found = learning.GetLearningRunRequest(run_id=listed.run_id)
    return followed.api.get_learning_run(found).run


def test_the_weights_stay_at_the_defaults_and_the_run_says_why(followed: Followed) -> None:
    (found,) = the_run(followed).results
    assert found.weights_status in {
        learning.WEIGHTS_STATUS_NOT_BETTER,
        learning.WEIGHTS_STATUS_NO_VARIANCE,
    }
    assert found.weights_after == found.weights_before
    assert not found.promoted
    assert "explain nothing" in found.reason
    weights = followed.api.get_weights(patterns.GetWeightsRequest(client_id="bank"))
    assert weights.weights == weights.default_weights
    assert weights.model.source == core.SOURCE_DEFAULT


def test_the_held_out_figures_and_the_gates_stand_in_the_run(followed: Followed) -> None:
    (found,) = the_run(followed).results
    (model, *_) = found.propensity
    judged = model.evaluation
    rate = judged.n_converted / judged.n
    assert judged.n == pytest.approx(0.3 * model.n_train, rel=0.01)
    assert 0.22 < rate < 0.27
    before = (model.n_train_converted - judged.n_converted) / (model.n_train - judged.n)
    assert before < 0.07  # the drift that the page speaks of
    assert judged.pr_auc > rate + 0.03
    assert judged.pr_auc > judged.baseline_pr_auc
    gates = {gate.name: gate for gate in model.gates}
    assert gates["pr_auc_gain"].passed
    assert not gates["drift"].passed
    assert all(gate.text for gate in model.gates)
    assert model.promoted
    assert model.forced


def test_scoring_a_file_gives_the_probabilities_of_the_page(followed: Followed) -> None:
    (output,) = [text for block, text in followed.outputs.items() if "people.csv" in block.text]
    shares = {}
    for line in output.splitlines():
        for name in ("ana", "eva", "rui"):
            if f" {name} " in line:
                shares[name] = float(line.split()[-2])
    assert shares["ana"] > 1.5 * shares["rui"]
    assert shares["eva"] > 1.5 * shares["rui"]
