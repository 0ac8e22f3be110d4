"""What makes people come to meetings, what makes deals, why they are lost."""

from __future__ import annotations

from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import DealEffects, Effects, ShowEffects
from cis_server.detectors.funnel import detect_funnel
from cis_server.domain.vocabulary import Verdict
from tests.proof.cases import Figures
from tests.proof.reading import judged_segments
from tests.proof.simulated import CLIENT, EVERYTHING_LISTED, STEADY, leads_for, observed

CAUSES = Effects(
    show=ShowEffects(confirmed=1.2, reminder=1.0, rescheduled=-1.0, per_week_ahead=-0.4),
    deals=DealEffects(
        first_channels={"linkedin": 1.5}, good_meeting=1.2, lost_reasons={"no_budget": 5.0}
    ),
)
NAMES = ("confirmation", "reminder", "rescheduling", "lead time", "first channel", "lost reason")


def measure(seed: int, *, cohort: int) -> Figures:
    """Which causes are found, and the win rate against the planted one.

    The naive win rate is won / closed: won deals close sooner, so it is too high while deals are
    open.
    """
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=0.13,
        outreach=STEADY,
        effects=CAUSES,
    )
    dataset, run, _ = observed(spec, seed)
    funnel = detect_funnel(dataset, settings=EVERYTHING_LISTED, run=run)
    shows, wins, lost = funnel.show_rate, funnel.win_rate, funnel.lost_deals
    assert shows is not None
    verdicts = {
        name: effect is not None and effect.verdict is wanted
        for name, effect, wanted in (
            ("confirmation", shows.confirmation_effect, Verdict.WINNING),
            ("reminder", shows.reminder_effect, Verdict.WINNING),
            ("rescheduling", shows.reschedule_effect, Verdict.LOSING),
        )
    }
    ahead = [segment.verdict for segment in judged_segments(shows.by_days_ahead)]
    verdicts["lead time"] = Verdict.LOSING in ahead or Verdict.WINNING in ahead
    verdicts["first channel"] = wins is not None and any(
        s.value == "linkedin" and s.verdict is Verdict.WINNING for s in wins.by_first_channel
    )
    reasons = lost.top_reasons if lost is not None else ()
    verdicts["lost reason"] = bool(reasons) and reasons[0].reason == "no_budget"
    raw = wins.estimate.rate if wins is not None and wins.estimate is not None else None
    return {
        "found": verdicts,
        "meetings": shows.sample_size,
        "win_rate": wins.eventual_win_rate if wins is not None else None,
        "naive_win_rate": raw,
    }
