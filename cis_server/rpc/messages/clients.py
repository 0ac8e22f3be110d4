"""`cis.v1.Client` and `cis.v1.Campaign` between message and domain."""

from __future__ import annotations

import dataclasses
import datetime as dt

from cis_client.v1 import admin_service_pb2 as admin
from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord
from cis_server.domain.vocabulary import Promotion, SubscriptionStatus
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.leads import icp_from_message, icp_to_message
from cis_server.rpc.messages.values import number_of, timestamp, word_of

_STATUS = word_of(admin.SubscriptionStatus, SubscriptionStatus)
_STATUS_NUMBER = number_of(admin.SubscriptionStatus, SubscriptionStatus)
_PROMOTION = word_of(admin.Promotion, Promotion)
_PROMOTION_NUMBER = number_of(admin.Promotion, Promotion)


def merged_client(
    message: admin.Client, stored: ClientRecord | None, mask: frozenset[str]
) -> ClientRecord:
    """A client with what the message sets, over what is stored or the defaults.

    Args:
        message: the caller's wishes.
        stored: the client as it is, None for a new one.
        mask: names of fields to take from the message even where it leaves them empty; without
            them a field that is not set keeps what is stored.

    Raises:
        InvalidInput: a field of the mask is unknown.
    """
    known = {field.name for field in admin.Client.DESCRIPTOR.fields}
    for name in mask - known:
        raise InvalidInput("update_mask", f"names {name!r}, which is no field of Client")
    client = stored or ClientRecord(client_id=message.client_id)

    def wanted(name: str, is_set: bool) -> bool:
        return name in mask if mask else is_set

    changes: dict[str, object] = {}
    if wanted("name", message.HasField("name")):
        changes["name"] = message.name
    if wanted("subscription_status", bool(message.subscription_status)):
        changes["subscription_status"] = (
            _STATUS(message.subscription_status) or SubscriptionStatus.TRIALING
        )
    if wanted("timezone", message.HasField("timezone")):
        changes["timezone"] = message.timezone
    if wanted("icp", message.HasField("icp")):
        changes["icp"] = icp_from_message(message.icp)
    if wanted("competitor_domains", bool(message.competitor_domains)):
        changes["competitor_domains"] = tuple(message.competitor_domains)
    if wanted("policy", message.HasField("policy")):
        changes["policy"] = _policy(message.policy, client.policy)
    return dataclasses.replace(client, **changes)  # type: ignore[arg-type]  # names checked above


def client_message(client: ClientRecord) -> admin.Client:
    """The message of a client."""
    policy = client.policy
    message = admin.Client(
        client_id=client.client_id,
        name=client.name,
        subscription_status=_STATUS_NUMBER[client.subscription_status],
        timezone=client.timezone,
        icp=icp_to_message(client.icp),
        competitor_domains=client.competitor_domains,
        policy=admin.ClientPolicy(
            promotion=_PROMOTION_NUMBER[policy.promotion],
            pooling=policy.pooling,
            exploration_share=policy.exploration_share,
            retention_days=policy.retention_days,
        ),
        created_time=timestamp(client.created_at),
        updated_time=timestamp(client.updated_at),
    )
    for tier, channels in policy.tier_channels.items():
        message.policy.tier_channels[tier].channels.extend(channels)
    return message


def campaign_from_message(message: admin.Campaign, path: str) -> CampaignRecord:
    """The campaign in a message; what is not set keeps the default.

    Raises:
        InvalidInput: a work hour is not ``HH:MM``, or the day ends before it starts.
    """
    default = CampaignRecord(campaign_id=message.campaign_id)

    def hour(name: str, otherwise: dt.time) -> dt.time:
        if not message.HasField(name):  # type: ignore[arg-type]  # a literal in both calls
            return otherwise
        try:
            return dt.time.fromisoformat(getattr(message, name))
        except ValueError:
            raise InvalidInput(f"{path}.{name}", "is not a time of day like 09:00") from None

    start = hour("local_work_start", default.work_hours_start)
    end = hour("local_work_end", default.work_hours_end)
    if end <= start:
        raise InvalidInput(f"{path}.local_work_end", f"{end:%H:%M} is not after {start:%H:%M}")
    return CampaignRecord(
        campaign_id=message.campaign_id,
        name=message.name,
        icp=icp_from_message(message.icp) if message.HasField("icp") else None,
        timezone=message.timezone if message.HasField("timezone") else None,
        work_hours_start=start,
        work_hours_end=end,
        work_days=tuple(int(day) for day in message.work_days) or default.work_days,
        allocation=dict(message.allocation),
    )


def _policy(message: admin.ClientPolicy, stored: ClientPolicy) -> ClientPolicy:
    return ClientPolicy(
        promotion=_PROMOTION(message.promotion) or stored.promotion,
        pooling=message.pooling if message.HasField("pooling") else stored.pooling,
        exploration_share=message.exploration_share
        if message.HasField("exploration_share")
        else stored.exploration_share,
        tier_channels={t: tuple(c.channels) for t, c in message.tier_channels.items()}
        or stored.tier_channels,
        retention_days=message.retention_days
        if message.HasField("retention_days")
        else stored.retention_days,
    )
