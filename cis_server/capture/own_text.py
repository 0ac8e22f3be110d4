"""The text somebody wrote themselves: without markup, quoted history, signature and links."""

from __future__ import annotations

import html
import re
from typing import Final

URL: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'()\[\]]+", re.I)
_HREF = re.compile(r"<a\b[^>]*?\bhref\s*=\s*[\"']?([^\"'\s>]+)", re.I)
_MARKUP = re.compile(r"<!--.*?-->|<(style|script|head)\b.*?</\1\s*>", re.I | re.S)
_QUOTED_MARKUP = re.compile(
    r"<blockquote\b.*|<div[^>]+class\s*=\s*[\"']?gmail_quote.*|<div[^>]+id\s*=\s*[\"']?divRplyFwdMsg"
    r".*",
    re.I | re.S,
)
_LINE_END = re.compile(r"<\s*(?:br|/p|/div|/li|/tr|/h[1-6])\b[^>]*>", re.I)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.I)
_LINKED = re.compile(r"\[([^\]\n]*)\]\((?:https?://|www\.)[^)\s]+\)", re.I)
_TRAILING = ".,;:!?*_'\""

_QUOTE_HEADER = re.compile(
    r"^\s*(?:"
    r"on\b.{4,200}\bwrote:"
    r"|am\b.{4,200}\bschrieb\b.*:"
    r"|le\b.{4,200}\ba\s+\u00e9crit\s*:"
    r"|-{2,}\s*(?:original message|forwarded message|urspr\u00fcngliche nachricht)\s*-{2,}"
    r"|_{10,}"
    r"|(?:from|sent|von|de)\s*:.*@"
    r")\s*$",
    re.I,
)
_WRAPPED_HEADER = re.compile(r"^\s*on\b[^\n]{4,200}\n[^\n]{0,120}\bwrote:\s*$", re.I | re.M)
_CLOSING = re.compile(
    r"^\s*(?:(?:kind|best|warm|warmest|many)\s+(?:regards|wishes|thanks)|regards|best|cheers"
    r"|yours(?:\s+(?:sincerely|faithfully|truly))?|sincerely|all\s+the\s+best|thanks|thank\s+you"
    r"|many\s+thanks|warmly|talk\s+soon|speak\s+soon)\s*[,.!\u2013-]?\s*$",
    re.I,
)
_SENT_FROM = re.compile(r"^\s*(?:sent from my|get outlook for)\b", re.I)
_SIGNATURE_LINES = 12
"""Lines that may follow a closing; more of them are text that goes on."""


def own_text(body: str) -> str:
    """What the author wrote.

    Args:
        body: plain text or HTML, as it was sent or as it came.

    Returns:
        Plain text without markup, quoted history, closing and signature, and addresses of links,
        without space around it. A body that would vanish altogether as a closing is kept: "Thanks"
        alone is a message.
    """
    lines = _without_quotes(plain(body)).split("\n")
    kept = lines[: _signature_start(lines)]
    text = "\n".join(kept) if any(line.strip() for line in kept) else "\n".join(lines)
    return _tidy(URL.sub(" ", _LINKED.sub(r"\1", text)))


def links(body: str) -> tuple[str, ...]:
    """Addresses a body links to, in order, each once; mail addresses and telephones are none."""
    targets = [html.unescape(target) for target in _HREF.findall(body)]
    shown = [match.rstrip(_TRAILING) for match in URL.findall(_TAG.sub(" ", body))]
    found = [target for target in targets if URL.match(target)] + shown
    return tuple(dict.fromkeys(found))


def plain(body: str) -> str:
    """HTML as plain text, line ends kept; plain text as it is, with Unix line ends."""
    text = body.replace("\r\n", "\n").replace("\r", "\n")
    if not _TAG.search(text):
        return text
    text = _QUOTED_MARKUP.sub("", _MARKUP.sub(" ", text))
    return html.unescape(_TAG.sub(" ", _LINE_END.sub("\n", text))).replace("\xa0", " ")


def _without_quotes(text: str) -> str:
    wrapped = _WRAPPED_HEADER.search(text)
    if wrapped:
        text = text[: wrapped.start()]
    kept = []
    for line in text.split("\n"):
        if _QUOTE_HEADER.match(line):
            break
        if not line.lstrip().startswith(">"):
            kept.append(line)
    return "\n".join(kept)


def _signature_start(lines: list[str]) -> int:
    for place, line in enumerate(lines):
        if line.rstrip() in ("--", "-- ") or _SENT_FROM.match(line):
            return place
        rest = sum(1 for after in lines[place + 1 :] if after.strip())
        if _CLOSING.match(line) and rest <= _SIGNATURE_LINES:
            return place
    return len(lines)


def _tidy(text: str) -> str:
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
