"""What of a client's rows may leave the database: nothing that names or reaches a person."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cis_server.domain.tiers import tier_of

if TYPE_CHECKING:
    import polars as pl

# In the JSON text of free columns, and in what people wrote: addresses, numbers in international
# form or with nine digits and a leading zero, and what stands under the key of a person's name.
_PERSONAL: Final = (
    (r"[\w.%+\-]+@[\w\-]+(?:\.[\w\-]+)+", "(email)"),
    (r"\+[0-9](?:[ ()./\-]*[0-9]){7,}", "(phone)"),
    (r"\(?\b0(?:[ ()./\-]*[0-9]){8,}\b", "(phone)"),
    (
        r'(?i)("[^"]*(?:first|last|full|middle|sur|given|family|contact|person|owner|assistant)'
        r'[ _\-]?name[^"]*": )"(?:\\.|[^"\\])*"',
        '${1}"(name)"',
    ),
)


def anonymous(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame without what names or reaches a person."""
    import polars as pl

    if name == "messages":
        return frame.with_columns(_without_personal(pl.col("question_key")))
    return _anonymous_leads(frame) if name == "leads" else frame


def _without_personal(text: pl.Expr) -> pl.Expr:
    import polars as pl

    text = text.cast(pl.String)
    for pattern, stand_in in _PERSONAL:
        text = text.str.replace_all(pattern, stand_in)
    return text


def _anonymous_leads(leads: pl.DataFrame) -> pl.DataFrame:
    """Domains as keys that only tell equal from different; tiers of the scores; CRM columns without
    addresses, numbers and names."""
    import polars as pl

    domains = leads["company_key"].str.strip_chars().str.to_lowercase()
    keys = {
        domain: hashlib.blake2b(domain.encode(), digest_size=8).hexdigest()
        for domain in domains.unique().drop_nulls()
    }
    tiers = {score: tier_of(score).label for score in range(101)}
    return leads.with_columns(
        _without_personal(pl.col("attributes")),
        domains.replace_strict(keys, default=None, return_dtype=pl.String).alias("company_key"),
        leads["score"]
        .cast(pl.Int64)
        .replace_strict(tiers, default=None, return_dtype=pl.String)
        .alias("tier"),
    )
