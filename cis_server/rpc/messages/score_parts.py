"""What a component of the score comes to, worked out once for every input it can have.

The five components do not depend on each other, and what decides each is a handful of small
numbers: 216 inputs of data quality, 26 of authority, 30 of company fit, 48 of timing and 16 of
risk. For given weights a `ScorePart` is kept for each: its points, its weighted part, both as
bytes, and its reasons by rank. A lead's score is five look-ups and a sum. The parts are made by
the very functions that score a single lead, so there is no second arithmetic here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final, NamedTuple

from cis_client.v1 import core_pb2
from cis_server.domain.lead import Lead
from cis_server.domain.titles import NO_TITLE
from cis_server.domain.vocabulary import EmailStatus
from cis_server.domain.weights import Weights
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.signals import points_bytes
from cis_server.rpc.messages.values import word_of
from cis_server.rpc.messages.wire import double
from cis_server.scoring.components import email_code
from cis_server.scoring.kernel import CodedLead, score_one
from cis_server.scoring.points import POINTS
from cis_server.scoring.reasons import MAX_REASONS, Factor, score_factors
from cis_server.serving.memo import Memo, MemoBudget

NO_TEXT: Final = 0
SOME_TEXT: Final = 1
USABLE: Final = 2
"""What there is of an e-mail address: nothing, something that is no address, an address."""

SOURCES: Final = ("", "authority", "industry", "company_size", "country", "new_role", "funding")
"""Factors whose words depend on more than the input of their component."""

FACTORS: Final = (
    ("email", "phone", "linkedin", "personal_email"),
    ("authority",),
    ("industry", "company_size", "country"),
    ("new_role", "hiring", "funding"),
    ("unsubscribed", "competitor", "bounce", "unsuitable_title", "low_risk"),
)
"""Factors of each component, in the order in which equals are given as reasons."""


class ScorePart(NamedTuple):
    """One component."""

    points: int
    raw: bytes
    """Its field of `Components`, serialised."""
    weighted: bytes
    """Its field of `Contributions`, serialised."""
    part: float
    """The weighted part."""
    gains: tuple[int, ...]
    """Ranks of its strongest factors for, ascending; places in `PartTables.gains`."""
    misses: tuple[int, ...]
    """Ranks of its strongest factors against; places in `PartTables.misses`."""


class RankedFactor(NamedTuple):
    """A factor with its points, ready to be given as a reason."""

    source: int
    """Place in `SOURCES` of the field whose words it has; 0: the piece is complete."""
    piece: bytes
    """`Reason.points`, or the complete `LeadScore.reasons` entry, serialised."""


class PartTables:
    """The parts under given weights.

    Attributes:
        weights: the field `LeadScore.weights`, serialised.
        quality: (number of the e-mail status; `NO_TEXT`, `SOME_TEXT` or `USABLE`; phone 0 none,
            1 not verified, 2 verified; whether there is a profile; a personal address) -> part.
        authority: points -> part.
        fit: (industry matches; `SizeFit`; `CountryFit`) -> part.
        timing: (`role_class`; hiring, None when not known; `funding_class`) -> part.
        risk: (bounced; unsubscribed; competitor; unsuitable title) -> part.
        gains: every factor for, strongest first: among those of one lead the lowest ranks are the
            reasons, in this order.
        misses: every factor against, likewise.
    """

    __slots__ = (
        "_gain_ranks",
        "_miss_ranks",
        "_weights",
        "authority",
        "fit",
        "gains",
        "misses",
        "quality",
        "risk",
        "timing",
        "weights",
    )

    def __init__(self, weights: Weights, budget: MemoBudget) -> None:
        self._weights = weights
        message = core_pb2.LeadScore(weights=weights_message(weights))
        self.weights = message.SerializeToString()
        found = [
            factor
            for kind in _every_input()
            for factor in score_factors(*_parts_of(kind), NO_TITLE, weights)
        ]
        gains = {_identity(f, f.gained): (f.background, -f.gained) for f in found if f.gained > 0}
        misses = {_identity(f, -f.missed): (False, -f.missed) for f in found if f.missed > 0}
        self._gain_ranks, self.gains = _ranked(gains)
        self._miss_ranks, self.misses = _ranked(misses)
        self.quality: Mapping[tuple[int, int, int, bool, bool], ScorePart] = Memo(
            lambda key: self._part(0, _Input(*key)), budget
        )
        self.authority = [self._part(1, _Input(authority=n)) for n in range(_MOST_AUTHORITY + 1)]
        self.fit: Mapping[tuple[int, int, int], ScorePart] = Memo(
            lambda key: self._part(2, _Input(industry=key[0], size=key[1], country=key[2])), budget
        )
        self.timing: Mapping[tuple[int, bool | None, int], ScorePart] = Memo(
            lambda key: self._part(3, _Input(role=key[0], hiring=key[1], funding=key[2])), budget
        )
        self.risk: Mapping[tuple[bool, bool, bool, bool], ScorePart] = Memo(
            lambda key: self._part(4, _Input(risk=key)), budget
        )

    def _part(self, component: int, given: _Input) -> ScorePart:
        lead, coded = _parts_of(given)
        result = score_one(coded, self._weights.as_tuple())
        points, part = result[component], result[component + 5]
        factors = [
            factor
            for factor in score_factors(lead, coded, NO_TITLE, self._weights)
            if factor.name in FACTORS[component]
        ]
        gains = sorted(self._gain_ranks[_identity(f, f.gained)] for f in factors if f.gained > 0)
        misses = sorted(self._miss_ranks[_identity(f, -f.missed)] for f in factors if f.missed > 0)
        return ScorePart(
            points=int(points),
            raw=double(component + 1, points) if points else b"",
            weighted=double(component + 1, part) if part else b"",
            part=part,
            gains=tuple(gains[:MAX_REASONS]),
            misses=tuple(misses[:MAX_REASONS]),
        )


class _Input(NamedTuple):
    """What decides the five parts; by default nothing is known."""

    email_status: int = 0
    email: int = NO_TEXT
    phone: int = 0
    linkedin: bool = False
    personal_email: bool = False
    authority: int = 0
    industry: int = 0
    size: int = 0
    country: int = 0
    role: int = -1
    hiring: bool | None = None
    funding: int = -1
    risk: tuple[bool, ...] = (False, False, False, False)


_LEAST, _MOST = 10, 20  # a profile's range; which one makes no difference to a `SizeFit`
_HEADCOUNTS: Final = (0, 1, _LEAST, _MOST + 1, int(POINTS.size_above_factor * _MOST) + 1)
"""A head-count of each `SizeFit`."""
_MOST_AUTHORITY: Final = int(POINTS.max_authority)
_ROLES: Final = (-1, 0, int(POINTS.new_role_days), int(POINTS.recent_role_days))
_FUNDINGS: Final = (-1, 0, int(POINTS.fresh_funding_days), int(POINTS.recent_funding_days))
_FLAGS: Final = (False, True)
_EMAIL_STATUS = word_of(core_pb2.EmailStatus, EmailStatus)

_Identity = tuple[str, float, str | None]


def _every_input() -> list[_Input]:
    """Inputs in which every factor takes every value; factors do not depend on each other."""
    emails = list(itertools.product(core_pb2.EmailStatus.values(), (NO_TEXT, SOME_TEXT, USABLE)))
    risks = list(itertools.product(_FLAGS, repeat=4))
    return [
        _Input(
            *emails[i % len(emails)],
            phone=i % 3,
            linkedin=bool(i % 2),
            personal_email=bool(i % 2),
            authority=i,
            industry=i % 2,
            size=i % len(_HEADCOUNTS),
            country=i % 3,
            role=_ROLES[i % 4],
            hiring=(None, False, True)[i % 3],
            funding=_FUNDINGS[i % 4],
            risk=risks[i % len(risks)],
        )
        for i in range(max(_MOST_AUTHORITY + 1, len(emails), len(risks)))
    ]


def _parts_of(given: _Input) -> tuple[Lead, CodedLead]:
    """A lead with that input, as far as the words of its factors go, and as the kernel reads it."""
    lead = Lead(
        email=(None, "no address", "name@host.example")[given.email],
        email_status=_EMAIL_STATUS(given.email_status) or EmailStatus.UNKNOWN,
        is_hiring=given.hiring,
    )
    bounced, unsubscribed, competitor, unsuitable = map(int, given.risk)
    coded = CodedLead(
        email=email_code(lead),
        phone=given.phone,
        linkedin=int(given.linkedin),
        personal_email=int(given.personal_email),
        authority=given.authority,
        industry=given.industry,
        headcount=_HEADCOUNTS[given.size],
        headcount_min=_LEAST,
        headcount_max=_MOST,
        country=given.country,
        role_days=given.role,
        hiring=int(given.hiring is True),
        funding_days=given.funding,
        bounced=bounced,
        unsubscribed=unsubscribed,
        competitor=competitor,
        unsuitable=unsuitable,
    )
    return lead, coded


def _identity(factor: Factor, points: float) -> _Identity:
    """What tells a reason from any other; its words only where the input decides them."""
    return factor.name, points, None if factor.name in SOURCES else factor.text()


def _ranked(
    strength: Mapping[_Identity, tuple[bool, float]],
) -> tuple[dict[_Identity, int], list[RankedFactor]]:
    """Ranks and factors in the order of `strongest`: by strength, then as `FACTORS` lists them."""
    order = {name: place for place, name in enumerate(itertools.chain.from_iterable(FACTORS))}
    ranked = sorted(strength, key=lambda reason: (*strength[reason], order[reason[0]]))
    factors = [
        RankedFactor(SOURCES.index(name), points_bytes(points))
        if text is None
        else RankedFactor(0, _reason(name, points, text))
        for name, points, text in ranked
    ]
    return {reason: rank for rank, reason in enumerate(ranked)}, factors


def _reason(factor: str, points: float, text: str) -> bytes:
    reason = core_pb2.Reason(factor=factor, points=points, text=text)
    return core_pb2.LeadScore(reasons=[reason]).SerializeToString()
