"""Answers under exploration, and what becomes of them when the truth about each choice is planted.

`channel_records` and `timing_records` ask the very functions that serve; `planted_decisions` draws
decisions with the propensities those answers have, lets leads convert at planted rates, and gives
them as a learning run reads them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
from scipy import stats
from serving_fakes import NOW, how_pattern, segment, when_pattern

from cis_server.domain.clients import ClientPolicy, ClientRecord
from cis_server.domain.live_state import DecisionRecord
from cis_server.domain.model_info import DEFAULT_MODEL
from cis_server.domain.vocabulary import Source, Tier, Verdict
from cis_server.serving.channel_plan import ChannelPlan
from cis_server.serving.channels import ChannelsRequest, channels_answer
from cis_server.serving.draws import draws_for
from cis_server.serving.timing import TimingRequest, timing_answer
from cis_server.serving.timing_plan import TimingPlan

SHARE: Final = 0.2
POLICY: Final = ClientPolicy(exploration_share=SHARE)
CLIENT: Final = ClientRecord(client_id="acme", timezone="UTC", policy=POLICY)
TRUTH: Final[Mapping[str, float]] = {
    "email": 0.05, "linkedin": 0.11, "sms": 0.04, "voice": 0.08, "mail": 0.03,
}  # fmt: skip
"""Conversions per touch that are planted; learning so far believes in voice."""
CONTEXTS: Final[Sequence[tuple[Tier, tuple[str, ...]]]] = (
    (Tier.HOT, ()),
    (Tier.HOT, ("voice",)),
    (Tier.WARM, ()),
    (Tier.COOL, ("email", "email")),
    (Tier.COOL, ()),
)


def learned_channels() -> ChannelPlan:
    """Enough learned to prefer, too little to be sure."""
    pattern = how_pattern(
        overall=(
            segment("voice", 16, 180, Verdict.WINNING),
            segment("linkedin", 12, 160),
            segment("email", 30, 500),
            segment("mail", 3, 60),
        )
    )
    return ChannelPlan(pattern, 1.0, Source.LEARNED)


def learned_timing() -> TimingPlan:
    """Days and hours with some evidence each."""
    pattern = when_pattern(
        days={1: (20, 300), 2: (30, 300), 3: (25, 300), 4: (18, 300), 5: (12, 300)},
        hours={9: (40, 500), 10: (45, 500), 13: (20, 300), 14: (25, 300)},
    )
    return TimingPlan(pattern, 1.0, Source.LEARNED)


def channel_records(count: int, offset: int = 0) -> list[DecisionRecord]:
    """The log of so many channel answers, for leads of every context in turn."""
    plan, found = learned_channels(), []
    for number in range(offset, offset + count):
        tier, used = CONTEXTS[number % len(CONTEXTS)]
        request = ChannelsRequest(
            client_id="acme", tier=tier, used_channels=used, lead_id=f"lead-{number}"
        )
        draws = draws_for(request.lead_id, "acme", "channel", ",".join(used), "")
        _, record = channels_answer(plan, request, POLICY, None, DEFAULT_MODEL, NOW, draws)
        assert record is not None
        found.append(record)
    return found


def timing_records(count: int) -> list[DecisionRecord]:
    """The log of so many timing answers, for e-mails and LinkedIn messages in turn."""
    plan, found = learned_timing(), []
    for number in range(count):
        channel = ("email", "linkedin")[number % 2]
        request = TimingRequest(client_id="acme", lead_id=f"lead-{number}", channel=channel)
        draws = draws_for(request.lead_id, "acme", "timing", channel, "0", "")
        _, record = timing_answer(plan, request, CLIENT, None, DEFAULT_MODEL, NOW, draws)
        assert record is not None
        found.append(record)
    return found


def chi_square(records: Sequence[DecisionRecord]) -> float:
    """p-value of "choices were drawn with the propensities logged", over all contexts.

    Options expected fewer than five times are one cell, as the test asks for.
    """
    groups: dict[tuple[tuple[str, float], ...], Counter[str]] = {}
    for record in records:
        key = tuple((option.choice, option.propensity) for option in record.options)
        groups.setdefault(key, Counter())[record.choice] += 1
    statistic, freedom = 0.0, 0
    for options, drawn in groups.items():
        total = sum(drawn.values())
        cells = [(drawn[choice], share * total) for choice, share in options]
        rare = [cell for cell in cells if cell[1] < 5]
        kept = [cell for cell in cells if cell[1] >= 5]
        if sum(expected for _, expected in rare) >= 5:
            kept.append((sum(n for n, _ in rare), sum(expected for _, expected in rare)))
        statistic += sum((n - expected) ** 2 / expected for n, expected in kept)
        freedom += len(kept) - 1
    return float(stats.chi2.sf(statistic, freedom))


def planted_decisions(
    records: Sequence[DecisionRecord], seed: int, leads: int, touches: int
) -> pl.DataFrame:
    """Decisions as `Dataset.decisions` holds them, drawn anew and with planted outcomes.

    Args:
        records: one of each context; their options are drawn from.
        seed: of draws and outcomes.
        leads: how many.
        touches: decisions about each; a keen lead converts up to 1.5 times as often.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for lead in range(leads):
        keen = generator.uniform(0.5, 1.5)
        for touch in range(touches):
            record = records[int(generator.integers(len(records)))]
            shares = np.array([option.propensity for option in record.options])
            drawn = record.options[int(generator.choice(len(shares), p=shares / shares.sum()))]
            best = next(option for option in record.options if option.best)
            sent = NOW + dt.timedelta(days=touch)
            rows.append(
                {
                    "decision_id": str(uuid.UUID(int=lead * 1000 + touch)),
                    "kind": "channel",
                    "decided_at": sent,
                    "choice": drawn.choice,
                    "propensity": drawn.propensity,
                    "best": best.choice,
                    "best_propensity": best.propensity,
                    "activity_id": f"{lead}-{touch}",
                    "lead_id": f"lead-{lead}",
                    "channel": drawn.choice,
                    "occurred_at": sent,
                    "converting": bool(generator.random() < keen * TRUTH[drawn.choice]),
                }
            )
    return pl.DataFrame(rows)


def with_best(records: Sequence[DecisionRecord]) -> list[DecisionRecord]:
    """The records as if the truly best channel were the one to take without exploration."""
    found = []
    for record in records:
        best = max(record.options, key=lambda option: TRUTH[option.choice]).choice
        options = tuple(
            dataclasses.replace(option, best=option.choice == best) for option in record.options
        )
        found.append(dataclasses.replace(record, options=options))
    return found


def true_values(records: Sequence[DecisionRecord]) -> tuple[float, float]:
    """Conversions per decision of the logging policy, and of always taking the best."""
    current = [
        sum(TRUTH[option.choice] * option.propensity for option in record.options)
        for record in records
    ]
    best = [
        sum(TRUTH[option.choice] for option in record.options if option.best) for record in records
    ]
    return float(np.mean(current)), float(np.mean(best))
