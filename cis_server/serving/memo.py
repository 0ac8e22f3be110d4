"""Results that are kept so that they need not be worked out again, within one bound for all.

A memo is a dictionary, so that finding what is known costs one look-up. Entries of many memos are
counted together: what one client's leads need is not known beforehand, and memory is bounded for
the process, not for each client.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

DEFAULT_ENTRIES: Final = 32_000
"""Entries of all memos of a process; at some 280 bytes each (measured) 9 MB."""


class MemoBudget:
    """How many entries the memos that share it may hold together.

    When there are more, all of them are emptied: what is still needed is soon there again, and
    nothing has to be written down at a look-up to know what that is.

    Attributes:
        most: that bound.
        made: entries ever made: look-ups that found nothing.
    """

    def __init__(self, most: int = DEFAULT_ENTRIES) -> None:
        self.most = most
        self.made = 0
        self._since_emptied = 0
        self._lock = threading.Lock()
        self._memos: weakref.WeakValueDictionary[int, Memo[object, object]] = (
            weakref.WeakValueDictionary()
        )

    def __len__(self) -> int:
        """Entries at present."""
        with self._lock:
            return sum(len(memo) * memo.counts_for for memo in self._memos.values())

    def join(self, memo: Memo[object, object]) -> None:
        """Count a memo's entries from now on."""
        with self._lock:
            self._memos[id(memo)] = memo

    def make_room(self, entries: int) -> None:
        """Count more entries, which are about to be added."""
        with self._lock:
            self.made += entries
            self._since_emptied += entries
            if self._since_emptied > self.most:
                for memo in list(self._memos.values()):
                    memo.clear()
                self._since_emptied = entries


class Memo(dict[K, V], Generic[K, V]):
    """What a pure function gave: ``memo[argument]`` calls it only for an argument that is new.

    Threads may share it: at worst two of them work out the same result.

    Attributes:
        counts_for: entries that one result takes of the budget.
    """

    __slots__ = ("__weakref__", "_budget", "_keeps", "_make", "counts_for")

    def __init__(
        self,
        make: Callable[[K], V],
        budget: MemoBudget,
        *,
        keeps: Callable[[K], bool] | None = None,
        counts_for: int = 1,
    ) -> None:
        """Begin empty.

        Args:
            make: the function. What it raises is passed on, and nothing is kept then.
            budget: bounds the entries.
            keeps: whether a result is kept; None: always.
            counts_for: entries that one result takes of the budget; more for large ones.
        """
        super().__init__()
        self._make, self._budget, self._keeps = make, budget, keeps
        self.counts_for = counts_for
        budget.join(self)  # type: ignore[arg-type]  # entries are only counted and dropped

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        if self._keeps is None or self._keeps(key):
            self._budget.make_room(self.counts_for)
            self[key] = value
        return value
