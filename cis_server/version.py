"""Version of the installed code, as it stands beside everything it computed."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def code_version() -> str:
    """Version of the installed distribution; ``unknown`` when it was never installed."""
    try:
        return metadata.version("cis")
    except metadata.PackageNotFoundError:
        return "unknown"
