"""One attribute that a fifth of the leads carry doubles their rate; nothing else matters."""

from __future__ import annotations

from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.detectors.who import detect_who
from cis_server.domain.vocabulary import Verdict
from tests.proof import naive
from tests.proof.cases import Figures
from tests.proof.reading import judged_segments
from tests.proof.simulated import CLIENT, EVERYTHING_LISTED, STEADY, leads_for, observed

DIMENSION, VALUE = "attributes.lead_grade", "a"
"""Grade a: a free attribute of the CRM, known of every lead, drawn for 20 % of them."""
DOUBLING = 0.755
"""Log-odds of a touch that double the rate of a lead over five touches (the truth is measured)."""


def measure(seed: int, *, cohort: int, base_rate: float) -> Figures:
    """Whether WHO names the attribute a winner, and what else.

    Args:
        seed: of the simulation.
        cohort: leads that count, about.
        base_rate: of all leads together.
    """
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=base_rate,
        outreach=STEADY,
        effects=Effects(attributes={f"lead_grade={VALUE}": DOUBLING}),
    )
    dataset, run, truth = observed(spec, seed)
    pattern = detect_who(dataset, settings=EVERYTHING_LISTED, run=run)
    ranking = next(r for r in pattern.attribute_rankings if r.attribute == DIMENSION)
    planted = next(s for s in ranking.segments if s.value == VALUE)
    winners = [s for s in judged_segments(pattern) if s.verdict is Verdict.WINNING]
    true = truth.lead_rates[DIMENSION][VALUE]
    estimate = planted.estimate
    baseline = pattern.envelope.baseline_conversion_rate
    segments = [s for s in judged_segments(pattern) if s.estimate.sample > 0]
    return {
        "leads": pattern.envelope.sample_size,
        "carriers": estimate.sample,
        "true_rate": true.rate,
        "true_complement": true.complement_rate,
        "found": planted.verdict is Verdict.WINNING,
        "enough_evidence": estimate.q_value is not None and estimate.q_value <= 0.10,
        "surely_above": estimate.low > baseline,
        "covered": bool(estimate.low <= true.rate <= estimate.high),
        "others": sum(not s.path.endswith("lead_grade.segments") for s in winners),
        "first_of_list": naive.best((s.value, s.estimate) for s in ranking.segments) == VALUE,
        "naive_winners": naive.winners(segments, baseline),
        "adjusted_ratio": estimate.adjusted_rate / true.rate,
        "raw_ratio": (estimate.rate or 0.0) / true.rate,
    }
