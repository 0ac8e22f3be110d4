"""Score a lead, or many: components, weighted score, tier, gate, channels, probability, reasons.

The number is pure arithmetic (scoring sheet §1-§5). What may be done with the lead is decided after
it: the hard gate makes the effective tier dead and closes every channel; the channels are those of
the effective tier that the lead's contact data reach and that are not closed for it (§6). The clock
is the argument `as_of`. Boosts (§7) are not part of the score. Scoring changes nothing about the
lead.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.scores import Components, ConversionProbability, LeadScore, Reason
from cis_server.domain.suppression import GateReason
from cis_server.domain.tiers import channels_of_tier
from cis_server.domain.titles import parse_title
from cis_server.domain.vocabulary import Source, Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.scoring.arithmetic import CODED_WIDTH, Arithmetic, CodedLead, score_one
from cis_server.scoring.compiled import score_rows
from cis_server.scoring.components import coded_lead
from cis_server.scoring.contacts import closed_channels, reaches
from cis_server.scoring.features import raw_features
from cis_server.scoring.icp import DEFAULT_ICP, matcher
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.reasons import reasons_of, score_factors
from cis_server.scoring.suppression import (
    NO_SUPPRESSION,
    SuppressionIndex,
    competitor_set,
    gate_reason,
    gate_reasons,
    is_competitor,
)

NO_POLICY: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
"""The tier table of a client that changed none of it."""


def score_lead(
    lead: Lead,
    *,
    as_of: dt.date,
    icp: Icp = DEFAULT_ICP,
    weights: Weights = DEFAULT_WEIGHTS,
    weights_source: Source = Source.DEFAULT,
    competitor_domains: tuple[str, ...] = (),
    tier_channels: Mapping[str, tuple[str, ...]] = NO_POLICY,
    suppression: SuppressionIndex = NO_SUPPRESSION,
    model: PropensityScorer | None = None,
    with_reasons: bool = True,
) -> LeadScore:
    """Score one lead.

    Args:
        lead: the lead.
        as_of: the day ages are counted to.
        icp: the resolved profile, see `cis_server.scoring.icp.resolved_icp`.
        weights: checked weights, see `cis_server.domain.weights.read_weights`.
        weights_source: where they come from; carried through.
        competitor_domains: as the client wrote them; subdomains count too.
        tier_channels: the client's own table, tier label -> channels; tiers that it does not name
            keep the default.
        suppression: the client's list merged with the global one.
        model: the live propensity model; without one no probability is given.
        with_reasons: whether to give the strongest factors.
    """
    context = _Context(icp, weights, weights_source, competitor_domains, tier_channels, as_of)
    coded = _coded(lead, context)
    result = score_one(coded, weights.as_tuple())
    probability = None
    if model is not None:
        probability = model.probability(lead, _components(result), as_of)
        if with_reasons:
            probability = model.explained(probability, lead, _components(result), as_of)
    gate = gate_reason(lead, context.competitors, suppression)
    return _lead_score(lead, coded, result, gate, probability, context, with_reasons)


def score_batch(
    leads: Sequence[Lead],
    *,
    as_of: dt.date,
    icp: Icp = DEFAULT_ICP,
    weights: Weights = DEFAULT_WEIGHTS,
    weights_source: Source = Source.DEFAULT,
    competitor_domains: tuple[str, ...] = (),
    tier_channels: Mapping[str, tuple[str, ...]] = NO_POLICY,
    suppression: SuppressionIndex = NO_SUPPRESSION,
    model: PropensityScorer | None = None,
    with_reasons: bool = False,
) -> list[LeadScore]:
    """Score many leads at once; each result equals that of `score_lead`.

    See `score_table` for the columns alone.

    Args:
        leads: the leads.
        as_of, icp, weights, weights_source, competitor_domains, tier_channels, suppression, model:
            as for `score_lead`.
        with_reasons: whether to give the strongest factors of each; costs about as much as the
            rest together.

    Returns:
        One score a lead, in the same order.
    """
    table = score_table(
        leads,
        as_of=as_of,
        icp=icp,
        weights=weights,
        weights_source=weights_source,
        competitor_domains=competitor_domains,
        tier_channels=tier_channels,
        suppression=suppression,
        model=model,
    )
    return [table.lead_score(i, with_reasons=with_reasons) for i in range(len(leads))]


def score_table(
    leads: Sequence[Lead],
    *,
    as_of: dt.date,
    icp: Icp = DEFAULT_ICP,
    weights: Weights = DEFAULT_WEIGHTS,
    weights_source: Source = Source.DEFAULT,
    competitor_domains: tuple[str, ...] = (),
    tier_channels: Mapping[str, tuple[str, ...]] = NO_POLICY,
    suppression: SuppressionIndex = NO_SUPPRESSION,
    model: PropensityScorer | None = None,
) -> ScoredTable:
    """Score many leads into columns; whole `LeadScore`s are made only where they are asked for.

    Args:
        leads: the leads.
        as_of, icp, weights, weights_source, competitor_domains, tier_channels, suppression, model:
            as for `score_lead`.
    """
    context = _Context(icp, weights, weights_source, competitor_domains, tier_channels, as_of)
    coded = [_coded(lead, context) for lead in leads]
    codes = np.array(coded, dtype=np.int64).reshape(-1, CODED_WIDTH)
    arithmetic = score_rows(codes, weights.as_tuple())
    probabilities = None
    if model is not None:
        points = [Components(*map(int, row)) for row in arithmetic[:, :5].tolist()]
        probabilities = model.rows_of(
            [raw_features(lead, of, as_of) for lead, of in zip(leads, points, strict=True)]
        )
    gates = gate_reasons(leads, context.competitors, suppression)
    return ScoredTable(leads, coded, arithmetic, gates, probabilities, model, context)


class ScoredTable:
    """Scores of n leads as columns, in the order of the leads.

    Attributes:
        score: shape (n,), int64, 0..100.
        tier: shape (n,), int64, the effective tier as `Tier` value.
        components: shape (n, 5), float64, raw points in the order of `COMPONENTS`.
        gates: for each lead why it is suppressed, or None.
        probabilities: shape (n, 3): probability, low, high; None without a model.
        target: what the probabilities are of; None without a model.
    """

    __slots__ = (
        "_arithmetic",
        "_coded",
        "_context",
        "_leads",
        "_model",
        "components",
        "gates",
        "probabilities",
        "score",
        "target",
        "tier",
    )

    def __init__(
        self,
        leads: Sequence[Lead],
        coded: Sequence[CodedLead],
        arithmetic: NDArray[np.float64],
        gates: Sequence[GateReason | None],
        probabilities: NDArray[np.float64] | None,
        model: PropensityScorer | None,
        context: _Context,
    ) -> None:
        columns = {name: arithmetic[:, k] for k, name in enumerate(Arithmetic._fields)}
        open_ = np.array([gate is None for gate in gates], dtype=np.bool_)
        self.score: NDArray[np.int64] = columns["score"].astype(np.int64)
        self.tier: NDArray[np.int64] = np.where(open_, columns["tier"], Tier.DEAD).astype(np.int64)
        self.components: NDArray[np.float64] = arithmetic[:, :5]
        self.gates = gates
        self.probabilities = probabilities
        self.target = None if model is None else model.model.target
        self._leads, self._coded, self._arithmetic = leads, coded, arithmetic
        self._context, self._model = context, model

    def __len__(self) -> int:
        return len(self._leads)

    def lead_score(self, i: int, *, with_reasons: bool = False) -> LeadScore:
        """The whole score of the i-th lead, equal to that of `score_lead`."""
        probability = None
        if self.probabilities is not None and self.target is not None:
            chance, low, high = self.probabilities[i].tolist()
            probability = ConversionProbability(chance, low, high, self.target)
            if with_reasons and self._model is not None:
                components = _components(Arithmetic(*self._arithmetic[i].tolist()))
                probability = self._model.explained(
                    probability, self._leads[i], components, self._context.as_of
                )
        return _lead_score(
            self._leads[i],
            self._coded[i],
            Arithmetic(*self._arithmetic[i].tolist()),
            self.gates[i],
            probability,
            self._context,
            with_reasons,
        )


def channels_of_lead(
    lead: Lead, tier: Tier, policy: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Channels the lead can be reached on now: allowed for the tier, with contact data, not closed.

    Args:
        lead: the lead.
        tier: its effective tier.
        policy: the client's table, see `channels_of_tier`.
    """
    closed = closed_channels(lead)
    return tuple(
        channel
        for channel in channels_of_tier(tier, policy)
        if channel not in closed and reaches(channel, lead)
    )


def lead_score_of(
    lead: Lead,
    result: Arithmetic,
    gate: GateReason | None,
    *,
    weights: Weights,
    weights_source: Source,
    tier_channels: Mapping[str, tuple[str, ...]],
    probability: ConversionProbability | None = None,
    reasons: tuple[Reason, ...] = (),
) -> LeadScore:
    """What the arithmetic and the gate come to.

    Args:
        lead: the lead, of which the id and the contact data count.
        result: what the kernel made of it.
        gate: why it is suppressed, or None.
        weights, weights_source, tier_channels: as for `score_lead`.
        probability: of conversion, if there is a model.
        reasons: if they are given.
    """
    score_tier = Tier(int(result.tier))
    tier = score_tier if gate is None else Tier.DEAD
    return LeadScore(
        lead_id=lead.lead_id,
        score=int(result.score),
        score_tier=score_tier,
        tier=tier,
        components=_components(result),
        contributions=(
            result.data_quality_part,
            result.authority_part,
            result.company_fit_part,
            result.timing_part,
            result.risk_part,
        ),
        weighted_sum=result.weighted_sum,
        weights=weights,
        weights_source=weights_source,
        suppressed=gate is not None,
        suppression_reason=None if gate is None else gate.value,
        tier_channels=channels_of_tier(tier, tier_channels),
        channels=channels_of_lead(lead, tier, tier_channels),
        conversion_probability=probability,
        reasons=reasons,
    )


class _Context:
    """What a score depends on besides the lead, prepared once for all leads of a call."""

    __slots__ = ("as_of", "competitors", "icp", "tier_channels", "weights", "weights_source")

    def __init__(
        self,
        icp: Icp,
        weights: Weights,
        weights_source: Source,
        competitor_domains: tuple[str, ...],
        tier_channels: Mapping[str, tuple[str, ...]],
        as_of: dt.date,
    ) -> None:
        self.icp = matcher(icp)
        self.weights = weights
        self.weights_source = weights_source
        self.competitors = competitor_set(competitor_domains)
        self.tier_channels = tier_channels
        self.as_of = as_of


def _coded(lead: Lead, context: _Context) -> CodedLead:
    return coded_lead(
        lead,
        title=parse_title(lead.title),
        icp=context.icp,
        as_of=context.as_of,
        competitor=is_competitor(lead, context.competitors),
    )


def _components(result: Arithmetic) -> Components:
    return Components(
        int(result.data_quality),
        int(result.authority),
        int(result.company_fit),
        int(result.timing),
        int(result.risk),
    )


def _lead_score(
    lead: Lead,
    coded: CodedLead,
    result: Arithmetic,
    gate: GateReason | None,
    probability: ConversionProbability | None,
    context: _Context,
    with_reasons: bool,
) -> LeadScore:
    """The arithmetic and the gate as one answer."""
    reasons: tuple[Reason, ...] = ()
    if with_reasons:
        title = parse_title(lead.title)
        reasons = reasons_of(score_factors(lead, coded, title, context.weights))
    return lead_score_of(
        lead,
        result,
        gate,
        weights=context.weights,
        weights_source=context.weights_source,
        tier_channels=context.tier_channels,
        probability=probability,
        reasons=reasons,
    )
