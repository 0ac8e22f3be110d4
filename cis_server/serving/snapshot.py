"""Everything scoring needs, immutable: built beside the old state and swapped by one reference."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.live_state import (
    ClientState,
    LiveRecord,
    SuppressionList,
    WeightsStanding,
)
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights, read_weights
from cis_server.errors import NotFound
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.suppression import NO_SUPPRESSION, SuppressionIndex
from cis_server.serving.health import WarningKind


@dataclass(frozen=True, slots=True)
class HeldSuppression:
    """One suppression list as it is kept: keyed hashes, and what it was read at."""

    revision: str
    index: SuppressionIndex


NO_LIST: Final = HeldSuppression("", NO_SUPPRESSION)


@dataclass(frozen=True, slots=True)
class WeightsRollout:
    """Weights that serve a share of the leads."""

    weights: Weights
    record: LiveRecord
    """Without its content."""
    share: RolloutShare


@dataclass(frozen=True, slots=True)
class ModelRollout:
    """A propensity model that serves a share of the leads."""

    model: PropensityScorer
    record: LiveRecord
    """Without its content."""
    share: RolloutShare


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRollout:
    """What is being rolled out; at least one of the two."""

    weights: WeightsRollout | None
    model: ModelRollout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSnapshot:
    """One client, ready to answer for."""

    revision: str
    client: ClientRecord
    campaigns: Mapping[str, CampaignRecord]
    weights: Weights
    """Checked; the defaults when `weights_record` is None."""
    weights_record: LiveRecord | None
    """Where the weights come from; without its content."""
    model: PropensityScorer | None
    model_record: LiveRecord | None
    """Where the model comes from; without its content."""
    rollout: ClientRollout | None
    """None, as nearly always: the weights and the model above serve every lead."""
    weights_standing: WeightsStanding
    own_suppression: HeldSuppression
    suppression: SuppressionIndex
    """The client's list and the global one, searched as one."""

    def campaign(self, campaign_id: str | None) -> CampaignRecord | None:
        """The campaign that a request names; None where it names none.

        Raises:
            NotFound: there is no such campaign.
        """
        if campaign_id is None:
            return None
        found = self.campaigns.get(campaign_id)
        if found is None:
            raise NotFound("campaign", campaign_id)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All clients at one moment."""

    clients: Mapping[str, ClientSnapshot]
    global_suppression: HeldSuppression
    built_at: dt.datetime | None
    """None: nothing was loaded yet."""
    generation: int
    """Counts the swaps of this process."""


NOTHING_LOADED: Final = Snapshot(
    clients=MappingProxyType({}), global_suppression=NO_LIST, built_at=None, generation=0
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stored state that cannot be used, and why."""

    kind: WarningKind
    reason: str


def built_client(
    state: ClientState,
    own_suppression: HeldSuppression,
    global_suppression: HeldSuppression,
    previous: ClientSnapshot | None,
) -> tuple[ClientSnapshot, tuple[Refusal, ...]]:
    """Build one client.

    Weights or a model that cannot be used leave the last good ones in force (at the first build:
    the defaults and no model); the rest of the client is taken over all the same.

    Args:
        state: as read.
        own_suppression: the client's list.
        global_suppression: the list that holds for all.
        previous: what is in force now; None at the first build.

    Returns:
        The snapshot and what was refused.
    """
    refusals: list[Refusal] = []
    weights, weights_record = DEFAULT_WEIGHTS, None
    model, model_record = None, None
    if state.weights is not None:
        weights, objection = read_weights(state.weights.content)
        weights_record = _without_content(state.weights)
        if objection is not None:
            refusals.append(Refusal(WarningKind.WEIGHTS_REFUSED, objection))
            weights = previous.weights if previous else DEFAULT_WEIGHTS
            weights_record = previous.weights_record if previous else None
    if state.model is not None:
        scorer, objection = _scorer(state.model)
        if scorer is not None:
            model, model_record = scorer, _without_content(state.model)
        else:
            refusals.append(Refusal(WarningKind.MODEL_REFUSED, objection))
            model = previous.model if previous else None
            model_record = previous.model_record if previous else None
    rollout, refused = _rollout(state)
    refusals += refused
    snapshot = ClientSnapshot(
        revision=state.revision,
        client=state.client,
        campaigns={campaign.campaign_id: campaign for campaign in state.campaigns} or _NONE,
        weights=weights,
        weights_record=weights_record,
        model=model,
        model_record=model_record,
        rollout=rollout,
        weights_standing=state.weights_standing,
        own_suppression=own_suppression,
        suppression=joined(own_suppression, global_suppression),
    )
    return snapshot, tuple(refusals)


def _rollout(state: ClientState) -> tuple[ClientRollout | None, list[Refusal]]:
    """What is being rolled out; a version that cannot be used serves nobody."""
    weights, model = None, None
    refusals: list[Refusal] = []
    if (rolling := state.weights_rollout) is not None:
        values, objection = read_weights(rolling.record.content)
        if objection is None:
            weights = WeightsRollout(values, _without_content(rolling.record), rolling.share)
        else:
            refusals.append(Refusal(WarningKind.WEIGHTS_REFUSED, objection))
    if (rolling := state.model_rollout) is not None:
        scorer, reason = _scorer(rolling.record)
        if scorer is not None:
            model = ModelRollout(scorer, _without_content(rolling.record), rolling.share)
        else:
            refusals.append(Refusal(WarningKind.MODEL_REFUSED, reason))
    if weights is None and model is None:
        return None, refusals
    return ClientRollout(weights=weights, model=model), refusals


def _scorer(record: LiveRecord) -> tuple[PropensityScorer | None, str]:
    """The model ready to score, or None and why it cannot be used."""
    try:
        return PropensityScorer(PropensityModel.from_json(record.content)), ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return None, repr(error)


def held(stored: SuppressionList, secret: bytes) -> tuple[HeldSuppression, int]:
    """Hash a list; the identifiers themselves are not kept.

    An entry that cannot be read is left out, so that it opens nothing but itself.

    Args:
        stored: as read.
        secret: key of the hashes, up to 64 bytes.

    Returns:
        The list and the number of entries left out.
    """
    keys: list[int] = []
    unreadable = 0
    for kind, value in stored.identifiers:
        try:
            keys.append(suppression_key(IdentifierKind(kind), value, secret))
        except (ValueError, TypeError, AttributeError):
            unreadable += 1
    if not keys:
        return HeldSuppression(stored.revision, NO_SUPPRESSION), unreadable
    hashes = np.array(keys, dtype=np.uint64)
    return HeldSuppression(stored.revision, SuppressionIndex.build(hashes, secret)), unreadable


def joined(own: HeldSuppression, everybody: HeldSuppression) -> SuppressionIndex:
    """A client's list and the global one as one index; arrays are shared."""
    if not len(own.index):
        return everybody.index
    if not len(everybody.index):
        return own.index
    return own.index.merged(everybody.index)


def _without_content(record: LiveRecord) -> LiveRecord:
    return replace(record, content=_NO_CONTENT)


_NONE: Final[Mapping[str, CampaignRecord]] = MappingProxyType({})
_NO_CONTENT: Final[Mapping[str, object]] = MappingProxyType({})
