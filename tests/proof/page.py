"""`docs/proof.md` and its pictures, from what was measured."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.proof import charts
from tests.proof.cases import Report, Results, Row, Section
from tests.proof.running import LIBRARIES
from tests.proof.sections.words import table

PICTURES = "proof"


def write_page(
    page: Path, sections: Sequence[Section], reports: Sequence[Report], results: Results, seeds: int
) -> None:
    """Write the page and its pictures, and nothing that changes without the figures changing.

    Args:
        page: the Markdown file; pictures go into the folder `PICTURES` beside it.
        sections: in their order.
        reports: one a section.
        results: what they are about, for the number of runs.
        seeds: of the run.
    """
    folder = page.parent / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        for picture in report.pictures:
            charts.save(picture.figure, folder / f"{picture.name}.png")
    rows = [row for report in reports for row in report.rows]
    parts = [_head(rows, results, seeds), _verdicts(rows)]
    parts += [_section(*each) for each in zip(sections, reports, strict=True)]
    parts.append(_made(results, sections, seeds))
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def missed(reports: Sequence[Report]) -> list[Row]:
    """The rows whose bound does not hold."""
    return [row for report in reports for row in report.rows if not row.met]


def limits(row: Row) -> str:
    """The bound of a row in words; a dash where the figure is only reported."""
    if row.low is not None and row.high is not None:
        return f"{row.show(row.low)} to {row.show(row.high)}"
    if row.low is not None:
        return f"at least {row.show(row.low)}"
    return f"at most {row.show(row.high)}" if row.high is not None else "–"


def _head(rows: Sequence[Row], results: Results, seeds: int) -> str:
    bounded = [row for row in rows if row.bounded]
    failing = [row for row in bounded if not row.met]
    runs = sum(len(measured) for measured in results.by_case.values())
    verdict = (
        f"All {len(bounded)} bounds hold."
        if not failing
        else f"{len(bounded) - len(failing)} of {len(bounded)} bounds hold; missed: "
        + "; ".join(row.figure for row in failing)
        + "."
    )
    return f"""# Does CIS tell the truth?

A learning system can be wrong in two ways: it can see things that are not there, and it can miss what is. Real data cannot show which, because nobody knows what is true of them. So outreach is simulated with a known truth, the real detectors look at it without knowing it, and what they say is held against it: {runs:,} simulated clients, up to {seeds} of each kind.

**{verdict}** Beside each figure stands the same of the naive method that most reports use: raw rates of everything seen at least five times, ranked, the best one named the winner.""".replace(  # noqa: E501
        f"{runs:,}", f"{runs:,}".replace(",", " ")
    )


def _verdicts(rows: Sequence[Row]) -> str:
    def shown(row: Row, value: float | None) -> str:
        return "–" if value is None else row.show(value)

    lines = [
        (
            row.figure,
            limits(row),
            f"**{shown(row, row.value)}**",
            shown(row, row.naive),
            ("pass" if row.met else "**MISS**") if row.bounded else "reported",
        )
        for row in rows
    ]
    return "## Verdicts\n\n" + table(("figure", "bound", "CIS", "naive", ""), lines)


def _section(section: Section, report: Report) -> str:
    parts = [f"## {section.title}", report.text]
    parts += [
        f"![{picture.caption}]({PICTURES}/{picture.name}.png)\n\n*{picture.caption}*"
        for picture in report.pictures
    ]
    if report.after:
        parts.append(report.after)
    return "\n\n".join(parts)


def _made(results: Results, sections: Sequence[Section], seeds: int) -> str:
    names = {case.name: section.title for section in sections for case in section.cases}
    fewer = [name for name in names if len(results.of(name)) < seeds]
    versions = ", ".join(f"{name} {version(name)}" for name in ("cis", *LIBRARIES))
    python = ".".join(platform.python_version_tuple()[:2])
    margin = 1.645 * (0.25 / seeds) ** 0.5
    said = (
        f" Large ones were simulated less often: {', '.join(fewer)} "
        f"({min(len(results.of(name)) for name in fewer)} seeds or more)."
        if fewer
        else ""
    )
    return f"""## How this page is made

```sh
make proof SEEDS={seeds}
make proof SEEDS={seeds} CHECK=1
```

The first writes this page and its pictures, the second ends with an error that names every bound that is missed. `JOBS=` sets the number of processes; a run that is broken off goes on where it stopped. Seeds are 0 to {seeds - 1}, the same every time, so the same code gives the same page.{said} With {seeds} seeds a share of one half is known to ± {100 * margin:.0f} points (90 %). Made with {versions}, Python {python}.

The simulator is `cis_server/demo`, the scenarios are in `tests/proof/scenarios`, what is counted in `tests/proof/sections`. [learning.md](learning.md) says how the figures of a pattern come about, [bank-marketing.md](bank-marketing.md) looks at real data."""  # noqa: E501
