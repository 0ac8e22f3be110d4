"""`make proof`: measure, write `docs/proof.md`, say which bounds hold.

python -m tests.proof                      200 seeds, all processors
python -m tests.proof --seeds 20 --jobs 1  a quick look
python -m tests.proof --check              exit 1 when a bound is missed
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# One process a processor: libraries that bring threads of their own would only get in the way.
for name in ("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from rich.console import Console  # noqa: E402

from tests.proof.page import limits, missed, write_page  # noqa: E402
from tests.proof.running import ROOT, measure_all  # noqa: E402
from tests.proof.sections import SECTIONS  # noqa: E402


def main() -> int:
    """Run from the command line."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="simulations of each kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--sections", nargs="*", choices=names, default=names, metavar="NAME")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "proof.md")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "var" / "proof", help="where figures are remembered"
    )
    given = parser.parse_args()
    if given.seeds < 1 or given.jobs < 1:
        parser.error("seeds and jobs are at least 1")
    sections = [section for section in SECTIONS if section.name in given.sections]
    if len(sections) < len(SECTIONS) and given.page == parser.get_default("page"):
        parser.error("a page of some sections goes somewhere else: name it with --page")
    console = Console()
    cases = [case for section in sections for case in section.cases]
    results = measure_all(cases, given.seeds, given.jobs, given.cache, console)
    reports = [section.report(results) for section in sections]
    write_page(given.page, sections, reports, results, given.seeds)
    console.print(f"wrote {given.page}")
    failing = missed(reports)
    for row in failing:
        shown = "nothing" if row.value is None else row.show(row.value)
        console.print(f"missed: {row.figure}: {shown}, {limits(row)}", style="red")
    if not failing:
        console.print("all bounds hold", style="green")
    return 1 if failing and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
