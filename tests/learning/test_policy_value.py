"""What logged decisions are worth, against a planted truth."""

import datetime as dt

import numpy as np
import polars as pl

from cis_server.domain.policy_value import PolicyOutcome
from cis_server.learning.policy_value import policy_values

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
HAZARD, EXPLORED = 0.02, 0.2
BEST, OTHER = ("email",) * 5, ("email", "linkedin")


def plans(seed: int, decisions: int = 4000) -> PolicyOutcome:
    """Plans of a touch a week that end when they convert, made over the last ninety days."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(decisions):
        decided = AS_OF - dt.timedelta(days=float(rng.uniform(0, 90)))
        explores = rng.random() < EXPLORED
        for place, channel in enumerate(OTHER if explores else BEST):
            converts = bool(rng.random() < HAZARD)
            sent = decided + dt.timedelta(days=7 * place)
            if sent <= AS_OF:
                rows.append(
                    {
                        "decision_id": f"d{number}",
                        "kind": "sequence",
                        "decided_at": decided,
                        "choice": ",".join(OTHER if explores else BEST),
                        "propensity": EXPLORED if explores else 1 - EXPLORED,
                        "best": ",".join(BEST),
                        "best_propensity": 1 - EXPLORED,
                        "activity_id": f"a{number}-{place}",
                        "lead_id": f"l{number}",
                        "channel": channel,
                        "occurred_at": sent,
                        "converting": converts,
                    }
                )
            if converts:
                break
    return policy_values(pl.DataFrame(rows), AS_OF, 30).outcomes[0]


def test_plans_that_end_early_count_no_sooner_than_others() -> None:
    best = 1 - (1 - HAZARD) ** len(BEST)
    other = 1 - (1 - HAZARD) ** len(OTHER)
    found = [plans(seed) for seed in range(12)]
    inside = sum(each.best_low <= best <= each.best_high for each in found)
    assert inside >= 9
    assert abs(np.mean([each.best_value for each in found]) - best) < 0.01
    gain = np.mean([each.gain for each in found])
    assert abs(gain - EXPLORED * (best - other)) < 0.005
