"""Experiments and how they do as messages, and the experiment that a request wants."""

from __future__ import annotations

from cis_client.v1 import core_pb2
from cis_client.v1 import experiment_service_pb2 as messages
from cis_server.domain.experiments import (
    Experiment,
    ExperimentMetric,
    ExperimentState,
    ExperimentVerdict,
    NewExperiment,
    PowerPlan,
    Standing,
    Variant,
    VariantStanding,
)
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.values import number_of, rate_message, timestamp, word_of

_METRIC = word_of(messages.ExperimentMetric, ExperimentMetric)
_METRIC_NUMBER = number_of(messages.ExperimentMetric, ExperimentMetric)
_STATE_NUMBER = number_of(messages.ExperimentState, ExperimentState)
_VERDICT_NUMBER = number_of(messages.ExperimentVerdict, ExperimentVerdict)


def wanted_experiment(request: messages.CreateExperimentRequest) -> NewExperiment:
    """The experiment a request wants; an empty id is to be made, a base rate of None to be found.

    Raises:
        InvalidInput: two variants have one name.
    """
    seen: set[str] = set()
    for place, variant in enumerate(request.variants):
        if variant.name in seen:
            raise InvalidInput(f"variants[{place}].name", f"{variant.name!r} stands there twice")
        seen.add(variant.name)
    return NewExperiment(
        experiment_id=request.experiment_id,
        name=request.name,
        hypothesis=request.hypothesis,
        campaign_id=request.campaign_id if request.HasField("campaign_id") else None,
        variants=tuple(_variant(variant) for variant in request.variants),
        metric=_METRIC(request.metric) or ExperimentMetric.REPLY_RATE,
        plan=_plan(request.power_plan),
    )


def experiment_message(stored: Experiment) -> messages.Experiment:
    """The message of an experiment."""
    return messages.Experiment(
        experiment_id=stored.experiment_id,
        client_id=stored.client_id,
        name=stored.name,
        hypothesis=stored.hypothesis,
        campaign_id=stored.campaign_id,
        variants=[
            messages.ExperimentVariant(
                name=variant.name,
                description=variant.description,
                weight=variant.weight,
                template_id=variant.template_id,
            )
            for variant in stored.variants
        ],
        metric=_METRIC_NUMBER[stored.metric],
        power_plan=plan_message(stored.plan),
        state=_STATE_NUMBER[stored.state],
        started_time=timestamp(stored.started_at),
        ended_time=timestamp(stored.ended_at),
        ended_by=stored.ended_by,
    )


def plan_message(plan: PowerPlan) -> core_pb2.PowerPlan:
    """The message of a plan."""
    return core_pb2.PowerPlan(
        base_rate=plan.base_rate,
        minimum_effect=plan.minimum_effect,
        power=plan.power,
        alpha=plan.alpha,
        leads_per_variant=plan.leads_per_variant,
        expected_days=plan.expected_days,
    )


def standing_message(standing: Standing | None) -> messages.ExperimentResult | None:
    """The message of how an experiment does; None stays unset."""
    if standing is None:
        return None
    return messages.ExperimentResult(
        variants=[_variant_result(variant) for variant in standing.variants],
        verdict=_VERDICT_NUMBER[standing.verdict],
        winner=standing.winner,
        sequence_low=standing.sequence_low,
        sequence_high=standing.sequence_high,
        sample_ratio_p_value=standing.sample_ratio_p_value,
        progress=standing.progress,
        text=standing.text,
        expected_end_time=timestamp(standing.expected_end_at),
    )


def _variant(message: messages.ExperimentVariant) -> Variant:
    return Variant(
        name=message.name,
        description=message.description,
        weight=message.weight if message.HasField("weight") else 1.0,
        template_id=message.template_id if message.HasField("template_id") else None,
    )


def _plan(message: core_pb2.PowerPlan) -> PowerPlan:
    default = PowerPlan()
    return PowerPlan(
        base_rate=message.base_rate if message.HasField("base_rate") else None,
        minimum_effect=message.minimum_effect
        if message.HasField("minimum_effect")
        else default.minimum_effect,
        power=message.power if message.HasField("power") else default.power,
        alpha=message.alpha if message.HasField("alpha") else default.alpha,
    )


def _variant_result(variant: VariantStanding) -> messages.VariantResult:
    return messages.VariantResult(
        variant=variant.variant,
        estimate=rate_message(variant.estimate),
        probability_best=variant.probability_best,
        expected_loss=variant.expected_loss,
        difference=variant.difference,
        difference_low=variant.difference_low,
        difference_high=variant.difference_high,
        assigned=variant.assigned,
    )
