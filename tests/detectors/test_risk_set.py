"""Touches in strata: counted per value, whoever the units are, as one would by hand."""

import numpy as np
import polars as pl
import pytest

from cis_server.detectors.levels import Levels
from cis_server.detectors.risk_set import RiskSet, unit_of_rows
from cis_server.stats.rates import Strata

CAP = 3


def touches() -> pl.DataFrame:
    """Lead 1 is cold and converts at its second touch; lead 3 is hot; lead 4 is of no tier."""
    return pl.DataFrame(
        {
            "lead": [1, 1, 3, 3, 3, 3, 4],
            "tier": ["cold", "cold", "hot", "hot", "hot", "hot", None],
            "touch_number": [1, 2, 1, 2, 3, 4, 2],
            "success": [False, True, False, False, False, True, False],
        }
    )


def levels(unit: list[int], code: list[int], known: list[bool]) -> Levels:
    pairs = np.array(unit, dtype=np.int64), np.array(code, dtype=np.int64)
    return Levels(
        dimension="d", values=("a", "b"), unit=pairs[0], code=pairs[1], known=np.array(known)
    )


def of_leads() -> RiskSet:
    leads = pl.DataFrame({"lead": [1, 3, 4], "converted": [True, True, False]})
    return RiskSet.of_leads(leads, touches(), CAP)


def filled(strata: Strata) -> dict[str, object]:
    """Counts by stratum (tier, touch), without the empty strata."""
    n, k, total_n, total_k = (
        np.asarray(value) for value in (strata.n, strata.k, strata.total_n, strata.total_k)
    )
    return {
        f"{place // CAP}/{place % CAP + 1}": (
            n[:, place].tolist(),
            k[:, place].tolist(),
            (int(total_n[place]), int(total_k[place])),
        )
        for place in np.flatnonzero(total_n)
    }


def test_touches_are_counted_by_the_value_of_their_lead() -> None:
    found = of_leads().counts(levels([0, 1], [0, 1], [True, True, True]))
    assert filled(found) == {
        "1/1": ([1, 0], [0, 0], (1, 0)),
        "1/2": ([1, 0], [1, 0], (1, 1)),
        "4/1": ([0, 1], [0, 0], (1, 0)),
        "4/2": ([0, 1], [0, 0], (1, 0)),
        "4/3": ([0, 2], [0, 1], (2, 1)),
        "5/2": ([0, 0], [0, 0], (1, 0)),
    }


def test_unknown_leads_rare_values_and_other_rows_do_not_count() -> None:
    among = np.array([True, True, True, False, True, True, True])
    found = of_leads().counts(levels([0, 0, 1], [0, 1, -1], [True, True, False]), among)
    assert filled(found) == {
        "1/1": ([1, 1], [0, 0], (1, 0)),
        "1/2": ([1, 1], [1, 1], (1, 1)),
        "4/1": ([0, 0], [0, 0], (1, 0)),
        "4/3": ([0, 0], [0, 0], (2, 1)),
    }


def test_a_value_counts_from_its_first_row_on() -> None:
    row, unit, code = np.array([0, 1, 4]), np.array([0, 0, 1]), np.array([0, 1, 1])
    known = np.array([True, True, False])
    found = of_leads().counts_since(row, unit, code, 2, known)
    assert filled(found) == {
        "1/1": ([1, 0], [0, 0], (1, 0)),
        "1/2": ([1, 1], [1, 1], (1, 1)),
        "4/1": ([0, 0], [0, 0], (1, 0)),
        "4/2": ([0, 0], [0, 0], (1, 0)),
        "4/3": ([0, 2], [0, 1], (2, 1)),
    }


def test_rows_of_a_value_each_are_compared_with_each_other() -> None:
    found = of_leads().row_counts(np.array([1, 2, 5]), np.array([0, 1, 1]), 2)
    assert filled(found) == {
        "1/2": ([1, 0], [1, 0], (1, 1)),
        "4/1": ([0, 1], [0, 0], (1, 0)),
        "4/3": ([0, 1], [0, 1], (1, 1)),
    }


def test_touches_as_units() -> None:
    risk = RiskSet.of_touches(touches(), CAP)
    one = levels([0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 1, 1, 0], [True] * 7)
    assert filled(risk.counts(one))["4/3"] == ([0, 2], [0, 1], (2, 1))


def test_touches_of_other_leads_are_left_out() -> None:
    leads = pl.DataFrame({"lead": [3], "converted": [True]})
    risk = RiskSet.of_leads(leads, touches(), CAP)
    assert risk.rows.tolist() == [4]
    assert risk.event.tolist() == [False, False, False, True]


def test_leads_without_any_touch_are_a_row_of_their_tier() -> None:
    leads = pl.DataFrame({"lead": [0, 1], "tier": ["dead", "hot"], "converted": [False, True]})
    risk = RiskSet.of_leads(leads, touches().clear(), CAP)
    assert filled(risk.counts(levels([0, 1], [0, 1], [True, True]))) == {
        "0/1": ([1, 0], [0, 0], (1, 0)),
        "4/1": ([0, 1], [0, 1], (1, 1)),
    }


def test_places_of_leads() -> None:
    found = unit_of_rows(pl.Series([5, 2, 7, 2]), pl.Series([2, 5]))
    assert found.tolist() == [1, 0, -1, 0]


@pytest.mark.parametrize(
    ("unit", "code"), [([3], [0]), ([-1], [0]), ([0], [2]), ([0, 1], [0])], ids=str
)
def test_what_lies_outside_is_refused(unit: list[int], code: list[int]) -> None:
    with pytest.raises(ValueError, match=r"needed|units are"):
        of_leads().counts(levels(unit, code, [True, True, True]))


def test_units_beyond_the_rows_are_refused() -> None:
    risk = RiskSet(
        first=np.array([0, 1]),
        rows=np.array([1, 2]),
        stratum=np.array([0, 0]),
        event=np.array([False, True]),
        strata=1,
    )
    with pytest.raises(ValueError, match="beyond the rows"):
        risk.counts(levels([0], [0], [True, True]))
