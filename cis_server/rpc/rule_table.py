"""The rules of every request field whose comment in the protos states a range.

Keyed by the full name of the field. `tests/rpc/test_rule_table.py` reads the comments and fails
when one has no rule here, or when a rule names no field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cis_server.rpc.rules import (
    Check,
    Entries,
    Instant,
    Items,
    Number,
    OneOfNumbers,
    Size,
    Text,
    Words,
    channel,
    clock,
    currency,
    ip_address,
    iso_date,
    true,
    uuid_text,
    zone,
)


def _channel_list(value: Any) -> str | None:
    objection = Items(32, each=channel)(value.channels)
    if objection is None:
        return None
    return f".channels{objection}" if objection.startswith("[") else f".channels {objection}"


def _expanded(message: str, fields: Mapping[str, Check]) -> dict[str, Check]:
    return {f"cis.v1.{message}.{name}": check for name, check in fields.items()}


RULES: Final[Mapping[str, Check]] = {
    **_expanded(
        "GetClientRequest",
        {
            "client_id": Text(1, 128),
        },
    ),
    **_expanded(
        "ListClientsRequest",
        {
            "page_size": Number(0, 1000),
        },
    ),
    **_expanded(
        "UpsertCampaignsRequest",
        {
            "client_id": Text(1, 128),
            "campaigns": Items(1000, least=1),
        },
    ),
    **_expanded(
        "UpsertTemplatesRequest",
        {
            "client_id": Text(1, 128),
            "templates": Items(1000, least=1),
        },
    ),
    **_expanded(
        "SuppressRequest",
        {
            "client_id": Text(1, 128),
            "identifiers": Items(10000, least=1),
            "added_by": Text(0, 200),
        },
    ),
    **_expanded(
        "UnsuppressRequest",
        {
            "client_id": Text(1, 128),
            "identifiers": Items(10000, least=1),
            "removed_by": Text(0, 200),
        },
    ),
    **_expanded(
        "EraseLeadRequest",
        {
            "client_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "requested_by": Text(0, 200),
        },
    ),
    **_expanded(
        "GetEngagementStatsRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "channel": channel,
        },
    ),
    **_expanded(
        "GetConversationStatsRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "channel": channel,
        },
    ),
    **_expanded(
        "GetDealStatsRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "currency_code": currency,
        },
    ),
    **_expanded(
        "GetFunnelStatsRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
        },
    ),
    **_expanded(
        "UpsertLeadsRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "RecordActivitiesRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "RecordEmailEventsRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "RecordRepliesRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "RecordMeetingsRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "RecordDealsRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "RecordOutcomesRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "UpdateThreadRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "UpsertPoolPersonsRequest",
        {
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "AssignPoolPersonsRequest",
        {
            "client_id": Text(1, 128),
            "items": Items(1000, least=1),
        },
    ),
    **_expanded(
        "AnalyzeContentRequest",
        {
            "client_id": Text(1, 128),
            "channel": channel,
            "subject": Text(0, 1000),
            "body": Text(0, 100_000),
        },
    ),
    **_expanded(
        "AnalyzeReplyRequest",
        {
            "client_id": Text(1, 128),
            "text": Text(1, 100_000),
            "subject": Text(0, 1000),
            "channel": channel,
        },
    ),
    **_expanded(
        "CreateExperimentRequest",
        {
            "client_id": Text(1, 128),
            "experiment_id": Text(1, 128),
            "name": Text(0, 200),
            "hypothesis": Text(0, 2000),
            "campaign_id": Text(1, 128),
            "variants": Items(10, least=2),
        },
    ),
    **_expanded(
        "AssignVariantRequest",
        {
            "client_id": Text(1, 128),
            "experiment_id": Text(1, 128),
            "lead_ids": Items(1000, least=1, each=Text(1, 128)),
        },
    ),
    **_expanded(
        "GetExperimentRequest",
        {
            "client_id": Text(1, 128),
            "experiment_id": Text(1, 128),
        },
    ),
    **_expanded(
        "EndExperimentRequest",
        {
            "client_id": Text(1, 128),
            "experiment_id": Text(1, 128),
            "approver": Text(1, 200),
        },
    ),
    **_expanded(
        "LearnRequest",
        {
            "client_id": Text(1, 128),
            "lookback_days": Number(1, 36500),
            "min_conversions": Number(1, 1_000_000),
            "validity_days": Number(1, 3650),
            "as_of_time": Instant(60),
            "all_eligible": true,
        },
    ),
    **_expanded(
        "GetLearningRunRequest",
        {
            "run_id": uuid_text,
        },
    ),
    **_expanded(
        "ListLearningRunsRequest",
        {
            "client_id": Text(1, 128),
            "page_size": Number(0, 100),
        },
    ),
    **_expanded(
        "BackfillRequest",
        {
            "client_id": Text(1, 128),
            "lookback_days": Number(1, 36500),
            "all_eligible": true,
        },
    ),
    **_expanded(
        "CheckHealthRequest",
        {
            "client_id": Text(1, 128),
            "page_size": Number(0, 1000),
        },
    ),
    **_expanded(
        "ListModelsRequest",
        {
            "client_id": Text(1, 128),
            "page_size": Number(0, 100),
        },
    ),
    **_expanded(
        "GetModelRequest",
        {
            "client_id": Text(1, 128),
            "model_version": Text(1, 128),
        },
    ),
    **_expanded(
        "PromoteModelRequest",
        {
            "client_id": Text(1, 128),
            "model_version": Text(1, 128),
            "approver": Text(1, 200),
            "rollout_percentage": Number(1, 100),
            "reason": Text(0, 2000),
        },
    ),
    **_expanded(
        "RollbackModelRequest",
        {
            "client_id": Text(1, 128),
            "approver": Text(1, 200),
            "reason": Text(0, 2000),
        },
    ),
    **_expanded(
        "RejectModelRequest",
        {
            "client_id": Text(1, 128),
            "model_version": Text(1, 128),
            "approver": Text(1, 200),
            "reason": Text(0, 2000),
        },
    ),
    **_expanded(
        "SetWeightsRequest",
        {
            "client_id": Text(1, 128),
            "approver": Text(1, 200),
            "reason": Text(0, 2000),
        },
    ),
    **_expanded(
        "GetRecommendationsRequest",
        {
            "client_id": Text(1, 128),
            "page_size": Number(0, 100),
        },
    ),
    **_expanded(
        "DecideRecommendationRequest",
        {
            "client_id": Text(1, 128),
            "recommendation_id": uuid_text,
            "decision": OneOfNumbers(frozenset((2, 3)), "ACCEPTED or REJECTED"),
            "approver": Text(1, 200),
            "reason": Text(0, 2000),
        },
    ),
    **_expanded(
        "ListPatternsRequest",
        {
            "client_id": Text(1, 128),
            "page_size": Number(0, 100),
        },
    ),
    **_expanded(
        "GetPatternRequest",
        {
            "client_id": Text(1, 128),
        },
    ),
    **_expanded(
        "ListPatternHistoryRequest",
        {
            "client_id": Text(1, 128),
            "page_size": Number(0, 100),
        },
    ),
    **_expanded(
        "GetWeightsRequest",
        {
            "client_id": Text(1, 128),
        },
    ),
    **_expanded(
        "GetTimingRequest",
        {
            "client_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "timezone": zone,
            "country": Text(0, 200),
            "region": Text(0, 200),
            "city": Text(0, 200),
            "campaign_id": Text(1, 128),
            "channel": channel,
            "touch_number": Number(1, 100),
            "last_touch_time": Instant(),
            "earliest_time": Instant(),
            "count": Number(1, 50),
        },
    ),
    **_expanded(
        "GetChannelsRequest",
        {
            "client_id": Text(1, 128),
            "score": Number(0, 100),
            "lead_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "available_channels": Items(32, each=channel),
            "used_channels": Items(100, each=channel),
        },
    ),
    **_expanded(
        "GetContentRequest",
        {
            "client_id": Text(1, 128),
            "channel": channel,
        },
    ),
    **_expanded(
        "GetSequenceRequest",
        {
            "client_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "touch_count": Number(1, 20),
            "available_channels": Items(32, each=channel),
            "used_channels": Items(100, each=channel),
            "start_time": Instant(),
            "timezone": zone,
        },
    ),
    **_expanded(
        "GetPromptContextRequest",
        {
            "client_id": Text(1, 128),
            "channel": channel,
            "max_lines": Number(1, 50),
        },
    ),
    **_expanded(
        "ScoreLeadRequest",
        {
            "client_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "as_of_time": Instant(),
        },
    ),
    **_expanded(
        "BatchScoreLeadsRequest",
        {
            "client_id": Text(1, 128),
            "leads": Items(10000),
            "lead_ids": Items(10000, each=Text(1, 128)),
            "campaign_id": Text(1, 128),
            "as_of_time": Instant(),
        },
    ),
    **_expanded(
        "ScoreTableRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "as_of_time": Instant(),
            "arrow_ipc": Size(16_777_216),
        },
    ),
    **_expanded(
        "ListTopLeadsRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "page_size": Number(0, 1000),
        },
    ),
    **_expanded(
        "RescoreLeadsRequest",
        {
            "client_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "as_of_time": Instant(),
        },
    ),
    **_expanded(
        "Client",
        {
            "client_id": Text(1, 128),
            "name": Text(0, 200),
            "timezone": zone,
            "competitor_domains": Items(10000, each=Text(1, 253)),
        },
    ),
    **_expanded(
        "Campaign",
        {
            "campaign_id": Text(1, 128),
            "name": Text(0, 200),
            "timezone": zone,
            "local_work_start": clock,
            "local_work_end": clock,
            "work_days": Items(7, distinct=True),
            "allocation": Entries(64, channel, Number(0, 100), total=100),
        },
    ),
    **_expanded(
        "Template",
        {
            "template_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "name": Text(0, 200),
            "channel": channel,
            "subject": Text(0, 1000),
            "body": Text(0, 100_000),
            "angle": Text(0, 64),
            "cta_type": Text(0, 64),
            "version": Text(0, 64),
        },
    ),
    **_expanded(
        "SuppressedIdentifier",
        {
            "value": Text(1, 320),
            "reason": Text(0, 200),
        },
    ),
    **_expanded(
        "Period",
        {
            "start_time": Instant(),
            "end_time": Instant(),
        },
    ),
    **_expanded(
        "LeadItem",
        {
            "idempotency_key": Text(1, 200),
            "campaign_id": Text(1, 128),
            "created_time": Instant(),
        },
    ),
    **_expanded(
        "ActivityItem",
        {
            "idempotency_key": Text(1, 200),
            "lead_id": Text(1, 128),
            "activity_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "channel": channel,
            "action": Text(1, 50),
            "occurred_time": Instant(86_400),
            "touch_activity_id": Text(1, 128),
            "decision_id": uuid_text,
            "sequence_step": Number(1, 1000),
            "subject": Text(0, 1000),
            "body": Text(0, 100_000),
            "template_id": Text(1, 128),
            "experiment_id": Text(1, 128),
            "variant": Text(1, 64),
            "links": Items(100, each=Text(0, 2048)),
            "personalization_used": Items(100, each=Text(0, 128)),
            "personalization_available": Items(100, each=Text(0, 128)),
            "ai_model": Text(0, 128),
            "prompt_version": Text(0, 128),
            "message_type": Text(0, 64),
            "call_outcome": Text(0, 64),
            "call_seconds": Number(0, 86400),
            "provider": Text(0, 64),
            "provider_message_id": Text(0, 500),
        },
    ),
    **_expanded(
        "EmailEventItem",
        {
            "idempotency_key": Text(1, 200),
            "activity_id": Text(1, 128),
            "provider_message_id": Text(0, 500),
            "occurred_time": Instant(86_400),
            "clicked_url": Text(0, 2048),
            "user_agent": Text(0, 1000),
            "ip_address": ip_address,
            "provider": Text(0, 64),
            "provider_event_id": Text(0, 500),
        },
    ),
    **_expanded(
        "ReplyItem",
        {
            "idempotency_key": Text(1, 200),
            "lead_id": Text(1, 128),
            "channel": channel,
            "received_time": Instant(86_400),
            "text": Text(0, 100_000),
            "subject": Text(0, 1000),
            "activity_id": Text(1, 128),
            "thread_id": uuid_text,
            "sentiment_score": Number(-1, 1),
            "question": Text(0, 2000),
            "topics": Items(50, each=Text(0, 128)),
        },
    ),
    **_expanded(
        "MeetingItem",
        {
            "idempotency_key": Text(1, 200),
            "meeting_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "booked_time": Instant(86_400),
            "scheduled_time": Instant(),
            "duration_minutes": Number(1, 1440),
            "booked_by": Text(0, 32),
            "reminder_time": Instant(),
            "outcome_time": Instant(),
            "rescheduled_count": Number(0, 1000),
            "deal_id": Text(1, 128),
        },
    ),
    **_expanded(
        "DealItem",
        {
            "idempotency_key": Text(1, 200),
            "deal_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "meeting_id": Text(1, 128),
            "name": Text(0, 200),
            "probability": Number(0, 1),
            "stage_changed_time": Instant(86_400),
            "created_time": Instant(86_400),
            "closed_time": Instant(86_400),
            "external_crm": Text(0, 64),
            "external_deal_id": Text(0, 200),
        },
    ),
    **_expanded(
        "OutcomeItem",
        {
            "idempotency_key": Text(1, 200),
            "lead_id": Text(1, 128),
            "status": OneOfNumbers(
                frozenset(range(4, 11)), "any status but NEW, ENRICHED and SCORED"
            ),
            "occurred_time": Instant(86_400),
            "qualified_time": Instant(86_400),
        },
    ),
    **_expanded(
        "ThreadItem",
        {
            "idempotency_key": Text(1, 200),
            "thread_id": uuid_text,
            "outcome_reason": Text(0, 1000),
            "escalation_reason": Text(0, 1000),
            "occurred_time": Instant(86_400),
        },
    ),
    **_expanded(
        "PoolPersonItem",
        {
            "idempotency_key": Text(1, 200),
            "person_id": Text(1, 128),
            "departments": Items(50, each=Text(0, 128)),
            "company_keywords": Items(500, each=Text(0, 128)),
            "company_description": Text(0, 10000),
        },
    ),
    **_expanded(
        "PoolAssignmentItem",
        {
            "idempotency_key": Text(1, 200),
            "person_id": Text(1, 128),
            "lead_id": Text(1, 128),
            "campaign_id": Text(1, 128),
            "max_touches": Number(1, 100),
        },
    ),
    **_expanded(
        "Lead",
        {
            "lead_id": Text(0, 128),
            "email": Text(0, 320, "@"),
            "phone": Text(0, 64),
            "linkedin_url": Text(0, 2048),
            "personal_email": Text(0, 320),
            "postal_address": Text(0, 1000),
            "first_name": Text(0, 200),
            "last_name": Text(0, 200),
            "title": Text(0, 500),
            "seniority": Text(0, 64),
            "employment_start_date": iso_date,
            "employment_history": Items(100),
            "linkedin_headline": Text(0, 1000),
            "person_city": Text(0, 200),
            "person_region": Text(0, 200),
            "person_country": Text(0, 200),
            "timezone": zone,
            "company_name": Text(0, 500),
            "domain": Text(0, 253),
            "industry": Text(0, 500),
            "employee_count": Number(0, 100_000_000),
            "revenue": Number(0),
            "technologies": Items(500, each=Text(0, 200)),
            "total_funding": Number(0),
            "latest_funding_stage": Text(0, 100),
            "latest_funding_date": iso_date,
            "founded_year": Number(1000, 2200),
            "city": Text(0, 200),
            "region": Text(0, 200),
            "country": Text(0, 200),
            "bounce_count": Number(0, 1_000_000),
            "attributes": Entries(200, Text(1, 128), Text(0, 1000)),
        },
    ),
    **_expanded(
        "ExperimentVariant",
        {
            "name": Text(1, 64),
            "description": Text(0, 2000),
            "weight": Number(5e-324, 1000),
            "template_id": Text(1, 128),
        },
    ),
    **_expanded(
        "PowerPlan",
        {
            "base_rate": Number(0, 1, open_ends=True),
            "minimum_effect": Number(5e-324, 10),
            "power": Number(0.5, 0.99),
            "alpha": Number(0.001, 0.2),
        },
    ),
    **_expanded(
        "Weights",
        {
            "data_quality": Number(0.05, 0.50),
            "authority": Number(0.05, 0.50),
            "company_fit": Number(0.05, 0.50),
            "timing": Number(0.05, 0.50),
            "risk": Number(0.05, 0.50),
        },
    ),
    **_expanded(
        "Icp",
        {
            "industries": Items(500, each=Text(1, 200)),
            "employee_min": Number(0, 100_000_000),
            "employee_max": Number(0, 100_000_000),
            "countries": Items(300, each=Text(1, 200)),
            "titles": Items(500, each=Text(1, 200)),
        },
    ),
    **_expanded(
        "ClientPolicy",
        {
            "exploration_share": Number(0, 1),
            "tier_channels": Entries(4, Words(("hot", "warm", "cool", "cold")), _channel_list),
            "retention_days": Number(30, 3650),
        },
    ),
    **_expanded(
        "Money",
        {
            "currency_code": currency,
            "amount": Number(),
        },
    ),
    **_expanded(
        "Job",
        {
            "company": Text(0, 500),
            "title": Text(0, 500),
            "start_date": iso_date,
            "end_date": iso_date,
        },
    ),
    **_expanded(
        "ChannelList",
        {
            "channels": Items(32, each=channel),
        },
    ),
}


REQUIRED: Final = frozenset(
    (
        "cis.v1.LearnRequest.scope",
        "cis.v1.BackfillRequest.scope",
        "cis.v1.GetSequenceRequest.subject",
        "cis.v1.ScoreLeadRequest.target",
        "cis.v1.UpsertClientRequest.client",
        "cis.v1.GetClientRequest.client_id",
        "cis.v1.UpsertCampaignsRequest.client_id",
        "cis.v1.UpsertTemplatesRequest.client_id",
        "cis.v1.EraseLeadRequest.client_id",
        "cis.v1.EraseLeadRequest.lead_id",
        "cis.v1.GetEngagementStatsRequest.client_id",
        "cis.v1.GetConversationStatsRequest.client_id",
        "cis.v1.GetDealStatsRequest.client_id",
        "cis.v1.GetFunnelStatsRequest.client_id",
        "cis.v1.UpsertLeadsRequest.client_id",
        "cis.v1.RecordActivitiesRequest.client_id",
        "cis.v1.RecordEmailEventsRequest.client_id",
        "cis.v1.RecordRepliesRequest.client_id",
        "cis.v1.RecordMeetingsRequest.client_id",
        "cis.v1.RecordDealsRequest.client_id",
        "cis.v1.RecordOutcomesRequest.client_id",
        "cis.v1.UpdateThreadRequest.client_id",
        "cis.v1.AssignPoolPersonsRequest.client_id",
        "cis.v1.AnalyzeContentRequest.client_id",
        "cis.v1.AnalyzeReplyRequest.client_id",
        "cis.v1.AnalyzeReplyRequest.text",
        "cis.v1.CreateExperimentRequest.client_id",
        "cis.v1.AssignVariantRequest.client_id",
        "cis.v1.AssignVariantRequest.experiment_id",
        "cis.v1.GetExperimentRequest.client_id",
        "cis.v1.GetExperimentRequest.experiment_id",
        "cis.v1.EndExperimentRequest.client_id",
        "cis.v1.EndExperimentRequest.experiment_id",
        "cis.v1.EndExperimentRequest.approver",
        "cis.v1.GetLearningRunRequest.run_id",
        "cis.v1.ListModelsRequest.client_id",
        "cis.v1.GetModelRequest.client_id",
        "cis.v1.GetModelRequest.model_version",
        "cis.v1.PromoteModelRequest.client_id",
        "cis.v1.PromoteModelRequest.model_version",
        "cis.v1.PromoteModelRequest.approver",
        "cis.v1.RollbackModelRequest.client_id",
        "cis.v1.RollbackModelRequest.kind",
        "cis.v1.RollbackModelRequest.approver",
        "cis.v1.RejectModelRequest.client_id",
        "cis.v1.RejectModelRequest.model_version",
        "cis.v1.RejectModelRequest.approver",
        "cis.v1.SetWeightsRequest.client_id",
        "cis.v1.SetWeightsRequest.weights",
        "cis.v1.SetWeightsRequest.approver",
        "cis.v1.GetRecommendationsRequest.client_id",
        "cis.v1.DecideRecommendationRequest.client_id",
        "cis.v1.DecideRecommendationRequest.recommendation_id",
        "cis.v1.DecideRecommendationRequest.decision",
        "cis.v1.DecideRecommendationRequest.approver",
        "cis.v1.ListPatternsRequest.client_id",
        "cis.v1.GetPatternRequest.client_id",
        "cis.v1.GetPatternRequest.type",
        "cis.v1.ListPatternHistoryRequest.client_id",
        "cis.v1.GetWeightsRequest.client_id",
        "cis.v1.GetTimingRequest.client_id",
        "cis.v1.GetChannelsRequest.client_id",
        "cis.v1.GetContentRequest.client_id",
        "cis.v1.GetSequenceRequest.client_id",
        "cis.v1.GetPromptContextRequest.client_id",
        "cis.v1.ScoreLeadRequest.client_id",
        "cis.v1.BatchScoreLeadsRequest.client_id",
        "cis.v1.ScoreTableRequest.client_id",
        "cis.v1.ListTopLeadsRequest.client_id",
        "cis.v1.RescoreLeadsRequest.client_id",
        "cis.v1.Client.client_id",
        "cis.v1.Campaign.campaign_id",
        "cis.v1.Template.template_id",
        "cis.v1.Template.channel",
        "cis.v1.SuppressedIdentifier.kind",
        "cis.v1.LeadItem.idempotency_key",
        "cis.v1.LeadItem.lead",
        "cis.v1.ActivityItem.idempotency_key",
        "cis.v1.ActivityItem.lead_id",
        "cis.v1.ActivityItem.channel",
        "cis.v1.ActivityItem.action",
        "cis.v1.ActivityItem.occurred_time",
        "cis.v1.EmailEventItem.idempotency_key",
        "cis.v1.EmailEventItem.event_type",
        "cis.v1.EmailEventItem.occurred_time",
        "cis.v1.ReplyItem.idempotency_key",
        "cis.v1.ReplyItem.lead_id",
        "cis.v1.ReplyItem.channel",
        "cis.v1.ReplyItem.received_time",
        "cis.v1.MeetingItem.idempotency_key",
        "cis.v1.MeetingItem.meeting_id",
        "cis.v1.MeetingItem.lead_id",
        "cis.v1.MeetingItem.booked_time",
        "cis.v1.DealItem.idempotency_key",
        "cis.v1.DealItem.deal_id",
        "cis.v1.DealItem.lead_id",
        "cis.v1.OutcomeItem.idempotency_key",
        "cis.v1.OutcomeItem.lead_id",
        "cis.v1.OutcomeItem.status",
        "cis.v1.OutcomeItem.occurred_time",
        "cis.v1.ThreadItem.idempotency_key",
        "cis.v1.ThreadItem.thread_id",
        "cis.v1.PoolPersonItem.idempotency_key",
        "cis.v1.PoolPersonItem.person_id",
        "cis.v1.PoolPersonItem.person",
        "cis.v1.PoolAssignmentItem.idempotency_key",
        "cis.v1.PoolAssignmentItem.person_id",
        "cis.v1.ExperimentVariant.name",
    )
)
"""Fields and choices (oneofs) that must be set; text must not be empty."""

BATCH_ITEMS: Final = frozenset(
    (
        "cis.v1.UpsertLeadsRequest.items",
        "cis.v1.RecordActivitiesRequest.items",
        "cis.v1.RecordEmailEventsRequest.items",
        "cis.v1.RecordRepliesRequest.items",
        "cis.v1.RecordMeetingsRequest.items",
        "cis.v1.RecordDealsRequest.items",
        "cis.v1.RecordOutcomesRequest.items",
        "cis.v1.UpdateThreadRequest.items",
        "cis.v1.UpsertPoolPersonsRequest.items",
        "cis.v1.AssignPoolPersonsRequest.items",
        "cis.v1.BatchScoreLeadsRequest.leads",
    )
)
"""Items of batches, checked one by one so that a bad one fails alone."""
