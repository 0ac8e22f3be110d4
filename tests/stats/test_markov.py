"""Removal effects by hand, credits that add up, channels that are only names."""

import numpy as np
import pytest

from cis_server.stats.markov import MarkovCredit, PathCount, markov_credit


def credit(paths: list[PathCount], channels: int = 3, seed: int = 0) -> MarkovCredit:
    found = markov_credit(paths, channels, np.random.default_rng(seed))
    assert found is not None
    return found


BIG = 1_000_000  # so many leads that the prior of one pseudo-transition vanishes


def test_removal_effect_worked_by_hand() -> None:
    # START -> 0 always; half go on to 1, half are lost; of those at 1, half convert.
    # P(converted) = 1/4. Without 1 nobody converts; without 0 nobody does: both effects are 1.
    # Channel 2 is an alternative start that converts one in ten, for a fifth of the leads.
    paths = [
        PathCount((0,), 4 * BIG, 0),
        PathCount((0, 1), 4 * BIG, 2 * BIG),
        PathCount((2,), 2 * BIG, BIG // 5),
    ]
    found = credit(paths)
    # P = .8 * .25 + .2 * .1 = .22; without 0 or 1: .02; without 2: .2.
    np.testing.assert_allclose(
        found.removal_effect, [1 - 0.02 / 0.22, 1 - 0.02 / 0.22, 1 - 0.2 / 0.22], rtol=1e-4
    )
    assert found.share.sum() == pytest.approx(1.0)


def test_unused_channel_gets_nothing_and_relabelling_permutes() -> None:
    paths = [
        PathCount((0, 1), 80, 10),
        PathCount((0,), 100, 4),
        PathCount((1, 0, 1), 60, 9),
        PathCount((1,), 40, 1),
    ]
    found = credit(paths, channels=3)
    assert found.share[2] == found.low[2] == found.high[2] == 0
    swapped = [
        PathCount(tuple(1 - c for c in path.channels), path.leads, path.converted) for path in paths
    ]
    np.testing.assert_allclose(credit(swapped).share[[1, 0, 2]], found.share, rtol=1e-9)


def test_order_of_paths_and_seed_decide_nothing_else() -> None:
    paths = [PathCount((0, 1), 80, 10), PathCount((0,), 100, 4), PathCount((2, 0), 60, 9)]
    one, other = credit(paths), credit(paths[::-1])
    assert one.low.tolist() == other.low.tolist()
    assert (one.low <= one.share + 1e-9).all()
    assert (one.share <= one.high + 1e-9).all()


def test_longer_memory_only_where_it_pays() -> None:
    alternating = [
        PathCount((0, 1, 0), 5000, 2500),
        PathCount((1, 1, 0), 5000, 0),
        PathCount((0, 0, 1), 5000, 2500),
        PathCount((1, 0, 1), 5000, 0),
    ]
    assert credit(alternating, channels=2).order == 2
    assert credit([PathCount((0,), 200, 20), PathCount((1,), 200, 20)], channels=2).order == 1


def test_nobody_converted_and_bad_paths() -> None:
    assert markov_credit([PathCount((0,), 10, 0)], 1, np.random.default_rng(0)) is None
    with pytest.raises(ValueError, match="unknown channel"):
        credit([PathCount((5,), 10, 1)])
    with pytest.raises(ValueError, match="converted"):
        credit([PathCount((0,), 10, 11)])
