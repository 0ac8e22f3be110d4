"""The time zone a lead most likely lives in, from country, region and city.

Where a place lies in more than one zone, the zone of most of its people is given and marked as a
guess. Offsets are never involved: the zone's own rules say what its clocks show on a given day.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cis_server.domain.countries import country_code, plain_name
from cis_server.domain.zone_tables import CountryZones, Region, divided_countries, main_zones


class ZoneConfidence(StrEnum):
    """How sure the zone is."""

    EXACT = "exact"
    """The place keeps this one zone (a few settlements apart), or the city was recognised."""
    REGION = "region"
    """The region lies in two zones; this is the one of most of its people."""
    COUNTRY_GUESS = "country_guess"
    """The country lies in several zones and nothing tells which; that of its largest part."""


@dataclass(frozen=True, slots=True)
class ZoneGuess:
    """A zone and how sure it is."""

    timezone: str
    """IANA name."""
    confidence: ZoneConfidence


@lru_cache(maxsize=16384)
def timezone_of(
    country: str | None, region: str | None = None, city: str | None = None
) -> ZoneGuess | None:
    """The zone of a place, or None when its country is missing or unknown.

    Case, accents, points and surrounding space do not matter.

    Args:
        country: name, alias or ISO 3166-1 code: ``Australia``, ``au``, ``AUS``.
        region: state, province or territory: full name, short code (``CA``) or ISO 3166-2 code
            (``US-CA``).
        city: refines countries and regions that lie in several zones.
    """
    code = country_code(country) if country else None
    main = main_zones().get(code) if code else None
    if code is None or main is None:
        return None
    divided = divided_countries().get(code)
    if divided is None:
        return ZoneGuess(main, ZoneConfidence.EXACT)
    found = _region(region, code, divided)
    in_city = _city_zone(city, found, divided)
    if in_city is not None:
        return ZoneGuess(in_city, ZoneConfidence.EXACT)
    if found is not None:
        confidence = ZoneConfidence.REGION if found.split else ZoneConfidence.EXACT
        return ZoneGuess(found.zone, confidence)
    if divided.mainland and (plain_name(region or "") or plain_name(city or "")):
        return ZoneGuess(main, ZoneConfidence.EXACT)
    return ZoneGuess(main, ZoneConfidence.COUNTRY_GUESS)


def _region(region: str | None, code: str, divided: CountryZones) -> Region | None:
    name = plain_name(region or "")
    return divided.regions.get(name) or divided.regions.get(name.removeprefix(f"{code} "))


def _city_zone(city: str | None, region: Region | None, divided: CountryZones) -> str | None:
    """The zone of a listed city; of several with one name only the region can tell which."""
    listed = divided.cities.get(plain_name(city or ""), ())
    zones = {zone for code, zone in listed if region is None or code == region.code}
    return zones.pop() if len(zones) == 1 else None
