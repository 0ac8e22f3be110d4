"""How well a company fits the ideal customer profile: industry, size and country.

Scoring sheet §1 (points), §3 (configuration, precedence, aliases). Industries match by whole
tokens: a target "technology" is in "Information Technology" but not in "biotechnology".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from cis_server.domain.clients import DEFAULT_INDUSTRIES, Icp
from cis_server.domain.countries import country_code, plain_name

DEFAULT_ICP: Final = Icp()


class CountryFit(IntEnum):
    """How a company's country stands to the profile; the codes the kernel reads."""

    NONE = 0
    ALIASED = 1
    """Not wanted, but one of the four countries that have an alias group."""
    WANTED = 2


ALIAS_GROUPS: Final = frozenset({"au", "nz", "us", "gb"})
"""ISO codes of the four alias groups of scoring sheet §3."""

MAX_HEADCOUNT: Final = 10**12
"""Head-counts are cut here so that four times one still fits in 64 bits."""


@dataclass(frozen=True, slots=True)
class ResolvedIcp:
    """The profile a lead is held against, and where it came from."""

    icp: Icp
    fallback: bool
    """Whether nobody gave a profile and the defaults were used (goes to the audit log)."""


def resolved_icp(
    *, campaign: Icp | None = None, caller: Icp | None = None, client: Icp | None = None
) -> ResolvedIcp:
    """Campaign before caller before client before the defaults.

    Lists are looked at one by one: an empty list gives way to the next profile's. The head-count
    range, which cannot be empty, comes from the first profile there is.
    """
    given = [icp for icp in (campaign, caller, client) if icp is not None]
    if not given:
        return ResolvedIcp(DEFAULT_ICP, fallback=True)
    return ResolvedIcp(
        Icp(
            industries=next((icp.industries for icp in given if icp.industries), ()),
            employee_min=given[0].employee_min,
            employee_max=given[0].employee_max,
            countries=next(
                (icp.countries for icp in given if icp.countries), DEFAULT_ICP.countries
            ),
            titles=next((icp.titles for icp in given if icp.titles), DEFAULT_ICP.titles),
        ),
        fallback=False,
    )


@dataclass(frozen=True, slots=True)
class IcpMatcher:
    """A profile prepared for matching many leads; make it with `matcher`."""

    industries: frozenset[str]
    """Targets, each with its tokens run together."""
    employee_min: int
    employee_max: int
    countries: frozenset[str]

    def industry_matches(self, industry: str | None) -> bool:
        """Whether the tokens of any target stand side by side in the industry text."""
        return bool(industry) and not self.industries.isdisjoint(_token_runs(industry or ""))

    def country_fit(self, country: str | None) -> CountryFit:
        """Where the company's country stands; unknown is `CountryFit.NONE`."""
        if not country:
            return CountryFit.NONE
        key = country_key(country)
        if key in self.countries:
            return CountryFit.WANTED
        return CountryFit.ALIASED if key in ALIAS_GROUPS else CountryFit.NONE


@lru_cache(maxsize=1024)
def matcher(icp: Icp) -> IcpMatcher:
    """Prepare a profile; an empty list of industries means the defaults."""
    targets = icp.industries or DEFAULT_INDUSTRIES
    return IcpMatcher(
        industries=frozenset(key for key in map(_run_together, targets) if key),
        employee_min=min(max(icp.employee_min, 0), MAX_HEADCOUNT),
        employee_max=min(max(icp.employee_max, 0), MAX_HEADCOUNT),
        countries=frozenset(key for key in map(country_key, icp.countries) if key),
    )


@lru_cache(maxsize=4096)
def country_key(country: str) -> str:
    """ISO code of a country, else its name in the form names are compared in."""
    return country_code(country) or plain_name(country)


@lru_cache(maxsize=4096)
def industry_key(industry: str) -> str:
    """One spelling for an industry: lower case, plain, single spaces, "and" left out."""
    return " ".join(word for word in plain_name(industry).split() if word != "and")


_WORDS = re.compile(r"\w+")
_LONGEST_RUN: Final = 4


def _tokens(text: str) -> list[str]:
    return [_singular(word) for word in _WORDS.findall(industry_key(text))]


def _singular(word: str) -> str:
    """Drop a plural: "services" and "service" are the same token."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "aas")):
        return word[:-1]
    return word


def _run_together(target: str) -> str:
    return "".join(_tokens(target)[:_LONGEST_RUN])


@lru_cache(maxsize=8192)
def _token_runs(industry: str) -> frozenset[str]:
    """Every run of neighbouring tokens, joined: "health care" meets the target "healthcare"."""
    tokens = _tokens(industry[:200])
    return frozenset(
        "".join(tokens[start : start + length])
        for length in range(1, _LONGEST_RUN + 1)
        for start in range(len(tokens) - length + 1)
    )
