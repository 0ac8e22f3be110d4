"""What a standing answer rests on, so that it is never given across a change.

Objects are compared, not versions: everything here is replaced as a whole when it is read anew. The
pattern itself is not held, as that would keep it in memory beyond the bound of its cache; its
record, without the content, comes and goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.live_state import PatternKey, PatternRecord
from cis_server.serving.pattern_cache import ResidentPattern
from cis_server.serving.snapshot import ClientSnapshot
from cis_server.serving.store import SnapshotStore


@dataclass(frozen=True, slots=True)
class Footing:
    """The state an answer was worked out from."""

    key: PatternKey
    client: ClientRecord
    campaigns: Mapping[str, CampaignRecord]
    record: PatternRecord | None
    """None: the pattern is not in memory, or there is none."""
    away: bool
    """Whether the database was."""

    @classmethod
    def of(
        cls,
        key: PatternKey,
        client: ClientSnapshot,
        resident: ResidentPattern | None,
        *,
        away: bool,
    ) -> Footing:
        """The footing of an answer from this state.

        Args:
            key: names the pattern.
            client: as answered from.
            resident: as answered from; None: it was not in memory.
            away: whether the database was away.
        """
        record = resident.record if resident is not None else None
        return cls(key, client.client, client.campaigns, record, away)

    def stands_in(self, store: SnapshotStore) -> bool:
        """Whether an answer would be worked out from the same state now."""
        client = store.snapshot.clients.get(self.key.client_id)
        if (
            client is None
            or client.client is not self.client
            or client.campaigns is not self.campaigns
            or store.database_away is not self.away
        ):
            return False
        resident = store.pattern(self.key)
        return (resident.record if resident is not None else None) is self.record
