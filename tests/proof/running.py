"""Measures all seeds of all cases in parallel processes, with progress, and remembers them.

Every seed's figures are appended to a file of its case as soon as they are there, so that a run
that was broken off goes on where it stopped. Files are named by a hash of the code that the
figures depend on and of the versions of the libraries under it: changed code measures anew.
"""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tests.proof import cases as cases_module
from tests.proof.cases import Case, Figures, Results

ROOT = Path(__file__).parents[2]
LIBRARIES = ("numpy", "scipy", "polars")
"""What the figures depend on besides our own code."""
_CHUNK = 5


def measure_all(
    cases: Sequence[Case], seeds: int, jobs: int, folder: Path, console: Console
) -> Results:
    """Measure seeds 0 .. seeds - 1 of every case, those already in the folder excepted.

    Args:
        cases: with unique names.
        seeds: of each.
        jobs: processes.
        folder: where figures are remembered.
        console: for the progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = {case.name: _read(_file(case, folder)) for case in cases}
    chunks = [
        (case, wanted[start : start + _CHUNK])
        for case in cases
        for wanted in [[s for s in range(case.seeds(seeds)) if s not in known[case.name]]]
        for start in range(0, len(wanted), _CHUNK)
    ]
    with _progress(console) as progress:
        total = progress.add_task("proof", total=sum(case.seeds(seeds) for case in cases))
        done = sum(seed < case.seeds(seeds) for case in cases for seed in known[case.name])
        progress.update(total, completed=done)
        for case, measured in _measured(chunks, jobs, lambda name: _told(progress, total, name)):
            with _file(case, folder).open("a", encoding="utf-8") as file:
                for seed, figures in measured.items():
                    file.write(json.dumps({"seed": seed, "figures": figures}) + "\n")
            # What is used is what is remembered, so that a resumed run is no different.
            known[case.name] |= {seed: json.loads(json.dumps(f)) for seed, f in measured.items()}
            progress.advance(total, len(measured))
        progress.update(total, description="proof")
    return Results(
        by_case={
            case.name: [known[case.name][seed] for seed in range(case.seeds(seeds))]
            for case in cases
        }
    )


def _told(progress: Progress, task: object, name: str) -> None:
    progress.update(task, description=name)  # type: ignore[arg-type]


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=2,
    )


def _measured(
    chunks: Sequence[tuple[Case, list[int]]], jobs: int, tell: Callable[[str], None]
) -> Iterator[tuple[Case, dict[int, Figures]]]:
    """Chunks as they are finished; a few at a time are handed out, so that a fault ends at once."""
    if not chunks:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = iter(chunks)
        running: dict[Future[dict[int, Figures]], Case] = {}
        while True:
            for case, seeds in islice(waiting, 2 * jobs - len(running)):
                running[pool.submit(_chunk, case, seeds)] = case
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                case = running.pop(future)
                tell(case.name)
                yield case, future.result()


def _chunk(case: Case, seeds: Sequence[int]) -> dict[int, Figures]:
    return {seed: case.measure(seed) for seed in seeds}


def _file(case: Case, folder: Path) -> Path:
    return folder / f"{case.name}-{digest(case)}.jsonl"


def digest(case: Case) -> str:
    """Hash of everything that the figures of a case depend on, seeds excepted."""
    inner = case.measure.func if isinstance(case.measure, partial) else case.measure
    given = case.measure.keywords if isinstance(case.measure, partial) else {}
    module = Path(sys.modules[inner.__module__].__file__ or "")
    key = hashlib.blake2b(digest_size=8)
    for file in sorted(_sources(module)):
        key.update(f"{file.relative_to(ROOT)} {_meaning(file)}\0".encode())
    for library in LIBRARIES:
        key.update(f"{library} {version(library)}\0".encode())
    key.update(f"{inner.__qualname__} {sorted(given.items())!r}".encode())
    return key.hexdigest()


def _sources(module: Path) -> set[Path]:
    """The file of a module and of every module of ours that it imports, directly or not.

    Without `cases`, which holds figures and makes none.
    """
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return found - {Path(cases_module.__file__)}


@cache
def _imported(file: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # What is imported from a package may be a module of it.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = (ROOT.joinpath(*name.split(".")) for name in sorted(names))
    files = (file for place in places for file in (place.with_suffix(".py"), place / "__init__.py"))
    return tuple(file for file in files if file.is_relative_to(ROOT) and file.is_file())


@cache
def _meaning(file: Path) -> str:
    """The code of a file without its layout and comments, which change no figure."""
    return ast.dump(ast.parse(file.read_text(encoding="utf-8")))


def _read(file: Path) -> dict[int, Figures]:
    """What was remembered; the last line may be cut short."""
    found: dict[int, Figures] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[int(entry["seed"])] = entry["figures"]
    return found
