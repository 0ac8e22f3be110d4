"""Which leads a version that is rolling out serves: a stable share by keyed hash.

The same lead gets the same answer in every process and at every call. The key is made of client,
kind, target and version, so that one rollout tells nothing of who is in the next; a larger share of
the same version keeps everybody who was in the smaller one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_HASHES = 2**64


@dataclass(frozen=True, slots=True)
class RolloutShare:
    """A share of a client's leads."""

    key: bytes
    """Of the hash, 32 bytes."""
    percentage: float
    """0..100."""

    @classmethod
    def of(
        cls, client_id: str, kind: str, target: str, version: int, percentage: float
    ) -> RolloutShare:
        """The share of one version's rollout."""
        name = "\x1f".join((client_id, kind, target, str(version)))
        return cls(hashlib.blake2b(name.encode(), digest_size=32).digest(), percentage)

    def takes(self, lead_id: str) -> bool:
        """Whether the lead is in the share: its hash falls into the first ``percentage`` %.

        A lead without an id is never in it, as nothing would keep its answers the same.
        """
        if not lead_id:
            return False
        digest = hashlib.blake2b(lead_id.encode(), key=self.key, digest_size=8).digest()
        return int.from_bytes(digest, "big") * 100 < self.percentage * _HASHES
