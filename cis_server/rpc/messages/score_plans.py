"""Everything of a `LeadScore` that leads of one kind have in common, serialised once.

Leads that give the arithmetic the same input have the same points, sum, score, tier, channels and
reasons; only their ids and a few words differ. A `ScorePlan` holds the bytes they share. It is made
by the very functions that score a single lead, so there is no second arithmetic here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cis_client.v1 import core_pb2
from cis_server.domain.lead import Lead
from cis_server.domain.scores import Components
from cis_server.domain.suppression import GateReason
from cis_server.domain.titles import NO_TITLE
from cis_server.domain.vocabulary import EmailStatus, Tier
from cis_server.rpc.messages.scores import score_message
from cis_server.rpc.messages.signals import points_bytes
from cis_server.rpc.messages.values import word_of
from cis_server.scoring.components import email_code
from cis_server.scoring.icp import matcher
from cis_server.scoring.kernel import CodedLead, score_one
from cis_server.scoring.reasons import score_factors, strongest
from cis_server.scoring.scorer import lead_score_of
from cis_server.serving.scoring_answers import ScoringContext

NO_GATE: Final = -1
GATES: Final = tuple(GateReason)
"""`LeadKind.gate` is a place in this."""

NO_TEXT: Final = 0
SOME_TEXT: Final = 1
USABLE: Final = 2
"""`LeadKind.email`: nothing, something that is no address, an address."""


class LeadKind(NamedTuple):
    """All of a lead that decides its score, channels and which reasons are given."""

    email_status: int
    """Number of the `EmailStatus`."""
    email: int
    """`NO_TEXT`, `SOME_TEXT` or `USABLE`."""
    phone: int
    """0 none, 1 not verified, 2 verified."""
    linkedin: bool
    personal_email: bool
    authority: int
    industry: int
    size: int
    """A `headcount_class`."""
    country: int
    role: int
    """A `role_class`."""
    hiring: bool | None
    funding: int
    """A `funding_class`."""
    bounced: bool
    unsubscribed: bool
    competitor: bool
    unsuitable: bool
    postal: bool
    """Whether there is an address for letters."""
    call_register: bool
    gate: int
    """Why the lead is suppressed, a place in `GATES`; `NO_GATE` when it is not."""


class Factor(NamedTuple):
    """A reason to be given."""

    source: int
    """Place in `SOURCES` of the field whose words it has; 0: the piece is complete."""
    piece: bytes
    """The points, or the complete `LeadScore.reasons` entry."""


SOURCES: Final = ("", "authority", "industry", "company_size", "country", "new_role", "funding")
"""Factors whose words depend on more than the kind of the lead."""


class ScorePlan(NamedTuple):
    """The bytes that leads of one kind share, in one scoring context."""

    head: bytes
    """From `LeadScore.score` to `LeadScore.channels`."""
    factors: tuple[Factor, ...]
    """The reasons, in order."""
    score: int
    tier: Tier
    """The effective one."""
    components: Components


def score_plan(kind: LeadKind, context: ScoringContext) -> ScorePlan:
    """Work out what leads of one kind share.

    Args:
        kind: what they have in common.
        context: without a rollout.
    """
    lead = _lead_of(kind)
    coded = _coded_of(kind, lead, context)
    gate = None if kind.gate == NO_GATE else GATES[kind.gate]
    score = lead_score_of(
        lead,
        score_one(coded, context.weights.as_tuple()),
        gate,
        weights=context.weights,
        weights_source=context.model_info.source,
        tier_channels=context.tier_channels,
    )
    factors = [
        Factor(SOURCES.index(factor.name), points_bytes(points))
        if factor.name in SOURCES
        else Factor(0, _reason(factor.name, points, factor.text()))
        for factor, points in strongest(score_factors(lead, coded, NO_TITLE, context.weights))
    ]
    return ScorePlan(
        head=score_message(score, None).SerializeToString(),
        factors=_merged(factors),
        score=score.score,
        tier=score.tier,
        components=score.components,
    )


def _lead_of(kind: LeadKind) -> Lead:
    """A lead of the kind, as far as channels and words that the kind decides go."""
    return Lead(
        email=(None, "no address", "name@host.example")[kind.email],
        email_status=_EMAIL_STATUS(kind.email_status) or EmailStatus.UNKNOWN,
        phone="00000" if kind.phone else None,
        call_register_listed=kind.call_register,
        linkedin_url="host.example/in/name" if kind.linkedin else None,
        postal_address="somewhere" if kind.postal else None,
        is_hiring=kind.hiring,
    )


def _coded_of(kind: LeadKind, lead: Lead, context: ScoringContext) -> CodedLead:
    icp = matcher(context.icp)
    return CodedLead(
        email=email_code(lead),
        phone=kind.phone,
        linkedin=int(kind.linkedin),
        personal_email=int(kind.personal_email),
        authority=kind.authority,
        industry=kind.industry,
        headcount=kind.size,
        headcount_min=icp.employee_min,
        headcount_max=icp.employee_max,
        country=kind.country,
        role_days=kind.role,
        hiring=int(kind.hiring is True),
        funding_days=kind.funding,
        bounced=int(kind.bounced),
        unsubscribed=int(kind.unsubscribed),
        competitor=int(kind.competitor),
        unsuitable=int(kind.unsuitable),
    )


def _reason(factor: str, points: float, text: str) -> bytes:
    reason = core_pb2.Reason(factor=factor, points=points, text=text)
    return core_pb2.LeadScore(reasons=[reason]).SerializeToString()


def _merged(factors: list[Factor]) -> tuple[Factor, ...]:
    """Neighbours that are complete as one piece."""
    merged: list[Factor] = []
    for factor in factors:
        if factor.source == 0 and merged and merged[-1].source == 0:
            merged[-1] = Factor(0, merged[-1].piece + factor.piece)
        else:
            merged.append(factor)
    return tuple(merged)


_EMAIL_STATUS = word_of(core_pb2.EmailStatus, EmailStatus)
