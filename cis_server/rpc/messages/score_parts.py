"""What a component of the score comes to, worked out once for every input it can have.

The five components do not depend on each other, and what decides each is a handful of small
numbers: 216 inputs of data quality, 26 of authority, 30 of company fit, 48 of timing and 16 of
risk. For given weights a `ScorePart` is kept for each: its points, its weighted part, both as
bytes, and its reasons by rank. A lead's score is five look-ups and a sum. The parts are made by
the very functions that score a single lead, so there is no second arithmetic here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_server.domain.lead import Lead
from cis_server.domain.scores import MAX_POINTS
from cis_server.domain.titles import NO_TITLE
from cis_server.domain.vocabulary import EmailStatus
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.signals import points_bytes, reason_ends
from cis_server.rpc.messages.values import word_of
from cis_server.rpc.messages.wire import double
from cis_server.scoring.arithmetic import CodedLead, score_one, weighted_part
from cis_server.scoring.components import email_code
from cis_server.scoring.points import POINTS
from cis_server.scoring.reasons import MAX_REASONS, NO_RANK, Signal, scales, signals_of
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
    """Ranks of its strongest factors for, ascending; keys of `PartTables.gains`."""
    misses: tuple[int, ...]
    """Ranks of its strongest factors against; keys of `PartTables.misses`."""


class RankedFactor(NamedTuple):
    """A factor with its points, ready to be given as a reason."""

    source: int
    """Place in `SOURCES` of the field whose words it has; 0: its own."""
    points: bytes
    """`Reason.points`, serialised."""
    front: bytes
    """With words of its own: the `LeadScore.reasons` entry before the points, ..."""
    back: bytes
    """... and after them."""


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
        gains: rank -> factor for, strongest first: among those of one lead the lowest ranks are
            the reasons, in this order.
        misses: rank -> factor against, likewise.
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
        self._weights = weights.as_tuple()
        message = core_pb2.LeadScore(weights=weights_message(weights))
        self.weights = message.SerializeToString()
        scale = scales(weights)
        gains, self._gain_ranks = _ranked(_every_factor()[0], scale)
        misses, self._miss_ranks = _ranked(_every_factor()[1], scale)
        self.gains: Mapping[int, RankedFactor] = Memo(
            lambda rank: _every_factor()[0][gains[rank]].ranked(scale, 1.0), budget
        )
        self.misses: Mapping[int, RankedFactor] = Memo(
            lambda rank: _every_factor()[1][misses[rank]].ranked(scale, -1.0), budget
        )
        self.quality: Mapping[tuple[int, int, int, bool, bool], ScorePart] = Memo(
            lambda key: self._part(0, _Input(*key)), budget
        )
        self.authority: Mapping[int, ScorePart] = Memo(
            lambda points: self._part(1, _Input(authority=points)), budget
        )
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
        points, gains, misses = _outcome(component, given)
        part = weighted_part(points, MAX_POINTS[component], self._weights[component])
        return ScorePart(
            points=points,
            raw=double(component + 1, points) if points else b"",
            weighted=double(component + 1, part) if part else b"",
            part=part,
            gains=tuple(sorted(self._gain_ranks[place] for place in gains)[:MAX_REASONS]),
            misses=tuple(sorted(self._miss_ranks[place] for place in misses)[:MAX_REASONS]),
        )


class RankedParts(NamedTuple):
    """The reasons of every input of the components under given weights, as arrays.

    C inputs have a number (`part_numbers`), R is how many factors there are on the longer side; the
    first axis is 0 for, 1 against.
    """

    ranks: NDArray[np.uint8]
    """Shape (2, C, `MAX_REASONS`): as `ScorePart.gains` and `.misses`, then 255."""
    factors: NDArray[np.int64]
    """Shape (2, R, 2): `RankedFactor.source`, and the place of its front in `reason_pieces`."""
    points: NDArray[np.uint8]
    """Shape (2, R, 8): `Reason.points` as little-endian bytes."""


def ranked_parts(weights: Weights) -> RankedParts:
    """The same reasons as `PartTables` of these weights finds one input at a time."""
    scale = scales(weights)
    sides = _every_factor()
    places = _factors_of_every_input()
    most = max(map(len, sides))
    ranks = np.full((2, places.shape[1], MAX_REASONS), NO_RANK, dtype=np.uint8)
    factors = np.zeros((2, most, 2), dtype=np.int64)
    points = np.zeros((2, most, 8), dtype=np.uint8)
    first = 0
    for side, strengths in enumerate(sides):
        by_rank, ranked = (np.frombuffer(each, np.uint8) for each in _ranked(strengths, scale))
        rank_of = np.full(NO_RANK + 1, NO_RANK, dtype=np.uint8)
        rank_of[: len(ranked)] = ranked
        ranks[side] = np.sort(rank_of[places[side]], axis=1)[:, :MAX_REASONS]
        sources = np.array([strength.source for strength in strengths])
        effects = np.array(
            [strength.effect * scale[strength.component] for strength in strengths], dtype="<f8"
        )
        told = (-effects if side else effects)[by_rank]
        factors[side, : len(strengths), 0] = sources[by_rank]
        factors[side, : len(strengths), 1] = first + 2 * by_rank.astype(np.int64)
        points[side, : len(strengths)] = told.view(np.uint8).reshape(-1, 8)
        first += 2 * len(strengths)
    return RankedParts(ranks, factors, points)


@cache
def reason_pieces() -> tuple[bytes, ...]:
    """Front and back of every factor with words of its own, empty of the others."""
    return tuple(
        piece
        for strengths in _every_factor()
        for strength in strengths
        for piece in (strength.front, strength.back)
    )


def part_numbers(component: int, *inputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of inputs of a component, for `RankedParts`.

    Args:
        component: 0..4.
        inputs: shape (n,) each, in the order of the key in `PartTables`; statuses of e-mails as
            numbers of the contract, classes of days as they are, flags 0 or 1, -1 for unknown.

    Returns:
        Shape (n,).
    """
    first, *others = (table[given] for table, given in zip(_PLACES[component], inputs, strict=True))
    return sum(others, first)


@cache
def _factors_of_every_input() -> NDArray[np.uint8]:
    """Places in `_every_factor` by side and number of the input, 255 for no more."""
    found = []
    for component, values in enumerate(_INPUTS):
        for key in itertools.product(*values):
            _, *sides = _outcome(component, _input_of(component, key))
            found.append(sides)
    widest = max(len(places) for sides in found for places in sides)
    return np.array(
        [
            [[*places, *[NO_RANK] * (widest - len(places))] for places in side]
            for side in zip(*found, strict=True)
        ],
        dtype=np.uint8,
    )


def _input_of(component: int, key: tuple[int, ...]) -> _Input:
    if component == 0:
        return _Input(key[0], key[1], key[2], bool(key[3]), bool(key[4]))
    if component == 1:
        return _Input(authority=key[0])
    if component == 2:
        return _Input(industry=key[0], size=key[1], country=key[2])
    if component == 3:
        hiring = None if key[1] < 0 else bool(key[1])
        return _Input(role=key[0], hiring=hiring, funding=key[2])
    return _Input(risk=tuple(map(bool, key)))


class _Strength(NamedTuple):
    """A factor that some lead has, with its effect before any weights; weights only rank them."""

    background: bool
    component: int
    effect: float
    """Points of the component, above 0."""
    order: int
    """Place among `FACTORS`, for equals."""
    source: int
    front: bytes
    back: bytes

    def ranked(self, scale: Sequence[float], sign: float) -> RankedFactor:
        points = points_bytes(sign * (self.effect * scale[self.component]))
        return RankedFactor(self.source, points, self.front, self.back)


def _ranked(factors: Sequence[_Strength], scale: Sequence[float]) -> tuple[bytes, bytes]:
    """Rank -> place among `factors`, and the other way round; in the order of `strongest`."""

    def strength(place: int) -> tuple[bool, float, int]:
        factor = factors[place]
        return factor.background, -(factor.effect * scale[factor.component]), factor.order

    by_rank = sorted(range(len(factors)), key=strength)
    ranks = bytearray(len(factors))
    for rank, place in enumerate(by_rank):
        ranks[place] = rank
    return bytes(by_rank), bytes(ranks)


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

_INPUTS: Final[tuple[tuple[Sequence[int], ...], ...]] = (
    (sorted(core_pb2.EmailStatus.values()), range(3), range(3), range(2), range(2)),
    (range(_MOST_AUTHORITY + 1),),
    (range(2), range(len(_HEADCOUNTS)), range(3)),
    (_ROLES, (-1, 0, 1), _FUNDINGS),
    (range(2),) * 4,
)
"""Every value of every input of each component."""


def _place_tables() -> Iterator[tuple[NDArray[np.int64], ...]]:
    """What each value of each input adds to the number; -1 reads the last entry."""
    first = 0
    for inputs in _INPUTS:
        step = size = math.prod(map(len, inputs))
        tables = []
        for values in inputs:
            step //= len(values)
            table = np.zeros(max(values) + 2, dtype=np.int64)
            table[list(values)] = range(0, step * len(values), step)
            tables.append(table)
        tables[0] += first
        first += size
        yield tuple(tables)


_PLACES: Final = tuple(_place_tables())

_Identity = tuple[str, float, str | None]
"""What tells a reason from any other: factor, effect, and words where the input decides them."""


@cache
def _every_factor() -> tuple[list[_Strength], list[_Strength]]:
    """Every factor for and against that any lead has, a few dozen of each; without weights."""
    order = {name: place for place, name in enumerate(itertools.chain.from_iterable(FACTORS))}

    def strength(identity: _Identity, signal: Signal) -> _Strength:
        name, effect, text = identity
        source = SOURCES.index(name) if text is None else 0
        ends = (b"", b"") if text is None else reason_ends(name, text)
        return _Strength(signal.background, signal.component, effect, order[name], source, *ends)

    gains, misses = _signals()
    return (
        [strength(identity, signal) for identity, signal in gains.items()],
        [strength(identity, signal) for identity, signal in misses.items()],
    )


@cache
def _signals() -> tuple[dict[_Identity, Signal], dict[_Identity, Signal]]:
    """The signals behind them, in their order."""
    found = [
        signal for given in _every_input() for signal in signals_of(*_lead_of(given), NO_TITLE)
    ]
    return (
        {_identity(signal, signal.got): signal for signal in found if signal.got > 0},
        {_identity(signal, signal.missed): signal for signal in found if signal.missed > 0},
    )


@lru_cache(maxsize=1024)
def _outcome(component: int, given: _Input) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Points of a component and places of its factors for and against; without weights."""
    lead, coded = _lead_of(given)
    gains, misses = (list(signals) for signals in _signals())
    own = [
        signal for signal in signals_of(lead, coded, NO_TITLE) if signal.name in FACTORS[component]
    ]
    return (
        int(score_one(coded, DEFAULT_WEIGHTS.as_tuple())[component]),
        tuple(gains.index(_identity(signal, signal.got)) for signal in own if signal.got > 0),
        tuple(
            misses.index(_identity(signal, signal.missed)) for signal in own if signal.missed > 0
        ),
    )


def _identity(signal: Signal, effect: float) -> _Identity:
    return signal.name, effect, None if signal.name in SOURCES else signal.text()


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


def _lead_of(given: _Input) -> tuple[Lead, CodedLead]:
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
