"""What approvers, policy and alarms do to versions: promote, roll back, reject, set by hand.

Every function runs in the caller's transaction, one at a time for a client's weights and one for
its propensity models; each change leaves an event with who, when and why. The commit notifies the
serving processes (the trigger on ``models``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from cis_server.domain.registry import (
    BY_ALARM,
    BY_LEARNING,
    IN_FORCE,
    ModelEvent,
    ModelKind,
    ModelOrigin,
    ModelState,
    NewModel,
    Promoted,
    RolledBack,
    StoredModel,
)
from cis_server.domain.vocabulary import Promotion
from cis_server.domain.weights import Weights
from cis_server.errors import NotFound, PreconditionFailed
from cis_server.persistence.connections import Role, tenant
from cis_server.persistence.models import (
    activate,
    events_of,
    get_model,
    in_force,
    insert_model,
    model_of_label,
    models_page,
    move,
    take_turn,
)


def promote(
    connection: Connection,
    client_id: str,
    label: str,
    *,
    by: str,
    at: dt.datetime,
    percentage: int = 100,
    reason: str = "",
    force: bool = False,
) -> Promoted:
    """Bring a version into force for a share of the leads, or for all of them.

    Below 100 it is rolled out: the live version goes on serving the rest. At 100 it is live and
    the one before retires. A version that is rolling out may be given another share, up or down.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        label: the version.
        by: who approves.
        at: when.
        percentage: share of the leads in percent, 1..100.
        reason: why.
        force: whether to do it though a gate or a person refused the version.

    Raises:
        NotFound: there is no such version.
        PreconditionFailed: ALREADY_LIVE, GATE_FAILED, REJECTED, VERSION_EXPIRED or
            ROLLOUT_UNDER_WAY.
    """
    model = _in_turn(connection, client_id, label)
    live, rolling = in_force(connection, client_id, model.kind, model.target)
    _may_be_promoted(model, rolling, at, force=force)
    if percentage >= 100:
        model = activate(connection, client_id, model.model_id, by=by, at=at, reason=reason)
    else:
        model = move(
            connection,
            client_id,
            model.model_id,
            ModelState.ROLLING_OUT,
            by=by,
            at=at,
            reason=reason,
            rollout=percentage / 100.0,
            replaced_id=live.model_id if live is not None else None,
        )
    return Promoted(model=model, replaced=live.label if live is not None else None)


def roll_back(
    connection: Connection,
    client_id: str,
    kind: ModelKind,
    target: str,
    *,
    by: str,
    at: dt.datetime,
    reason: str = "",
) -> RolledBack:
    """Take back what came into force last, one step.

    A version that is rolling out is taken back and the live one serves all leads again. Otherwise
    the live one is taken back and the one it replaced is live again: the defaults, or no model,
    when it replaced none.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        kind: what to roll back.
        target: which propensity model; empty for weights.
        by: who decides.
        at: when.
        reason: why.

    Raises:
        PreconditionFailed: NOTHING_LIVE.
    """
    take_turn(connection, client_id, kind)
    live, rolling = in_force(connection, client_id, kind, target)
    last = rolling or live
    if last is None:
        raise PreconditionFailed(
            "NOTHING_LIVE",
            "no version is in force that could be taken back",
            {"kind": kind.value, "target": target},
        )
    back = _version_before(connection, client_id, last)
    taken = move(
        connection, client_id, last.model_id, ModelState.ROLLED_BACK, by=by, at=at, reason=reason
    )
    if rolling is not None:
        live, _ = in_force(connection, client_id, kind, target)
        return RolledBack(taken_back=taken, in_force=live)
    if back is not None:
        # It goes back to what it replaced itself, so that a second rollback goes a step further.
        further = _version_before(connection, client_id, back)
        back = move(
            connection,
            client_id,
            back.model_id,
            ModelState.LIVE,
            by=by,
            at=at,
            reason=f"{taken.label} was rolled back" + (f": {reason}" if reason else ""),
            replaced_id=further.model_id if further is not None else None,
            decides=False,
        )
    return RolledBack(taken_back=taken, in_force=back)


def rollback_on_drift(
    connection: Connection, client_id: str, model_id: str, *, at: dt.datetime, reason: str
) -> RolledBack | None:
    """Take a version back because a drift alarm went off, where the client's policy lets it.

    The policy that lets learning promote without asking lets the alarm take back without asking:
    `Promotion.AUTO`. Weights set by hand are a person's decision and stay. Only the very version
    that the alarm judged is taken back, so that an alarm that rings twice takes one step.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        model_id: the version that was judged.
        at: when.
        reason: what the alarm found, in words.

    Returns:
        What was taken back; None when policy or origin forbids it or the version is not in force.

    Raises:
        NotFound: there is no such version.
    """
    policy = connection.execute(
        text(
            "SELECT policy ->> 'promotion' FROM clients"
            " WHERE client_id = :client AND deleted_at IS NULL"
        ),
        {"client": client_id},
    ).scalar_one_or_none()
    if policy != Promotion.AUTO:
        return None
    kind = get_model(connection, client_id, model_id).kind
    take_turn(connection, client_id, kind)
    model = get_model(connection, client_id, model_id)
    live, rolling = in_force(connection, client_id, kind, model.target)
    last = rolling or live
    if last is None or last.model_id != model_id or model.by_hand:
        return None
    return roll_back(connection, client_id, kind, model.target, by=BY_ALARM, at=at, reason=reason)


def reject(
    connection: Connection, client_id: str, label: str, *, by: str, at: dt.datetime, reason: str
) -> StoredModel:
    """Refuse a candidate.

    Raises:
        NotFound: there is no such version.
        PreconditionFailed: IN_FORCE or NOT_A_CANDIDATE.
    """
    model = _in_turn(connection, client_id, label)
    figures = {"model_version": label, "state": model.state.value}
    if model.state in IN_FORCE:
        raise PreconditionFailed("IN_FORCE", f"{label} is in force: roll it back instead", figures)
    if model.state is not ModelState.CANDIDATE:
        raise PreconditionFailed("NOT_A_CANDIDATE", f"{label} is {_worded(model)}", figures)
    return move(
        connection, client_id, model.model_id, ModelState.REJECTED, by=by, at=at, reason=reason
    )


def set_weights(
    connection: Connection,
    client_id: str,
    weights: Weights,
    *,
    by: str,
    at: dt.datetime,
    reason: str,
) -> StoredModel:
    """Make weights set by hand the live ones; they stay until an approver replaces them.

    A rollout of weights that is under way ends with it.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        weights: inside their bounds, sum 1.
        by: who decides.
        at: when.
        reason: why.
    """
    made = insert_model(
        connection,
        client_id,
        NewModel(
            kind=ModelKind.WEIGHTS, content=weights.as_dict(), origin=ModelOrigin.MANUAL.value
        ),
        by=by,
    )
    return activate(connection, client_id, made.model_id, by=by, at=at, reason=reason)


def obstacle_to_learning(
    connection: Connection, client_id: str, kind: ModelKind, target: str
) -> str | None:
    """Why a learned version may not go live by itself at this moment, in words; None: it may.

    A person's decision that is in force or under way is not overtaken by a run: weights set by
    hand stay until an approver replaces them, and a staged rollout ends by an approver's word.
    """
    take_turn(connection, client_id, kind)
    live, rolling = in_force(connection, client_id, kind, target)
    if rolling is not None:
        return f"kept beside the rollout of {rolling.label}, which an approver has to finish first"
    if live is not None and live.by_hand:
        return "kept beside those set by hand, which only an approver replaces"
    return None


class ModelRegistry:
    """The registry for admins: each method is one transaction.

    Every method raises `NotFound` for an unknown client and `StoreUnavailable` when the database
    is away or did not answer in time.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(
        self,
        client_id: str,
        kinds: Sequence[ModelKind],
        states: Sequence[ModelState],
        limit: int,
        after: tuple[dt.datetime, int, str] | None,
        timeout_seconds: float,
    ) -> Sequence[StoredModel]:
        """Versions, newest first; see `models_page`."""
        with tenant(
            self._engine, client_id, Role.READER, statement_seconds=timeout_seconds
        ) as connection:
            _require_client(connection, client_id)
            return models_page(connection, client_id, kinds, states, limit, after)

    def get(
        self, client_id: str, label: str, timeout_seconds: float
    ) -> tuple[StoredModel, Sequence[ModelEvent]]:
        """One version with its history, oldest first."""
        with tenant(
            self._engine, client_id, Role.READER, statement_seconds=timeout_seconds
        ) as connection:
            _require_client(connection, client_id)
            model = model_of_label(connection, client_id, label)
            return model, events_of(connection, client_id, model.model_id)

    def promote(
        self,
        client_id: str,
        label: str,
        *,
        by: str,
        at: dt.datetime,
        percentage: int,
        reason: str,
        force: bool,
        timeout_seconds: float,
    ) -> Promoted:
        """See `promote`."""
        with tenant(self._engine, client_id, statement_seconds=timeout_seconds) as connection:
            _require_client(connection, client_id)
            return promote(
                connection,
                client_id,
                label,
                by=by,
                at=at,
                percentage=percentage,
                reason=reason,
                force=force,
            )

    def roll_back(
        self,
        client_id: str,
        kind: ModelKind,
        target: str,
        *,
        by: str,
        at: dt.datetime,
        reason: str,
        timeout_seconds: float,
    ) -> RolledBack:
        """See `roll_back`."""
        with tenant(self._engine, client_id, statement_seconds=timeout_seconds) as connection:
            _require_client(connection, client_id)
            return roll_back(connection, client_id, kind, target, by=by, at=at, reason=reason)

    def reject(
        self,
        client_id: str,
        label: str,
        *,
        by: str,
        at: dt.datetime,
        reason: str,
        timeout_seconds: float,
    ) -> StoredModel:
        """See `reject`."""
        with tenant(self._engine, client_id, statement_seconds=timeout_seconds) as connection:
            _require_client(connection, client_id)
            return reject(connection, client_id, label, by=by, at=at, reason=reason)

    def set_weights(
        self,
        client_id: str,
        weights: Weights,
        *,
        by: str,
        at: dt.datetime,
        reason: str,
        timeout_seconds: float,
    ) -> StoredModel:
        """See `set_weights`."""
        with tenant(self._engine, client_id, statement_seconds=timeout_seconds) as connection:
            _require_client(connection, client_id)
            return set_weights(connection, client_id, weights, by=by, at=at, reason=reason)


def _require_client(connection: Connection, client_id: str) -> None:
    found = connection.execute(
        text("SELECT FROM clients WHERE client_id = :client AND deleted_at IS NULL"),
        {"client": client_id},
    )
    if found.first() is None:
        raise NotFound("client", client_id)


def _in_turn(connection: Connection, client_id: str, label: str) -> StoredModel:
    """The version as it stands once nobody else may change versions of its kind."""
    model = model_of_label(connection, client_id, label)
    take_turn(connection, client_id, model.kind)
    return get_model(connection, client_id, model.model_id)


def _version_before(
    connection: Connection, client_id: str, model: StoredModel
) -> StoredModel | None:
    """The version that was live before; one that was taken back or refused since is passed over."""
    found = connection.execute(
        text(
            "WITH RECURSIVE chain AS ("
            "SELECT replaced_id, 1 AS step FROM models"
            " WHERE client_id = :client AND model_id = :model"
            " UNION ALL"
            " SELECT m.replaced_id, c.step + 1 FROM chain c"
            " JOIN models m ON m.client_id = :client AND m.model_id = c.replaced_id"
            # Versions promoted again and again may replace each other in a circle.
            " WHERE m.state <> 'retired' AND c.step < 100)"
            " SELECT m.model_id FROM chain c"
            " JOIN models m ON m.client_id = :client AND m.model_id = c.replaced_id"
            " WHERE m.state = 'retired' ORDER BY c.step LIMIT 1"
        ),
        {"client": client_id, "model": model.model_id},
    ).scalar_one_or_none()
    return get_model(connection, client_id, found) if found is not None else None


def _may_be_promoted(
    model: StoredModel, rolling: StoredModel | None, at: dt.datetime, *, force: bool
) -> None:
    label = model.label
    figures = {"model_version": label, "state": model.state.value}
    if model.state is ModelState.LIVE:
        raise PreconditionFailed("ALREADY_LIVE", f"{label} serves all leads already", figures)
    if rolling is not None and rolling.model_id != model.model_id:
        raise PreconditionFailed(
            "ROLLOUT_UNDER_WAY",
            f"{rolling.label} is being rolled out: promote it to 100 % or roll it back first",
            {**figures, "rolling_out": rolling.label},
        )
    if model.valid_until is not None and model.valid_until <= at:
        raise PreconditionFailed(
            "VERSION_EXPIRED",
            f"{label} was valid until {model.valid_until.isoformat()}: learn again",
            {**figures, "valid_until": model.valid_until.isoformat()},
        )
    if force:
        return
    refused = model.refused_gates()
    if refused and model.state is not ModelState.ROLLING_OUT:
        raise PreconditionFailed(
            "GATE_FAILED",
            f"{label} was refused by {', '.join(refused)}; force promotes it all the same",
            {**figures, "gates": ",".join(refused)},
        )
    if model.state is ModelState.REJECTED:
        raise PreconditionFailed(
            "REJECTED",
            f"{label} was rejected by {model.decided_by or BY_LEARNING}; force promotes it all the"
            " same",
            {**figures, "rejected_by": model.decided_by or BY_LEARNING},
        )


def _worded(model: StoredModel) -> str:
    return model.state.value.replace("_", " ")
