"""How well conversion probabilities do on a real campaign: Bank Marketing, judged on later people.

    python tests/bench/bank_propensity.py [bank-marketing.csv] [--draws 50] [--save JSON]

The file is that of `docs/bank-marketing.md`; without it there is nothing to measure, which is said.
People stand in the order of their last call. Models are fitted on the first 70 % and judged on the
last 30 %, without `duration`, which nobody knows before a call. Compared is scikit-learn's logistic
regression (its defaults) on the same features:

- with all data: ours against theirs;
- with 150 people drawn from the first 70 %, the rest of which is cut into other clients that share
  (at random, or by time, so that every client has a season of its own): ours with the pooled prior
  against theirs, means over the draws;
- calibration on a random split, and what the gates say of the split by time.

`--save tests/proof/bank-marketing.json` renews the figures that `make proof` puts on its page.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from cis_server.domain.runs import PropensityOutcome  # noqa: E402
from cis_server.learning.design import bounded_space, design, taken  # noqa: E402
from cis_server.learning.metrics import pr_auc  # noqa: E402
from cis_server.learning.pooling import contribution, pooled  # noqa: E402
from cis_server.learning.propensity import learn_propensity, pooled_fit  # noqa: E402
from cis_server.scoring.features import RawColumns, folded  # noqa: E402
from cis_server.scoring.propensity import PropensityScorer  # noqa: E402
from cis_server.stats.arrays import FloatArray, IntArray  # noqa: E402

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "../shared/data/bank-marketing.csv"
FEATURES = (
    "age", "job", "marital", "education", "default", "housing", "loan", "contact", "pdays",
    "previous",
)  # fmt: skip
FIRST_SHARE = 0.7
DRAWN = 150
CLIENTS = 12


@dataclass(frozen=True, slots=True)
class Bank:
    """People in the order of time."""

    raw: RawColumns
    y: FloatArray

    @property
    def cut(self) -> int:
        return round(FIRST_SHARE * len(self.y))

    def part(self, rows: IntArray) -> Mapping[str, Sequence[Any]]:
        return taken(self.raw, rows)


def read(path: Path) -> Bank:
    example = runpy.run_path(str(PROJECT / "examples" / "bank_marketing.py"))
    rows = example["read_rows"](path)
    raw: RawColumns = {
        f"attribute:{name}": [
            None if row[name] == "unknown" or (name, row[name]) == ("pdays", "999")
            else folded(row[name])
            for row in rows
        ]
        for name in FEATURES
    }  # fmt: skip
    outcome = [row.get("output", row.get("y")) == "yes" for row in rows]
    return Bank(raw, np.array(outcome, dtype=np.float64))


def theirs(bank: Bank, rows: IntArray, test: IntArray) -> float:
    """PR-AUC of scikit-learn's logistic regression fitted on some rows."""
    raw = bank.part(rows)
    space = bounded_space(raw, len(rows))
    model = LogisticRegression(max_iter=5000).fit(design(space, raw, len(rows)), bank.y[rows])
    later = design(space, bank.part(test), len(test))
    return pr_auc(bank.y[test], model.predict_proba(later)[:, 1])


def judged(bank: Bank, order: IntArray) -> PropensityOutcome:
    """What a run says of the people in some order, nothing pooled."""
    return learn_propensity(
        bank.raw,
        bank.y,
        order,
        [None] * len(bank.y),
        np.random.default_rng(0),
        baseline_score=np.zeros(len(bank.y)),
    ).outcome


@dataclass(frozen=True, slots=True)
class Draw:
    """PR-AUC on the later people after one draw of few."""

    theirs: float
    at_random: float
    by_time: float
    pool_alone: float


def drawn(bank: Bank, seed: int) -> Draw | None:
    """One draw; None when all of the few have the same outcome, which nothing can be fitted on."""
    generator = np.random.default_rng(seed)
    few = np.sort(generator.choice(bank.cut, DRAWN, replace=False))
    if not 0 < bank.y[few].sum() < DRAWN:
        return None
    rest = np.setdiff1d(np.arange(bank.cut), few)
    test = np.arange(bank.cut, len(bank.y))
    random = pooled_score(bank, few, generator.permutation(rest), test)
    time = pooled_score(bank, few, rest, test)
    return Draw(theirs(bank, few, test), random[0], time[0], random[1])


def pooled_score(bank: Bank, few: IntArray, rest: IntArray, test: IntArray) -> tuple[float, float]:
    """PR-AUC of the few with the pooled prior, and of the pool alone."""
    parts = (
        contribution(bank.part(np.sort(rows)), bank.y[np.sort(rows)], "converted")
        for rows in np.array_split(rest, CLIENTS)
    )
    prior = pooled([part for part in parts if part is not None])
    if prior is None:
        sys.exit("too few of the other clients have enough outcomes to share")
    later = bank.part(test)
    scores = []
    for model in (pooled_fit(bank.part(few), bank.y[few], prior), prior.model()):
        scorer = PropensityScorer(model)
        rows = scorer.rows(*scorer.encoder.encode_columns(later, len(test)))
        scores.append(pr_auc(bank.y[test], rows[:, 0]))
    return scores[0], scores[1]


def measured(bank: Bank, draws: int) -> dict[str, Any]:
    """All figures, as plain JSON: what `tests.proof.sections.bank` puts on the page."""
    n, cut = len(bank.y), bank.cut
    test = np.arange(cut, n)
    by_time = judged(bank, np.arange(n))
    random = judged(bank, np.random.default_rng(1).permutation(n))
    found = [draw for draw in (drawn(bank, seed) for seed in range(draws)) if draw is not None]
    return {
        "people": n,
        "rates": [float(bank.y[:cut].mean()), float(bank.y[cut:].mean())],
        "all": {"cis": by_time.pr_auc, "scikit_learn": theirs(bank, np.arange(cut), test)},
        "few": {"people": DRAWN, "clients": CLIENTS, "draws": [asdict(draw) for draw in found]},
        "random_split": {
            "slope": random.calibration_slope,
            "low": random.calibration_slope_low,
            "high": random.calibration_slope_high,
        },
        "by_time": {
            "status": by_time.status,
            "gates": [
                {"name": gate.name, "passed": gate.passed, "text": gate.text}
                for gate in by_time.gates
            ],
        },
    }


def shown(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures in lines, for whoever ran this."""
    few = {
        name: float(np.mean([draw[name] for draw in found["few"]["draws"]]))
        for name in ("theirs", "at_random", "by_time", "pool_alone")
    }
    both = found["all"]
    yield f"all data: {both['cis']:.4f}, scikit-learn {both['scikit_learn']:.4f}"
    for name in ("at_random", "by_time", "pool_alone"):
        gain = few[name] / few["theirs"] - 1.0
        yield f"{found['few']['people']} people, pool {name}: {few[name]:.4f} ({gain:+.1%})"
    slope = found["random_split"]
    yield f"slope, random split: {slope['slope']:.3f} ({slope['low']:.3f} to {slope['high']:.3f})"
    yield f"split by time: {found['by_time']['status']}"
    yield from (f"  {gate['name']}: {gate['text']}" for gate in found["by_time"]["gates"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--save", type=Path, help="write the figures there as JSON as well")
    given = parser.parse_args()
    if not given.file.exists():
        print(f"left out: there is no {given.file.name}; docs/bank-marketing.md says where it is")
        return
    found = measured(read(given.file), given.draws)
    print(*shown(found), sep="\n")
    if given.save is not None:
        given.save.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
