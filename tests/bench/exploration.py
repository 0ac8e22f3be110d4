"""Exploration: are propensities true, and does the off-policy estimate cover planted values?

    python tests/bench/exploration.py [SEEDS]

20 000 timing and channel answers under an exploration share of .2 are held against the propensities
they log (chi-square); then decisions with these propensities and planted outcomes are judged, for
each of 200 seeds, and the share of 90 % intervals that hold the true value is printed.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from explored_choices import (
    CONTEXTS,
    channel_records,
    chi_square,
    planted_decisions,
    timing_records,
    true_values,
    with_best,
)
from serving_fakes import NOW

from cis_server.learning.policy_value import policy_values


def main() -> None:
    """Print the figures."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for name, records in (("channel", channel_records(10_000)), ("timing", timing_records(10_000))):
        print(f"10 000 {name} answers: chi-square p = {chi_square(records):.3f}")
    learned = channel_records(len(CONTEXTS))
    print(f"\n{seeds} seeds, 3 decisions a lead")
    print(f"{'always':<14}{'leads':>7}{'true':>8}{'mean':>8}{'covered':>9}{'gain':>7}{'eff.':>7}")
    for label, contexts in (("learned best", learned), ("planted best", with_best(learned))):
        current, best = true_values(contexts)
        for leads in (100, 200, 400, 1_000):
            started = time.perf_counter()
            covered = gains = 0
            values, sizes = [], []
            for seed in range(seeds):
                decisions = planted_decisions(contexts, seed, leads, touches=3)
                (found,) = policy_values(decisions, NOW + dt.timedelta(days=90), 30.0).outcomes
                covered += found.best_low <= best <= found.best_high
                if found.gain_low is not None and found.gain_high is not None:
                    gains += found.gain_low <= best - current <= found.gain_high
                values.append(found.best_value or 0.0)
                sizes.append(found.effective_size)
            print(
                f"{label:<14}{leads:>7}{best:>8.4f}{sum(values) / seeds:>8.4f}"
                f"{covered / seeds:>9.3f}{gains / seeds:>7.3f}{sum(sizes) / seeds:>7.0f}"
                f"   ({time.perf_counter() - started:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
