"""Rows of clients and campaigns as records, and back.

Serving keeps the records of all clients in memory, so equal words and empty values are one object.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any, Final

from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord, Icp
from cis_server.domain.vocabulary import Promotion, SubscriptionStatus

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def client_record(row: Mapping[str, Any]) -> ClientRecord:
    """A client; keys missing from the stored profile or policy have their defaults."""
    return ClientRecord(
        client_id=row["client_id"],
        name=row["name"],
        subscription_status=SubscriptionStatus(row["subscription_status"]),
        timezone=_word(row["timezone"]),
        icp=icp_record(row["icp"]),
        competitor_domains=tuple(row["competitor_domains"]),
        policy=_policy(row["policy"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def client_values(client: ClientRecord) -> dict[str, Any]:
    """Column values of a client, without its times."""
    policy = client.policy
    return {
        "client_id": client.client_id,
        "name": client.name,
        "subscription_status": client.subscription_status.value,
        "timezone": client.timezone,
        "icp": icp_values(client.icp),
        "competitor_domains": list(client.competitor_domains),
        "policy": {
            "promotion": policy.promotion.value,
            "pooling": policy.pooling,
            "exploration_share": policy.exploration_share,
            "tier_channels": {tier: list(c) for tier, c in policy.tier_channels.items()},
            "retention_days": policy.retention_days,
        },
    }


def campaign_record(row: Mapping[str, Any]) -> CampaignRecord:
    """A campaign; times may be texts, as `to_json` writes them."""
    return CampaignRecord(
        campaign_id=row["campaign_id"],
        name=row["name"],
        icp=icp_record(row["icp"]) if row["icp"] else None,
        timezone=_word(row["timezone"]),
        work_hours_start=_time(row["work_hours_start"]),
        work_hours_end=_time(row["work_hours_end"]),
        work_days=_week(*row["work_days"]),
        allocation=dict(row["allocation"]) or _NOTHING,
    )


def campaign_values(client_id: str, campaign: CampaignRecord) -> dict[str, Any]:
    """Column values of a campaign."""
    return {
        "client_id": client_id,
        "campaign_id": campaign.campaign_id,
        "name": campaign.name,
        "icp": icp_values(campaign.icp) if campaign.icp is not None else None,
        "timezone": campaign.timezone,
        "work_hours_start": campaign.work_hours_start,
        "work_hours_end": campaign.work_hours_end,
        "work_days": list(campaign.work_days),
        "allocation": dict(campaign.allocation),
    }


def icp_record(data: Mapping[str, Any]) -> Icp:
    """A stored profile; missing keys have their defaults."""
    default = Icp()
    return Icp(
        industries=_words(data.get("industries", default.industries)),
        employee_min=data.get("employee_min", default.employee_min),
        employee_max=data.get("employee_max", default.employee_max),
        countries=_words(data.get("countries", default.countries)),
        titles=_words(data.get("titles", default.titles)),
    )


def icp_values(icp: Icp) -> dict[str, Any]:
    """A profile as stored."""
    return {
        "industries": list(icp.industries),
        "employee_min": icp.employee_min,
        "employee_max": icp.employee_max,
        "countries": list(icp.countries),
        "titles": list(icp.titles),
    }


def _policy(data: Mapping[str, Any]) -> ClientPolicy:
    default = ClientPolicy()
    return ClientPolicy(
        promotion=Promotion(data.get("promotion", default.promotion)),
        pooling=data.get("pooling", default.pooling),
        exploration_share=data.get("exploration_share", default.exploration_share),
        tier_channels={_word(t): _words(c) for t, c in data.get("tier_channels", {}).items()}
        or _NOTHING,
        retention_days=data.get("retention_days", default.retention_days),
    )


@lru_cache(maxsize=256, typed=True)
def _week(*days: int) -> tuple[int, ...]:
    return days


@lru_cache(maxsize=256)
def _time(value: dt.time | str) -> dt.time:
    return dt.time.fromisoformat(value) if isinstance(value, str) else value


def _word(value: Any) -> Any:
    """A text that many rows share; anything else as it is: other programs may store any JSON."""
    return intern(value) if type(value) is str else value


def _words(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(map(_word, values))
