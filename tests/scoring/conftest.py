"""Random leads for the tests of the scorer."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable

import pytest

from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus, LeadStatus

AS_OF = dt.date(2026, 1, 21)

TITLES = (
    None,
    "",
    "CEO",
    "C.E.O.",
    "VP of Sales",
    "Vice-President",
    "Marketing Manager",
    "Senior Manager",
    "Head of Growth",
    "Intern",
    "Executive Assistant to the CEO",
    "Product Owner",
    "Teacher",
    "Director of IT",
)


@pytest.fixture(scope="session")
def random_lead() -> Callable[[random.Random], Lead]:
    """A maker of leads that reach every branch of the rules."""
    return make_lead


def make_lead(rng: random.Random) -> Lead:
    def day() -> dt.date | None:
        return rng.choice((None, AS_OF - dt.timedelta(days=rng.randint(-60, 900))))

    def flag() -> bool | None:
        return rng.choice((None, False, True))

    return Lead(
        lead_id=f"lead-{rng.randrange(10**9)}",
        email=rng.choice((None, "", "n/a", "a@x.example", "b@mail.rival.example")),
        email_status=rng.choice(tuple(EmailStatus)),
        phone=rng.choice((None, "", "+61 400 000 000", "0011")),
        phone_verified=flag(),
        call_register_listed=flag(),
        linkedin_url=rng.choice((None, "https://linkedin.com/in/x", "linkedin.com/company/x")),
        personal_email=rng.choice((None, "me@home.example")),
        postal_address=rng.choice((None, " ", "1 High Street")),
        title=rng.choice(TITLES),
        seniority=rng.choice((None, "C-Suite", "entry", "manager", "nonsense")),
        employment_start_date=day(),
        domain=rng.choice((None, "x.example", "Rival.example", "other.example")),
        industry=rng.choice((None, "", "Software", "Hospital & Health Care", "Biotechnology")),
        employee_count=rng.choice((None, 0, -3, 1, 4, 5, 50, 51, 200, 201, 10**15)),
        latest_funding_date=day(),
        is_hiring=flag(),
        country=rng.choice((None, "", "Australia", "AUS", "usa", "Germany", "Atlantis")),
        status=rng.choice((None, *LeadStatus)),
        bounce_count=rng.choice((None, 0, 1, 7)),
        unsubscribed=flag(),
        do_not_contact=flag(),
        attributes=rng.choice(({}, {"job": "Student", "age": "31"}, {"age": "x", "k": ""})),
    )
