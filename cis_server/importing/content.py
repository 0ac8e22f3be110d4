"""What imported messages say, as features beside their text.

Learning reads the features of a message, never its words. An engine that captures a touch has them
measured then; for touches of a file they are measured here, while the lead is known for whom the
message was: from the file of leads imported just before, or from what was stored already.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from cis_server.capture.content_features import content_snapshot, subject_patterns
from cis_server.capture.conversion import Batch
from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import Action

MEASURED: Final = "content_measured"
"""Helper column of staged activities: the features as JSON text, None where there is no text."""


def measure_content(
    batch: Batch, recipients: Callable[[Iterable[str]], Mapping[str, Lead]]
) -> None:
    """Add the column `MEASURED` to a batch of activities whose file has bodies or subjects.

    Args:
        batch: activities by database column, after their rules.
        recipients: lead ids -> what is known of the leads that exist.
    """
    columns, count = batch.columns, len(batch.lines)
    if not {"subject", "full_message_body"} & columns.keys():
        return
    subjects = columns.get("subject") or [None] * count
    bodies = columns.get("full_message_body") or [None] * count
    told = [
        index
        for index, action in enumerate(columns["action"])
        if action == Action.SENT and (subjects[index] or bodies[index])
    ]
    leads = recipients({columns["lead_id"][index] for index in told if bodies[index]})
    measured: list[str | None] = [None] * count
    for index in told:
        lead = leads.get(columns["lead_id"][index])
        channel = str(columns["channel"][index])
        measured[index] = _measured(subjects[index], bodies[index], lead, channel)
    columns[MEASURED] = measured


def _measured(subject: str | None, body: str | None, lead: Lead | None, channel: str) -> str:
    if body:
        return json.dumps(content_snapshot(subject, body, lead, channel))
    # Of a message whose text is not there, its subject alone is known.
    words = subject or ""
    return json.dumps(
        {
            "channel": channel,
            "subject_word_count": len(words.split()),
            "subject_patterns": subject_patterns(words),
        }
    )
