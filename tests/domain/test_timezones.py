"""Zones from places, and the table of countries behind them."""

from __future__ import annotations

import pytest

from cis_server.domain.countries import country_code, country_name
from cis_server.domain.local_time import find_zone
from cis_server.domain.timezones import ZoneConfidence, timezone_of
from cis_server.domain.zone_tables import divided_countries, main_zones

EXACT, REGION, GUESS = (
    ZoneConfidence.EXACT,
    ZoneConfidence.REGION,
    ZoneConfidence.COUNTRY_GUESS,
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Australia", "au"),
        ("AUS", "au"),
        (" au ", "au"),
        ("NZ", "nz"),
        ("the United States of America", "us"),
        ("U.S.A.", "us"),
        ("Great Britain", "gb"),
        ("UK", "gb"),
        ("Côte d’Ivoire", "ci"),
        ("TÜRKIYE", "tr"),
        ("St. Lucia", "lc"),
        ("Viet Nam", "vn"),
        ("Atlantis", None),
        ("", None),
    ],
)
def test_country_names_codes_and_aliases(text: str, code: str | None) -> None:
    assert country_code(text) == code


def test_every_country_is_found_by_its_own_name() -> None:
    for code in main_zones():
        name = country_name(code)
        assert name is not None
        assert country_code(name) == code


@pytest.mark.parametrize(
    ("place", "zone", "confidence"),
    [
        (("Germany", None, None), "Europe/Berlin", EXACT),
        (("de", "Bavaria", "Munich"), "Europe/Berlin", EXACT),
        (("Australia", "NSW", None), "Australia/Sydney", EXACT),
        (("Australia", "act", None), "Australia/Sydney", EXACT),
        (("Australia", "Victoria", None), "Australia/Melbourne", EXACT),
        (("au", "QLD", None), "Australia/Brisbane", EXACT),
        (("aus", "South Australia", None), "Australia/Adelaide", EXACT),
        (("Australia", "NT", None), "Australia/Darwin", EXACT),
        (("Australia", "WA", None), "Australia/Perth", EXACT),
        (("Australia", "tas", None), "Australia/Hobart", EXACT),
        (("Australia", "AU-NSW", "Broken Hill"), "Australia/Broken_Hill", EXACT),
        (("Australia", None, None), "Australia/Sydney", GUESS),
        (("Australia", None, "Perth"), "Australia/Perth", EXACT),
        (("US", "ny", None), "America/New_York", EXACT),
        (("USA", "US-CA", None), "America/Los_Angeles", EXACT),
        (("us", "Illinois", None), "America/Chicago", EXACT),
        (("us", "FL", None), "America/New_York", REGION),
        (("us", "FL", "Pensacola"), "America/Chicago", EXACT),
        (("us", "FL", "Miami"), "America/New_York", EXACT),
        (("us", "TX", "El Paso"), "America/Denver", EXACT),
        (("us", "TN", "Knoxville"), "America/New_York", EXACT),
        (("us", "AZ", "Phoenix"), "America/Phoenix", EXACT),
        (("us", "HI", None), "Pacific/Honolulu", EXACT),
        (("us", None, None), "America/New_York", GUESS),
        (("us", "Nowhere", None), "America/New_York", GUESS),
        (("us", None, "Kansas City"), "America/Chicago", EXACT),
        (("us", None, "Portland"), "America/New_York", GUESS),
        (("us", "OR", "Portland"), "America/Los_Angeles", EXACT),
        (("us", "ME", "Portland"), "America/New_York", EXACT),
        # a city of that name elsewhere does not overrule the region
        (("us", "NY", "Ontario"), "America/New_York", EXACT),
        (("Canada", "BC", None), "America/Vancouver", REGION),
        (("Canada", "Québec", None), "America/Toronto", EXACT),
        (("Canada", "SK", "Saskatoon"), "America/Regina", EXACT),
        (("Brazil", "Amazonas", "Manaus"), "America/Manaus", EXACT),
        (("Portugal", "Madeira", None), "Atlantic/Madeira", EXACT),
        (("Portugal", "Lisboa", None), "Europe/Lisbon", EXACT),
        (("Ukraine", None, None), "Europe/Kyiv", EXACT),
    ],
)
def test_places(
    place: tuple[str, str | None, str | None], zone: str, confidence: ZoneConfidence
) -> None:
    guess = timezone_of(*place)
    assert guess is not None
    assert (guess.timezone, guess.confidence) == (zone, confidence)


@pytest.mark.parametrize("country", [None, "", "Neverland"])
def test_without_a_country_there_is_no_guess(country: str | None) -> None:
    assert timezone_of(country, "NSW", "Sydney") is None


def test_every_zone_in_the_tables_exists() -> None:
    zones = set(main_zones().values())
    for divided in divided_countries().values():
        zones |= {region.zone for region in divided.regions.values()}
        zones |= {zone for places in divided.cities.values() for _, zone in places}
    assert not [zone for zone in zones if find_zone(zone) is None]


def test_all_fifty_states_are_known_by_code_and_name() -> None:
    regions = divided_countries()["us"].regions
    codes = {region.code for region in regions.values()}
    assert len(codes) == 50 + 6  # with the capital and five territories
    assert all(code in regions for code in codes)
