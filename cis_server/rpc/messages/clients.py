"""`cis.v1.Client` and `cis.v1.Campaign` between message and domain."""

from __future__ import annotations

import datetime as dt
from typing import Any

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
        mask: paths of fields (``icp``, ``policy.pooling``) to take from the message even where it
            leaves them empty, which gives them their defaults; all others keep what is stored.
            Without a mask every field that is set is taken: the profile as a whole, of the policy
            what is set in it.

    Raises:
        InvalidInput: a path of the mask is unknown, or the profile no longer holds together.
    """
    target = client_message(stored) if stored else admin.Client()
    for path in sorted(mask) or _set_paths(message):
        _copy(message, target, path, path)
    icp = icp_from_message(target.icp)
    if icp.employee_max < icp.employee_min:
        text = f"{icp.employee_max} is less than employee_min, {icp.employee_min}"
        raise InvalidInput("client.icp.employee_max", text)
    default = ClientRecord(client_id=message.client_id)
    return ClientRecord(
        client_id=message.client_id,
        name=target.name,
        subscription_status=_STATUS(target.subscription_status) or default.subscription_status,
        timezone=target.timezone or default.timezone,
        icp=icp,
        competitor_domains=tuple(target.competitor_domains),
        policy=_policy(target.policy),
        created_at=stored.created_at if stored else None,
        updated_at=stored.updated_at if stored else None,
    )


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


def _set_paths(message: admin.Client) -> list[str]:
    paths = []
    for field, value in message.ListFields():
        if field.name == "policy":
            paths += [f"policy.{part.name}" for part, _ in value.ListFields()]
        else:
            paths.append(field.name)
    return paths


def _copy(source: Any, target: Any, path: str, whole: str) -> None:
    """Makes the field at ``path`` of the target what it is in the source, unset included."""
    name, _, rest = path.partition(".")
    field = source.DESCRIPTOR.fields_by_name.get(name)
    if field is None or (rest and (field.message_type is None or field.is_repeated)):
        raise InvalidInput("update_mask", f"names {whole!r}, which is no field of Client")
    if rest:
        _copy(getattr(source, name), getattr(target, name), rest, whole)
        return
    target.ClearField(name)
    given = [value for set_field, value in source.ListFields() if set_field.name == name]
    if given and (field.is_repeated or field.message_type is not None):
        getattr(target, name).MergeFrom(given[0])
    elif given:
        setattr(target, name, given[0])


def _policy(message: admin.ClientPolicy) -> ClientPolicy:
    default = ClientPolicy()
    return ClientPolicy(
        promotion=_PROMOTION(message.promotion) or default.promotion,
        pooling=message.pooling if message.HasField("pooling") else default.pooling,
        exploration_share=message.exploration_share
        if message.HasField("exploration_share")
        else default.exploration_share,
        tier_channels={t: tuple(c.channels) for t, c in message.tier_channels.items()},
        retention_days=message.retention_days
        if message.HasField("retention_days")
        else default.retention_days,
    )
