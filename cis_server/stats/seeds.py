"""Random generators that depend on what is computed and on nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib

import numpy as np


def generator(client_id: str, as_of: dt.datetime | dt.date, purpose: str) -> np.random.Generator:
    """The generator every draw of one computation takes.

    Hashing (BLAKE2b) instead of Python's `hash` keeps it equal across processes, machines and
    interpreter versions; parts are joined with their lengths, so no two triples read alike.

    Args:
        client_id: whose data are looked at.
        as_of: the instant of knowledge. Aware instants are brought to UTC first, so that the same
            instant written in two zones gives the same draws.
        purpose: what the draws are for, e.g. ``"weights.gate"``; two uses of randomness in one
            run must not share it.

    Returns:
        A fresh `numpy.random.Generator` (PCG64).

    Raises:
        ValueError: ``as_of`` is a naive datetime, which names no instant.
    """
    if isinstance(as_of, dt.datetime):
        if as_of.tzinfo is None:
            raise ValueError("as_of needs a time zone")
        moment = as_of.astimezone(dt.UTC).isoformat(timespec="microseconds")
    else:
        moment = as_of.isoformat()
    key = hashlib.blake2b(digest_size=32)
    for part in (client_id, moment, purpose):
        text = part.encode()
        key.update(len(text).to_bytes(8, "little"))
        key.update(text)
    return np.random.default_rng(int.from_bytes(key.digest(), "little"))
