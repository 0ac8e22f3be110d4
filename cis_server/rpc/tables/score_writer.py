"""Scores as an Arrow IPC stream, in messages that are never large."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cis_server.domain.vocabulary import Tier
from cis_server.domain.weights import COMPONENTS
from cis_server.scoring.column_gates import GATES
from cis_server.serving.scoring_answers import ScoringContext
from cis_server.serving.table_scores import TableScores

MESSAGE_BYTES: Final = 1024 * 1024
"""Bytes of a message."""

_WORD: Final = pa.dictionary(pa.int8(), pa.string())
_TIERS: Final = pa.array([tier.label for tier in sorted(Tier)])
_GATES: Final = pa.array([gate.value for gate in GATES if gate is not None])

COLUMNS: Final = (
    ("lead_id", pa.string()),
    ("score", pa.int32()),
    ("tier", _WORD),
    *((name, pa.float64()) for name in COMPONENTS),
    ("conversion_probability", pa.float64()),
    ("suppressed", pa.bool_()),
    ("suppression_reason", _WORD),
    ("model_version", _WORD),
    ("probability_version", _WORD),
    ("error", pa.string()),
)
"""Columns of the answer."""


class ScoreWriter:
    """Writes scores as one Arrow IPC stream.

    The metadata of its schema say what told the scores, so that a table that was kept still says
    it: ``model_version``, ``source``, ``computed_time``, ``valid_until_time``, ``stale``,
    ``probability_version`` and ``as_of_date``, all text, empty where there is none.

    Args:
        context: what the leads are scored with.
    """

    def __init__(self, context: ScoringContext) -> None:
        self._schema = pa.schema(COLUMNS, metadata=_told_by(context))
        self._weights_versions, self._model_versions = _versions(context)
        self._sink = _Sink()
        self._writer = pa.ipc.new_stream(self._sink, self._schema)

    def written(
        self, lead_ids: Any, scores: TableScores, errors: dict[int, str]
    ) -> Iterator[bytes]:
        """The bytes of the scores of some rows, in messages.

        Args:
            lead_ids: `pyarrow.Array` of n texts.
            scores: of the same rows.
            errors: what is wrong with those that have no score.
        """
        n = len(scores)
        failed = np.zeros(n, dtype=np.bool_)
        if errors:
            failed[list(errors)] = True
        none = failed if errors else None
        arrays = [
            _short(lead_ids, errors),
            pa.array(scores.score.astype(np.int32), mask=none),
            _words(scores.tier, _TIERS, none),
            *(pa.array(scores.components[:, k], mask=none) for k in range(len(COMPONENTS))),
            _probabilities(scores.probability, n, none),
            pa.array(scores.gate != 0, mask=none),
            _words(scores.gate - 1, _GATES, none),
            _versions_column(scores.by_new_weights, self._weights_versions, none),
            _versions_column(scores.by_new_model, self._model_versions, none),
            pa.array([errors.get(row) for row in range(n)], type=pa.string())
            if errors
            else pa.nulls(n, pa.string()),
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        yield from self._sink.taken()

    def ended(self) -> Iterator[bytes]:
        """The end of the stream; without any rows its schema too."""
        self._writer.close()
        yield from self._sink.taken()


def _short(lead_ids: Any, errors: dict[int, str]) -> Any:
    """The ids, without those that are far too long to be any."""
    if errors:
        lengths = pc.binary_length(lead_ids)
        lead_ids = pc.if_else(
            pc.greater(lengths, _LONGEST_ID), pa.scalar(None, lead_ids.type), lead_ids
        )
    return lead_ids


_LONGEST_ID: Final = 4 * 128
"""Bytes of 128 characters."""


def _words(places: NDArray[Any], words: Any, none: NDArray[np.bool_] | None) -> Any:
    """Words by their places, -1 for none."""
    absent = places < 0
    if none is not None:
        absent = absent | none
    mask = absent if absent.any() else None
    return pa.DictionaryArray.from_arrays(
        pa.array(np.maximum(places, 0).astype(np.int8), mask=mask), words
    )


def _probabilities(
    values: NDArray[np.float64] | None, n: int, none: NDArray[np.bool_] | None
) -> Any:
    """NaN where there is no model for the lead."""
    if values is None:
        return pa.nulls(n, pa.float64())
    absent = np.isnan(values)
    if none is not None:
        absent |= none
    return pa.array(values, mask=absent)


def _versions(context: ScoringContext) -> tuple[tuple[str, str], tuple[str, str]]:
    """Versions of weights and of models: those in force, and those being rolled out."""
    weights, model = context.model_info.model_version, context.model_version
    new_weights, new_model = weights, model
    rollout = context.rollout
    if rollout is not None and rollout.weights_info is not None:
        new_weights = rollout.weights_info.model_version
    if rollout is not None and rollout.model is not None:
        new_model = rollout.model.record.version
    return (weights, new_weights), (model, new_model)


def _versions_column(
    new: NDArray[np.bool_], versions: tuple[str, str], none: NDArray[np.bool_] | None
) -> Any:
    """Which of two versions told each row; null where that is none."""
    # The words of a dictionary are distinct, and an empty version is none.
    words = [version for version in dict.fromkeys(versions) if version]
    place = {version: words.index(version) for version in words}
    places = np.where(new, place.get(versions[1], -1), place.get(versions[0], -1))
    return _words(places, pa.array(words, pa.string()), none)


def _told_by(context: ScoringContext) -> dict[str, str]:
    info = context.model_info
    return {
        "model_version": info.model_version,
        "source": info.source.value,
        "computed_time": _text(info.computed_at),
        "valid_until_time": _text(info.valid_until),
        "stale": str(info.stale).lower(),
        "probability_version": context.model_version,
        "as_of_date": context.as_of.isoformat(),
    }


def _text(instant: dt.datetime | None) -> str:
    return "" if instant is None else instant.isoformat()


class _Sink:
    """A file that is taken away in pieces while it is written."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        """What was written since it was last asked for, in messages."""
        whole = b"".join(self._parts)
        self._parts.clear()
        for begin in range(0, len(whole), MESSAGE_BYTES):
            yield whole[begin : begin + MESSAGE_BYTES]

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The parts stay."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
