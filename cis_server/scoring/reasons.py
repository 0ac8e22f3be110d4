"""Why a score is what it is: the strongest factors for and against, in plain words.

A reason's points are its effect on the unrounded score: points of the component, divided by its
maximum, times 100, times the weight. Under the default weights that is the points themselves, and
what all factors of a lead gained adds up to its unrounded score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from cis_server.domain.lead import Lead
from cis_server.domain.scores import MAX_POINTS, Reason
from cis_server.domain.titles import ParsedTitle
from cis_server.domain.weights import COMPONENTS, Weights
from cis_server.scoring.arithmetic import CodedLead
from cis_server.scoring.points import POINTS

MAX_REASONS: Final = 3
"""How many reasons for, and how many against, are given."""

NO_RANK: Final = 255
"""In place of the rank of a factor among all: there are no more."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One signal before it is put into words."""

    name: str
    gained: float
    """Score points it brought, 0 or more."""
    missed: float
    """Score points it fell short of its maximum, or took, 0 or more."""
    text: Callable[[], str]
    """Words for it, made only when it is among the strongest."""
    background: bool = False
    """Whether it says little by itself and gives way to every other factor (a clean record)."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A factor before it is weighed."""

    component: int
    """Place in `COMPONENTS`."""
    name: str
    got: float
    """Points of the component it brought, 0 or more."""
    missed: float
    """Points of the component it fell short of its maximum, or took, 0 or more."""
    text: Callable[[], str]
    background: bool = False

    def factor(self, scale: Sequence[float]) -> Factor:
        """The factor under weights with these `scales`."""
        each = scale[self.component]
        return Factor(self.name, self.got * each, self.missed * each, self.text, self.background)


def reasons_of(factors: Iterable[Factor]) -> tuple[Reason, ...]:
    """Up to three strongest for, then up to three strongest against; ties in the order given.

    Any source of factors will do, as long as their points are score points.
    """
    return tuple(
        Reason(factor.name, points, factor.text()) for factor, points in strongest(factors)
    )


def strongest(factors: Iterable[Factor]) -> list[tuple[Factor, float]]:
    """The factors that `reasons_of` puts into words, in its order, with the points it gives."""
    items = list(factors)
    gains = sorted(
        (factor for factor in items if factor.gained > 0), key=lambda f: (f.background, -f.gained)
    )
    misses = sorted((factor for factor in items if factor.missed > 0), key=lambda f: -f.missed)
    return [
        *((factor, factor.gained) for factor in gains[:MAX_REASONS]),
        *((factor, -factor.missed) for factor in misses[:MAX_REASONS]),
    ]


def score_factors(
    lead: Lead, coded: CodedLead, title: ParsedTitle, weights: Weights
) -> list[Factor]:
    """Every signal of the five components for one lead.

    Args:
        lead: the lead, for the words.
        coded: the same lead as the kernel read it, for the points.
        title: its parsed title.
        weights: those the score was made with.
    """
    scale = scales(weights)
    return [signal.factor(scale) for signal in signals_of(lead, coded, title)]


def scales(weights: Weights) -> tuple[float, ...]:
    """Score points that a point of each component is worth, in the order of `COMPONENTS`."""
    return tuple(
        100.0 * weight / most for weight, most in zip(weights.as_tuple(), MAX_POINTS, strict=True)
    )


def signals_of(lead: Lead, coded: CodedLead, title: ParsedTitle) -> list[Signal]:
    """Every signal of the five components for one lead, before any weights.

    Args:
        lead, coded, title: as for `score_factors`.
    """
    p = POINTS

    def signal(
        component: str, name: str, got: float, most: float, text: Callable[[], str]
    ) -> Signal:
        return Signal(COMPONENTS.index(component), name, got, most - got, text)

    email = (0.0, p.email_unverified, p.email_verified)[coded.email]
    phone = (0.0, p.phone_unverified, p.phone_verified)[coded.phone]
    linkedin = p.linkedin * coded.linkedin
    personal = p.personal_email * coded.personal_email
    country = (0.0, p.country_aliased, p.country)[coded.country]
    role = _by_age(coded.role_days, p.new_role_days, p.new_role, p.recent_role_days, p.recent_role)
    funding = _by_age(
        coded.funding_days,
        p.fresh_funding_days,
        p.fresh_funding,
        p.recent_funding_days,
        p.recent_funding,
    )
    signals = [
        signal("data_quality", "email", email, p.email_verified, lambda: _email(lead, coded)),
        signal("data_quality", "phone", phone, p.phone_verified, lambda: _phone(coded)),
        signal("data_quality", "linkedin", linkedin, p.linkedin, lambda: _linkedin(coded)),
        signal(
            "data_quality", "personal_email", personal, p.personal_email, lambda: _personal(coded)
        ),
        signal(
            "authority",
            "authority",
            float(coded.authority),
            p.max_authority,
            lambda: authority_text(lead.title, lead.seniority, title, coded.authority),
        ),
        signal(
            "company_fit",
            "industry",
            p.industry * coded.industry,
            p.industry,
            lambda: industry_text(lead.industry, bool(coded.industry)),
        ),
        signal(
            "company_fit",
            "company_size",
            size_points(coded),
            p.size_in_range,
            lambda: size_text(coded.headcount, coded.headcount_min, coded.headcount_max),
        ),
        signal(
            "company_fit",
            "country",
            country,
            p.country,
            lambda: country_text(lead.country, coded.country),
        ),
        signal("timing", "new_role", role, p.new_role, lambda: role_text(coded.role_days)),
        signal("timing", "hiring", p.hiring * coded.hiring, p.hiring, lambda: _hiring(lead)),
        signal(
            "timing", "funding", funding, p.fresh_funding, lambda: funding_text(coded.funding_days)
        ),
    ]
    return signals + _risk_signals(coded)


def size_points(coded: CodedLead) -> float:
    """Company-fit points of the head-count; as the kernel counts them."""
    if coded.headcount <= 0:
        return 0.0
    if coded.headcount < coded.headcount_min:
        return POINTS.size_below
    if coded.headcount <= coded.headcount_max:
        return POINTS.size_in_range
    if coded.headcount <= POINTS.size_above_factor * coded.headcount_max:
        return POINTS.size_above
    return 0.0


def _by_age(days: int, first: float, full: float, second: float, part: float) -> float:
    if days < 0:
        return 0.0
    return full if days < first else part if days < second else 0.0


def _risk_signals(coded: CodedLead) -> list[Signal]:
    """Deductions at their face value, and what is left of the 15 points."""
    risk = COMPONENTS.index("risk")
    deductions = (
        ("unsubscribed", coded.unsubscribed, POINTS.unsubscribed, "has unsubscribed"),
        ("competitor", coded.competitor, POINTS.competitor, "belongs to a competitor's domain"),
        ("bounce", coded.bounced, POINTS.bounce, "a message has bounced before"),
        (
            "unsuitable_title",
            coded.unsuitable,
            POINTS.unsuitable_title,
            "the title is one that seldom decides (assistant, intern, student, coordinator, "
            "receptionist)",
        ),
    )
    taken = [
        Signal(risk, name, 0.0, points, partial(str, text))
        for name, present, points, text in deductions
        if present
    ]
    left = max(POINTS.max_risk - sum(points for _, on, points, _ in deductions if on), 0.0)
    words = (
        "no bounce, opt-out or other risk is known" if not taken else "part of the risk allowance"
    )
    return [*taken, Signal(risk, "low_risk", left, 0.0, lambda: words, background=True)]


def _email(lead: Lead, coded: CodedLead) -> str:
    if coded.email == 2:
        return "the e-mail address is verified"
    if coded.email == 1:
        return f"the e-mail address is not verified ({lead.email_status.value.replace('_', ' ')})"
    return "the e-mail address is invalid" if lead.email else "no e-mail address"


def _phone(coded: CodedLead) -> str:
    return ("no phone number", "the phone number is not verified", "the phone number is verified")[
        coded.phone
    ]


def _linkedin(coded: CodedLead) -> str:
    return "a LinkedIn profile is known" if coded.linkedin else "no LinkedIn profile"


def _personal(coded: CodedLead) -> str:
    return "a personal address is known" if coded.personal_email else "no personal address"


_LEVELS: Final = {
    "founder": "a founder or owner",
    "ceo": "the head of the company",
    "c_level": "a chief officer",
    "vp": "a vice president",
    "director": "a director",
    "head": "a head of function",
    "manager": "a manager or lead",
}


def authority_text(
    title: str | None, seniority: str | None, parsed: ParsedTitle, authority: int
) -> str:
    """Words for the factor `authority`.

    Args:
        title: as written.
        seniority: as the provider wrote it.
        parsed: the same title, parsed.
        authority: points, see `cis_server.scoring.components.authority_points`.
    """
    most = f"{authority} of {MAX_POINTS[1]} for authority"
    if parsed.level is None:
        if authority:
            return f'no title, seniority "{seniority}": {most}'
        return "no title"
    shown = " ".join((title or "").split())[:80]
    if authority > parsed.points:
        return f'title "{shown}" names no rank, seniority "{seniority}": {most}'
    reading = _LEVELS.get(parsed.level)
    return f'title "{shown}" {f"is {reading}" if reading else "names no rank"}: {most}'


def industry_text(industry: str | None, matches: bool) -> str:
    """Words for the factor `industry`: as written, and whether it is a target."""
    if not industry or not industry.strip():
        return "the industry is not known"
    shown = " ".join(industry.split())[:80]
    return f'industry "{shown}" {"is" if matches else "is not"} a target'


def size_text(headcount: int, headcount_min: int, headcount_max: int) -> str:
    """Words for the factor `company_size`; a head-count of 0 or less is unknown."""
    if headcount <= 0:
        return "the number of employees is not known"
    wanted = f"the wanted {headcount_min} to {headcount_max}"
    if headcount < headcount_min:
        return f"{headcount} employees, below {wanted}"
    if headcount <= headcount_max:
        return f"{headcount} employees, inside {wanted}"
    return f"{headcount} employees, above {wanted}"


def country_text(country: str | None, fit: int) -> str:
    """Words for the factor `country`: as written, and its `CountryFit`."""
    if not country or not country.strip():
        return "the country is not known"
    shown = " ".join(country.split())[:60]
    if fit == 2:
        return f"{shown} is a target country"
    return f"{shown} is not a target country{', but a market close to it' if fit else ''}"


def role_text(days: int) -> str:
    """Words for the factor `new_role`: days since it began, -1 for unknown."""
    if days < 0:
        return "no usable date of the role's start"
    return f"in the role for {days} days"


def funding_text(days: int) -> str:
    """Words for the factor `funding`: days since the latest round, -1 for unknown."""
    if days < 0:
        return "no usable date of a funding round"
    return f"latest funding {days} days ago"


def _hiring(lead: Lead) -> str:
    if lead.is_hiring is None:
        return "whether the company is hiring is not known"
    return "the company is hiring" if lead.is_hiring else "the company is not hiring"
