"""The read rule: whether learned state may answer, how far it is trusted, and what is said of it.

A pattern counts while it has not expired; from confidence .5 on it is blended with the defaults,
from .7 on it answers alone (`stats.confidence`). While the database is away nobody can know whether
a newer one exists, so the last good one goes on answering, marked stale, rather than giving way to
defaults that are surely worse.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from cis_server.domain.live_state import PatternRecord
from cis_server.domain.model_info import DEFAULT_MODEL, ModelInfo
from cis_server.domain.vocabulary import Source
from cis_server.stats.confidence import blend_weight


def is_expired(valid_until: dt.datetime | None, now: dt.datetime) -> bool:
    """Whether `now` has reached `valid_until`; what has no end never expires."""
    return valid_until is not None and now >= valid_until


def may_answer(valid_until: dt.datetime | None, now: dt.datetime, *, database_away: bool) -> bool:
    """Whether learned state with this validity may be used at `now`."""
    return database_away or not is_expired(valid_until, now)


def blended_source(share: float, learned: Source) -> Source:
    """What to call an answer of which `share` (0..1) was learned and the rest is default.

    Args:
        share: as `stats.confidence.blend_weight` gives it.
        learned: what the learned part is called, LEARNED or POOLED.
    """
    if share <= 0.0:
        return Source.DEFAULT
    return learned if share >= 1.0 else Source.BLENDED


def pattern_info(
    record: PatternRecord | None, now: dt.datetime, *, database_away: bool
) -> ModelInfo:
    """What to say of an answer that rests on `record`, or on defaults when it may not be used.

    An expired pattern that gave way to defaults is still named as stale, so that a caller sees that
    something was learned and when it ran out.
    """
    if record is None:
        return DEFAULT_MODEL
    expired = is_expired(record.valid_until, now)
    usable = may_answer(record.valid_until, now, database_away=database_away)
    share = blend_weight(record.confidence) if usable else 0.0
    return ModelInfo(
        model_version=record.version,
        source=blended_source(share, record.source),
        computed_at=record.computed_at,
        valid_until=record.valid_until,
        sample_size=record.sample_size,
        confidence=record.confidence,
        stale=expired,
    )


def weaker(*sources: Source) -> Source:
    """The least sure of several sources."""
    return min(sources, key=_SUREST_LAST.index)


def combined_info(parts: Mapping[str, ModelInfo]) -> ModelInfo:
    """What to say of an answer that rests on several patterns.

    Versions stand side by side (``how:3 when:2``); of everything else the weakest counts: the
    oldest instant, the smallest sample and confidence among the parts that were learned. Where some
    parts were learned and others are defaults, the whole is a blend.

    Args:
        parts: by name, in any order; not empty.
    """
    known = {name: info for name, info in parts.items() if info.computed_at is not None}
    if not known:
        return DEFAULT_MODEL
    learned = [info for info in parts.values() if info.source is not Source.DEFAULT]
    source = weaker(*(info.source for info in parts.values()))
    if source is Source.DEFAULT and learned:
        source = Source.BLENDED
    telling = learned or list(known.values())
    ends = [info.valid_until for info in known.values() if info.valid_until is not None]
    return ModelInfo(
        model_version=" ".join(f"{name}:{known[name].model_version}" for name in sorted(known)),
        source=source,
        computed_at=min(i.computed_at for i in known.values() if i.computed_at is not None),
        valid_until=min(ends, default=None),
        sample_size=min(info.sample_size for info in telling),
        confidence=min(info.confidence for info in telling),
        stale=any(info.stale for info in known.values()),
    )


_SUREST_LAST = (Source.DEFAULT, Source.BLENDED, Source.POOLED, Source.LEARNED)
