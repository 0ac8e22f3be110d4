"""Scoring a file of leads in batches."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from cis_client._leads_csv import LeadsFile, Row
from cis_client._words import field_word
from cis_client.v1.core_pb2 import LeadScore, TierCounts
from cis_client.v1.scoring_service_pb2 import BatchScoreLeadsRequest, BatchScoreLeadsResponse

BATCH_LEADS = 1_000
"""Leads per call: few enough for quick answers, enough that the call itself costs nothing."""

SCORE_COLUMNS = (
    "cis_score",
    "cis_tier",
    "cis_suppressed",
    "cis_suppression_reason",
    "cis_conversion_probability",
    "cis_error",
)
"""Columns added to a file."""


@dataclass(frozen=True)
class ScoredRow:
    """One row of the file and what became of it."""

    row: Row
    score: LeadScore | None
    """The score; None when there is an error."""
    error: str
    """Why there is no score; empty when there is one."""

    def cells(self) -> dict[str, str]:
        """The row as it stood, with the columns of `SCORE_COLUMNS` set."""
        added = dict.fromkeys(SCORE_COLUMNS, "")
        if self.score is None:
            added["cis_error"] = self.error
        else:
            added["cis_score"] = str(self.score.score)
            added["cis_tier"] = field_word(self.score, "tier")
            added["cis_suppressed"] = "true" if self.score.suppressed else "false"
            added["cis_suppression_reason"] = self.score.suppression_reason
            if self.score.HasField("conversion_probability"):
                probability = self.score.conversion_probability.probability
                added["cis_conversion_probability"] = f"{probability:.6g}"
        return {**self.row.cells, **added}


@dataclass
class Summary:
    """What became of a whole file."""

    scored: int = 0
    failed: int = 0
    total_score: int = 0
    tiers: Counter[str] = field(default_factory=Counter)

    def add(self, row: ScoredRow) -> None:
        """Counts one row."""
        if row.score is None:
            self.failed += 1
            return
        self.scored += 1
        self.total_score += row.score.score
        self.tiers[field_word(row.score, "tier")] += 1

    @property
    def mean_score(self) -> float | None:
        """Mean of the scores; None without any."""
        return self.total_score / self.scored if self.scored else None

    def tier_counts(self) -> TierCounts:
        """Leads per tier."""
        return TierCounts(**self.tiers)


def score_rows(
    leads: LeadsFile,
    template: BatchScoreLeadsRequest,
    call: Callable[[BatchScoreLeadsRequest], BatchScoreLeadsResponse],
) -> Iterator[ScoredRow]:
    """Scores a file, a batch at a time.

    Args:
        leads: the file.
        template: client and settings of every call.
        call: makes the call.

    Yields:
        Every row of the file, in order.

    Raises:
        CisError: a call failed as a whole.
    """
    batch: list[Row] = []
    for row in leads:
        batch.append(row)
        if len(batch) == BATCH_LEADS:
            yield from _score_batch(batch, template, call)
            batch = []
    if batch:
        yield from _score_batch(batch, template, call)


def _score_batch(
    batch: list[Row],
    template: BatchScoreLeadsRequest,
    call: Callable[[BatchScoreLeadsRequest], BatchScoreLeadsResponse],
) -> Iterator[ScoredRow]:
    request = BatchScoreLeadsRequest()
    request.CopyFrom(template)
    request.leads.extend(row.lead for row in batch if row.lead is not None)
    answer = call(request) if request.leads else BatchScoreLeadsResponse()
    refused = {failure.index: failure.message for failure in answer.failures}
    scores = iter(answer.scores)
    index = 0
    for row in batch:
        if row.lead is None:
            yield ScoredRow(row, None, row.error)
            continue
        if index in refused:
            yield ScoredRow(row, None, refused[index])
        else:
            yield ScoredRow(row, next(scores), "")
        index += 1


class ScoredFile:
    """Writes rows with their scores.

    Args:
        file: opened with ``newline=""``.
        leads: the file they come from.
    """

    def __init__(self, file: TextIO, leads: LeadsFile) -> None:
        columns = [*leads.columns, *SCORE_COLUMNS]
        self._writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        self._writer.writeheader()

    def write(self, row: ScoredRow) -> None:
        """Adds a row."""
        self._writer.writerow(row.cells())
