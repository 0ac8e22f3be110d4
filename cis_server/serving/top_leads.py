"""Which leads are best: stored scores in rank order, with what may be done with them now.

Scores are as of the last scoring; whether a lead may be contacted is asked now, of the lists in
memory. A lead that is suppressed meanwhile is not in the list: nothing may be sent to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cis_server.domain.scores import MAX_POINTS, Components
from cis_server.domain.tiers import channels_of_tier, tier_of
from cis_server.domain.top_leads import RankFilter, RankKey, StoredScore
from cis_server.domain.vocabulary import Tier
from cis_server.domain.weights import Weights
from cis_server.scoring.scorer import channels_of_lead
from cis_server.scoring.suppression import competitor_set, gate_reasons
from cis_server.serving.scoring_answers import ScoringContext

READS: Final = 5
"""Most reads of one page; with longer runs of suppressed leads the page is cut short."""


class TopLeadReader(Protocol):
    """Reads stored scores in rank order."""

    def top_leads(
        self,
        client_id: str,
        wanted: RankFilter,
        limit: int,
        after: RankKey | None,
        timeout_seconds: float,
    ) -> tuple[Sequence[StoredScore], RankKey | None]:
        """The next leads, and the key of the last row read; None when these were the last.

        Raises:
            StoreUnavailable: no answer within the time given.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TopLead:
    """A ranked lead."""

    stored: StoredScore
    tier: Tier
    """Of the stored score; the lead is not suppressed."""
    contributions: tuple[float, float, float, float, float] | None
    """Points / maximum x 100 x weight of each component; None where those are not stored."""
    tier_channels: tuple[str, ...]
    channels: tuple[str, ...]
    """Of those, the ones the lead can be reached on now."""


def top_leads_page(
    read: Callable[[int, RankKey | None], tuple[Sequence[StoredScore], RankKey | None]],
    context: ScoringContext,
    page_size: int,
    after: RankKey | None,
) -> tuple[list[TopLead], RankKey | None]:
    """One page.

    Args:
        read: the next so many leads after a key, see `TopLeadReader`.
        context: whose lists, competitors and channels count.
        page_size: most leads, at least 1.
        after: where the page before ended; None: from the top.

    Returns:
        The leads, and where the next page begins; None when there is none. A page can be shorter
        than asked for and still have a next one.
    """
    competitors = competitor_set(context.competitor_domains)
    page: list[TopLead] = []
    for _ in range(READS):
        rows, last = read(page_size - len(page) + 1, after)
        gates = gate_reasons([row.lead for row in rows], competitors, context.suppression)
        for row, gate in zip(rows, gates, strict=True):
            if gate is not None:
                continue
            if len(page) == page_size:
                return page, page[-1].stored.key
            page.append(_top_lead(row, context))
        after = last
        if last is None:
            return page, None
        if len(page) == page_size:
            # A suppressed lead took the place of the one read ahead: every row is accounted for.
            return page, after
    return page, after


def _top_lead(stored: StoredScore, context: ScoringContext) -> TopLead:
    tier = tier_of(stored.score)
    parts = None
    if stored.components is not None and stored.weights is not None:
        parts = _parts(stored.components, stored.weights)
    return TopLead(
        stored=stored,
        tier=tier,
        contributions=parts,
        tier_channels=channels_of_tier(tier, context.tier_channels),
        channels=channels_of_lead(stored.lead, tier, context.tier_channels),
    )


def _parts(components: Components, weights: Weights) -> tuple[float, float, float, float, float]:
    points, shares = components.as_tuple(), weights.as_tuple()
    first, second, third, fourth, fifth = (
        point / most * 100.0 * share
        for point, most, share in zip(points, MAX_POINTS, shares, strict=True)
    )
    return first, second, third, fourth, fifth
