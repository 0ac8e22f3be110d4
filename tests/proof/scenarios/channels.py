"""The score tier decides which channels a lead gets; no channel works better than another."""

from __future__ import annotations

from dataclasses import replace

from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.detectors.how import detect_how
from cis_server.domain.vocabulary import Verdict
from tests.proof.cases import Figures
from tests.proof.simulated import CLIENT, EVERYTHING_LISTED, STEADY, leads_for, observed


def measure(seed: int, *, cohort: int) -> Figures:
    """Lifts of the channels, raw and with tier and touch number held fixed."""
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=0.10,
        outreach=replace(STEADY, tier_confounding=1.0),
        effects=Effects(tiers={"hot": 2.0, "warm": 1.2}),
    )
    dataset, run, _ = observed(spec, seed)
    how = detect_how(dataset, settings=EVERYTHING_LISTED, run=run)
    channels: dict[str, dict[str, object]] = {}
    for segment in how.touch_effectiveness:
        estimate = segment.estimate
        rest_n = sum(s.estimate.sample for s in how.touch_effectiveness) - estimate.sample
        rest_k = sum(s.estimate.converted for s in how.touch_effectiveness) - estimate.converted
        raw = (estimate.rate or 0.0) / (rest_k / rest_n) if rest_k else None
        channels[segment.value] = {
            "touches": estimate.sample,
            "stratified": estimate.stratified_lift,
            "adjusted": estimate.adjusted_lift,
            "raw": raw,
            "verdict": segment.verdict.value,
        }
    decided = [s.verdict for s in (*how.touch_effectiveness, *how.channel_effectiveness)]
    return {"channels": channels, "winner": any(v is Verdict.WINNING for v in decided)}
