"""Earlier versions of patterns as messages."""

from __future__ import annotations

import datetime as dt

import structlog

from cis_client.v1 import pattern_service_pb2 as service
from cis_client.v1 import patterns_pb2
from cis_server.domain.live_state import PatternKey, PatternRecord
from cis_server.domain.pattern_history import ArchiveReason, PatternVersion
from cis_server.rpc.messages.patterns import pattern_message
from cis_server.rpc.messages.runs import PATTERN_TYPE_NUMBER
from cis_server.rpc.messages.values import number_of, timestamp

_REASON_NUMBER = number_of(service.PatternArchiveReason, ArchiveReason)
_log = structlog.get_logger(__name__)


def version_message(
    client_id: str, version: PatternVersion, now: dt.datetime
) -> service.PatternVersion:
    """One earlier version.

    Content of a schema that this program no longer reads is left out, and the remark says so: one
    old row must not hide all others.

    Args:
        client_id: the client.
        version: as stored.
        now: aware; decides whether its validity has passed.
    """
    return service.PatternVersion(
        pattern=_pattern(client_id, version, stale=now >= version.valid_until),
        archived_time=timestamp(version.archived_at),
        reason=_REASON_NUMBER[ArchiveReason(version.reason)],
        run_id=version.run_id or None,
    )


def _pattern(client_id: str, version: PatternVersion, *, stale: bool) -> patterns_pb2.Pattern:
    key = PatternKey(client_id, version.type)
    record = PatternRecord(
        key=key,
        revision=str(version.version),
        version=str(version.version),
        content=None,
        computed_at=version.computed_at,
        valid_until=version.valid_until,
        sample_size=version.sample_size,
        confidence=version.confidence,
    )
    try:
        return pattern_message(record, version.content, stale)
    except Exception:  # content of any age and shape may be stored
        _log.warning("pattern version unreadable", type=key.type.value, version=version.version)
        return patterns_pb2.Pattern(
            type=PATTERN_TYPE_NUMBER[version.type],
            client_id=client_id,
            computed_time=timestamp(version.computed_at),
            valid_until_time=timestamp(version.valid_until),
            stale=stale,
            sample_size=version.sample_size,
            confidence=version.confidence,
            note="the content of this version cannot be read by this program",
        )
