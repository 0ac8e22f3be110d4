"""WHO: planted effects are found, nothing is found in nothing."""

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from detector_frames import AS_OF, dataset, outreach

from cis_server.detectors import DetectorSettings, InsufficientData, detect_who
from cis_server.domain.dataset import Dataset
from cis_server.domain.envelope import AttributeRanking
from cis_server.domain.patterns import WhoPattern
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import PatternStatus, Verdict

TITLES = ["CEO", "Director of Sales", "Sales Coordinator", "CTO", "Software Engineer"]


def drawn(*values: str):  # type: ignore[no-untyped-def]
    return lambda rng, size: rng.choice(np.array(values), size)


COLUMNS = {
    "title": drawn(*TITLES),
    "industry": drawn("Software", " software", "Retail", "Mining", "Energy"),
    "employee_count": lambda rng, size: rng.integers(1, 600, size),
    "is_hiring": lambda rng, size: rng.random(size) < 0.4,
    "country": drawn("Australia", "United States"),
    "city": drawn(*"abcdefgh"),
    "tier": drawn("hot", "warm", "cold"),
}


def judged(pattern: WhoPattern) -> list[SegmentRate]:
    rankings = [r.segments for r in pattern.attribute_rankings]
    return [
        segment
        for segments in (pattern.title_rankings, pattern.industry_rankings, *rankings)
        for segment in segments
    ]


def ranking(pattern: WhoPattern, attribute: str) -> AttributeRanking:
    return next(r for r in pattern.attribute_rankings if r.attribute == attribute)


def block(pattern: WhoPattern, name: str) -> tuple[PatternStatus, str]:
    found = next(b for b in pattern.envelope.blocks if b.block == name)
    return found.status, found.reason


def test_a_planted_title_is_found_first() -> None:
    data = outreach(
        seed=1,
        leads=3000,
        columns=COLUMNS,
        hazard=lambda lead, _touch, _channel: np.where(lead["title"] == "CEO", 0.04, 0.015),
    )
    pattern = detect_who(data)
    best = pattern.title_rankings[0]
    assert (best.value, best.verdict) == ("ceo", Verdict.WINNING)
    assert best.estimate.low > pattern.envelope.baseline_conversion_rate
    assert best.estimate.adjusted_lift == pytest.approx(2.2, abs=0.4)
    assert best.estimate.stratified_lift == pytest.approx(0.04 / 0.015, rel=0.25)
    assert [s.verdict for s in pattern.industry_rankings] == [Verdict.UNDECIDED] * 4
    assert pattern.envelope.unit == "leads"
    assert pattern.envelope.sample_size == 3000
    assert pattern.envelope.confidence > 0.9


def test_power_for_a_doubled_rate_on_a_fifth_of_the_leads() -> None:
    found = 0
    for seed in range(12):
        data = outreach(
            seed=seed,
            leads=2500,
            columns=COLUMNS,
            # 16 % against 8 % after five touches
            hazard=lambda lead, _touch, _channel: np.where(lead["title"] == "CEO", 0.0343, 0.0165),
        )
        ceo = next(s for s in detect_who(data).title_rankings if s.value == "ceo")
        found += ceo.verdict is Verdict.WINNING
    assert found >= 11


def test_nothing_wins_where_nothing_matters() -> None:
    runs = [detect_who(outreach(seed=seed, leads=1000, columns=COLUMNS)) for seed in range(40)]
    with_winner = sum(any(s.verdict is Verdict.WINNING for s in judged(run)) for run in runs)
    assert with_winner <= 7  # 10 % of 40, and three standard deviations


def test_verdicts_follow_the_law_and_every_segment_says_so() -> None:
    data = outreach(
        seed=3,
        leads=2000,
        columns=COLUMNS,
        hazard=lambda lead, _touch, _channel: np.where(lead["title"] == "CTO", 0.001, 0.03),
    )
    pattern = detect_who(data)
    baseline = pattern.envelope.baseline_conversion_rate
    verdicts = set()
    for segment in judged(pattern):
        e = segment.estimate
        assert e.sample >= 5
        assert 0 <= e.low <= e.adjusted_rate <= e.high <= 1
        assert (e.q_value is None) == (e.sample < 30)
        if segment.verdict is Verdict.WINNING:
            assert e.q_value <= 0.10
            assert e.low > baseline
        if segment.verdict is Verdict.LOSING:
            assert e.q_value <= 0.10
            assert e.high < baseline
        verdicts.add(segment.verdict)
    assert Verdict.LOSING in verdicts
    lows = [s.estimate.low for s in pattern.title_rankings]
    assert lows == sorted(lows, reverse=True)


def test_directors_are_no_technology_chiefs() -> None:
    pattern = detect_who(outreach(seed=2, leads=2000, columns=COLUMNS))
    data = outreach(seed=2, leads=2000, columns=COLUMNS)
    written = data.leads["title"].value_counts().rows_by_key("title", named=True, unique=True)
    by_title = {s.value: s.estimate.sample for s in pattern.title_rankings}
    assert by_title["cto"] == written["CTO"]["count"]
    assert by_title["sales director"] == written["Director of Sales"]["count"]
    assert "coo" not in by_title
    levels = {s.value for s in ranking(pattern, "title_level").segments}
    assert {"c_level", "director", "ceo"} <= levels


def test_industries_fold_case_and_space() -> None:
    pattern = detect_who(outreach(seed=2, leads=2000, columns=COLUMNS))
    assert {s.value for s in pattern.industry_rankings} == {
        "software",
        "retail",
        "mining",
        "energy",
    }


def test_a_size_is_a_sweet_spot_only_when_it_wins() -> None:
    flat = detect_who(outreach(seed=4, leads=2000, columns=COLUMNS)).size_analysis
    assert flat is not None
    assert flat.sweet_spot is None
    assert [r.range for r in flat.distribution][-1] == "501+"
    planted = detect_who(
        outreach(
            seed=4,
            leads=3000,
            columns=COLUMNS,
            hazard=lambda lead, _touch, _channel: np.where(
                (lead["employee_count"] > 100) & (lead["employee_count"] <= 250), 0.05, 0.015
            ),
        )
    ).size_analysis
    assert planted is not None
    assert planted.sweet_spot == "101–250"
    assert (planted.sweet_spot_min, planted.sweet_spot_max) == (101, 250)
    assert planted.sweet_spot_rate > 0.15


def test_signals_are_those_of_first_contact_and_unknown_is_no_no() -> None:
    data = outreach(
        seed=5,
        leads=2000,
        columns=COLUMNS | {"is_hiring": lambda rng, size: rng.random(size) < 0.5},
        hazard=lambda lead, _touch, _channel: np.where(lead["is_hiring"], 0.04, 0.015),
    )
    row = pl.int_range(pl.len())
    contact = pl.col("first_contacted_at").dt.date()
    leads = data.leads.with_columns(
        is_hiring=pl.when(row >= 100).then(pl.col("is_hiring")),
        employment_start_date=pl.when(row % 4 == 0)
        .then(contact - pl.duration(days=30))
        .when(row % 4 == 1)
        .then(contact - pl.duration(days=400))
        .when(row % 4 == 2)
        .then(contact + pl.duration(days=5)),
        latest_funding_date=pl.when(row < 3).then(contact),
    )
    signals = detect_who(replace(data, leads=leads)).timing_signals
    assert signals is not None
    by_name = {s.signal: s for s in signals.signals}
    assert by_name["hiring"].unknown == 100
    assert signals.hiring_lift == pytest.approx(2.5, abs=0.5)
    assert by_name["new_role"].with_signal.sample == 500
    assert by_name["new_role"].without_signal.sample == 500
    assert by_name["new_role"].unknown == 1000
    assert signals.funded_lift == 1.0
    assert "funded" not in by_name


def test_attributes_of_any_crm() -> None:
    def attributes(rng: np.random.Generator, size: int) -> list[str]:
        days = np.where(rng.random(size) < 0.9, 999, rng.integers(0, 28, size))
        ages = rng.integers(18, 80, size)
        return [
            json.dumps(
                {
                    "pdays": str(day),
                    "age": int(age),
                    "Marital": ["Single", " married", "single "][i % 3],
                    "customer": f"c-{i}",
                    "only": "same",
                    "note": "" if i % 2 else "yes" if i % 4 else "no",
                }
            )
            for i, (day, age) in enumerate(zip(days, ages, strict=True))
        ]

    data = outreach(seed=6, leads=2000, columns=COLUMNS | {"attributes": attributes})
    pattern = detect_who(data)
    days = ranking(pattern, "attributes.pdays")
    assert "999" in {s.value for s in days.segments}
    assert len(days.segments) == 6
    bins = ranking(pattern, "attributes.age")
    assert [s.estimate.sample for s in bins.segments] == pytest.approx([400] * 5, abs=60)
    assert {s.value for s in ranking(pattern, "attributes.Marital").segments} == {
        "single",
        "married",
    }
    assert ranking(pattern, "attributes.note").coverage == 0.5
    names = {r.attribute for r in pattern.attribute_rankings}
    assert not names & {"attributes.customer", "attributes.only"}
    status, reason = block(pattern, "attribute_rankings")
    assert status is PatternStatus.OK
    assert "customer: nearly unique" in reason


def test_technologies_bands_and_employment() -> None:
    def history(_rng: np.random.Generator, size: int) -> list[str]:
        one = [{"company": "x", "start_date": "2019-01-01", "end_date": "2020-01-01"}]
        return [json.dumps(one * (1 + i % 2)) for i in range(size)]

    columns = COLUMNS | {
        "revenue": lambda rng, size: rng.choice([5e5, 5e6, 2e9], size),
        "employment_history": history,
    }
    data = outreach(seed=7, leads=400, columns=columns)
    stack = [["Python"] if i % 2 else ["python ", "Go", "Go"] for i in range(400)]
    data = replace(data, leads=data.leads.with_columns(technologies=pl.Series(stack)))
    pattern = detect_who(data)
    technology = {s.value: s.estimate for s in ranking(pattern, "technology").segments}
    assert technology["python"].sample == 400
    assert technology["go"].sample == 200
    assert technology["python"].adjusted_lift is None
    assert {s.value for s in ranking(pattern, "revenue_band").segments} == {
        "under 1M",
        "1M–10M",
        "1B+",
    }
    jobs = {s.value: s.estimate.sample for s in ranking(pattern, "employment_jobs").segments}
    assert jobs == {"1": 200, "2": 200}
    tenure = ranking(pattern, "employment_average_tenure").segments
    assert [s.value for s in tenure] == ["3–12 months"]


def test_objections_count_a_lead_once_and_refer_to_contacted_leads() -> None:
    data = outreach(seed=8, leads=600, columns=COLUMNS)
    row = pl.int_range(pl.len())
    data = replace(
        data,
        leads=data.leads.with_columns(
            industry=pl.when(row < 300).then(pl.lit("Retail")).otherwise(pl.lit("Mining")),
            objections=pl.when(row < 60)
            .then(pl.lit(["budget", "budget"]))
            .when(row < 90)
            .then(pl.lit(["timing"])),
        ),
    )
    found = detect_who(data).objection_patterns
    assert found is not None
    overall = {o.objection: o for o in found.overall_distribution}
    assert (overall["budget"].count, overall["budget"].unique_leads) == (120, 60)
    assert overall["budget"].estimate.rate == pytest.approx(0.1)
    retail = {o.objection: o.estimate for o in found.by_industry["retail"]}
    assert retail["budget"].rate == pytest.approx(0.2)
    assert "mining" not in found.by_industry
    assert set(found.by_company_size) <= {"small", "medium", "large"}


def test_too_little_data_is_a_finding() -> None:
    few = outreach(seed=1, leads=20, columns=COLUMNS, hazard=0.2)
    with pytest.raises(InsufficientData, match="20 leads with an outcome, 30 needed") as found:
        detect_who(few)
    assert found.value.sample == 20
    lost = outreach(seed=1, leads=300, columns=COLUMNS, hazard=0.0)
    with pytest.raises(InsufficientData, match="0 converted, 10 needed"):
        detect_who(lost)


def test_a_broken_column_loses_only_its_block() -> None:
    data = outreach(seed=1, leads=500, columns=COLUMNS)
    broken = replace(data, leads=data.leads.with_columns(employment_history=pl.lit("{not json")))
    pattern = detect_who(broken)
    status, reason = block(pattern, "attribute_rankings")
    assert status is PatternStatus.ERROR
    assert reason
    assert pattern.title_rankings == detect_who(data).title_rankings
    assert {"title_level", "city"} <= {r.attribute for r in pattern.attribute_rankings}


def leads_only(count: int) -> Dataset:
    return dataset(
        leads=[
            {
                "lead_id": str(i),
                "status": "converted" if i % 5 == 0 else "not_interested",
                "first_contacted_at": AS_OF - dt.timedelta(days=40),
                "converted_at": AS_OF - dt.timedelta(days=13) if i % 5 == 0 else None,
                "title": "CEO",
                "industry": ["a", "b"][i % 2],
                "tier": ["hot", "cold"][i % 3 == 0],
            }
            for i in range(count)
        ]
    )


def test_leads_without_any_activities_are_enough() -> None:
    pattern = detect_who(leads_only(200), settings=DetectorSettings())
    estimate: RateEstimate = pattern.industry_rankings[0].estimate
    assert pattern.envelope.n_converted == 40
    assert estimate.stratified_lift is not None
