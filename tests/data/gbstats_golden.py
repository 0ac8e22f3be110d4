"""Makes `gbstats_golden.json`: A/B figures of gbstats, GrowthBook's statistics package.

gbstats needs numpy < 2, so it runs in an environment of its own:

    python -m venv /tmp/gbstats && /tmp/gbstats/bin/pip install "gbstats==0.8.0" "numpy<2"
    /tmp/gbstats/bin/python tests/data/gbstats_golden.py
"""

from __future__ import annotations

import json
from pathlib import Path

from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig
from gbstats.models.statistics import ProportionStatistic

CASES = ((400, 36, 380, 22), (1000, 80, 1000, 80), (5000, 400, 5100, 510), (20000, 900, 400, 30))


def main() -> None:
    """Write the file beside this one."""
    rows = []
    for n_a, k_a, n_b, k_b in CASES:
        test = EffectBayesianABTest(
            ProportionStatistic(n=n_a, sum=k_a),
            ProportionStatistic(n=n_b, sum=k_b),
            EffectBayesianConfig(difference_type="absolute", alpha=0.10),
        )
        found = test.compute_result()
        rows.append(
            {
                "first": [n_a, k_a],
                "second": [n_b, k_b],
                "chance_second_is_best": found.chance_to_win,
                "difference_low": found.ci[0],
                "difference_high": found.ci[1],
                "loss_first": found.risk[0],
                "loss_second": found.risk[1],
            }
        )
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
