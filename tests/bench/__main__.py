"""`make bench`: run every benchmark of this folder, or the ones that are named.

    python -m tests.bench                          all
    python -m tests.bench batch table              these
    python -m tests.bench --check                  exit code 1 when a bound is missed
    python -m tests.bench --against COMMIT batch   this tree and another commit in turn

Benchmarks are programs that print figures; none of them is a test with a bound on seconds, because
machines are shared and noisy: where it can be, a bound is a ratio to what was measured in the same
run. Each runs in a process of its own. The figures are written to ``var/bench/figures.json`` too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cis_client._tables import Table
from tests.bench.figures import MISSED, Figure, short

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
KEPT: Final = ROOT / "var" / "bench" / "figures.json"
MARK: Final = "\n    sys.exit(report(__doc__"
"""In the last line of a benchmark; the other modules here are what benchmarks are made of."""


def main() -> int:
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py") if MARK in path.read_text())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(names)}")
    parser.add_argument("--check", action="store_true", help="fail when a bound is missed")
    parser.add_argument("--against", metavar="COMMIT", help="compare with another commit")
    parser.add_argument("--rounds", type=int, default=3, help="of a comparison (default 3)")
    asked = parser.parse_args()
    chosen = asked.names or names
    for name in chosen:
        if name not in names:
            parser.error(f"no benchmark {name!r}; there are {', '.join(names)}")
    if asked.against:
        return compare(chosen, asked.against, asked.rounds)
    return run(chosen, check=asked.check)


def run(names: list[str], *, check: bool) -> int:
    """Run benchmarks one after the other and keep their figures; the worst exit code."""
    taken: dict[str, list[dict[str, Any]]] = {}
    broken, missed = [], []
    for name in names:
        print(f"\n== {name}", flush=True)
        figures = taken_by(name, ROOT)
        if figures is None:
            broken.append(name)
            continue
        taken[name] = figures
        missed += [f"{name}: {each['name']}" for each in figures if each["met"] is False]
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps({"commit": _commit("HEAD"), "benchmarks": taken}, indent=1) + "\n")
    print(f"\nfigures: {KEPT.relative_to(ROOT)}")
    if broken:
        print(f"ended with an error: {', '.join(broken)}")
    if missed:
        print("\n  ".join(["bounds missed:", *missed]))
    return 2 if broken else MISSED if missed and check else 0


def taken_by(name: str, tree: Path) -> list[dict[str, Any]] | None:
    """Figures of one benchmark of a tree, None when it ended with an error."""
    with tempfile.TemporaryDirectory(prefix="cis-bench-") as folder:
        kept = Path(folder, "figures.json")
        # The tree's own packages stand before those that are installed.
        done = subprocess.run(
            [sys.executable, "-m", f"tests.bench.{name}", "--json", kept],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            check=False,
        )
        if done.returncode or not kept.exists():
            return None
        figures: list[dict[str, Any]] = json.loads(kept.read_text())
        return figures


def compare(names: list[str], commit: str, rounds: int) -> int:
    """Run benchmarks of this tree and of another commit in turn; print the ratio of medians."""
    values: dict[tuple[str, str], tuple[list[float], list[float], str]] = {}
    with _checked_out(commit) as other:
        for turn in range(rounds):
            for name in names:
                # Who goes first changes, so that a machine that slows down favours neither.
                trees = [other, ROOT] if turn % 2 else [ROOT, other]
                for tree in trees:
                    print(f"\n== {name} of {commit if tree == other else 'this tree'}", flush=True)
                    for stored in taken_by(name, tree) or []:
                        figure = Figure.from_json(stored)
                        key = (name, figure.name)
                        mine, others, _ = values.setdefault(key, ([], [], figure.unit))
                        (others if tree == other else mine).append(figure.median)
    shown = Table(["figure", "unit", commit, "this tree", "ratio", "per round"])
    for (name, figure_name), (mine, others, unit) in values.items():
        if not mine or not others:
            continue
        ratios = sorted(a / b for a, b in zip(mine, others, strict=False) if b)
        shown.add(
            f"{name}: {figure_name}",
            unit,
            short(_middle(others)),
            short(_middle(mine)),
            f"{_middle(ratios):.3f}" if ratios else "",
            f"{ratios[0]:.3f}–{ratios[-1]:.3f}" if ratios else "",
        )
    print(f"\n{shown.text()}")
    return 0 if values else 2


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


@contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    """Another commit in a temporary folder, run with the packages of this environment."""
    revision = _commit(commit)
    with tempfile.TemporaryDirectory(prefix="cis-bench-") as folder:
        tree = Path(folder, "tree")
        subprocess.run(
            ["git", "clone", "--quiet", "--shared", "--no-checkout", ROOT, tree], check=True
        )
        subprocess.run(["git", "checkout", "--quiet", revision], cwd=tree, check=True)
        yield tree


def _commit(name: str) -> str:
    found = subprocess.run(
        ["git", "rev-parse", f"{name}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise SystemExit(f"no commit {name!r}: {found.stderr.strip()}")
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
