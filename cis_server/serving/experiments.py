"""Experiments as they are asked for: planned, assigned, judged and ended.

Assigning writes before it answers, unlike the log of explored choices. Leads count from their
assignment on, whatever is then sent to them; an assignment that was answered but lost with a
process would take leads out of the comparison, and not by chance. The write is one statement for up
to a thousand leads and keeps no thread from scoring.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from cis_server.domain.experiments import (
    Experiment,
    ExperimentMetric,
    ExperimentState,
    History,
    NewExperiment,
    PowerPlan,
    Standing,
    VariantCount,
)
from cis_server.errors import InvalidInput, PreconditionFailed
from cis_server.stats.assignment import Assigner

MINIMUM_HISTORY: Final = 30
"""Leads of known outcome that a base rate is taken from."""


class ExperimentStore(Protocol):
    """Experiments as stored; every method raises `StoreUnavailable` when it cannot, and `NotFound`
    for a client, campaign, experiment or lead that does not exist."""

    def history(
        self, client_id: str, campaign_id: str | None, metric: ExperimentMetric, at: dt.datetime
    ) -> History:
        """What the past tells a plan, of a campaign or of the client."""
        ...

    def create(self, client_id: str, wanted: NewExperiment, by: str, at: dt.datetime) -> Experiment:
        """Store an experiment, running, unless another one is in its way."""
        ...

    def get(self, client_id: str, experiment_id: str) -> Experiment:
        """One experiment."""
        ...

    def assign(
        self,
        client_id: str,
        experiment_id: str,
        lead_ids: Sequence[str],
        draw: Callable[[Experiment], Callable[[str], tuple[str, float]]],
        at: dt.datetime,
    ) -> Mapping[str, tuple[str, float]]:
        """Variants of leads and their probabilities, recorded; the first of a lead holds."""
        ...

    def counts(self, planned: Experiment, at: dt.datetime) -> Mapping[str, VariantCount]:
        """Leads by variant, as of `at`."""
        ...

    def end(
        self,
        client_id: str,
        experiment_id: str,
        by: str,
        at: dt.datetime,
        judged: Callable[[Experiment, Mapping[str, VariantCount]], Standing] | None,
    ) -> Experiment:
        """End an experiment; None calls it off."""
        ...


class Experimenter:
    """Plans, assigns, judges and ends experiments.

    Args:
        store: where they are kept.
        clock: the time now, aware.
    """

    def __init__(self, store: ExperimentStore, clock: Callable[[], dt.datetime]) -> None:
        self._store, self._clock = store, clock

    def create(self, client_id: str, wanted: NewExperiment, by: str = "") -> Experiment:
        """Plan an experiment and begin it.

        Args:
            client_id: whose.
            wanted: an empty `experiment_id` gets a new UUID; a base rate of None is taken from the
                client's past.
            by: who wants it.

        Raises:
            InvalidInput: the rates of the plan are no rates.
            NotFound: no such client or campaign.
            PreconditionFailed: BASE_RATE_UNKNOWN, EXPERIMENT_RUNNING or EXPERIMENT_EXISTS.
        """
        at = self._clock()
        past = self._store.history(client_id, wanted.campaign_id, wanted.metric, at)
        planned = replace(
            wanted,
            experiment_id=wanted.experiment_id or str(uuid.uuid4()),
            plan=_sized(wanted, past),
        )
        return self._store.create(client_id, planned, by, at)

    def assign(
        self, client_id: str, experiment_id: str, lead_ids: Sequence[str]
    ) -> Sequence[tuple[str, str, float]]:
        """(lead, variant, probability of that variant) in the order asked.

        Raises:
            NotFound: no such client, experiment or lead.
            PreconditionFailed: EXPERIMENT_NOT_RUNNING, for leads not assigned before.
        """
        found = self._store.assign(client_id, experiment_id, lead_ids, _draw, self._clock())
        return [(lead, *found[lead]) for lead in lead_ids]

    def get(self, client_id: str, experiment_id: str) -> tuple[Experiment, Standing | None]:
        """An experiment and how it does; None for one that was called off or never began.

        Raises:
            NotFound: no such client or experiment.
        """
        planned = self._store.get(client_id, experiment_id)
        if planned.state in (ExperimentState.DRAFT, ExperimentState.CANCELLED):
            return planned, None
        if planned.final is not None:
            return planned, planned.final
        at = planned.ended_at or self._clock()
        return planned, _standing(planned, self._store.counts(planned, at), at)

    def end(
        self, client_id: str, experiment_id: str, by: str, *, cancel: bool
    ) -> tuple[Experiment, Standing | None]:
        """End an experiment for good, or call it off; how it did.

        Raises:
            NotFound: no such client or experiment.
            PreconditionFailed: EXPERIMENT_ENDED already, or EXPERIMENT_NOT_STARTED.
        """
        at = self._clock()

        def judged(planned: Experiment, counts: Mapping[str, VariantCount]) -> Standing:
            # It has ended: nothing more is expected.
            return replace(_standing(planned, counts, at), expected_end_at=None)

        ended = self._store.end(client_id, experiment_id, by, at, None if cancel else judged)
        return ended, ended.final


def _sized(wanted: NewExperiment, past: History) -> PowerPlan:
    # Only here: it needs scipy, which a serving process does without until somebody asks.
    from cis_server.stats.experiment_size import leads_per_arm

    plan = wanted.plan
    base = plan.base_rate
    if base is None:
        # A rate of 0 or 1 tells no size either.
        if past.contacted < MINIMUM_HISTORY or not 0 < past.succeeded < past.contacted:
            raise PreconditionFailed(
                "BASE_RATE_UNKNOWN",
                f"{past.succeeded} of {past.contacted} leads of known outcome had success: too"
                " few for a base rate, state power_plan.base_rate",
                {
                    "contacted": past.contacted,
                    "succeeded": past.succeeded,
                    "least_contacted": MINIMUM_HISTORY,
                },
            )
        base = past.succeeded / past.contacted
    if base * (1.0 + plan.minimum_effect) >= 1.0:
        raise InvalidInput(
            "power_plan.minimum_effect",
            f"would raise the base rate of {base:.4g} to 1 or above",
        )
    weights = [variant.weight for variant in wanted.variants]
    size = leads_per_arm(
        base, plan.minimum_effect, power=plan.power, alpha=plan.alpha, arms=len(weights)
    )
    slowest = past.leads_per_day * min(weights) / sum(weights)
    return replace(
        plan,
        base_rate=base,
        leads_per_variant=size,
        expected_days=size / slowest if slowest > 0 else None,
    )


def _draw(planned: Experiment) -> Callable[[str], tuple[str, float]]:
    """What gives a lead its variant and that variant's probability."""
    assigner = Assigner(
        planned.client_id,
        planned.experiment_id,
        [variant.weight for variant in planned.variants],
    )

    def drawn(lead_id: str) -> tuple[str, float]:
        place = assigner.variant(lead_id)
        return planned.variants[place].name, assigner.shares[place]

    return drawn


def _standing(planned: Experiment, counts: Mapping[str, VariantCount], at: dt.datetime) -> Standing:
    # Only here, for the same reason as above.
    from cis_server.learning.experiment_standing import standing

    return standing(planned, counts, at)
