"""Which channels conversions are credited to, by an absorbing Markov chain over channel paths.

States are START, the channels, CONVERTED and LOST; the removal effect of a channel is the share of
conversions that are lost when every visit to it ends in LOST (Anderl, Becker, von Wangenheim and
Schumann 2016). Credits are removal effects normalised to the number of conversions. This is an
association along observed paths, not the effect of an experiment.

Transitions are smoothed with a symmetric Dirichlet prior of total weight 1 over the transitions
that paths of the same channels could take. The 90 % interval is a bootstrap of leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cis_server.stats.arrays import FloatArray

BOOTSTRAP_DRAWS: Final = 200
_PRIOR = 1.0


@dataclass(frozen=True, slots=True)
class PathCount:
    """Leads that went the same way."""

    channels: tuple[int, ...]
    """Channel numbers in order, repeats included; not empty."""
    leads: int
    converted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkovCredit:
    """Credit per channel; arrays of shape (channels,)."""

    order: int
    """Order of the chain: 2 only where its BIC is lower."""
    conversions: int
    share: FloatArray
    """Share of the conversions; adds to 1, 0 for a channel that no path uses."""
    low: FloatArray
    """5 % bootstrap quantile of `share`."""
    high: FloatArray
    """95 % bootstrap quantile of `share`."""
    removal_effect: FloatArray
    """Share of conversions lost without the channel, 0..1."""


def markov_credit(
    paths: Sequence[PathCount],
    channels: int,
    generator: np.random.Generator,
    *,
    draws: int = BOOTSTRAP_DRAWS,
) -> MarkovCredit | None:
    """Credit the conversions of some paths to their channels.

    Args:
        paths: distinct paths with their leads; the order does not matter.
        channels: number of channels, numbered from 0.
        generator: randomness of the bootstrap.
        draws: bootstrap draws.

    Returns:
        None when nobody converted.

    Raises:
        ValueError: a path is empty, names an unknown channel, or counts are impossible.
    """
    ordered = sorted(paths, key=lambda path: path.channels)
    for path in ordered:
        if not path.channels or not all(0 <= c < channels for c in path.channels):
            raise ValueError(f"path {path.channels} is empty or names an unknown channel")
        if not 0 <= path.converted <= path.leads:
            raise ValueError(f"{path.converted} of {path.leads} converted on {path.channels}")
    conversions = sum(path.converted for path in ordered)
    if not conversions:
        return None
    order = _order(ordered, channels)
    chain = _Chain.of(ordered, channels, order)
    effect = chain.removal_effects(chain.leads[None, :])[0]
    drawn = generator.multinomial(
        int(chain.leads.sum()), chain.leads / chain.leads.sum(), size=draws
    ).astype(np.float64)
    # A draw without a conversion says nothing of how they are shared.
    shares = _shares(chain.removal_effects(drawn[drawn[:, chain.is_won].sum(axis=1) > 0]))
    return MarkovCredit(
        order=order,
        conversions=conversions,
        share=_shares(effect[None, :])[0],
        low=np.quantile(shares, 0.05, axis=0),
        high=np.quantile(shares, 0.95, axis=0),
        removal_effect=effect,
    )


def _shares(effects: FloatArray) -> FloatArray:
    """Rows normalised to 1; a row without any effect is shared equally among nothing (zeros)."""
    total = effects.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(effects, total, out=np.zeros_like(effects), where=total > 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Transition counts as a linear function of how many leads went each way.

    A state of an order-1 chain is a channel, of an order-2 chain the last two channels (the first
    alone at the start). START is state 0; CONVERTED and LOST stand behind the others.
    """

    incidence: FloatArray
    """(ways, pairs): how often a lead of a way (path and end) makes each transition that occurs."""
    source: np.ndarray[tuple[int], np.dtype[np.int64]]
    target: np.ndarray[tuple[int], np.dtype[np.int64]]
    """(pairs,) states of each transition."""
    leads: FloatArray
    """(ways,) leads of each way."""
    is_won: np.ndarray[tuple[int], np.dtype[np.bool_]]
    last_channel: np.ndarray[tuple[int], np.dtype[np.int64]]
    """(states,) the channel a state stands at; -1 for START and the ends."""
    states: int
    channels: int

    @classmethod
    def of(cls, paths: Sequence[PathCount], channels: int, order: int) -> _Chain:
        known: dict[tuple[int, ...], int] = {(): 0}
        for path in paths:
            for stop in range(1, len(path.channels) + 1):
                known.setdefault(path.channels[max(0, stop - order) : stop], len(known))
        won, lost = len(known), len(known) + 1
        pairs: dict[tuple[int, int], int] = {}
        rows: list[dict[int, int]] = []
        leads: list[int] = []
        is_won: list[bool] = []
        for path in paths:
            visited = [
                known[path.channels[max(0, stop - order) : stop]]
                for stop in range(len(path.channels) + 1)
            ]
            for end, count in ((won, path.converted), (lost, path.leads - path.converted)):
                if count:
                    row: dict[int, int] = {}
                    for pair in zip(visited, [*visited[1:], end], strict=True):
                        place = pairs.setdefault(pair, len(pairs))
                        row[place] = row.get(place, 0) + 1
                    rows.append(row)
                    leads.append(count)
                    is_won.append(end == won)
        incidence = np.zeros((len(rows), len(pairs)))
        for i, row in enumerate(rows):
            incidence[i, list(row)] = list(row.values())
        last = np.full(len(known) + 2, -1, dtype=np.int64)
        for state, place in known.items():
            if state:
                last[place] = state[-1]
        edges = np.array(list(pairs), dtype=np.int64)
        return cls(
            incidence=incidence,
            source=edges[:, 0],
            target=edges[:, 1],
            leads=np.array(leads, dtype=np.float64),
            is_won=np.array(is_won),
            last_channel=last,
            states=len(known) + 2,
            channels=channels,
        )

    def removal_effects(self, leads: FloatArray) -> FloatArray:
        """(draws, channels) removal effects for (draws, ways) numbers of leads."""
        draws, inner = len(leads), self.states - 2
        counts = leads @ self.incidence
        # One pseudo-transition, shared by the transitions that a state is ever seen to make.
        options = np.bincount(self.source, minlength=self.states)
        counts = counts + _PRIOR / options[self.source]
        table = np.zeros((draws, inner, self.states))
        table[:, self.source, self.target] = counts
        table /= np.maximum(table.sum(axis=2, keepdims=True), 1e-300)
        among, to_won = table[:, :, :inner], table[:, :, inner]
        whole = self._absorbed(among, to_won)
        effects = np.zeros((draws, self.channels))
        for channel in range(self.channels):
            gone = self.last_channel[:inner] == channel
            if gone.any():
                # A removed state leads nowhere: its row is empty, so paths through it are lost.
                kept = (~gone).astype(np.float64)
                left = self._absorbed(among * kept[:, None], to_won * kept)
                effects[:, channel] = np.clip(1.0 - left / whole, 0.0, 1.0)
        return effects

    def _absorbed(self, among: FloatArray, to_won: FloatArray) -> FloatArray:
        """Probability of CONVERTED from START: the first entry of (I - Q)^-1 r."""
        system = np.eye(among.shape[1]) - among
        solved = np.linalg.solve(system, to_won[:, :, None])
        return np.asarray(solved[:, 0, 0])


def _order(paths: Sequence[PathCount], channels: int) -> int:
    """2 when the Bayesian information criterion of the longer memory is lower, else 1."""
    return min((1, 2), key=lambda order: (round(_bic(paths, channels, order), 6), order))


def _bic(paths: Sequence[PathCount], channels: int, order: int) -> float:
    chain = _Chain.of(paths, channels, order)
    counts = chain.leads @ chain.incidence
    leaving = np.bincount(chain.source, weights=counts, minlength=chain.states)
    likelihood = float(counts @ np.log(counts / leaving[chain.source]))
    options = np.bincount(chain.source, minlength=chain.states)
    free = int((options[options > 0] - 1).sum())
    return free * float(np.log(counts.sum())) - 2.0 * likelihood
