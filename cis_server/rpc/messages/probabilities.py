"""The conversion probability of a lead in bytes: what each feature does is kept by its value.

The model adds up features, so what one value of one feature does (the column it fills, its log-odds
and the words for it) is worked out once by `PropensityScorer.part`. A lead costs a look-up a
feature, the arithmetic of the kernel, and sorting what was found.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_server.domain.lead import Lead
from cis_server.domain.scores import Components, ConversionProbability
from cis_server.domain.vocabulary import EmailStatus
from cis_server.domain.weights import COMPONENTS
from cis_server.rpc.messages.scores import probability_message
from cis_server.rpc.messages.signals import is_short
from cis_server.rpc.messages.values import word_of
from cis_server.rpc.messages.wire import delimited, double
from cis_server.scoring.features import ATTRIBUTE, raw_features
from cis_server.scoring.propensity import PropensityScorer
from cis_server.serving.memo import Memo, MemoBudget

_EMAIL_STATUS = word_of(core_pb2.EmailStatus, EmailStatus)
_NO_POINTS: Final = Components(0, 0, 0, 0, 0)
_UNKNOWN: Final = Lead()


class LeadFacts(NamedTuple):
    """All that features are read from but the attributes; texts are empty when not given."""

    title: str
    industry: str
    employee_count: int
    seniority: str
    country: str
    email_status: int
    """Number of the `EmailStatus`."""
    email: bool
    """Whether there is an address; so on."""
    phone: bool
    linkedin: bool
    hiring: bool | None
    employment_start_date: str
    latest_funding_date: str
    data_quality: int
    """Points; so on."""
    authority: int
    company_fit: int
    timing: int
    risk: int


class _Encoded(NamedTuple):
    """One value of one feature; tuples sort as the factors are told, strongest first."""

    weakness: float
    place: int
    column: int
    value: float
    piece: bytes
    """A `ConversionProbability.factors` entry, empty when the value does nothing."""


DistinctFacts: TypeAlias = tuple[Sequence[Any], NDArray[np.int64]]
"""The distinct values of a fact of n leads, at least one; which of them each has, shape (n,)."""


class ProbabilityColumns(NamedTuple):
    """The features of n leads, F of them, as entries."""

    features: NDArray[np.int64]
    """Shape (n, F): the entry of each."""
    weakness: NDArray[np.float64]
    """Of each entry: factors are told in this order, zeros not at all."""
    pieces: list[bytes]
    """What is told of each entry."""


class ProbabilityWriter:
    """Writes the field `LeadScore.conversion_probability`.

    Args:
        scorer: the model.
        version: of the model, as it is told.
        as_of: the day ages are counted to.
        budget: bounds what is kept.
    """

    __slots__ = ("_as_of", "_attributes", "_blank", "_facts", "_model", "_scorer")

    def __init__(
        self, scorer: PropensityScorer, version: str, as_of: dt.date, budget: MemoBudget
    ) -> None:
        self._scorer, self._as_of = scorer, as_of
        places = {name: place for place, (name, _) in enumerate(scorer.encoder.slots)}
        raw = raw_features(_UNKNOWN, _NO_POINTS, as_of)
        self._blank = [self._encoded(place, raw.get(name)) for name, place in places.items()]
        self._facts: list[tuple[int, Mapping[Any, tuple[_Encoded, ...]]]] = []
        for field, made in _LEAD_OF.items():
            known = self._of_fact(
                made, [(name, places[name]) for name in READ[field] if name in places]
            )
            if known is not None:
                memo = Memo(known, budget, keeps=_is_kept)
                self._facts.append((LeadFacts._fields.index(field), memo))
        self._attributes = [
            (name.removeprefix(ATTRIBUTE), place, self._of_attribute(name, place, budget))
            for name, place in places.items()
            if name.startswith(ATTRIBUTE)
        ]
        nothing = ConversionProbability(
            0.0, 0.0, 0.0, scorer.model.target, base_log_odds=scorer.base_log_odds
        )
        self._model = probability_message_bytes(nothing, version)

    def field(self, facts: Sequence[Any], attributes: Mapping[str, str]) -> bytes:
        """The serialised field.

        Args:
            facts: a `LeadFacts`, or a tuple in its order.
            attributes: of the lead.
        """
        rows = self._blank.copy()
        for place, memo in self._facts:
            for encoded in memo[facts[place]]:
                rows[encoded[1]] = encoded
        if attributes:
            for key, feature, values in self._attributes:
                if key in attributes:
                    rows[feature] = values[attributes[key]]
        chance, low, high = self._scorer.of_encoded(
            [row[2] for row in rows], [row[3] for row in rows]
        )
        rows.sort()
        payload = b"".join(
            (
                double(1, chance) if chance else b"",
                double(2, low) if low else b"",
                double(3, high) if high else b"",
                self._model,
                *map(_piece, rows),
            )
        )
        return delimited(12, payload)

    def columns(
        self, facts: Mapping[str, DistinctFacts], attributes: Mapping[str, DistinctFacts], n: int
    ) -> ProbabilityColumns:
        """What the features of n leads do.

        Args:
            facts: field of `LeadFacts` -> its values.
            attributes: key -> its values, empty where there is none; those the model reads.
            n: how many leads.
        """
        entries = list(self._blank)
        features = np.repeat(np.arange(len(entries))[None], n, axis=0)
        for place, memo in self._facts:
            values, rows = facts[LeadFacts._fields[place]]
            known = [memo[value] for value in values]
            for k, encoded in enumerate(known[0]):
                features[:, encoded[1]] = len(entries) + rows
                entries += [each[k] for each in known]
        for key, feature, memo_of in self._attributes:
            values, rows = attributes[key]
            features[:, feature] = len(entries) + rows
            entries += [memo_of[value] for value in values]
        return ProbabilityColumns(
            features, np.array([entry[0] for entry in entries]), list(map(_piece, entries))
        )

    @property
    def attributes(self) -> tuple[str, ...]:
        """Keys of the attributes that the model reads."""
        return tuple(key for key, _, _ in self._attributes)

    @property
    def told(self) -> bytes:
        """What follows the probabilities: of the model, the same for all leads."""
        return self._model

    def _of_fact(
        self, made: Callable[[Any], tuple[Lead, Components]], features: Sequence[tuple[str, int]]
    ) -> Callable[[Any], tuple[_Encoded, ...]] | None:
        """From a fact to the features that are read from it; None when the model reads none."""
        if not features:
            return None

        def encoded(fact: Any) -> tuple[_Encoded, ...]:
            raw = raw_features(*made(fact), self._as_of)
            return tuple(self._encoded(place, raw[name]) for name, place in features)

        return encoded

    def _of_attribute(self, name: str, place: int, budget: MemoBudget) -> Mapping[str, _Encoded]:
        key = name.removeprefix(ATTRIBUTE)

        def encoded(text: str) -> _Encoded:
            raw = raw_features(Lead(attributes={key: text}), _NO_POINTS, self._as_of)
            return self._encoded(place, raw[name])

        return Memo(encoded, budget, keeps=is_short)

    def _encoded(self, place: int, raw: Any) -> _Encoded:
        part = self._scorer.part(place, raw)
        piece = b""
        if part.log_odds:
            factor = part.factor()
            message = core_pb2.ProbabilityFactor(
                feature=factor.feature, log_odds=factor.log_odds, text=factor.text
            )
            piece = delimited(7, message.SerializeToString())
        return _Encoded(-abs(part.log_odds), place, part.column, part.value, piece)


def probability_message_bytes(value: ConversionProbability, version: str) -> bytes:
    """A `ConversionProbability`, serialised."""
    message = probability_message(value, version)
    return b"" if message is None else message.SerializeToString()


_piece = itemgetter(4)


def _is_kept(fact: object) -> bool:
    return not isinstance(fact, str) or is_short(fact)


def _lead(field: str) -> Callable[[Any], tuple[Lead, Components]]:
    """A lead of which nothing is known but one field; empty text is none."""
    return lambda fact: (_known(field, fact if fact != "" else None), _NO_POINTS)


def _date(field: str) -> Callable[[Any], tuple[Lead, Components]]:
    return lambda text: (
        _known(field, dt.date.fromisoformat(text) if text else None),
        _NO_POINTS,
    )


def _contact(field: str, usable: str) -> Callable[[Any], tuple[Lead, Components]]:
    return lambda there: (_known(field, usable if there else None), _NO_POINTS)


def _known(field: str, value: Any) -> Lead:
    fields: dict[str, Any] = {field: value}
    return Lead(**fields)


def _status(number: int) -> tuple[Lead, Components]:
    return Lead(email_status=_EMAIL_STATUS(number) or EmailStatus.UNKNOWN), _NO_POINTS


def _points(component: str) -> Callable[[Any], tuple[Lead, Components]]:
    return lambda points: (_UNKNOWN, replace(_NO_POINTS, **{component: points}))


_LEAD_OF: Final[Mapping[str, Callable[[Any], tuple[Lead, Components]]]] = {
    **{name: _lead(name) for name in ("title", "industry", "employee_count")},
    **{name: _lead(name) for name in ("seniority", "country")},
    "email_status": _status,
    "email": _contact("email", "name@host.example"),
    "phone": _contact("phone", "00000"),
    "linkedin": _contact("linkedin_url", "host.example/in/name"),
    "hiring": _lead("is_hiring"),
    "employment_start_date": _date("employment_start_date"),
    "latest_funding_date": _date("latest_funding_date"),
    **{name: _points(name) for name in COMPONENTS},
}
"""Fact -> a lead of which only that is known."""

READ: Final[Mapping[str, tuple[str, ...]]] = {
    "title": ("title", "title_level", "title_function"),
    "industry": ("industry",),
    "employee_count": ("size_range", "employee_count_log"),
    "seniority": ("seniority",),
    "country": ("country",),
    "email_status": ("email_status",),
    "email": ("has_email",),
    "phone": ("has_phone",),
    "linkedin": ("has_linkedin",),
    "hiring": ("hiring",),
    "employment_start_date": ("role_age",),
    "latest_funding_date": ("funding_age",),
    **{name: (f"component_{name}",) for name in COMPONENTS},
}
"""Fact -> the features that are read from it; a test compares with `FIXED_FEATURES`."""
