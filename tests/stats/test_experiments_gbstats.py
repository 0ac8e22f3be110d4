"""A/B posteriors against gbstats (GrowthBook), whose figures `gbstats_golden.py` made.

gbstats takes both rates as normal, with a flat prior on their difference; ours is the exact Beta
posterior. From some thirty conversions an arm they agree to a few thousandths.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cis_server.stats.experiments import Arm, difference_interval, posterior

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "gbstats_golden.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['first']}-{case['second']}")
def test_posteriors_are_those_of_gbstats(case: dict[str, Any]) -> None:
    first, second = (Arm(n, k) for n, k in (case["first"], case["second"]))
    found = posterior([first, second])
    assert found[1].probability_best == pytest.approx(case["chance_second_is_best"], abs=0.01)
    # gbstats names the loss of choosing the first arm, then that of choosing the second.
    losses = [arm.expected_loss for arm in found]
    assert losses == pytest.approx([case["loss_first"], case["loss_second"]], rel=0.1, abs=1e-3)
    interval = difference_interval(second, first)
    spread = case["difference_high"] - case["difference_low"]
    assert interval.low == pytest.approx(case["difference_low"], abs=0.08 * spread)
    assert interval.high == pytest.approx(case["difference_high"], abs=0.08 * spread)


def test_the_golden_cases_reach_from_no_difference_to_a_clear_one() -> None:
    chances = [case["chance_second_is_best"] for case in GOLDEN]
    assert min(chances) < 0.1 < 0.5 in chances
    assert max(chances) > 0.9
