"""Scores from the snapshot: which weights, which profile and which model answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import LiveRecord, WeightsStanding
from cis_server.domain.model_info import DEFAULT_MODEL, ModelInfo
from cis_server.domain.scores import LeadScore
from cis_server.domain.vocabulary import Source, Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.scoring.icp import resolved_icp
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.scorer import score_batch, score_lead
from cis_server.scoring.suppression import NO_SUPPRESSION, SuppressionIndex
from cis_server.serving.freshness import is_expired, may_answer
from cis_server.serving.snapshot import (
    ClientRollout,
    ClientSnapshot,
    ModelRollout,
    WeightsRollout,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What every lead of one call is scored with."""

    icp: Icp
    as_of: dt.date
    weights: Weights
    model_info: ModelInfo
    """Of the weights."""
    model: PropensityScorer | None
    model_version: str
    """Of the propensity model; empty without one."""
    competitor_domains: tuple[str, ...]
    tier_channels: Mapping[str, tuple[str, ...]]
    suppression: SuppressionIndex
    rollout: ScoringRollout | None = None
    """None, as nearly always: everything above holds for every lead."""

    @classmethod
    def plain(cls, as_of: dt.date) -> ScoringContext:
        """Of a client that has set nothing and learned nothing."""
        return cls(
            icp=Icp(),
            as_of=as_of,
            weights=DEFAULT_WEIGHTS,
            model_info=DEFAULT_MODEL,
            model=None,
            model_version="",
            competitor_domains=(),
            tier_channels={},
            suppression=NO_SUPPRESSION,
        )

    def of(self, lead_id: str) -> ScoringContext:
        """What this lead is scored with: during a rollout one of two versions, else this."""
        if self.rollout is None:
            return self
        return self.rollout.applied(self, self.rollout.parts(lead_id))


@dataclass(frozen=True, slots=True)
class ScoringRollout:
    """Versions that serve a share of the leads, and what is said of them."""

    weights: WeightsRollout | None
    weights_info: ModelInfo | None
    """None exactly where `weights` is."""
    model: ModelRollout | None

    def parts(self, lead_id: str) -> tuple[bool, bool]:
        """Whether the lead is in the share of the weights, and of the model."""
        return (
            self.weights is not None and self.weights.share.takes(lead_id),
            self.model is not None and self.model.share.takes(lead_id),
        )

    def applied(self, context: ScoringContext, parts: tuple[bool, bool]) -> ScoringContext:
        """The context of the leads with these `parts`."""
        weights, info = context.weights, context.model_info
        model, version = context.model, context.model_version
        if parts[0] and self.weights is not None and self.weights_info is not None:
            weights, info = self.weights.weights, self.weights_info
        if parts[1] and self.model is not None:
            model, version = self.model.model, self.model.record.version
        return replace(
            context,
            weights=weights,
            model_info=info,
            model=model,
            model_version=version,
            rollout=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScores:
    """Many leads scored, with what stands once for all of them."""

    scores: tuple[LeadScore, ...]
    """In the order of the leads."""
    told: tuple[ScoringContext, ...]
    """What each was scored with; one and the same for all unless something is being rolled out."""
    tier_counts: Mapping[Tier, int]
    """Leads per effective tier; every tier is there."""
    mean_score: float | None
    """None when there was no lead."""
    weights: Weights
    """The live ones, and so what follows."""
    model_info: ModelInfo
    model_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsAnswer:
    """The weights in force and what told them."""

    weights: Weights
    model_info: ModelInfo
    standing: WeightsStanding
    learned: Weights | None = None
    """The newest learned weights, when they are not in force: expired, waiting for an approver, or
    kept beside those set by hand."""
    learned_version: str = ""
    rollout: WeightsRollout | None = None
    """Weights that serve a share of the leads."""


def scoring_context(
    client: ClientSnapshot,
    now: dt.datetime,
    *,
    database_away: bool,
    campaign_id: str | None = None,
    icp: Icp | None = None,
    as_of: dt.datetime | None = None,
) -> ScoringContext:
    """Gather what a call scores with.

    Weights are the client's learned ones while they are live and valid, else the defaults. The
    profile is the campaign's, else the caller's, else the client's, else the default one.

    Args:
        client: as in force.
        now: aware.
        database_away: whether newer state cannot be asked for; then expired state goes on.
        campaign_id: whose profile counts; one that is not known counts as none.
        icp: the caller's profile.
        as_of: the moment whose knowledge counts; None: now. Its date in UTC is used.
    """
    weights, info = weights_in_force(client, now, database_away=database_away)
    campaign = client.campaigns.get(campaign_id) if campaign_id is not None else None
    profile = resolved_icp(
        campaign=campaign.icp if campaign is not None else None,
        caller=icp,
        client=client.client.icp,
    )
    model, record = client.model, client.model_record
    if record is None or not may_answer(record.valid_until, now, database_away=database_away):
        model, record = None, None
    return ScoringContext(
        icp=profile.icp,
        as_of=(as_of or now).astimezone(dt.UTC).date(),
        weights=weights,
        model_info=info,
        model=model,
        model_version=record.version if record is not None else "",
        competitor_domains=client.client.competitor_domains,
        tier_channels=client.client.policy.tier_channels,
        suppression=client.suppression,
        rollout=_rollout(client.rollout, now, database_away=database_away)
        if client.rollout is not None
        else None,
    )


def context_ends(client: ClientSnapshot, now: dt.datetime, *, follows_clock: bool) -> dt.datetime:
    """The first instant after `now` at which `scoring_context` may give something else.

    Args:
        client: as in force; another snapshot may give another context at any time.
        now: aware.
        follows_clock: whether ages are counted to the present day.
    """
    rollout = client.rollout
    records = [client.weights_record, client.model_record]
    if rollout is not None:
        records += [part.record for part in (rollout.weights, rollout.model) if part is not None]
    ends = [record.valid_until for record in records if record is not None]
    if follows_clock:
        tomorrow = now.astimezone(dt.UTC).date() + dt.timedelta(days=1)
        ends.append(dt.datetime.combine(tomorrow, dt.time(), dt.UTC))
    return min((end for end in ends if end is not None and end > now), default=_NEVER)


_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


def _rollout(
    rollout: ClientRollout, now: dt.datetime, *, database_away: bool
) -> ScoringRollout | None:
    """What of the rollout still counts: a version that has expired serves nobody."""

    def counts(part: WeightsRollout | ModelRollout) -> bool:
        return may_answer(part.record.valid_until, now, database_away=database_away)

    weights = rollout.weights if rollout.weights is not None and counts(rollout.weights) else None
    model = rollout.model if rollout.model is not None and counts(rollout.model) else None
    if weights is None and model is None:
        return None
    info = _info(weights.record, weights.record.source, now) if weights is not None else None
    return ScoringRollout(weights, info, model)


def weights_in_force(
    client: ClientSnapshot, now: dt.datetime, *, database_away: bool
) -> tuple[Weights, ModelInfo]:
    """The weights that score now, and what to say of them."""
    record = client.weights_record
    if record is None:
        return DEFAULT_WEIGHTS, DEFAULT_MODEL
    if may_answer(record.valid_until, now, database_away=database_away):
        return client.weights, _info(record, record.source, now)
    return DEFAULT_WEIGHTS, _info(record, Source.DEFAULT, now)


def scored_lead(lead: Lead, context: ScoringContext) -> LeadScore:
    """Score one lead, with reasons."""
    context = context.of(lead.lead_id)
    return score_lead(
        lead,
        as_of=context.as_of,
        icp=context.icp,
        weights=context.weights,
        weights_source=context.model_info.source,
        competitor_domains=context.competitor_domains,
        tier_channels=context.tier_channels,
        suppression=context.suppression,
        model=context.model,
    )


def scored_batch(
    leads: Sequence[Lead], context: ScoringContext, *, with_reasons: bool
) -> BatchScores:
    """Score many leads.

    Args:
        leads: checked leads.
        context: what they are scored with.
        with_reasons: whether each score gives its reasons.
    """
    if context.rollout is None:
        scores: Sequence[LeadScore] = _scored(leads, context, with_reasons=with_reasons)
        told = (context,) * len(leads)
    else:
        scores, told = _scored_in_parts(leads, context, context.rollout, with_reasons=with_reasons)
    counts = dict.fromkeys(Tier, 0)
    for score in scores:
        counts[score.tier] += 1
    return BatchScores(
        scores=tuple(scores),
        told=told,
        tier_counts=counts,
        mean_score=sum(score.score for score in scores) / len(scores) if scores else None,
        weights=context.weights,
        model_info=context.model_info,
        model_version=context.model_version,
    )


def _scored_in_parts(
    leads: Sequence[Lead], context: ScoringContext, rollout: ScoringRollout, *, with_reasons: bool
) -> tuple[list[LeadScore], tuple[ScoringContext, ...]]:
    """Scores in the order of the leads, each by the version that serves it."""
    places: dict[tuple[bool, bool], list[int]] = {}
    for place, lead in enumerate(leads):
        places.setdefault(rollout.parts(lead.lead_id), []).append(place)
    found: dict[int, tuple[LeadScore, ScoringContext]] = {}
    for parts, group in places.items():
        own = rollout.applied(context, parts)
        scored = _scored([leads[place] for place in group], own, with_reasons=with_reasons)
        found.update(zip(group, ((score, own) for score in scored), strict=True))
    in_order = [found[place] for place in range(len(leads))]
    return [score for score, _ in in_order], tuple(own for _, own in in_order)


def _scored(
    leads: Sequence[Lead], context: ScoringContext, *, with_reasons: bool
) -> list[LeadScore]:
    return score_batch(
        leads,
        as_of=context.as_of,
        icp=context.icp,
        weights=context.weights,
        weights_source=context.model_info.source,
        competitor_domains=context.competitor_domains,
        tier_channels=context.tier_channels,
        suppression=context.suppression,
        model=context.model,
        with_reasons=with_reasons,
    )


def _info(record: LiveRecord, source: Source, now: dt.datetime) -> ModelInfo:
    return ModelInfo(
        model_version=record.version,
        source=source,
        computed_at=record.computed_at,
        valid_until=record.valid_until,
        sample_size=record.sample_size,
        confidence=record.confidence,
        stale=is_expired(record.valid_until, now),
    )
