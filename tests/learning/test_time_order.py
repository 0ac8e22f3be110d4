"""Splits by time: the future never trains, a company never stands on both sides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_server.learning.time_order import TimeOrder

companies = st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), min_size=4, max_size=60)


@settings(deadline=None)
@given(companies, st.integers(0, 100), st.floats(0.1, 0.9))
def test_no_company_on_both_sides_and_no_row_out_of_time(
    groups: list[str | None], seed: int, share: float
) -> None:
    order = TimeOrder(groups, np.random.default_rng(seed))
    cut = round(share * len(groups))
    split = order.split(cut)
    assert all(row < cut for row in split.before)
    assert all(row >= cut for row in split.after)
    before = {groups[row] for row in split.before} - {None}
    assert before.isdisjoint({groups[row] for row in split.after})
    assert len(split.before) + len(split.after) + split.left_out == len(groups)
    unknown = [row for row, group in enumerate(groups) if group is None]
    assert set(unknown) <= {*split.before.tolist(), *split.after.tolist()}


def test_straddling_companies_are_dealt_to_both_sides() -> None:
    groups: list[str | None] = [f"c{i % 400}" for i in range(800)]
    split = TimeOrder(groups, np.random.default_rng(5)).split(400)
    assert split.left_out == 400
    assert 150 < len(split.before) < 250


@given(st.integers(10, 300), st.integers(2, 5))
def test_forward_chaining_covers_what_follows_the_first_past_once(n: int, folds: int) -> None:
    order = TimeOrder([None] * n, np.random.default_rng(0))
    splits = list(order.forward_chaining(folds))
    assert len(splits) == folds
    after = np.concatenate([split.after for split in splits])
    assert after.tolist() == list(range(round(0.4 * n), n))
    for split in splits:
        if len(split.after):
            assert split.before.tolist() == list(range(int(split.after[0])))


def test_a_company_keeps_its_side_on_part_of_the_rows() -> None:
    groups: list[str | None] = ["a", "b", "a", "b", "a", "b"]
    order = TimeOrder(groups, np.random.default_rng(3))
    part = order.restricted(np.array([0, 1, 4, 5]))
    whole, less = order.split(3), part.split(2)
    kept = {groups[row] for row in whole.before}
    assert {["a", "b", "a", "b"][row] for row in less.before} == kept
