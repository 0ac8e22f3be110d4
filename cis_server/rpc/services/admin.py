"""`cis.v1.AdminService`: clients and campaigns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc

from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import admin_service_pb2_grpc as admin_grpc
from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.vocabulary import SubscriptionStatus
from cis_server.errors import InvalidInput, NotFound
from cis_server.rpc.messages.clients import campaign_from_message, client_message, merged_client
from cis_server.rpc.messages.values import word_of
from cis_server.rpc.pages import page_key, page_token

_DEFAULT_PAGE = 100
_STATUS = word_of(admin.SubscriptionStatus, SubscriptionStatus)


class ClientStore(Protocol):
    """Clients and campaigns as stored; every method raises `StoreUnavailable` when it cannot."""

    def get(self, client_id: str) -> ClientRecord | None:
        """One client that is not deleted."""
        ...

    def change(
        self, client_id: str, changed: Callable[[ClientRecord | None], ClientRecord]
    ) -> tuple[ClientRecord, bool]:
        """Store what ``changed`` makes of the client as stored (None: not yet), nobody in between.

        Returns:
            The client as stored, and whether it is new.
        """
        ...

    def page(
        self, after: str | None, limit: int, statuses: Sequence[SubscriptionStatus]
    ) -> Sequence[ClientRecord]:
        """Clients in order of id, those after ``after``; no statuses: any."""
        ...

    def upsert_campaigns(
        self, client_id: str, campaigns: Sequence[CampaignRecord]
    ) -> tuple[int, int]:
        """Store campaigns of a known client in one statement; (created, updated)."""
        ...


class AdminService(admin_grpc.AdminServiceServicer):
    """Reads and writes clients.

    Args:
        clients: where they are stored.
        changed: told the id of a client that was written, so that this process answers for it at
            once; the others hear of it by notification.
    """

    def __init__(self, clients: ClientStore, changed: Callable[[str], None]) -> None:
        self._clients, self._changed = clients, changed

    def UpsertClient(  # noqa: N802
        self, request: admin.UpsertClientRequest, _context: grpc.ServicerContext
    ) -> admin.UpsertClientResponse:
        """Create a client or change what the request sets."""
        message, mask = request.client, frozenset(request.update_mask.paths)

        def changed(stored: ClientRecord | None) -> ClientRecord:
            wanted = merged_client(message, stored, mask)
            domains = tuple(domain.strip().lower() for domain in wanted.competitor_domains)
            return dataclasses.replace(wanted, competitor_domains=domains)

        client, created = self._clients.change(message.client_id, changed)
        self._changed(client.client_id)
        return admin.UpsertClientResponse(client=client_message(client), created=created)

    def GetClient(  # noqa: N802
        self, request: admin.GetClientRequest, _context: grpc.ServicerContext
    ) -> admin.GetClientResponse:
        """One client."""
        client = self._clients.get(request.client_id)
        if client is None:
            raise NotFound("client", request.client_id)
        return admin.GetClientResponse(client=client_message(client))

    def ListClients(  # noqa: N802
        self, request: admin.ListClientsRequest, _context: grpc.ServicerContext
    ) -> admin.ListClientsResponse:
        """Clients in order of id."""
        size = request.page_size or _DEFAULT_PAGE
        key = page_key(request.page_token, 1)
        statuses = [s for n in request.subscription_statuses if (s := _STATUS(n)) is not None]
        found = self._clients.page(key[0] if key else None, size + 1, statuses)
        response = admin.ListClientsResponse(clients=[client_message(c) for c in found[:size]])
        if len(found) > size:
            response.next_page_token = page_token(found[size - 1].client_id)
        return response

    def UpsertCampaigns(  # noqa: N802
        self, request: admin.UpsertCampaignsRequest, _context: grpc.ServicerContext
    ) -> admin.UpsertCampaignsResponse:
        """Create or replace campaigns of a client."""
        campaigns = [
            campaign_from_message(message, f"campaigns[{i}]")
            for i, message in enumerate(request.campaigns)
        ]
        if len({campaign.campaign_id for campaign in campaigns}) < len(campaigns):
            raise InvalidInput("campaigns", "names one campaign_id twice")
        if self._clients.get(request.client_id) is None:
            raise NotFound("client", request.client_id)
        created, updated = self._clients.upsert_campaigns(request.client_id, campaigns)
        self._changed(request.client_id)
        return admin.UpsertCampaignsResponse(created=created, updated=updated)
