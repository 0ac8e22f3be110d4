"""What an experiment shows so far, from its counts alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from cis_server.domain.experiments import (
    Experiment,
    ExperimentVerdict,
    Standing,
    VariantCount,
    VariantStanding,
)
from cis_server.domain.rates import RateEstimate
from cis_server.stats.experiments import (
    SAMPLE_RATIO_ALPHA,
    Arm,
    ArmPosterior,
    Interval,
    confidence_sequence,
    difference_interval,
    experiment,
    sample_ratio_p_value,
)
from cis_server.stats.proportions import lift

_METRIC_WORDS: Final = {
    "reply_rate": "replied",
    "open_rate": "opened",
    "click_rate": "clicked",
    "conversion_rate": "converted",
    "meeting_rate": "booked a meeting",
}


def standing(planned: Experiment, counts: Mapping[str, VariantCount], at: dt.datetime) -> Standing:
    """Judge an experiment as of one moment.

    Rates are successes of contacted leads. The sample ratio is checked twice, on the leads assigned
    and on those contacted, and the smaller p-value counts: a variant whose messages fail to go out
    loses leads only after the assignment.

    Args:
        planned: the experiment.
        counts: by name of the variant; a missing one has none.
        at: the moment of the counts, aware; when it is expected to end is counted from there.
    """
    names = [variant.name for variant in planned.variants]
    found = [counts.get(name, VariantCount()) for name in names]
    arms = [Arm(count.contacted, count.succeeded) for count in found]
    weights = [variant.weight for variant in planned.variants]
    shares = [weight / sum(weights) for weight in weights]
    judged = experiment(arms, planned_shares=shares, alpha=planned.plan.alpha)
    ratio = min(
        sample_ratio_p_value([count.assigned for count in found], shares),
        judged.sample_ratio_p_value,
    )
    verdict = (
        ExperimentVerdict.BLOCKED
        if ratio < SAMPLE_RATIO_ALPHA
        else ExperimentVerdict(judged.conclusion.value)
    )
    winner = names[judged.best] if verdict is ExperimentVerdict.WINNER else None
    sequence = _against_control(arms, judged.arms, planned.plan.alpha)
    variants = tuple(
        _variant(name, place, found, arms, judged.arms) for place, name in enumerate(names)
    )
    progress, end = _progress(planned, found, at)
    return Standing(
        variants=variants,
        verdict=verdict,
        winner=winner,
        sequence_low=None if sequence is None else sequence.low,
        sequence_high=None if sequence is None else sequence.high,
        sample_ratio_p_value=ratio,
        progress=progress,
        expected_end_at=end,
        text=_text(planned, variants, verdict, winner, ratio, progress),
    )


def _against_control(
    arms: Sequence[Arm], posteriors: Sequence[ArmPosterior], alpha: float
) -> Interval | None:
    """Sequence of the best variant but the control, less the control."""
    best = max(range(1, len(arms)), key=lambda i: (posteriors[i].mean, arms[i].n, -i))
    pairs = len(arms) * (len(arms) - 1) // 2
    return confidence_sequence(arms[best], arms[0], alpha / pairs)


def _variant(
    name: str,
    place: int,
    counts: Sequence[VariantCount],
    arms: Sequence[Arm],
    posteriors: Sequence[ArmPosterior],
) -> VariantStanding:
    own, posterior = arms[place], posteriors[place]
    interval = difference_interval(own, arms[0]) if place else None
    return VariantStanding(
        variant=name,
        assigned=counts[place].assigned,
        estimate=_estimate(own, posterior, arms),
        probability_best=posterior.probability_best,
        expected_loss=posterior.expected_loss,
        difference=posterior.mean - posteriors[0].mean if place else None,
        difference_low=interval.low if interval is not None else None,
        difference_high=interval.high if interval is not None else None,
    )


def _estimate(own: Arm, posterior: ArmPosterior, arms: Sequence[Arm]) -> RateEstimate:
    units, won = sum(arm.n for arm in arms), sum(arm.converted for arm in arms)
    others = (won - own.converted + 1.0) / (units - own.n + 2.0)
    rate = own.converted / own.n if own.n else None
    return RateEstimate(
        rate=rate,
        adjusted_rate=posterior.mean,
        low=posterior.low,
        high=posterior.high,
        sample=own.n,
        converted=own.converted,
        lift=lift(rate, won / units) if rate is not None else None,
        adjusted_lift=posterior.mean / others,
    )


def _progress(
    planned: Experiment, counts: Sequence[VariantCount], at: dt.datetime
) -> tuple[float, dt.datetime | None]:
    """Share of the planned leads reached by the slowest variant, and when it will have them all."""
    wanted = planned.plan.leads_per_variant
    slowest = min(count.contacted for count in counts)
    if not wanted or slowest >= wanted:
        return (1.0 if wanted else 0.0), None
    started = planned.started_at
    if not slowest or started is None or at <= started:
        return slowest / wanted, None
    elapsed = (at - started) / dt.timedelta(days=1)
    days = elapsed * (wanted - slowest) / slowest
    # Beyond a century it never ends, and further on there are no dates.
    return slowest / wanted, at + dt.timedelta(days=days) if days < 36_525 else None


def _text(
    planned: Experiment,
    variants: Sequence[VariantStanding],
    verdict: ExperimentVerdict,
    winner: str | None,
    ratio: float,
    progress: float,
) -> str:
    done = _METRIC_WORDS[planned.metric.value]
    figures = ", ".join(
        f"{v.variant}: {v.estimate.converted} of {v.estimate.sample} leads {done}" for v in variants
    )
    said = {
        ExperimentVerdict.WINNER: f"{winner} is better than every other variant",
        ExperimentVerdict.NO_DIFFERENCE: "the variants differ too little to matter",
        ExperimentVerdict.INCONCLUSIVE: "the data do not tell yet",
        ExperimentVerdict.BLOCKED: (
            f"the shares of the variants are not those planned (p = {ratio:.2g}), so that nothing"
            " can be concluded: look for leads that went missing from one variant"
        ),
    }[verdict]
    sized = planned.plan.leads_per_variant > 0
    plan = f"; {progress:.0%} of the planned leads are reached" if sized else ""
    return f"{figures}; {said}{plan}."
