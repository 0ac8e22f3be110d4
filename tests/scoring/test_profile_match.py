"""Industry tokens, countries and which profile counts."""

from __future__ import annotations

import pytest

from cis_server.domain.clients import Icp
from cis_server.scoring.icp import CountryFit, matcher, resolved_icp


@pytest.mark.parametrize(
    ("industry", "matches"),
    [
        ("Technology", True),
        ("Information Technology & Services", True),
        ("Biotechnology", False),
        ("Hospital & Healthcare", True),
        ("Hospital & Health Care", True),
        ("Real-Estate", True),
        ("Real Estate Agents", True),
        ("Estate, real", False),
        ("Professional Service", True),
        ("SaaS", True),
        ("FinTech", True),
        ("Fin Tech", True),
        ("Agriculture", False),
        ("Remarketing", False),
        ("", False),
        (None, False),
        ("   ", False),
    ],
)
def test_default_industries_match_by_token(industry: str | None, matches: bool) -> None:
    assert matcher(Icp()).industry_matches(industry) is matches


def test_own_industries_replace_the_defaults() -> None:
    dental = matcher(Icp(industries=("dental", "Legal")))
    assert dental.industry_matches("Dental Clinics")
    assert dental.industry_matches("LEGAL services")
    assert not dental.industry_matches("Technology")
    assert not dental.industry_matches("Accidental Damage")


@pytest.mark.parametrize(
    ("country", "fit"),
    [
        ("Australia", CountryFit.WANTED),
        ("AU", CountryFit.WANTED),
        ("aus", CountryFit.WANTED),
        ("New Zealand", CountryFit.ALIASED),
        ("nz", CountryFit.ALIASED),
        ("USA", CountryFit.ALIASED),
        ("us", CountryFit.ALIASED),
        ("United States", CountryFit.ALIASED),
        ("gb", CountryFit.ALIASED),
        ("UK", CountryFit.ALIASED),
        ("great britain", CountryFit.ALIASED),
        ("Germany", CountryFit.NONE),
        ("Atlantis", CountryFit.NONE),
        ("", CountryFit.NONE),
        ("  ", CountryFit.NONE),
        (None, CountryFit.NONE),
    ],
)
def test_countries_for_an_australian_profile(country: str | None, fit: CountryFit) -> None:
    assert matcher(Icp()).country_fit(country) is fit


def test_an_australian_lead_is_known_to_an_american_profile() -> None:
    american = matcher(Icp(countries=("United States",)))
    assert [american.country_fit(name) for name in ("au", "AUS", "Australia")] == [
        CountryFit.ALIASED
    ] * 3


def test_countries_outside_the_alias_groups_match_by_code_or_by_name() -> None:
    profile = matcher(Icp(countries=("Deutschland", "Atlantis")))
    assert profile.country_fit("DE") is CountryFit.WANTED
    assert profile.country_fit("atlantis ") is CountryFit.WANTED


def test_campaign_comes_before_caller_before_client_list_by_list() -> None:
    campaign = Icp(industries=(), employee_min=10, employee_max=20, countries=("NZ",))
    caller = Icp(industries=("legal",), countries=("US",))
    client = Icp(industries=("dental",))
    resolved = resolved_icp(campaign=campaign, caller=caller, client=client)
    assert not resolved.fallback
    assert resolved.icp.industries == ("legal",)
    assert resolved.icp.countries == ("NZ",)
    assert (resolved.icp.employee_min, resolved.icp.employee_max) == (10, 20)
    assert resolved_icp(client=client).icp == client


def test_no_profile_at_all_is_said_to_be_a_fallback() -> None:
    resolved = resolved_icp()
    assert resolved.fallback
    assert resolved.icp == Icp()
