"""A stored run made again from what was kept of it, and held against what it stored then."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.learned import Learned, RunInputs
from cis_server.domain.runs import RunResult
from cis_server.errors import DataError, NotFound, PreconditionFailed
from cis_server.learning.pipeline import learn
from cis_server.learning.stages import Stages
from cis_server.persistence.connections import tenant
from cis_server.persistence.dataset import load_run
from cis_server.persistence.models import list_models
from cis_server.persistence.retention import DATASETS_FOR, dataset_is_kept
from cis_server.persistence.runs import Runs
from cis_server.version import code_version
from cis_server.worker.learner import arithmetic, library_versions

_OF_THE_CLOCK: Final = frozenset({"seconds", "peak_memory_bytes"})
_GIVEN_ON_STORING: Final = frozenset({"version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """What a run stored of one model: what it can be held against."""

    kind: str
    target: str
    content: Mapping[str, Any]
    metrics: Mapping[str, Any]
    gates: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A value that came out otherwise."""

    path: str
    """Where it stands, e.g. ``propensity.brier``."""
    stored: Any
    again: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of making a run again."""

    compared: int
    """Patterns and versions that were made again."""
    differences: Sequence[Difference]
    surroundings: Mapping[str, tuple[str, str]]
    """What the run had around it that is otherwise now: name -> (then, now). A library, the kind of
    processor or our own code can change the last digits, or more."""


def run_again(
    engine: Engine,
    datasets: Path,
    client_id: str,
    run_id: str,
    clock: Callable[[], dt.datetime],
) -> Comparison:
    """Make a stored run again and compare. Stores nothing.

    Args:
        engine: connections to the database.
        datasets: folder in which the worker kept the run's data.
        client_id: whose.
        run_id: which.
        clock: only for the times of the stages.

    Raises:
        NotFound: there is no such run that ended well, or nothing was kept of it here.
        PreconditionFailed: DATASET_REMOVED, its data have outlived their time.
        DataError: what was kept is broken.
        StoreUnavailable: the database is away.
    """
    found = [run for run in Runs(engine).read([run_id]).get(run_id, ()) if run.result is not None]
    result = next((run.result for run in found if run.client_id == client_id), None)
    if result is None:
        raise NotFound("run with a result", run_id)
    with tenant(engine, client_id) as connection:
        versions = [
            StoredVersion(
                kind=model.kind.value,
                target=model.target,
                content=model.content,
                metrics=model.metrics,
                gates=model.gates,
            )
            for model in list_models(connection, client_id)
            if model.run_id == run_id
        ]
    try:
        inputs, dataset = load_run(datasets, client_id, run_id)
    except (NotFound, DataError) as missing:
        dry = any(run.options.dry_run for run in found if run.client_id == client_id)
        if dry or dataset_is_kept(engine, client_id, result.snapshot_hash):
            raise
        raise PreconditionFailed(
            "DATASET_REMOVED",
            "the data of this run were removed by retention, so it cannot be made again: datasets"
            f" stay for {DATASETS_FOR.days} days, those of versions that could serve again longer",
            {"run_id": run_id, "snapshot_hash": result.snapshot_hash},
        ) from missing
    again = rerun(inputs, dataset, clock)
    return Comparison(
        compared=len(again.patterns) + len(again.models),
        differences=differences(result, versions, again),
        surroundings=_surroundings(inputs),
    )


def _surroundings(inputs: RunInputs) -> dict[str, tuple[str, str]]:
    then = {"cis": inputs.code_version, "arithmetic": inputs.arithmetic, **inputs.libraries}
    now = {"cis": code_version(), "arithmetic": arithmetic(), **library_versions()}
    return {
        name: (then.get(name, ""), now.get(name, ""))
        for name in sorted(then.keys() | now.keys())
        if then.get(name, "") != now.get(name, "")
    }


def rerun(inputs: RunInputs, dataset: Dataset, clock: Callable[[], dt.datetime]) -> Learned:
    """Learn once more from exactly what a run learned from. Stores nothing.

    Args:
        inputs: as kept by the run.
        dataset: its data.
        clock: only for the times of the stages.
    """
    settings = DetectorSettings(**inputs.settings)
    return learn(dataset, inputs.state, inputs.options, Stages(clock), settings=settings)


def differences(
    result: RunResult, versions: Sequence[StoredVersion], again: Learned
) -> list[Difference]:
    """Every value that differs between a stored run and the one made again, to the last digit.

    What the clock and the machine say (seconds, memory) and what storing gives (version numbers)
    are left out. Patterns are compared by the hash of their content.

    Args:
        result: of the stored run.
        versions: what the stored run left in the registry.
        again: the run made again.
    """
    found = list(_differing("", _comparable(result.to_json()), _comparable(again.result.to_json())))
    made = {(model.kind, model.target): model for model in again.models}
    for version in versions:
        model = made.pop((version.kind, version.target), None)
        name = ".".join(filter(None, (version.kind, version.target)))
        if model is None:
            found.append(Difference(path=name, stored="a version", again=None))
            continue
        for part in ("content", "metrics", "gates"):
            pair = (_comparable(getattr(side, part)) for side in (version, model))
            found += _differing(f"{name}.{part}", *pair)
    found += [Difference(path=".".join(key), stored=None, again="a version") for key in made]
    return found


def _comparable(value: Any) -> Any:
    """As JSON gives it back, without what may differ."""
    if isinstance(value, Mapping):
        left_out = _OF_THE_CLOCK | _GIVEN_ON_STORING
        return {str(k): _comparable(v) for k, v in value.items() if k not in left_out}
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    return json.loads(json.dumps(value))


def _differing(path: str, stored: Any, again: Any) -> Iterator[Difference]:
    if isinstance(stored, dict) and isinstance(again, dict):
        for key in sorted(stored.keys() | again.keys()):
            below = f"{path}.{key}" if path else key
            yield from _differing(below, stored.get(key), again.get(key))
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for position, pair in enumerate(zip(stored, again, strict=True)):
            yield from _differing(f"{path}[{position}]", *pair)
    elif stored != again:
        yield Difference(path=path, stored=stored, again=again)
