"""The pool of clients that share: what the others say, for a run; and for who cannot run yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from cis_server.domain.pooling import Contribution
from cis_server.learning.pooling import PooledPrior, pooled
from cis_server.learning.propensity_stage import pooled_decision, pooled_model
from cis_server.persistence.learned import save_pooled
from cis_server.persistence.pooling import clients_without_model, contributions_of_others


def pools_for(engine: Engine, client_id: str) -> dict[str, Mapping[str, Any]]:
    """Target -> what the other clients say about a client; empty without its consent.

    Raises:
        StoreUnavailable: the database is away.
    """
    priors = _priors(contributions_of_others(engine, client_id))
    return {target: prior.to_json() for target, prior in priors.items()}


def serve_pooled(engine: Engine, at: dt.datetime) -> int:
    """Give clients that share but have too few outcomes for a run the pooled answer as it is.

    Args:
        engine: connections to the database.
        at: the time now.

    Returns:
        Versions that went live.

    Raises:
        StoreUnavailable: the database is away.
    """
    waiting = clients_without_model(engine)
    if not waiting:
        return 0
    # None of them has given anything, so what the others say is the same for all of them.
    priors = _priors(contributions_of_others(engine, waiting[0]))
    models = [
        pooled_model(prior.model(), prior, pooled_decision(prior, own_live=False), {})
        for prior in priors.values()
    ]
    return sum(save_pooled(engine, client_id, models, at) for client_id in waiting)


def _priors(contributions: Sequence[Contribution]) -> dict[str, PooledPrior]:
    by_target: dict[str, list[Contribution]] = {}
    for item in contributions:
        by_target.setdefault(item.target, []).append(item)
    found = {target: pooled(items) for target, items in sorted(by_target.items())}
    return {target: prior for target, prior in found.items() if prior is not None}
