"""Simulated clients as datasets, and runs over them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from functools import cache

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import Simulation, simulate
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.domain.clients import ClientPolicy, ClientRecord
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.learned import Learned, LearningState
from cis_server.domain.runs import LearnOptions
from cis_server.domain.vocabulary import Promotion
from cis_server.learning.pipeline import learn
from cis_server.learning.stages import Stages

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
PLANTED = ClientSpec(
    client_id="planted",
    leads=3_500,
    base_rate=0.12,
    effects=Effects(
        components={"authority": 4.0},
        attributes={"crm_source=referral": 1.5},
        industries={"Software": 1.2, "Healthcare": -1.0},
    ),
)
NOISE = ClientSpec(client_id="noise", leads=2_500, base_rate=0.12)


@cache
def simulation() -> Simulation:
    return simulate((PLANTED, NOISE), 3, AS_OF)


@cache
def dataset(client_id: str) -> Dataset:
    window = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)
    return dataclasses.replace(to_dataset(simulation(), client_id, window), content_hash="hash")


def state(
    spec: ClientSpec, promotion: Promotion = Promotion.AUTO, **changes: object
) -> LearningState:
    client = ClientRecord(
        client_id=spec.client_id, icp=spec.icp, policy=ClientPolicy(promotion=promotion)
    )
    return dataclasses.replace(LearningState(client=client), **changes)  # type: ignore[arg-type]


class Clock:
    """A second later at every look."""

    def __init__(self) -> None:
        self._now = AS_OF

    def __call__(self) -> dt.datetime:
        self._now += dt.timedelta(seconds=1)
        return self._now


def learned(
    data: Dataset, of: LearningState, *, force: bool = False, dry_run: bool = False
) -> Learned:
    options = LearnOptions(as_of=AS_OF, force=force, dry_run=dry_run)
    return learn(data, of, options, Stages(Clock()))
