"""Memos: what is kept, what is not, and how much of it."""

from __future__ import annotations

import threading

import pytest

from cis_server.serving.memo import Memo, MemoBudget


def test_a_result_is_worked_out_once() -> None:
    asked: list[int] = []
    memo = Memo(lambda n: asked.append(n) or n * n, MemoBudget())
    assert [memo[3], memo[3], memo[4]] == [9, 9, 16]
    assert asked == [3, 4]


def test_what_fails_and_what_is_not_to_be_kept_is_not_kept() -> None:
    asked: list[str] = []

    def length(text: str) -> int:
        asked.append(text)
        return 10 // len(text)

    memo = Memo(length, MemoBudget(), keeps=lambda text: len(text) < 3)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            memo[""]
        assert memo["abc"] == 3
    assert asked == ["", "abc", "", "abc"]
    assert len(memo) == 0


def test_all_memos_of_a_budget_are_bounded_together() -> None:
    budget = MemoBudget(10)
    one, other = Memo(str, budget), Memo(str, budget)
    seen = 0
    for n in range(100):
        assert one[n] == other[n] == str(n)
        assert len(budget) == len(one) + len(other) <= 10
        seen = max(seen, len(budget))
    assert seen == 10, "the budget is used"


def test_a_memo_that_is_gone_counts_no_longer() -> None:
    budget = MemoBudget(10)
    kept = Memo(str, budget)
    for n in range(8):
        Memo(str, budget)[n]
    assert len(budget) == 0
    for n in range(10):
        kept[n]
    assert 0 < len(budget) <= 10


def test_threads_share_a_memo() -> None:
    budget = MemoBudget(50)
    memo = Memo(lambda n: n + 1, budget)
    wrong: list[int] = []

    def ask(first: int) -> None:
        for step in range(3000):
            n = (first + step * 7) % 120
            if memo[n] != n + 1:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(budget) <= 50 + len(threads)
