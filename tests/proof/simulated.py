"""Simulated clients of the proof, and what a run sees of them."""

from __future__ import annotations

import datetime as dt
import math

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import Simulation, simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.demo.truth import Truth
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset, Window

# Clocks changed on 8 March (America), 29 March (Europe) and 5 April (Australia).
AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
WINDOW = Window(start=AS_OF - dt.timedelta(days=200), as_of=AS_OF)
CLIENT = "proof"
BASE_RATE = 0.08

STEADY = Outreach(
    history_days=170,
    uncontacted_share=0.0,
    gap_weights=(1.0, 2.0, 2.0, 1.0),
    weekend_share=1.0,
    sequences={
        ("email", "voice", "email", "linkedin", "email"): 2.0,
        ("linkedin", "email", "voice", "email", "sms"): 2.0,
        ("email", "email", "linkedin", "voice", "email"): 2.0,
    },
)
"""Five touches within two weeks: every conversion comes within the follow-up, so that the planted
rate is the rate a detector is to find."""

_IN_COHORT = 0.79
"""Share of simulated leads of `STEADY` whose address holds and who are old enough to count."""

EVERYTHING_LISTED = DetectorSettings(headline_segments=1_000, ranked_levels=1_000)
"""The usual settings with nothing cut off a list, so that coverage is that of all intervals."""


def leads_for(cohort: int) -> int:
    """Leads to simulate so that about `cohort` of them count."""
    return math.ceil(cohort / _IN_COHORT)


def observed(spec: ClientSpec, seed: int) -> tuple[Dataset, Population, Truth]:
    """A client simulated: its dataset, the population labelled, what is true of it."""
    simulation = simulated(spec, seed)
    dataset = to_dataset(simulation, spec.client_id, WINDOW)
    return dataset, population(dataset, EVERYTHING_LISTED), simulation.truth[spec.client_id]


def simulated(spec: ClientSpec, seed: int) -> Simulation:
    """The tables of one client."""
    return simulate([spec], seed, AS_OF)
