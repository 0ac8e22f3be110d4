"""Causes of every kind at once, each about a doubling: which of them are found?"""

from __future__ import annotations

from collections.abc import Iterable

from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects, GapPeak, LengthPeak, TrueRate, Truth
from cis_server.detectors.how import detect_how
from cis_server.detectors.what import detect_what
from cis_server.detectors.when import detect_when
from cis_server.detectors.who import detect_who
from cis_server.domain.patterns import HowPattern, WhenPattern, WhoPattern
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.domain.what_pattern import WhatPattern
from tests.proof import naive
from tests.proof.cases import Figures
from tests.proof.reading import against_truth
from tests.proof.simulated import CLIENT, EVERYTHING_LISTED, STEADY, leads_for, observed

# Mails get four causes of their own, so a channel that is to be twice as good as the others needs
# more than the usual 0.8.
CAUSES = Effects(
    title_levels={"director": 0.8},
    industries={"Software": 0.8},
    size_ranges={"16-30": 0.8},
    attributes={"crm_source=webinar": 0.8},
    weekdays={2: 0.8},
    touch_hazard=(0.0, 0.8, 0.0),
    gap=GapPeak(days=4, width_days=0.5, log_odds=0.8),
    channels={"voice": 1.5},
    pain_points={"scaling": 0.8},
    ctas={"worth 15 minutes": 0.8},
    angles={"social_proof": 0.8},
    subjects={"quick_question": 0.8},
    personalisation={"recent_news": 0.8},
    ab_variants={"B": 0.8},
    length={"email": LengthPeak(words=70, width_words=12, log_odds=0.8)},
)

NAMES = (
    *("title level", "industry", "company size", "CRM source"),
    *("weekday", "touch number", "gap", "channel"),
    *("pain point", "call to action", "angle", "subject line"),
    *("personalisation", "A/B test", "length"),
)
"""What is planted, in the order of the page."""

Found = dict[str, tuple[bool, bool | None]]
"""Cause -> (found by CIS, at the top of the raw ranking)."""


def measure(seed: int, *, cohort: int) -> Figures:
    """Which causes are found, and how many of all winners are true ones."""
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=0.10,
        outreach=STEADY,
        industry_weights={"Software": 1.75},
        title_weights={"director": 1.8},
        effects=CAUSES,
    )
    dataset, run, truth = observed(spec, seed)
    who = detect_who(dataset, settings=EVERYTHING_LISTED, run=run)
    when = detect_when(dataset, settings=EVERYTHING_LISTED, run=run)
    how = detect_how(dataset, settings=EVERYTHING_LISTED, run=run)
    what = detect_what(dataset, settings=EVERYTHING_LISTED, run=run)
    found = {**_who(who), **_when(when), **_how(how), **_what(what)}
    named = [
        each
        for pattern in (who, when, what)
        for each in against_truth(pattern, truth)
        if each.verdict is Verdict.WINNING
    ]
    tops = _naive_tops(who, when, what, truth)
    return {
        "found": {name: found[name][0] for name in NAMES},
        "naive": {name: found[name][1] for name in NAMES},
        "winners": len(named),
        "true_winners": sum(_better(each.true) for each in named),
        "naive_winners": len(tops),
        "naive_true_winners": sum(tops),
        "hazard": [touch.hazard.adjusted_rate for touch in when.touch_hazard],
        "hazard_true": [float(rate) for rate in truth.hazard],
    }


def _better(true: TrueRate) -> bool:
    return true.rate > 1.05 * true.complement_rate


def _naive_tops(who: WhoPattern, when: WhenPattern, what: WhatPattern, truth: Truth) -> list[bool]:
    """Per list, whether the value with the highest raw rate is truly better than the others."""
    lists: dict[str, dict[str, tuple[RateEstimate, TrueRate]]] = {}
    for pattern in (who, when, what):
        for each in against_truth(pattern, truth):
            lists.setdefault(each.dimension, {})[each.value] = each.estimate, each.true
    tops = []
    for values in lists.values():
        top = naive.best((value, estimate) for value, (estimate, _) in values.items())
        if top is not None:
            tops.append(_better(values[top][1]))
    return tops


def _segment(segments: Iterable[SegmentRate], value: str) -> tuple[bool, bool]:
    listed = tuple(segments)
    won = any(s.value == value and s.verdict is Verdict.WINNING for s in listed)
    return won, naive.best((s.value, s.estimate) for s in listed) == value


def _who(who: WhoPattern) -> Found:
    rankings = {ranking.attribute: ranking.segments for ranking in who.attribute_rankings}
    sizes = who.size_analysis
    assert sizes is not None
    return {
        "title level": _segment(rankings.get("title_level", ()), "director"),
        "industry": _segment(who.industry_rankings, "software"),
        "company size": (
            sizes.sweet_spot == "16–30",
            naive.best((r.range, r.estimate) for r in sizes.distribution) == "16–30",
        ),
        "CRM source": _segment(rankings.get("attributes.crm_source", ()), "webinar"),
    }


def _when(when: WhenPattern) -> Found:
    first_gap = when.sequence_gaps[0]
    bins = [(f"{r.gap_days_min}-{r.gap_days_max}", r.estimate) for r in first_gap.rates]
    hazards = {touch.touch_number: touch.hazard for touch in when.touch_hazard}
    second = hazards.get(2)
    others = [hazards[t] for t in (1, 3) if t in hazards]
    return {
        "weekday": _segment((day.segment for day in when.best_days), "tuesday"),
        "touch number": (
            second is not None
            and bool(others)
            and second.low > max(h.adjusted_rate for h in others),
            # Where most conversions happen is taken for the touch that works best.
            when.peak_converting_touch == 2,
        ),
        # Four days on the calendar are three to five by the clock.
        "gap": (
            first_gap.learned and 3.0 <= first_gap.gap_days <= 5.0,
            naive.best(bins) == "4-4",
        ),
    }


def _how(how: HowPattern) -> Found:
    return {"channel": _segment(how.touch_effectiveness, "voice")}


def _what(what: WhatPattern) -> Found:
    pains, ctas, subjects = what.pain_points, what.ctas, what.subject_patterns
    angles, tests = what.angles, what.ab_test_insights
    assert pains is not None
    assert ctas is not None
    assert subjects is not None
    assert angles is not None
    listed_pains = (*pains.effective, *pains.ineffective, *pains.undecided)
    news = what.personalization_lift.get("recent_news")
    length = what.optimal_length.get("email")
    test = tests.test_insights[0] if tests is not None and tests.test_insights else None
    return {
        "pain point": (
            any(pain.value == "scaling" for pain in pains.effective),
            naive.best((pain.value, pain.estimate) for pain in listed_pains) == "scaling",
        ),
        "call to action": _segment(
            (*ctas.effective, *ctas.ineffective, *ctas.undecided), "worth 15 minutes"
        ),
        "angle": _segment(angles.rankings, "social_proof"),
        "subject line": _segment(
            (*subjects.winning, *subjects.losing, *subjects.undecided), "quick_question"
        ),
        "personalisation": (
            news is not None and news.verdict is Verdict.WINNING,
            news is not None
            and news.present is not None
            and news.absent is not None
            and (news.present.rate or 0.0) > (news.absent.rate or 0.0),
        ),
        "A/B test": (
            test is not None and test.conclusion == "winner" and test.best_variant == "B",
            test is not None and test.best_variant == "B",
        ),
        "length": (
            length is not None
            and length.optimal_words is not None
            and abs(length.optimal_words - 70) <= 12,
            length is not None
            and bool(length.bins)
            and (lambda b: b.length_min - 12 <= 70 <= b.length_max + 12)(
                max(length.bins, key=lambda b: (b.estimate.rate or 0.0, b.estimate.sample))
            ),
        ),
    }
