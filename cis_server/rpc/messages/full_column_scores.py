"""Serialised `cis.v1.LeadScore`s, in the full view, of leads that were scored as columns.

The bytes are those of `LeadScoreWriter`, which puts a lead's score together from what is kept by
value. Here that is looked up once for each value that the leads of a batch have, by the same
tables, and `score_wire_kernel` puts the scores together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_server.domain.vocabulary import EmailStatus, Tier
from cis_server.domain.weights import COMPONENTS
from cis_server.rpc.messages.batch_scores import SCORES
from cis_server.rpc.messages.column_scores import GATE_PIECES, TIER_NUMBERS, chance_bytes
from cis_server.rpc.messages.lead_batches import ReadLeads
from cis_server.rpc.messages.lead_scores import LeadScoreWriter
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.probabilities import DistinctFacts
from cis_server.rpc.messages.score_parts import (
    NO_TEXT,
    SOME_TEXT,
    USABLE,
    part_numbers,
    reason_pieces,
)
from cis_server.rpc.messages.values import number_of
from cis_server.scoring.arithmetic import CodedLead
from cis_server.scoring.column_scorer import ScoredColumns
from cis_server.scoring.columns import (
    EMAIL_STATUSES,
    EPOCH_DAY,
    ContactShapes,
    Integers,
    TextTables,
)
from cis_server.scoring.contacts import is_filled
from cis_server.scoring.distinct_texts import (
    distinct_integers,
)
from cis_server.scoring.icp import matcher
from cis_server.scoring.reasons import MAX_REASONS
from cis_server.scoring.score_wire_kernel import FULL_ROOM, LEFT_OUT, WHOLE, write_full_scores
from cis_server.scoring.text_kernel import ASK, NO_DATE, filled_rows


def full_scores(
    leads: ReadLeads,
    shapes: ContactShapes,
    scored: ScoredColumns,
    groups: Integers,
    writers: Sequence[LeadScoreWriter],
    tables: LeadTables,
    texts: TextTables,
    others: Mapping[int, bytes | None],
) -> bytes:
    """The field `scores` of the answer to n leads, in their order.

    Args:
        leads: the n leads, with the attributes that the models read.
        shapes: of the same leads.
        scored: their scores.
        groups: shape (n,): place in `writers` of what each was scored with.
        writers: in a rollout, several; a lead tells its own model where it is not that of the
            first.
        tables: what is kept by value.
        texts: the texts met so far.
        others: leads that were not scored here: the whole serialised `LeadScore`, or None for one
            that has none.
    """
    n, pool = len(groups), _Pool()
    values = _Values(leads, shapes, texts)
    signals = _signals(values, writers[0], tables)
    own, longest = _own_words(signals, pool, n)
    ranked = [tables.ranked[writer.context.weights] for writer in writers]
    factors = np.stack([parts.factors for parts in ranked], axis=1)
    factors[..., 1] += pool.added(reason_pieces())[0]
    fixed = _fixed_pieces(leads, scored, groups, writers, pool)
    model, features, weakness, feature_pieces = _features(values, scored, groups, writers, pool)
    score = scored.score
    if others:
        score = score.copy()
        for row, message in others.items():
            score[row] = LEFT_OUT if message is None else WHOLE
            fixed[row] = pool.added([message or b"", b""])[[0, 1, 1, 1]]
    data, ends = pool.joined()
    sizes = np.diff(ends)
    ids = leads.columns.lead_id
    room = n * (FULL_ROOM + 4 * MAX_REASONS * longest) + int(
        (ids.stop - ids.start).sum()
        + sizes[fixed].sum()
        + sizes[model].sum()
        + sizes[feature_pieces][features].sum()
    )
    out = np.empty(room, dtype=np.uint8)
    written = write_full_scores(
        SCORES,
        ids.data,
        ids.start,
        ids.stop,
        score,
        TIER_NUMBERS[scored.tier],
        scored.arithmetic,
        _bytes_of(scored.arithmetic),
        fixed,
        groups,
        _cells(values, scored, signals),
        np.stack([parts.ranks for parts in ranked], axis=1),
        factors,
        np.stack([parts.points for parts in ranked], axis=1),
        own,
        model,
        scored.probabilities if scored.probabilities is not None else np.zeros((n, 3)),
        chance_bytes(scored),
        features,
        weakness,
        feature_pieces,
        data,
        ends,
        out,
    )
    return out[:written].tobytes()


class _Pool:
    """Pieces that are run together."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def added(self, pieces: Iterable[bytes]) -> Integers:
        """Their places, one after the other."""
        first = len(self._pieces)
        self._pieces += pieces
        return np.arange(first, len(self._pieces))

    def joined(self) -> tuple[NDArray[np.uint8], Integers]:
        """The bytes of all, and where each begins and, one on, ends."""
        ends = np.cumsum([0, *map(len, self._pieces)], dtype=np.int64)
        return np.frombuffer(b"".join(self._pieces), dtype=np.uint8), ends


class _Values:
    """The distinct values of n leads, field by field."""

    def __init__(self, leads: ReadLeads, shapes: ContactShapes, texts: TextTables) -> None:
        columns = leads.columns
        titles, of_title = texts.titles.distinct(columns.title)
        seniorities, of_seniority = texts.seniorities.distinct(columns.seniority)
        headings, places = _numbers(of_title * len(seniorities) + of_seniority)
        self.columns = columns
        self.has_email = np.where(
            shapes.email == 1,
            USABLE,
            np.where(columns.email.stop > columns.email.start, SOME_TEXT, NO_TEXT),
        )
        self.email_status = _STATUS_NUMBERS[columns.email_status]
        self.headings: DistinctFacts = (
            [
                (titles[pair // len(seniorities)], seniorities[pair % len(seniorities)])
                for pair in headings
            ],
            places,
        )
        self.facts: dict[str, DistinctFacts] = {
            "title": (titles, of_title),
            "industry": texts.industries.distinct(columns.industry),
            "employee_count": _numbers(columns.employee_count),
            "seniority": (seniorities, of_seniority),
            "country": texts.countries.distinct(columns.country),
            "email_status": (_STATUS_NUMBERS.tolist(), columns.email_status),
            "email": ((False, True), shapes.email),
            "phone": ((False, True), shapes.phone),
            "linkedin": ((False, True), shapes.linkedin),
            "hiring": ((None, False, True), columns.is_hiring + 1),
            "employment_start_date": _dates(columns.employment_start_date),
            "latest_funding_date": _dates(columns.latest_funding_date),
        }
        self._attributes = texts.attributes

    def attributes(self, keys: Iterable[str]) -> dict[str, DistinctFacts]:
        """Key -> the texts of an attribute."""
        held = self.columns.attributes
        return {key: self._attributes.distinct(held[key]) for key in keys}


def _numbers(numbers: Integers) -> DistinctFacts:
    first, places = distinct_integers(np.ascontiguousarray(numbers))
    return numbers[first].tolist(), places


def _dates(days: Integers) -> DistinctFacts:
    """As the contract writes them, empty for none."""
    numbers, places = _numbers(days)
    return [
        "" if day == NO_DATE else dt.date.fromordinal(day + EPOCH_DAY).isoformat()
        for day in numbers
    ], places


class _Signals(NamedTuple):
    """What a factor says whose words are the lead's own."""

    distinct: Sequence[Any]
    """The `Signal` of each value."""
    places: Integers
    """Shape (n,): which of them each lead has."""

    @property
    def codes(self) -> Integers:
        """Shape (n,): `Signal.code`."""
        return np.array([signal[0] for signal in self.distinct], dtype=np.int64)[self.places]


def _signals(values: _Values, writer: LeadScoreWriter, tables: LeadTables) -> list[_Signals]:
    """In the order of `SOURCES`, without the first."""
    day = tables.days[writer.context.as_of]
    profile = tables.profiles[matcher(writer.context.icp)]
    sources: tuple[tuple[Mapping[Any, Any], DistinctFacts], ...] = (
        (tables.titles, values.headings),
        (profile.industry, values.facts["industry"]),
        (profile.size, values.facts["employee_count"]),
        (profile.country, values.facts["country"]),
        (day.role, values.facts["employment_start_date"]),
        (day.funding, values.facts["latest_funding_date"]),
    )
    return [_Signals([known[each] for each in found], places) for known, (found, places) in sources]


def _own_words(signals: Sequence[_Signals], pool: _Pool, n: int) -> tuple[NDArray[np.int64], int]:
    """Front of the words of each lead by `SOURCES`, shape (n, 7), and the longest such piece."""
    own = np.zeros((n, 1 + len(signals)), dtype=np.int64)
    longest = max(map(len, reason_pieces()))
    for source, signal in enumerate(signals, 1):
        words = [piece for each in signal.distinct for piece in each[1:3]]
        own[:, source] = pool.added(words)[0] + 2 * signal.places
        longest = max(longest, *map(len, words))
    return own, longest


def _cells(
    values: _Values, scored: ScoredColumns, signals: Sequence[_Signals]
) -> NDArray[np.int64]:
    """Number of the input of each component, shape (n, 5)."""

    def code(name: str) -> Integers:
        column: Integers = scored.codes[:, CodedLead._fields.index(name)]
        return column

    _, industry, size, country, role, funding = signals
    inputs = (
        (
            *(values.email_status, values.has_email),
            *(code("phone"), code("linkedin"), code("personal_email")),
        ),
        (code("authority"),),
        (industry.codes, size.codes, country.codes),
        (role.codes, values.columns.is_hiring, funding.codes),
        tuple(code(name) for name in ("bounced", "unsubscribed", "competitor", "unsuitable")),
    )
    return np.stack([part_numbers(k, *given) for k, given in enumerate(inputs)], axis=1)


def _fixed_pieces(
    leads: ReadLeads,
    scored: ScoredColumns,
    groups: Integers,
    writers: Sequence[LeadScoreWriter],
    pool: _Pool,
) -> NDArray[np.int64]:
    """Weights, gate, channels, and the model where it is told, shape (n, 4)."""
    usual = writers[0].context.model_info
    models = (b"" if each.context.model_info is usual else each.model for each in writers)
    return np.stack(
        (
            pool.added(writer.weights for writer in writers)[groups],
            pool.added(GATE_PIECES)[scored.gates],
            _channels(leads, scored, writers[0], pool),
            pool.added(models)[groups],
        ),
        axis=1,
    )


def _channels(
    leads: ReadLeads, scored: ScoredColumns, writer: LeadScoreWriter, pool: _Pool
) -> Integers:
    """The piece of each lead that says how it can be reached."""
    postal = leads.postal_address
    letters = np.empty(len(postal), dtype=np.int64)
    filled_rows(postal.data, postal.start, postal.stop, letters)
    for row in np.flatnonzero(letters == ASK).tolist():
        letters[row] = is_filled(postal.text(row))
    reached = scored.tier
    for there in (
        scored.codes[:, _EMAIL] > 0,
        scored.codes[:, _PHONE] > 0,
        scored.codes[:, _LINKEDIN] > 0,
        letters,
        leads.call_register_listed == 1,
    ):
        reached = 2 * reached + there
    found, places = _numbers(reached)
    pieces = [
        writer.channels[
            Tier(number >> 5),
            (
                number & 16 > 0,
                number & 8 > 0,
                number & 4 > 0,
                number & 2 > 0,
                number & 1 > 0,
            ),
        ]
        for number in found
    ]
    return pool.added(pieces)[places]


def _features(
    values: _Values,
    scored: ScoredColumns,
    groups: Integers,
    writers: Sequence[LeadScoreWriter],
    pool: _Pool,
) -> tuple[Integers, NDArray[np.int64], NDArray[np.float64], Integers]:
    """`model`, `features`, `weakness` and `feature_pieces` of `write_full_scores`."""
    nothing = pool.added([b""])
    model = np.full(len(groups), -1, dtype=np.int64)
    weakness, pieces = [np.zeros(1)], [nothing]
    features = np.zeros((len(groups), 0), dtype=np.int64)
    if all(writer.probability is None for writer in writers):
        return model, features, weakness[0], nothing
    points = {
        name: _numbers(scored.arithmetic[:, k].astype(np.int64))
        for k, name in enumerate(COMPONENTS)
    }
    entries = 1
    for group, writer in enumerate(writers):
        rows = np.flatnonzero(groups == group)
        if writer.probability is None or not len(rows):
            continue
        told = writer.probability.columns(
            values.facts | points, values.attributes(writer.probability.attributes), len(groups)
        )
        wider = told.features.shape[1] - features.shape[1]
        if wider > 0:
            features = np.pad(features, ((0, 0), (0, wider)))
        features[rows, : told.features.shape[1]] = entries + told.features[rows]
        entries += len(told.pieces)
        weakness.append(told.weakness)
        pieces.append(pool.added(told.pieces))
        model[rows] = pool.added([writer.probability.told])[0]
    return model, features, np.concatenate(weakness), np.concatenate(pieces)


def _bytes_of(doubles: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rows of doubles as little-endian bytes."""
    return np.ascontiguousarray(doubles, dtype="<f8").view(np.uint8).reshape(len(doubles), -1)


_EMAIL, _PHONE, _LINKEDIN = (CodedLead._fields.index(n) for n in ("email", "phone", "linkedin"))
_STATUS_NUMBERS: Final = np.array(
    [number_of(core_pb2.EmailStatus, EmailStatus)[status] for status in EMAIL_STATUSES],
    dtype=np.int64,
)
