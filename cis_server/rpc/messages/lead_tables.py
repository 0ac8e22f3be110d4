"""Everything that is kept by value for scoring leads, in one bundle a process shares."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.rpc.messages.score_parts import PartTables, RankedParts, ranked_parts
from cis_server.rpc.messages.signals import (
    DaySignals,
    ProfileSignals,
    TitleSignal,
    check,
    is_short,
    title_signal,
)
from cis_server.scoring.icp import IcpMatcher
from cis_server.serving.memo import Memo, MemoBudget


class LeadTables:
    """The tables of one process.

    Attributes:
        budget: bounds them together.
        titles: (title, seniority), each empty when not given -> `TitleSignal`.
        zones: names of zones that are right.
        dates: ISO dates that are right.
        names: names of attributes that are right.
        days: the day ages are counted to -> `DaySignals`.
        profiles: prepared profile -> `ProfileSignals`.
        parts: weights -> `PartTables`.
        ranked: weights -> `RankedParts`.
    """

    __slots__ = (
        "budget",
        "dates",
        "days",
        "names",
        "parts",
        "profiles",
        "ranked",
        "titles",
        "zones",
    )

    def __init__(self, budget: MemoBudget) -> None:
        self.budget = budget
        self.titles: Mapping[tuple[str, str], TitleSignal] = Memo(
            title_signal, budget, keeps=lambda key: is_short(key[0])
        )
        self.zones: Mapping[str, bool] = Memo(lambda name: check("Lead.timezone", name), budget)
        self.dates: Mapping[str, bool] = Memo(lambda text: check("Job.start_date", text), budget)
        self.names: Mapping[str, bool] = Memo(
            lambda name: check("Lead.attributes", {name: ""}), budget
        )
        self.days: Mapping[dt.date, DaySignals] = Memo(lambda day: DaySignals(day, budget), budget)
        self.profiles: Mapping[IcpMatcher, ProfileSignals] = Memo(
            lambda icp: ProfileSignals(icp, budget), budget
        )
        self.parts: Mapping[Weights, PartTables] = Memo(
            lambda weights: PartTables(weights, budget), budget
        )
        self.ranked: Mapping[Weights, RankedParts] = Memo(ranked_parts, budget, counts_for=16)
        # What is the same for all weights is worked out now, not at the first call.
        self.parts[DEFAULT_WEIGHTS]
