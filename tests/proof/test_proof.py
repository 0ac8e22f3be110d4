"""The pieces of `make proof` with few seeds; the whole is `docs/proof.md`."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from cis_server.domain.rates import RateEstimate
from tests.proof import charts, naive
from tests.proof.cases import Case, Figures, Picture, Report, Results, Row, Section
from tests.proof.page import limits, missed, write_page
from tests.proof.running import ROOT, _sources, digest, measure_all
from tests.proof.scenarios import clocks, drawn, engagement, null, peeking, power, timing
from tests.proof.sections import SECTIONS, bank
from tests.proof.sections.power import OF_THE_REST

PAGE = ROOT / "docs" / "proof.md"


def test_names_are_unique() -> None:
    cases = [case.name for section in SECTIONS for case in section.cases]
    assert len(set(cases)) == len(cases)
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)


@pytest.mark.parametrize(
    "measure",
    [
        partial(clocks.measure, cohort=60),
        partial(peeking.measure, lift=1.5),
        partial(drawn.measure, cohort=200),
        partial(null.measure, cohort=200, shuffle=False),
        partial(engagement.measure, cohort=200, unmarked=0.3),
    ],
)
def test_the_same_seed_gives_the_same_figures(measure: partial[Figures]) -> None:
    first = json.dumps(measure(3), allow_nan=False)
    assert json.dumps(measure(3), allow_nan=False) == first
    assert json.dumps(measure(4), allow_nan=False) != first


def test_a_large_planted_effect_is_found_and_covered() -> None:
    found = power.measure(1, cohort=3_000, base_rate=OF_THE_REST)
    assert found["found"]
    assert found["true_rate"] / found["true_complement"] == pytest.approx(2.0, abs=0.05)
    assert found["true_complement"] == pytest.approx(0.08, abs=0.003)
    assert found["leads"] == pytest.approx(3_000, rel=0.05)
    assert found["carriers"] == pytest.approx(0.2 * found["leads"], rel=0.15)


def test_distances_on_the_clock_go_the_short_way() -> None:
    assert timing.apart(23, 1) == timing.apart(1, 23) == 2
    assert timing.apart(12, 0) == 12
    assert timing.apart(5, 5) == 0


def estimate(k: int, n: int) -> RateEstimate:
    return RateEstimate(rate=k / n, adjusted_rate=k / n, low=0.0, high=1.0, sample=n, converted=k)


def test_the_naive_method_believes_what_it_sees() -> None:
    ranked = [("a", estimate(30, 300)), ("b", estimate(2, 5)), ("c", estimate(4, 4))]
    assert naive.best(ranked) == "b"
    assert naive.best([]) is None
    assert naive.covers(estimate(0, 10), 0.05) is False
    assert naive.covers(estimate(10, 100), 0.12) is True
    assert naive.covers(estimate(1, 2), 0.5) is None


def test_bounds_hold_or_are_missed() -> None:
    assert Row(figure="f", value=0.9).met
    assert Row(figure="f", value=0.1, high=0.1).met
    assert not Row(figure="f", value=0.11, high=0.1).met
    assert not Row(figure="f", value=0.84, low=0.85, high=0.95).met
    assert not Row(figure="f", value=None, low=0.5).met
    assert limits(Row(figure="f", value=0.9, low=0.85, high=0.95)) == "85.0% to 95.0%"
    assert limits(Row(figure="f", value=0.9)) == "–"


def doubled(seed: int, *, by: int) -> Figures:
    return {"value": by * seed}


def test_a_broken_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What is remembered is believed, what is cut short is measured again."""
    case = Case(name="peek", measure=partial(peeking.measure, lift=1.5))
    file = tmp_path / f"peek-{digest(case)}.jsonl"
    file.write_text('{"seed": 0, "figures": {"found_at": 77}}\n{"seed": 1, "fig')
    console = Console(file=io.StringIO(), force_terminal=False)
    results = measure_all([case], 3, 1, tmp_path, console)
    assert results.of("peek")[0] == {"found_at": 77}
    assert results.of("peek")[1:] == [peeking.measure(seed, lift=1.5) for seed in (1, 2)]
    assert results.values("peek", "found_at")[0] == 77
    again = measure_all([case], 3, 1, tmp_path, console)
    assert again == results


def test_what_is_remembered_belongs_to_its_setting() -> None:
    one, other = (Case(name="n", measure=partial(doubled, by=by)) for by in (1, 2))
    assert digest(one) != digest(other)
    assert digest(one) == digest(Case(name="m", measure=partial(doubled, by=1)))


def test_figures_depend_on_what_their_scenario_imports() -> None:
    files = {str(file.relative_to(ROOT)) for file in _sources(Path(power.__file__))}
    for needed in ("detectors/segments", "stats/shrinkage", "demo/planting", "domain/titles"):
        assert f"cis_server/{needed}.py" in files
    assert {"tests/proof/simulated.py", "tests/proof/scenarios/power.py"} <= files
    assert not {file for file in files if file.startswith(("cis_server/rpc", "cis_client"))}


def some_report(_: Results) -> Report:
    figure, (axes,) = charts.panels()
    charts.bars(axes, ["a"], {"CIS": ([0.5], charts.CIS)})
    return Report(
        text="Words.",
        rows=[
            Row(figure="found", value=0.4, naive=1.0, low=0.5),
            Row(figure="false", value=0.01, high=0.1),
            Row(figure="told", value=3.0, show=lambda value: f"{value:.0f} h"),
        ],
        pictures=[Picture(name="one", caption="A bar.", figure=figure)],
    )


def test_the_page_names_what_is_missed_and_is_the_same_again(tmp_path: Path) -> None:
    case = Case(name="c", measure=partial(doubled, by=1))
    section = Section(name="s", title="A section", cases=[case], report=some_report)
    results = Results(by_case={"c": [{"value": 0}]})
    written = []
    for name in ("one", "two"):
        page = tmp_path / name / "page.md"
        report = section.report(results)
        write_page(page, [section], [report], results, seeds=2)
        written.append((page.read_bytes(), (page.parent / "proof" / "one.png").read_bytes()))
        assert [row.figure for row in missed([report])] == ["found"]
    assert written[0] == written[1]
    text = written[0][0].decode()
    assert "1 of 2 bounds hold; missed: found." in text
    assert "| found | at least 50.0% | **40.0%** | 100.0% | **MISS** |" in text
    assert "| told | – | **3 h** | – | reported |" in text


def test_the_command_measures_writes_and_checks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.proof", "--sections", "experiments", "--seeds", "4"]
    command += ["--jobs", "1", "--page", str(tmp_path / "p.md"), "--cache", str(tmp_path / "c")]
    done = subprocess.run(
        [*command, "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all bounds hold" in done.stdout
    assert (tmp_path / "p.md").read_text().startswith("# Does CIS tell the truth?")
    assert (tmp_path / "proof" / "peeking.png").exists()


def test_the_committed_page_is_whole() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for section in SECTIONS:
        assert f"## {section.title}" in text
    pictures = re.findall(r"\]\((proof/[\w-]+\.png)\)", text)
    assert pictures
    for picture in pictures:
        assert (PAGE.parent / picture).stat().st_size > 5_000
    kept = {file.name for file in (PAGE.parent / "proof").iterdir()}
    assert kept == {Path(picture).name for picture in pictures}


def test_a_real_campaign_is_told_from_its_stored_figures() -> None:
    """Every bound of the bank's figures holds, and the page tells a manager why it is refused."""
    told = bank.report(Results(by_case={}))
    assert len([row for row in told.rows if row.bounded]) == 5
    assert missed([told]) == []
    assert "refused by `calibration_slope` and `drift`" in told.after
    text = PAGE.read_text(encoding="utf-8")
    assert told.text in text
    assert told.after in text
    for row in told.rows:
        assert row.value is not None
        assert f"| {row.figure} | {limits(row)} | **{row.show(row.value)}** |" in text


def test_a_real_campaign_that_does_worse_is_a_miss() -> None:
    found = json.loads(bank.FILE.read_text(encoding="utf-8"))
    found["all"]["cis"] = found["all"]["scikit_learn"] - 0.011
    for draw in found["few"]["draws"]:
        draw["by_time"] = 1.09 * draw["theirs"]
    for gate in found["by_time"]["gates"]:
        gate["passed"] |= gate["name"] == "drift"
    figures = [row.figure for row in missed([bank.of(found)])]
    assert [figure.split(":")[0] for figure in figures] == [
        "A real campaign, fitted on all of the past",
        "A real campaign, 150 people beside other clients of other seasons",
        "A real campaign whose people change",
    ]
