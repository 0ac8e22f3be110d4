"""Which opens and clicks come from robots rather than people."""

from __future__ import annotations

from typing import Final

FAST_OPEN_SECONDS: Final = 60.0
"""An open sooner than this after delivery is a mail gateway or a prefetching client."""
FAST_CLICK_SECONDS: Final = 30.0
"""A click sooner than this after delivery is a link scanner."""

PRIVACY_PROXIES: Final = (
    "applemail.?privacy",
    "apple mail privacy",
    "mail privacy protection",
    "googleimageproxy",
    "ggpht.com",
    "yahoomailproxy",
    "duckduckgo email",
    "protonmail.?image.?proxy",
)
"""Agents that fetch images on somebody's behalf, seen or not; regular expressions, any case."""

SCANNERS: Final = (
    "barracuda",
    "mimecast",
    "proofpoint",
    "messagelabs",
    "symantec",
    "forcepoint",
    "trendmicro",
    "trend micro",
    "fireeye",
    "ironport",
    "safelinks",
    "microsoft office existence discovery",
    "bitdefender",
    "sophos",
    "zscaler",
    "urldefense",
    "slackbot",
    "facebookexternalhit",
    "headlesschrome",
    "phantomjs",
    "python-requests",
    "go-http-client",
    "okhttp",
    "libwww",
    "curl/",
    "wget/",
    "\\ybot\\y",
    "crawler",
    "spider",
)
"""Security gateways, previewers and scripts that follow links; regular expressions, any case."""
