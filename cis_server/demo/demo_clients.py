"""The two clients of the demonstration, with opposite truths.

What is good advice for one is bad for the other, so whoever sees the same advice for both knows
that nothing was learned.
"""

from __future__ import annotations

from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import DealEffects, Effects, LengthPeak, ShowEffects, WeekPeak
from cis_server.domain.clients import Icp


def demo_clients(leads: int = 2_000) -> tuple[ClientSpec, ClientSpec]:
    """``acme`` and ``globex``.

    acme: the higher the authority the better; founders and CEOs, software, Tuesday mornings,
    LinkedIn first. globex: fit and timing decide; directors, healthcare, afternoons, by phone.

    Args:
        leads: of each; 2 000 give some 100 conversions in the last 90 days.
    """
    return _acme(leads), _globex(leads)


def _acme(leads: int) -> ClientSpec:
    return ClientSpec(
        client_id="acme",
        name="Acme Cloud",
        leads=leads,
        base_rate=0.10,
        timezone="Australia/Sydney",
        icp=Icp(
            industries=("software", "professional services", "marketing"),
            employee_min=6,
            employee_max=100,
            countries=("Australia", "New Zealand", "United States"),
            titles=("Founder", "CEO"),
        ),
        industry_weights={"Software": 1.8},
        effects=Effects(
            components={"authority": 4.0},
            title_levels={"founder": 0.5, "ceo": 0.5},
            industries={"Software": 1.1},
            signals={"hiring": 0.4},
            attributes={"crm_source=referral": 0.8},
            peaks=(
                WeekPeak(hour=10, width_hours=1.5, log_odds=0.8, weekdays=(2,)),
                WeekPeak(hour=10, width_hours=2.0, log_odds=0.6),
            ),
            weekdays={2: 0.8},
            touch_hazard=(0.0, 0.2, 0.0, -0.3, -0.6),
            first_channels={"linkedin": 1.3},
            pain_points={"scaling": 0.6, "cost": -0.6},
            angles={"social_proof": 0.6, "fear_based": -0.5},
            ctas={"worth 15 minutes": 0.5},
            length={"email": LengthPeak(words=70, width_words=25, log_odds=0.6)},
            show=ShowEffects(confirmed=0.8, per_week_ahead=-0.4),
            deals=DealEffects(first_channels={"linkedin": 0.7}),
        ),
    )


def _globex(leads: int) -> ClientSpec:
    return ClientSpec(
        client_id="globex",
        name="Globex Care",
        leads=leads,
        base_rate=0.10,
        timezone="America/New_York",
        icp=Icp(
            industries=("healthcare", "insurance"),
            employee_min=51,
            employee_max=500,
            countries=("United States", "United Kingdom"),
            titles=("Director of Operations", "Finance Director"),
        ),
        industry_weights={"Healthcare": 2.0},
        title_weights={"director": 1.5},
        currency="USD",
        effects=Effects(
            components={"company_fit": 3.0, "timing": 2.5},
            title_levels={"director": 1.3, "founder": -0.8, "ceo": -0.8},
            industries={"Healthcare": 0.8},
            signals={"new_role": 0.5},
            attributes={"crm_source=webinar": 0.7},
            peaks=(WeekPeak(hour=15, width_hours=1.5, log_odds=1.2),),
            touch_hazard=(0.0, 0.3, 0.5, 0.3, 0.0),
            channels={"voice": 1.2},
            pain_points={"cost": 0.6, "scaling": -0.6},
            angles={"roi_focused": 0.6, "curiosity": -0.5},
            ctas={"schedule a call": 0.5},
            length={"email": LengthPeak(words=110, width_words=25, log_odds=0.6)},
            show=ShowEffects(reminder=0.8, rescheduled=-0.7),
            deals=DealEffects(size_ranges={"251-500": 0.7, "501+": 0.9}),
        ),
    )
