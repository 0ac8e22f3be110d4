"""Files of leads in columns: Parquet and Arrow, read and written a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cis_client._leads_csv import OWN_PREFIX, LeadsFile, Row
from cis_client._scoring_files import SCORE_COLUMNS, ScoredRow, Summary
from cis_client.v1.core_pb2 import ConversionProbability, Lead, LeadScore, Tier

PART_ROWS = 131_072
"""Rows read, scored and written at once."""
BEST_OF_A_PART = 20

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")


def holds_columns(name: str | None) -> bool:
    """Whether a file of that name is Parquet or Arrow."""
    return name is not None and Path(name).suffix.lower() in (*PARQUET, *ARROW)


def parts_of(name: str) -> Iterator[Any]:
    """The rows of a Parquet or Arrow file as pyarrow tables, without results of an earlier run.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    pa = _pyarrow()
    try:
        for batch in _batches(name):
            table = pa.Table.from_batches([batch])
            own = [column for column in table.column_names if column.startswith(OWN_PREFIX)]
            yield table.drop_columns(own)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def _batches(name: str) -> Iterator[Any]:
    pa = _pyarrow()
    if Path(name).suffix.lower() in PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(name) as file:
            yield from file.iter_batches(PART_ROWS)
        return
    with pa.memory_map(name) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:  # the streaming form of the format
            source.seek(0)
            yield from pa.ipc.open_stream(source)
            return
        for place in range(reader.num_record_batches):
            yield reader.get_batch(place)


class ScoredParts:
    """Scores parts of a file and keeps what is told of them in the end.

    Args:
        score: scores a table, as `Client.score_frame` does with the prefix `OWN_PREFIX`.
        keep_all: whether every score is kept, not only the best.
    """

    def __init__(self, score: Callable[[Any], Any], *, keep_all: bool) -> None:
        self._score, self._keep_all = score, keep_all
        self._rows = 0
        self.summary = Summary()
        self.failures: list[ScoredRow] = []
        self.kept: list[ScoredRow] = []

    def scored(self, part: Any) -> Any:
        """The part with the columns `SCORE_COLUMNS`."""
        whole = self._score(part)
        self._note(whole)
        self._rows += whole.num_rows
        scores = {name: whole.column(name) for name in SCORE_COLUMNS}
        for name, column in scores.items():
            if _pyarrow().types.is_dictionary(column.type):
                scores[name] = column.cast(column.type.value_type)
        for name, column in scores.items():
            part = part.append_column(name, column)
        return part

    def _note(self, whole: Any) -> None:
        pc = _compute()
        failed = pc.is_valid(whole.column("cis_error"))
        sound = whole.filter(pc.invert(failed))
        self.summary.scored += sound.num_rows
        self.summary.failed += whole.num_rows - sound.num_rows
        self.summary.total_score += pc.sum(sound.column("cis_score")).as_py() or 0
        for count in pc.value_counts(sound.column("cis_tier").cast("string")).to_pylist():
            self.summary.tiers[count["values"]] += count["counts"]
        for place in pc.indices_nonzero(failed).to_pylist():
            self.failures.append(self._row(whole, place))
        self.kept += [self._row(whole, place) for place in self._worth_keeping(whole)]

    def _worth_keeping(self, whole: Any) -> list[int]:
        """Places of the best rows, ties in the order of the file, or of all."""
        pc = _compute()
        if self._keep_all:
            return list(pc.indices_nonzero(pc.is_null(whole.column("cis_error"))).to_pylist())
        open_ = pc.fill_null(pc.invert(whole.column("cis_suppressed")), False)
        ranks = pc.if_else(open_, whole.column("cis_score"), -1)
        order = pc.array_sort_indices(ranks.combine_chunks(), order="descending")
        best: list[int] = order.slice(0, BEST_OF_A_PART).to_pylist()
        return [place for place in best if open_[place].as_py()]

    def _row(self, whole: Any, place: int) -> ScoredRow:
        """A row as one of a CSV file is told of; its line is its number, from 1."""
        values = {name: whole.column(name)[place].as_py() for name in SCORE_COLUMNS}
        lead_id = str(whole.column("lead_id")[place].as_py() or "")
        row = Row(self._rows + place + 1, {}, Lead(lead_id=lead_id), "")
        if values["cis_error"] is not None:
            return ScoredRow(row, None, values["cis_error"])
        score = LeadScore(
            lead_id=lead_id,
            score=values["cis_score"],
            tier=Tier.Value(f"TIER_{values['cis_tier'].upper()}"),
            suppressed=values["cis_suppressed"],
            suppression_reason=values["cis_suppression_reason"],
        )
        if values["cis_conversion_probability"] is not None:
            chance = ConversionProbability(probability=values["cis_conversion_probability"])
            score.conversion_probability.CopyFrom(chance)
        return ScoredRow(row, score, "")


class PartsFile:
    """Writes parts to a file that appears under its name only when it is complete.

    Args:
        name: ends in ``.csv`` or as a Parquet or Arrow file.
    """

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        if not (holds_columns(name) or self._path.suffix.lower() == ".csv"):
            raise ValueError(f"{name}: only .csv, .parquet and .arrow can be written")
        self._unfinished = self._path.with_name(f".{self._path.name}.unfinished")
        self._writer: Any = None
        self._stack = ExitStack()

    def write(self, part: Any) -> None:
        """Adds a part; all have the columns of the first."""
        if self._writer is None:
            self._writer = self._stack.enter_context(self._opened(part.schema))
        (self._writer.write_table if hasattr(self._writer, "write_table") else self._writer.write)(
            part
        )

    def _opened(self, schema: Any) -> Any:
        suffix = self._path.suffix.lower()
        if suffix in PARQUET:
            import pyarrow.parquet as pq

            return pq.ParquetWriter(self._unfinished, schema)
        if suffix in ARROW:
            return _pyarrow().ipc.new_file(str(self._unfinished), schema)
        import pyarrow.csv as csv

        return csv.CSVWriter(str(self._unfinished), schema)

    def __enter__(self) -> PartsFile:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._stack.close()
        if error is None and self._writer is not None:
            self._unfinished.replace(self._path)
        self._unfinished.unlink(missing_ok=True)


class ScoredColumns:
    """Writes rows of a CSV file with their scores as columns: the file's as text, ours typed.

    Args:
        file: takes the parts.
        leads: the file they come from.
    """

    def __init__(self, file: PartsFile, leads: LeadsFile) -> None:
        pa = _pyarrow()
        self._file = file
        kinds = (pa.int32(), pa.string(), pa.bool_(), pa.string(), pa.float64(), pa.string())
        own = zip(SCORE_COLUMNS, kinds, strict=True)
        self._schema = pa.schema([*((name, pa.string()) for name in leads.columns), *own])
        self._rows: list[dict[str, Any]] = []

    def write(self, row: ScoredRow) -> None:
        """Adds a row."""
        self._rows.append({**row.row.cells, **_typed(row)})
        if len(self._rows) == PART_ROWS:
            self.finish()

    def finish(self) -> None:
        """Writes what was held back."""
        self._file.write(_pyarrow().Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def _typed(row: ScoredRow) -> dict[str, Any]:
    score = row.score
    if score is None:
        return {"cis_error": row.error}
    has_chance = score.HasField("conversion_probability")
    return {
        "cis_score": score.score,
        "cis_tier": Tier.Name(score.tier).removeprefix("TIER_").lower(),
        "cis_suppressed": score.suppressed,
        "cis_suppression_reason": score.suppression_reason or None,
        "cis_conversion_probability": score.conversion_probability.probability
        if has_chance
        else None,
    }


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ModuleNotFoundError:
        raise ValueError("Parquet and Arrow files need pyarrow: install cis[frames]") from None
    return pyarrow


def _compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute
