"""Simulations that several tests look at."""

from __future__ import annotations

import datetime as dt

import pytest

from cis_server.demo.simulator import Simulation, simulate
from cis_server.demo.specs import ALL_HOURS, ClientSpec, Outreach
from cis_server.demo.truth import Effects, GapPeak, LengthPeak, WeekPeak

# Both hemispheres change their clocks between the first touches and this day.
AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
PLANTED = Effects(
    components={"authority": 4.0},
    industries={"Software": 1.0},
    size_ranges={"16-30": 0.8},
    signals={"hiring": 0.7},
    attributes={"crm_source=referral": 0.9},
    weekdays={2: 0.6},
    peaks=(WeekPeak(hour=0, width_hours=1.5, log_odds=1.5),),
    touch_hazard=(0.0, 0.4, 0.0, -0.5),
    gap=GapPeak(days=3, width_days=1.0, log_odds=0.8),
    channels={"voice": 0.7},
    first_channels={"linkedin": 0.6},
    sequences={("email", "voice", "email"): 0.7},
    pain_points={"scaling": 0.7, "cost": -0.7},
    ctas={"worth 15 minutes": 0.6},
    angles={"social_proof": 0.6},
    subjects={"quick_question": 0.7},
    personalisation={"recent_news": 0.6},
    templates={"email-2": 0.6},
    ab_variants={"B": 0.5},
    length={"email": LengthPeak(words=70, width_words=20, log_odds=0.7)},
)


@pytest.fixture(scope="session")
def planted() -> Simulation:
    """20 000 leads with every kind of effect, contacted long enough ago to have an outcome."""
    outreach = Outreach(history_days=300, hour_weights=ALL_HOURS)
    spec = ClientSpec(client_id="planted", leads=20_000, outreach=outreach, effects=PLANTED)
    return simulate([spec], seed=11, as_of=AS_OF)


@pytest.fixture(scope="session")
def two_small() -> Simulation:
    """Two small clients."""
    first = ClientSpec(client_id="first", leads=300, effects=PLANTED)
    return simulate([first, ClientSpec(client_id="second", leads=250)], seed=5, as_of=AS_OF)
