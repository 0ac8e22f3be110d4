"""Questions that mean the same, together, and a wording of them that names nobody.

Exact texts hardly ever repeat. Two questions are near-duplicates when the words that carry their
meaning (function words left out, plurals folded) overlap by 60 % or more (Jaccard index). Frequent
questions lead; each other one joins the leader nearest to it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from scipy import sparse

from cis_server.stats.arrays import IntArray

CUT: Final = "…"
"""Stands for words left out of a published wording."""
_NEAR = 0.6
_LEADERS = 500
"""Most frequent sets of words among which leaders are looked for."""

_PERSONAL = re.compile(r"\S+@\S+|(?:https?://|www\.)\S+|\+?\d[\d\s().,:/-]*")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SAID_OFTEN = """
a an the and or but if so to of in on at by for from with without about as into over up out
is are was were be been being am do does did have has had can could would will shall should
may might must i you he she it we they me him her us them my your his its our their this
that these those there here what which who whom whose when where why how much many please
just also then than too very not no yes any some all get got let
"""
_FUNCTION_WORDS = frozenset(_SAID_OFTEN.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Clusters of questions, most frequent first.

    Attributes:
        cluster: `key` -> `cluster` (number, 0 is the most frequent), one row a distinct key.
        wording: per cluster, its most frequent wording.
        frequency: per cluster, times asked in all wordings.
    """

    cluster: pl.DataFrame
    wording: tuple[str, ...]
    frequency: tuple[int, ...]


def cluster_questions(asked: pl.DataFrame, minimum_leads: int) -> Questions:
    """Put near-duplicate questions together.

    Args:
        asked: one row a question asked: `lead_id`, `question_key`.
        minimum_leads: leads who must use a word before it is published; addresses and numbers
            never are.

    Returns:
        The clusters; independent of the order of rows.
    """
    counts = asked.group_by("question_key").agg(times=pl.len()).sort("question_key")
    keys, times = counts["question_key"].to_list(), counts["times"].to_numpy()
    spoken = [_WORD.findall(_PERSONAL.sub(" ", key)) for key in keys]
    meaning = [_meaning(words) for words in spoken]
    of_key = _clusters(meaning, times)
    totals = np.bincount(of_key, weights=times).astype(np.int64)
    wordings = _wordings(asked, keys, spoken, minimum_leads)
    chosen = _most_frequent(of_key, times, wordings)
    order = sorted(range(totals.size), key=lambda c: (-int(totals[c]), chosen[c], c))
    place = np.empty(totals.size, dtype=np.int64)
    place[order] = np.arange(totals.size)
    return Questions(
        cluster=pl.DataFrame(
            {"question_key": keys, "cluster": place[of_key]},
            schema={"question_key": pl.String, "cluster": pl.Int64},
        ),
        wording=tuple(chosen[c] for c in order),
        frequency=tuple(int(totals[c]) for c in order),
    )


def _meaning(words: list[str]) -> frozenset[str]:
    carrying = [word for word in words if word not in _FUNCTION_WORDS]
    return frozenset(_singular(word) for word in carrying or words)


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    return f"{word[:-3]}y" if word.endswith("ies") else word[:-1]


def _clusters(meaning: list[frozenset[str]], times: IntArray) -> IntArray:
    """Number of the cluster of each key."""
    weight: Counter[frozenset[str]] = Counter()
    for words, count in zip(meaning, times.tolist(), strict=True):
        weight[words] += count
    sets = sorted(weight, key=lambda words: (-weight[words], sorted(words)))
    leaders: list[frozenset[str]] = []
    for words in sets[:_LEADERS]:
        if all(_overlap(words, leader) < _NEAR for leader in leaders):
            leaders.append(words)
    nearest = _nearest(sets, leaders)
    # What is near no leader is a cluster of its own.
    alone = np.flatnonzero(nearest < 0)
    nearest[alone] = len(leaders) + np.arange(alone.size)
    number = dict(zip(sets, nearest.tolist(), strict=True))
    return np.array([number[words] for words in meaning], dtype=np.int64)


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    either = len(one | other)
    return len(one & other) / either if either else 1.0


def _nearest(sets: list[frozenset[str]], leaders: list[frozenset[str]]) -> IntArray:
    """Leader with the largest overlap, the more frequent one among equals; -1 for none near."""
    vocabulary = {word: i for i, word in enumerate(sorted(set().union(*sets)))}
    shared = (_matrix(sets, vocabulary) @ _matrix(leaders, vocabulary).T).tocoo()
    sizes = np.array([len(words) for words in sets])
    of_leaders = np.array([len(words) for words in leaders])
    overlap = shared.data / (sizes[shared.row] + of_leaders[shared.col] - shared.data)
    near = overlap >= _NEAR - 1e-12
    row, column, overlap = shared.row[near], shared.col[near], overlap[near]
    found = np.full(len(sets), -1, dtype=np.int64)
    # The last to write is the best: largest overlap, then smallest leader.
    order = np.lexsort((-column, overlap))
    found[row[order]] = column[order]
    for place, words in enumerate(sets):
        if not words:
            found[place] = next((i for i, leader in enumerate(leaders) if not leader), -1)
    return found


def _matrix(sets: list[frozenset[str]], vocabulary: dict[str, int]) -> sparse.csr_matrix:
    rows = np.repeat(np.arange(len(sets)), [len(words) for words in sets])
    columns = np.array([vocabulary[word] for words in sets for word in sorted(words)], np.int64)
    shape = (len(sets), len(vocabulary))
    return sparse.csr_matrix((np.ones(rows.size), (rows, columns)), shape=shape)


def _wordings(
    asked: pl.DataFrame, keys: list[str], spoken: list[list[str]], minimum_leads: int
) -> list[str]:
    """Each key without addresses, numbers and words that fewer leads use."""
    users = (
        asked.select("lead_id", "question_key")
        .unique()
        .join(
            pl.DataFrame(
                {"question_key": keys, "word": spoken},
                schema={"question_key": pl.String, "word": pl.List(pl.String)},
            ),
            on="question_key",
        )
        .explode("word", empty_as_null=True)
        .drop_nulls("word")
        .group_by("word")
        .agg(leads=pl.col("lead_id").n_unique())
        .filter(pl.col("leads") >= minimum_leads)
    )
    common = frozenset(users["word"].to_list())
    return [_published(key, common) for key in keys]


def _published(key: str, common: frozenset[str]) -> str:
    words = [
        word if word in common else CUT
        for part in _PERSONAL.sub(f" {CUT} ", key).split()
        for word in (_WORD.findall(part) if part != CUT else [CUT])
    ]
    kept = [w for i, w in enumerate(words) if w != CUT or i == 0 or words[i - 1] != CUT]
    return f"{' '.join(kept)}?"


def _most_frequent(of_key: IntArray, times: IntArray, wordings: list[str]) -> list[str]:
    asked: dict[tuple[int, str], int] = Counter()
    for cluster, count, wording in zip(of_key.tolist(), times.tolist(), wordings, strict=True):
        asked[cluster, wording] += count
    best: dict[int, tuple[int, str]] = {}
    for (cluster, wording), count in asked.items():
        entry = (-count, wording)
        best[cluster] = min(best.get(cluster, entry), entry)
    return [best[cluster][1] for cluster in range(len(best))]
