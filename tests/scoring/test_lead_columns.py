"""Leads as columns against the functions that read one lead."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import numpy as np
from columns_of_leads import LEADS, columns_of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.domain.titles import parse_title
from cis_server.domain.weights import COMPONENTS, read_weights
from cis_server.scoring.column_features import attributes_of
from cis_server.scoring.column_gates import GATES, competitor_rows, gate_rows
from cis_server.scoring.column_scorer import score_columns
from cis_server.scoring.columns import TextTables, coded_columns, contact_shapes
from cis_server.scoring.components import coded_lead
from cis_server.scoring.features import FIXED_FEATURES, raw_features
from cis_server.scoring.icp import matcher
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.scorer import score_table
from cis_server.scoring.suppression import (
    NO_SUPPRESSION,
    SuppressionIndex,
    competitor_set,
    gate_reasons,
    is_competitor,
)

AS_OF = dt.date(2026, 1, 21)
PROFILES = (Icp(), Icp(industries=("bank",), countries=("AT",), employee_min=2, employee_max=9))
RIVALS = competitor_set(("rival.example", "b.a"))


@settings(max_examples=25, deadline=None, phases=(Phase.generate,))
@given(st.lists(LEADS, max_size=12), st.sampled_from(PROFILES), st.dates())
def test_codes_are_those_of_each_lead(leads: list[Lead], icp: Icp, any_day: dt.date) -> None:
    tables = TextTables()
    columns = columns_of(leads)
    competitor = [is_competitor(lead, RIVALS) for lead in leads]
    for as_of in (AS_OF, any_day, AS_OF):  # the last time every text has been met
        codes = coded_columns(
            columns,
            contact_shapes(columns),
            tables,
            icp=matcher(icp),
            as_of=as_of,
            competitor=np.array(competitor, dtype=np.int64),
        )
        assert [tuple(row) for row in codes.tolist()] == [
            coded_lead(
                lead,
                title=parse_title(lead.title),
                icp=matcher(icp),
                as_of=as_of,
                competitor=rival,
            )
            for lead, rival in zip(leads, competitor, strict=True)
        ]


def listed(secret: bytes, *names: tuple[IdentifierKind, str]) -> SuppressionIndex:
    return SuppressionIndex.build([suppression_key(*name, secret) for name in names], secret)


@st.composite
def suppression_lists(draw: st.DrawFn) -> SuppressionIndex:
    secret = draw(st.sampled_from([b"", b"key", b"k" * 64]))
    names = (
        (IdentifierKind.EMAIL, "Dana@Northwind.example"),
        (IdentifierKind.EMAIL, "é@ü.example"),
        (IdentifierKind.DOMAIN, "rival.example"),
        (IdentifierKind.DOMAIN, "www.a.b"),
        (IdentifierKind.DOMAIN, "ü.example"),
        (IdentifierKind.PHONE, "61 400 000 000"),
        (IdentifierKind.PHONE, "1"),
        (IdentifierKind.LEAD_ID, "führer-7"),
    )
    chosen = st.lists(st.sampled_from(names), max_size=4)
    index = NO_SUPPRESSION
    for _ in range(draw(st.integers(0, 3))):
        index = index.merged(listed(secret, *draw(chosen)))
    return index


@settings(max_examples=25, deadline=None, phases=(Phase.generate,))
@given(st.lists(LEADS, max_size=12), suppression_lists(), st.booleans())
def test_gates_are_those_of_each_lead(
    leads: list[Lead], index: SuppressionIndex, any_rivals: bool
) -> None:
    rivals = RIVALS if any_rivals else frozenset()
    columns = columns_of(leads)
    competitor = competitor_rows(columns, rivals)
    assert competitor.tolist() == [is_competitor(lead, rivals) for lead in leads]
    gates = gate_rows(columns, competitor, index)
    assert [GATES[gate] for gate in gates.tolist()] == gate_reasons(leads, rivals, index)


def any_model(rng: random.Random, leads: list[Lead]) -> PropensityScorer:
    """A model that reads every feature, with levels that these leads have."""
    names = [*FIXED_FEATURES, "attribute:plan", "attribute:seats", "attribute:gone"]
    points = score_table(leads, as_of=AS_OF)
    raw = [
        raw_features(lead, points.lead_score(i).components, AS_OF) for i, lead in enumerate(leads)
    ]
    features: list[CategoricalFeature | NumericFeature] = []
    for name in names:
        levels = sorted({str(value) for of in raw if (value := of.get(name)) is not None})
        if "_log" in name or "component" in name or name == "attribute:seats":
            features.append(NumericFeature(name, rng.random(), 0.5, rng.random() < 0.5))
        else:
            kept = [level for level in levels if rng.random() < 0.6]
            features.append(
                CategoricalFeature(name, (*kept[1:], OTHER_LEVEL, MISSING_LEVEL), *kept[:1])
            )
    space = FeatureSpace(tuple(features))
    half = np.array([[rng.random() * 0.2 for _ in range(space.width + 1)] for _ in range(4)])
    return PropensityScorer(
        PropensityModel(
            version="propensity-1",
            target="converted",
            space=space,
            intercept=-1.0,
            coefficients=tuple(rng.uniform(-1, 1) for _ in range(space.width)),
            covariance=tuple(map(tuple, (half.T @ half).tolist())),
            calibration_intercept=0.1,
            calibration_slope=0.9,
        )
    )


@settings(max_examples=20, deadline=None, phases=(Phase.generate,))
@given(st.lists(LEADS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_scores_and_probabilities_are_those_of_each_lead(
    leads: list[Lead], rng: random.Random
) -> None:
    model = any_model(rng, leads)
    assert attributes_of(model) == ("plan", "seats", "gone")
    index = listed(b"key", (IdentifierKind.DOMAIN, "northwind.example"))
    weights, _ = read_weights(dict.fromkeys(COMPONENTS, 0.2))
    asked: dict[str, Any] = {
        "as_of": AS_OF,
        "icp": PROFILES[1],
        "weights": weights,
        "competitor_domains": ("rival.example",),
        "suppression": index,
        "model": model,
    }
    table = score_table(leads, **asked)
    tables = TextTables()
    for _ in range(2):
        scored = score_columns(columns_of(leads), tables, **asked)
        assert scored.score.tolist() == table.score.tolist()
        assert scored.tier.tolist() == table.tier.tolist()
        assert [GATES[gate] for gate in scored.gates.tolist()] == list(table.gates)
        assert scored.arithmetic[:, :5].tolist() == table.components.tolist()
        assert scored.probabilities is not None
        assert table.probabilities is not None
        assert scored.probabilities.tolist() == table.probabilities.tolist()
