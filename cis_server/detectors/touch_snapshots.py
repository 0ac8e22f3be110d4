"""The content snapshots of a run, read once for every detector that looks into them.

Reading them takes longer than anything else a detector does; what they say under the keys that are
looked for is a few numbers a touch.
"""

from __future__ import annotations

from cis_server.detectors.channel_facts import FACT_KEYS
from cis_server.detectors.outcomes import Population
from cis_server.detectors.snapshots import Snapshots
from cis_server.detectors.what_content import CONTENT_KEYS


def touch_snapshots(run: Population) -> Snapshots:
    """What the content of the resolved touches of a run says; kept for who asks next."""
    return run.once(_read)


def _read(run: Population) -> Snapshots:
    return Snapshots(run.resolved_pieces("content"), {**CONTENT_KEYS, **FACT_KEYS})
