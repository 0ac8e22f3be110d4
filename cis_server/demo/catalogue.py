"""The words simulated leads are made of, with the weights they are drawn by."""

from __future__ import annotations

from typing import Final, NamedTuple


class TitleWord(NamedTuple):
    """A job title as people write it, and what it stands for."""

    text: str
    level: str
    function: str
    authority: int
    """Points the scoring rules give it (a test compares with the parser)."""
    weight: float


TITLES: Final = (
    TitleWord("Founder", "founder", "general", 25, 3.0),
    TitleWord("Co-Founder", "founder", "general", 25, 2.0),
    TitleWord("Founder & CEO", "founder", "general", 25, 2.0),
    TitleWord("Owner", "founder", "general", 25, 2.0),
    TitleWord("CEO", "ceo", "general", 25, 4.0),
    TitleWord("Chief Executive Officer", "ceo", "general", 25, 1.5),
    TitleWord("C.E.O.", "ceo", "general", 25, 0.5),
    TitleWord("Managing Director", "ceo", "general", 25, 2.0),
    TitleWord("CTO", "c_level", "technology", 22, 2.0),
    TitleWord("Chief Technology Officer", "c_level", "technology", 22, 1.0),
    TitleWord("CMO", "c_level", "marketing", 22, 1.5),
    TitleWord("Chief Marketing Officer", "c_level", "marketing", 22, 1.0),
    TitleWord("Chief Financial Officer", "c_level", "finance", 22, 1.5),
    TitleWord("COO", "c_level", "operations", 22, 1.5),
    TitleWord("VP Sales", "vp", "sales", 18, 2.5),
    TitleWord("Vice President of Marketing", "vp", "marketing", 18, 2.0),
    TitleWord("VP Engineering", "vp", "technology", 18, 2.0),
    TitleWord("SVP Operations", "vp", "operations", 18, 1.0),
    TitleWord("Director of Marketing", "director", "marketing", 15, 3.0),
    TitleWord("Marketing Director", "director", "marketing", 15, 2.0),
    TitleWord("Sales Director", "director", "sales", 15, 3.0),
    TitleWord("Director of Operations", "director", "operations", 15, 3.0),
    TitleWord("Finance Director", "director", "finance", 15, 2.0),
    TitleWord("Head of Growth", "head", "marketing", 15, 3.0),
    TitleWord("Head of Sales", "head", "sales", 15, 3.0),
    TitleWord("Head of Operations", "head", "operations", 15, 2.0),
    TitleWord("Senior Manager Marketing", "manager", "marketing", 10, 2.0),
    TitleWord("Marketing Manager", "manager", "marketing", 7, 6.0),
    TitleWord("Sales Manager", "manager", "sales", 7, 6.0),
    TitleWord("Operations Manager", "manager", "operations", 7, 5.0),
    TitleWord("IT Manager", "manager", "technology", 7, 4.0),
    TitleWord("Team Lead", "manager", "general", 7, 3.0),
    TitleWord("Account Executive", "staff", "sales", 5, 5.0),
    TitleWord("Software Engineer", "staff", "technology", 5, 5.0),
    TitleWord("Marketing Specialist", "staff", "marketing", 5, 4.0),
    TitleWord("Financial Analyst", "staff", "finance", 5, 3.0),
    TitleWord("Product Owner", "staff", "technology", 5, 1.5),
    TitleWord("Executive Assistant to the CEO", "staff", "general", 5, 1.5),
    TitleWord("Sales Coordinator", "staff", "sales", 5, 2.0),
    TitleWord("Marketing Intern", "staff", "marketing", 5, 1.0),
)

INDUSTRIES: Final = (
    ("Software", 12.0),
    ("Financial Services", 8.0),
    ("Healthcare", 9.0),
    ("Manufacturing", 8.0),
    ("Construction", 7.0),
    ("Real Estate", 6.0),
    ("Marketing and Advertising", 6.0),
    ("Professional Services", 7.0),
    ("Retail", 7.0),
    ("Logistics", 5.0),
    ("Education", 5.0),
    ("Hospitality", 4.0),
    ("Insurance", 4.0),
    ("Energy", 3.0),
    ("Legal Services", 3.0),
    ("Agriculture", 2.0),
)

SIZE_RANGES: Final = (
    ("1-5", 1, 5, 8.0),
    ("6-15", 6, 15, 18.0),
    ("16-30", 16, 30, 18.0),
    ("31-50", 31, 50, 15.0),
    ("51-100", 51, 100, 14.0),
    ("101-250", 101, 250, 12.0),
    ("251-500", 251, 500, 8.0),
    ("501+", 501, 8_000, 7.0),
)


class Place(NamedTuple):
    """A city with its zone."""

    country: str
    region: str
    city: str
    timezone: str
    dialling: str
    weight: float


PLACES: Final = (
    Place("Australia", "New South Wales", "Sydney", "Australia/Sydney", "+612", 14.0),
    Place("Australia", "Victoria", "Melbourne", "Australia/Melbourne", "+613", 12.0),
    Place("Australia", "Queensland", "Brisbane", "Australia/Brisbane", "+617", 8.0),
    Place("Australia", "Western Australia", "Perth", "Australia/Perth", "+618", 6.0),
    Place("Australia", "South Australia", "Adelaide", "Australia/Adelaide", "+618", 4.0),
    Place("New Zealand", "Auckland", "Auckland", "Pacific/Auckland", "+649", 5.0),
    Place("United States", "New York", "New York", "America/New_York", "+1212", 9.0),
    Place("United States", "Illinois", "Chicago", "America/Chicago", "+1312", 6.0),
    Place("United States", "Colorado", "Denver", "America/Denver", "+1303", 3.0),
    Place("United States", "California", "San Francisco", "America/Los_Angeles", "+1415", 8.0),
    Place("United States", "Arizona", "Phoenix", "America/Phoenix", "+1602", 2.0),
    Place("United Kingdom", "England", "London", "Europe/London", "+4420", 8.0),
    Place("Germany", "Berlin", "Berlin", "Europe/Berlin", "+4930", 4.0),
    Place("Singapore", "Singapore", "Singapore", "Asia/Singapore", "+65", 4.0),
    Place("India", "Karnataka", "Bengaluru", "Asia/Kolkata", "+9180", 3.0),
)

TECHNOLOGIES: Final = (
    ("salesforce", 0.30),
    ("hubspot", 0.28),
    ("google_analytics", 0.45),
    ("shopify", 0.12),
    ("aws", 0.35),
    ("snowflake", 0.10),
)
"""Technology and the share of companies with a known stack that use it."""

FUNDING_STAGES: Final = (("seed", 5.0), ("series_a", 4.0), ("series_b", 2.0), ("series_c", 1.0))

CRM_SOURCES: Final = (
    ("outbound_list", 45.0),
    ("webinar", 18.0),
    ("trade_show", 12.0),
    ("referral", 10.0),
    ("content_download", 15.0),
)
"""A free attribute every client's CRM carries."""

LEAD_GRADES: Final = (("a", 2.0), ("b", 4.0), ("c", 4.0))
"""A second free attribute, without any planted effect of its own unless asked for."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES: Final = _words(
    """
    Ada Aiden Alice Amir Anika Anna Aroha Ben Bianca Carlos Chloe Daniel Diego Elena Emma
    Ethan Fatima Felix Freya George Grace Hana Harper Hugo Ines Isla Ivan Jack James Jana
    Jasmine Kai Karin Leah Leo Liam Lucia Maria Marco Mei Mia Mohan Nadia Naomi Noah Nora Olga
    Oliver Omar Owen Paula Priya Quinn Rafael Ravi Rosa Ruby Samir Sara Sofia Tariq Theo Tom
    Uma Vera Victor Wei Yara Yusuf Zoe
    """
)
LAST_NAMES: Final = _words(
    """
    Adler Ahmed Anderson Baker Becker Bell Berg Brown Campbell Carter Chen Clark Costa Cruz
    Das Davies Diaz Evans Ferrari Fischer Foster Garcia Gray Green Gupta Hall Harris Hill
    Hughes Ito Jones Kaur Keller Khan Kim Kowalski Kumar Larsen Lee Lopez Martin Meyer Moore
    Morris Murphy Nguyen Novak Okafor Olsen Patel Perez Petrov Popov Price Rao Reid Rossi Roy
    Russo Sato Schmidt Silva Singh Smith Stone Sun Tanaka Taylor Thomas Torres Tran Turner
    Vega Wagner Walker Wang Weber White Wilson Wong Wright Young Zhang
    """
)
COMPANY_FIRST: Final = _words(
    """
    Alder Anchor Apex Arbor Atlas Aurora Banksia Beacon Birch Bluegum Bright Cascade Cedar
    Cobalt Compass Copper Coral Crest Delta Echo Ember Evergreen Falcon Fern Granite Harbour
    Horizon Indigo Ironbark Juniper Keystone Lantern Lumen Magnolia Maple Meridian Mosaic
    Nimbus North Oak Onyx Opal Orchard Osprey Pacific Pinnacle Quartz Radiant Ridge River
    Saffron Sage Sierra Silver Solar Spruce Sterling Summit Tidal Timber Topaz Vertex Willow
    Zenith
    """
)
COMPANY_SECOND: Final = _words(
    """
    Analytics Apps Brands Builders Capital Care Cloud Collective Consulting Dental Design
    Digital Dynamics Energy Engineering Farms Finance Foods Freight Group Health Homes Hotels
    Industries Insurance Labs Law Learning Logistics Media Medical Networks Partners
    Properties Retail Robotics Schools Services Software Solutions Studios Supply Systems
    Technologies Trading Works
    """
)
