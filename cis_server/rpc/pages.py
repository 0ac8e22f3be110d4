"""Page tokens: where a list goes on, opaque to the caller."""

from __future__ import annotations

import base64
import binascii
import json

from cis_server.errors import InvalidInput


def page_token(*key: str) -> str:
    """The token of the page after the row with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def page_key(token: str, parts: int) -> tuple[str, ...] | None:
    """The key in a token; None for the first page.

    Raises:
        InvalidInput: not a token of this list.
    """
    if not token:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error):
        key = None
    if not (
        isinstance(key, list)
        and len(key) == parts
        and all(isinstance(part, str) and "\0" not in part for part in key)
    ):
        raise InvalidInput("page_token", "is not a token that this list gave")
    return tuple(key)
