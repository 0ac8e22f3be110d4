"""A table of leads in, its scores out: bytes to bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from cis_server.rpc.tables.arrow_stream import ArrowBatches
from cis_server.rpc.tables.lead_reader import SCORED_FIELDS, LeadReader
from cis_server.rpc.tables.score_writer import ScoreWriter
from cis_server.scoring.columns import TextTables
from cis_server.serving.scoring_answers import ScoringContext
from cis_server.serving.table_scores import TableScorer


class ScoredTable:
    """One table.

    Args:
        context: what its leads are scored with.

    Attributes:
        columns: names of the columns that a score depends on.
    """

    def __init__(self, context: ScoringContext) -> None:
        self._context = context
        self._scorer = TableScorer(context, _texts())
        self.columns: tuple[str, ...] = (*SCORED_FIELDS, *sorted(self._scorer.attributes))
        if self._scorer.attributes:
            self.columns = (*self.columns, "attributes")

    def scored(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of the scores.

        Args:
            chunks: the bytes of an Arrow IPC stream, cut anywhere; the next is taken when the
                scores of those before have been taken.

        Raises:
            InvalidInput: they are no table of leads.
        """
        writer = ScoreWriter(self._context)
        for rows in LeadReader(ArrowBatches(chunks), self._scorer.attributes):
            scores = self._scorer.score(rows.columns, rows.shapes)
            yield from writer.written(rows.lead_ids, scores, rows.errors)
        yield from writer.ended()


@cache
def _texts() -> TextTables:
    """The texts that tables have brought; one for the process."""
    return TextTables()
