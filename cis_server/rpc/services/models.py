"""The calls of `cis.v1.LearningService` about the model registry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import grpc

from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import learning_service_pb2_grpc as learning_grpc
from cis_server.domain.registry import (
    BY_ALARM,
    BY_LEARNING,
    ModelEvent,
    ModelKind,
    ModelState,
    Promoted,
    RolledBack,
    StoredModel,
)
from cis_server.domain.weights import COMPONENTS, Weights
from cis_server.errors import InvalidInput
from cis_server.rpc.deadlines import remaining_seconds
from cis_server.rpc.messages.models import (
    KIND,
    TARGET_NAME,
    model_message,
    states_of,
)
from cis_server.rpc.pages import page_key, page_token

_DEFAULT_PAGE: Final = 20
_NO_TOKEN: Final = "is not a token that this list gave"


class Registry(Protocol):
    """Versions as stored; every method is one transaction.

    All raise `NotFound` for an unknown client or version, `PreconditionFailed` when the state of
    the version does not allow the change and `StoreUnavailable` when the database does not answer
    within the time given.
    """

    def page(
        self,
        client_id: str,
        kinds: Sequence[ModelKind],
        states: Sequence[ModelState],
        limit: int,
        after: tuple[dt.datetime, int, str] | None,
        timeout_seconds: float,
    ) -> Sequence[StoredModel]:
        """Versions of these kinds and states (none: all), newest first."""
        ...

    def get(
        self, client_id: str, label: str, timeout_seconds: float
    ) -> tuple[StoredModel, Sequence[ModelEvent]]:
        """One version with its history, oldest first."""
        ...

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
        """Bring a version into force for a share of the leads."""
        ...

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
        """Take back what came into force last."""
        ...

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
        """Refuse a candidate."""
        ...

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
        """Make weights set by hand the live ones."""
        ...


class ModelCalls(learning_grpc.LearningServiceServicer):
    """Lists versions and carries out what approvers decide.

    Args:
        registry: where versions are stored.
        changed: told the id of a client whose versions in force changed, so that this process
            answers by them at once; the others hear of it by notification.
        clock: gives the present instant, aware.
        call_seconds: longest wait for the database within a call.
    """

    def __init__(
        self,
        registry: Registry,
        changed: Callable[[str], None],
        clock: Callable[[], dt.datetime],
        *,
        call_seconds: float,
    ) -> None:
        self._registry, self._changed, self._clock = registry, changed, clock
        self._call_seconds = call_seconds

    def ListModels(  # noqa: N802
        self, request: learning.ListModelsRequest, context: grpc.ServicerContext
    ) -> learning.ListModelsResponse:
        """Newest versions first."""
        size = request.page_size or _DEFAULT_PAGE
        kind = KIND(request.kind)
        states = states_of(request.states)
        after = _after(request.page_token)
        response = learning.ListModelsResponse()
        if request.states and not states:
            return response  # only states in which no version ever is
        left = remaining_seconds(context, self._call_seconds)
        found = self._registry.page(
            request.client_id, () if kind is None else (kind,), states, size + 1, after, left
        )
        response.models.extend(model_message(request.client_id, model) for model in found[:size])
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = page_token(
                last.created_at.isoformat(), str(last.version), last.model_id
            )
        return response

    def GetModel(  # noqa: N802
        self, request: learning.GetModelRequest, context: grpc.ServicerContext
    ) -> learning.GetModelResponse:
        """One version in full."""
        left = remaining_seconds(context, self._call_seconds)
        model, history = self._registry.get(request.client_id, request.model_version, left)
        message = model_message(request.client_id, model, history, with_coefficients=True)
        return learning.GetModelResponse(model=message)

    def PromoteModel(  # noqa: N802
        self, request: learning.PromoteModelRequest, context: grpc.ServicerContext
    ) -> learning.PromoteModelResponse:
        """A version live for all leads or a share of them."""
        share = request.rollout_percentage if request.HasField("rollout_percentage") else 100
        promoted = self._registry.promote(
            request.client_id,
            request.model_version,
            by=_approver(request),
            at=self._clock(),
            percentage=share,
            reason=request.reason,
            force=request.force,
            timeout_seconds=remaining_seconds(context, self._call_seconds),
        )
        self._changed(request.client_id)
        return learning.PromoteModelResponse(
            model=model_message(request.client_id, promoted.model),
            replaced_version=promoted.replaced,
        )

    def RollbackModel(  # noqa: N802
        self, request: learning.RollbackModelRequest, context: grpc.ServicerContext
    ) -> learning.RollbackModelResponse:
        """One step back."""
        kind = KIND(request.kind)
        target = TARGET_NAME.get(request.target, "")
        if kind is None:
            raise InvalidInput("kind", "is required")
        if kind is ModelKind.PROPENSITY and not target:
            raise InvalidInput("target", "is required for propensity models")
        if kind is ModelKind.WEIGHTS and target:
            raise InvalidInput("target", "must not be given for weights")
        rolled = self._registry.roll_back(
            request.client_id,
            kind,
            target,
            by=_approver(request),
            at=self._clock(),
            reason=request.reason,
            timeout_seconds=remaining_seconds(context, self._call_seconds),
        )
        self._changed(request.client_id)
        return learning.RollbackModelResponse(
            model=model_message(request.client_id, rolled.in_force)
            if rolled.in_force is not None
            else None,
            rolled_back_version=rolled.taken_back.label,
        )

    def RejectModel(  # noqa: N802
        self, request: learning.RejectModelRequest, context: grpc.ServicerContext
    ) -> learning.RejectModelResponse:
        """A candidate refused."""
        model = self._registry.reject(
            request.client_id,
            request.model_version,
            by=_approver(request),
            at=self._clock(),
            reason=request.reason,
            timeout_seconds=remaining_seconds(context, self._call_seconds),
        )
        self._changed(request.client_id)
        return learning.RejectModelResponse(model=model_message(request.client_id, model))

    def SetWeights(  # noqa: N802
        self, request: learning.SetWeightsRequest, context: grpc.ServicerContext
    ) -> learning.SetWeightsResponse:
        """Weights by hand, live at once. The rule table has checked bounds and sum."""
        values = request.weights
        model = self._registry.set_weights(
            request.client_id,
            Weights(*(getattr(values, name) for name in COMPONENTS)),
            by=_approver(request),
            at=self._clock(),
            reason=request.reason,
            timeout_seconds=remaining_seconds(context, self._call_seconds),
        )
        self._changed(request.client_id)
        return learning.SetWeightsResponse(model=model_message(request.client_id, model))


def _approver(
    request: learning.PromoteModelRequest
    | learning.RollbackModelRequest
    | learning.RejectModelRequest
    | learning.SetWeightsRequest,
) -> str:
    """Who decides: a person, so none of the names under which the program itself is recorded."""
    if request.approver in (BY_LEARNING, BY_ALARM):
        raise InvalidInput("approver", f"must name a person, not {request.approver!r}")
    return request.approver


def _after(token: str) -> tuple[dt.datetime, int, str] | None:
    key = page_key(token, 3)
    if key is None:
        return None
    try:
        created, version = dt.datetime.fromisoformat(key[0]), int(key[1])
    except ValueError:
        raise InvalidInput("page_token", _NO_TOKEN) from None
    if created.tzinfo is None or not 0 < version < 2**31:
        raise InvalidInput("page_token", _NO_TOKEN)
    return created, version, key[2]
