"""Whole scores: batch equals single, seniority, reasons, and what the imports cost."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.propensity import FeatureSpace, NumericFeature, PropensityModel
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.domain.vocabulary import EmailStatus, LeadStatus, Source, Tier
from cis_server.domain.weights import Weights
from cis_server.scoring.components import components_of
from cis_server.scoring.icp import matcher
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.scorer import score_batch, score_lead, score_table
from cis_server.scoring.suppression import SuppressionIndex, competitor_set

AS_OF = dt.date(2026, 1, 21)
LEARNED = Weights(0.1, 0.4, 0.2, 0.2, 0.1)


def settings(leads: list[Lead]) -> dict[str, Any]:
    secret = b"s"
    keys = [suppression_key(IdentifierKind.LEAD_ID, lead.lead_id, secret) for lead in leads[::7]]
    model = PropensityModel(
        version="v",
        target="meeting_booked",
        space=FeatureSpace((NumericFeature("component_authority", 0.4, 0.3),)),
        intercept=-1.0,
        coefficients=(0.8,),
        covariance=((0.02, 0.001), (0.001, 0.03)),
    )
    return {
        "as_of": AS_OF,
        "icp": Icp(industries=("software",), countries=("Germany",)),
        "weights": LEARNED,
        "weights_source": Source.LEARNED,
        "competitor_domains": ("rival.example",),
        "tier_channels": {"warm": ("email", "sms")},
        "suppression": SuppressionIndex.build(keys, secret),
        "model": PropensityScorer(model),
    }


def test_a_batch_gives_what_single_calls_give(
    random_lead: Callable[[random.Random], Lead],
) -> None:
    rng = random.Random(11)
    leads = [random_lead(rng) for _ in range(1000)]
    given = settings(leads)
    singles = [score_lead(lead, **given) for lead in leads]
    assert score_batch(leads, with_reasons=True, **given) == singles
    table = score_table(leads, **given)
    assert table.score.tolist() == [one.score for one in singles]
    assert table.tier.tolist() == [one.tier.value for one in singles]
    assert table.components.tolist() == [list(one.components.as_tuple()) for one in singles]
    assert [gate is not None for gate in table.gates] == [one.suppressed for one in singles]
    assert {one.tier for one in singles} >= {Tier.DEAD, Tier.COLD, Tier.COOL, Tier.WARM}
    assert score_batch([], **given) == []
    assert len(score_table([], **given)) == 0


def test_components_alone_are_those_of_the_score(
    random_lead: Callable[[random.Random], Lead],
) -> None:
    rng = random.Random(12)
    rivals = ("rival.example",)
    for _ in range(300):
        lead = random_lead(rng)
        alone = components_of(
            lead, icp=matcher(Icp()), as_of=AS_OF, competitor_domains=competitor_set(rivals)
        )
        scored = score_lead(lead, as_of=AS_OF, competitor_domains=rivals)
        assert alone == scored.components
        assert scored.score == sum(alone.as_tuple())


@pytest.mark.parametrize(
    ("title", "seniority", "points"),
    [
        (None, "C-Suite", 22),
        (None, "owner", 25),
        (None, "entry", 3),
        (None, "wizard", 0),
        ("Teacher", "vp", 18),
        ("Teacher", "entry", 5),
        ("Marketing Manager", "vp", 7),
        ("Executive Assistant to the CEO", "c_suite", 5),
        ("Product Owner", "Owner", 5),
    ],
)
def test_seniority_counts_only_where_the_title_names_no_rank(
    title: str | None, seniority: str, points: int
) -> None:
    lead = Lead(title=title, seniority=seniority)
    assert score_lead(lead, as_of=AS_OF).components.authority == points


@pytest.mark.parametrize(
    ("status", "points"),
    [
        (EmailStatus.VERIFIED, 8),
        (EmailStatus.UNKNOWN, 4),
        (EmailStatus.GUESSED, 4),
        (EmailStatus.CATCH_ALL, 4),
        (EmailStatus.INVALID, 0),
    ],
)
def test_email_points(status: EmailStatus, points: int) -> None:
    with_address = Lead(email="a@x.example", email_status=status)
    assert score_lead(with_address, as_of=AS_OF).components.data_quality == points
    without = Lead(email_status=status)
    assert score_lead(without, as_of=AS_OF).components.data_quality == 0


def test_an_empty_lead_scores_its_risk_points_and_raises_nothing() -> None:
    score = score_lead(Lead(), as_of=AS_OF)
    assert (score.score, score.tier, score.channels) == (15, Tier.DEAD, ())


def test_bounced_status_counts_as_one_past_bounce() -> None:
    for lead in (Lead(status=LeadStatus.BOUNCED), Lead(bounce_count=1), Lead(bounce_count=9)):
        assert score_lead(lead, as_of=AS_OF).components.risk == 5


def test_the_day_is_an_argument() -> None:
    lead = Lead(employment_start_date=dt.date(2026, 1, 1))
    timing = [
        score_lead(lead, as_of=day).components.timing
        for day in (dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2026, 8, 1))
    ]
    assert timing == [0, 6, 3]


def test_reasons_name_the_strongest_factors_in_score_points() -> None:
    lead = Lead(
        title="VP of Sales", email="a@x.example", industry="Software", bounce_count=1, country="NZ"
    )
    score = score_lead(lead, as_of=AS_OF)
    assert [(reason.factor, reason.points) for reason in score.reasons] == [
        ("authority", 18.0),
        ("industry", 10.0),
        ("email", 4.0),
        ("bounce", -10.0),
        ("company_size", -8.0),
        ("authority", -7.0),
    ]
    texts = [reason.text for reason in score.reasons]
    assert texts[0] == 'title "VP of Sales" is a vice president: 18 of 25 for authority'
    assert texts[3] == "a message has bounced before"
    assert texts[4] == "the number of employees is not known"


def test_reasons_follow_the_weights_in_use() -> None:
    score = score_lead(Lead(title="CEO"), as_of=AS_OF, weights=LEARNED)
    assert score.reasons[0].factor == "authority"
    assert score.reasons[0].points == pytest.approx(40.0)


def test_a_perfect_lead_has_nothing_against_it() -> None:
    lead = Lead(
        title="Owner",
        email="a@x.example",
        email_status=EmailStatus.VERIFIED,
        phone="+61400000000",
        phone_verified=True,
        linkedin_url="https://linkedin.com/in/a",
        personal_email="a@p.example",
        industry="Software",
        employee_count=20,
        country="Australia",
        employment_start_date=AS_OF,
        is_hiring=True,
        latest_funding_date=AS_OF,
    )
    score = score_lead(lead, as_of=AS_OF)
    assert score.score == 100
    assert [reason.factor for reason in score.reasons] == ["authority", "industry", "email"]


def test_what_all_factors_gained_is_the_unrounded_score(
    random_lead: Callable[[random.Random], Lead], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cis_server.scoring.reasons.MAX_REASONS", 99)
    rng = random.Random(13)
    for _ in range(300):
        score = score_lead(random_lead(rng), as_of=AS_OF, weights=LEARNED)
        gained = math.fsum(reason.points for reason in score.reasons if reason.points > 0)
        assert gained == pytest.approx(score.weighted_sum, abs=1e-9)


def test_scoring_does_not_change_the_lead(random_lead: Callable[[random.Random], Lead]) -> None:
    lead = random_lead(random.Random(14))
    before = dataclasses.replace(lead, attributes=dict(lead.attributes))
    score_lead(lead, as_of=AS_OF)
    assert lead == before


LIGHT = (
    "cis_server.domain.titles",
    "cis_server.scoring.icp",
    "cis_server.scoring.contacts",
    "cis_server.scoring.points",
    "cis_server.scoring.features",
    "cis_server.scoring.suppression",
    "cis_server.domain.propensity",
)


def loaded_by(modules: tuple[str, ...]) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_only_the_kernel_pulls_in_numba_and_nothing_pulls_in_the_heavy_libraries() -> None:
    assert "numba" not in loaded_by(LIGHT)
    heavy = {"scipy.optimize", "scipy.stats", "scipy.special", "polars", "sqlalchemy", "pyarrow"}
    assert not heavy & loaded_by(("cis_server.scoring.scorer",))
