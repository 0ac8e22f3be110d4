"""Every golden case of the scoring rules, field by field."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.tiers import DEFAULT_TIER_CHANNELS, TIER_MINIMUM
from cis_server.domain.vocabulary import EmailStatus, LeadStatus, Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights, read_weights
from cis_server.scoring.points import POINTS
from cis_server.scoring.scorer import score_batch, score_lead

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "scoring_golden.json").read_text(encoding="utf-8")
)
CASES = {case["id"]: case for case in GOLDEN["cases"]}


def golden_lead(data: dict[str, Any]) -> Lead:
    """A lead from the field names of the golden file."""

    def date(name: str) -> dt.date | None:
        return dt.date.fromisoformat(data[name]) if data[name] else None

    return Lead(
        email=data["email"],
        email_status=EmailStatus.VERIFIED if data["email_verified"] else EmailStatus.UNKNOWN,
        phone=data["phone"],
        phone_verified=data["phone_verified"],
        linkedin_url=data["linkedin_url"],
        personal_email=data["personal_email"],
        domain=data["domain"],
        title=data["title"],
        industry=data["organization_industry"],
        employee_count=data["organization_employee_count"],
        country=data["organization_country"],
        employment_start_date=date("employment_start_date"),
        is_hiring=data["organization_is_hiring"],
        latest_funding_date=date("organization_latest_funding_date"),
        bounce_count=data["bounce_count"],
        status=LeadStatus(data["status"]),
        do_not_contact=data["do_not_contact"],
    )


def test_all_23_cases_are_there() -> None:
    assert len(CASES) == 23


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: dict[str, Any]) -> None:
    weights, reason = read_weights(case["weights"])
    assert reason is None
    span = case["icp"]["employee_range"]
    settings: dict[str, Any] = {
        "icp": Icp(
            industries=tuple(case["icp"]["industries"]),
            employee_min=span["min"],
            employee_max=span["max"],
            countries=tuple(case["icp"]["countries"]),
        ),
        "weights": weights,
        "as_of": dt.date.fromisoformat(case["as_of"]),
        "competitor_domains": tuple(case["competitor_domains"]),
    }
    lead = golden_lead(case["lead"])
    score = score_lead(lead, **settings)
    expected = case["expected"]
    assert score.components.as_dict() == expected["components"]
    assert score.weighted_sum == pytest.approx(expected["weighted_sum"], abs=5e-5)
    assert score.score == expected["score"]
    assert score.score_tier.label == expected["score_tier"]
    assert score.tier.label == expected["tier"]
    assert score.suppressed is expected["suppressed"]
    assert score.suppression_reason == expected["suppression_reason"]
    assert list(score.tier_channels) == expected["tier_channels"]
    assert list(score.channels) == expected["channels"]
    assert score_batch([lead], with_reasons=True, **settings) == [score]


def test_constants_are_those_of_the_golden_file() -> None:
    assert Weights(**GOLDEN["default_weights"]) == DEFAULT_WEIGHTS
    maxima = {name: getattr(POINTS, f"max_{name}") for name in GOLDEN["component_max"]}
    assert maxima == GOLDEN["component_max"]
    thresholds = {Tier[name.upper()]: low for name, low in GOLDEN["tier_thresholds"].items()}
    assert dict(TIER_MINIMUM) == thresholds
    channels = {tier.label: list(names) for tier, names in DEFAULT_TIER_CHANNELS.items()}
    assert channels == GOLDEN["tier_channels"]
