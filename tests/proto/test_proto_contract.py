"""The contract: everything is explained, and keeps the names callers are written against."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, EnumType
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from cis_server.domain import vocabulary
from cis_server.domain.envelope import AttributeRanking, BlockStatus
from cis_server.domain.lead import Job, Lead
from cis_server.domain.patterns import PATTERN_CLASSES
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.suppression import IdentifierKind

ROOT = Path(__file__).parents[2]


@dataclass
class Contract:
    """Everything the protos declare, by full name without the package."""

    files: dict[str, Sequence[str]] = field(default_factory=dict)
    """File name -> what it imports."""
    services: dict[str, ServiceDescriptorProto] = field(default_factory=dict)
    methods: dict[str, MethodDescriptorProto] = field(default_factory=dict)
    messages: dict[str, DescriptorProto] = field(default_factory=dict)
    fields: dict[str, FieldDescriptorProto] = field(default_factory=dict)
    enums: dict[str, EnumDescriptorProto] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)

    def field_names(self, message: str) -> list[str]:
        return [each.name for each in self.messages[message].field]


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    target = tmp_path_factory.mktemp("descriptors") / "set.binpb"
    proto = ROOT / "proto"
    sources = sorted(path.relative_to(proto).as_posix() for path in proto.glob("cis/v1/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", "--include_source_info"]
    subprocess.run([*command, f"--descriptor_set_out={target}", *sources], check=True, timeout=60)
    return read(FileDescriptorSet.FromString(target.read_bytes()))


def read(descriptors: FileDescriptorSet) -> Contract:
    found = Contract()
    for file in descriptors.file:
        found.files[file.name] = list(file.dependency)
        comment = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}

        def add(name: str, *path: int, comment: dict[tuple[int, ...], str] = comment) -> str:
            found.comments[name] = " ".join(comment.get(path, "").split())
            return name

        for i, message in enumerate(file.message_type):
            found.messages[add(message.name, 4, i)] = message
            for j, each in enumerate(message.field):
                found.fields[add(f"{message.name}.{each.name}", 4, i, 2, j)] = each
            for j, oneof in enumerate(message.oneof_decl):
                # An `optional` field is a oneof of its own, made by the compiler.
                if not oneof.name.startswith("_"):
                    add(f"{message.name}.{oneof.name}", 4, i, 8, j)
        for i, enum in enumerate(file.enum_type):
            found.enums[add(enum.name, 5, i)] = enum
            for j, value in enumerate(enum.value):
                found.values[add(value.name, 5, i, 2, j)] = value.number
        for i, service in enumerate(file.service):
            found.services[add(service.name, 6, i)] = service
            for j, method in enumerate(service.method):
                found.methods[add(f"{service.name}.{method.name}", 6, i, 2, j)] = method
    return found


RPCS = {
    "ScoringService": "ScoreLead BatchScoreLeads ScoreTable ListTopLeads RescoreLeads",
    "RecommendationService": "GetTiming GetChannels GetContent GetSequence GetPromptContext",
    "PatternService": "ListPatterns GetPattern ListPatternHistory GetWeights",
    "LearningService": "Learn GetLearningRun ListLearningRuns Backfill CheckHealth ListModels "
    "GetModel PromoteModel RollbackModel RejectModel SetWeights GetRecommendations "
    "DecideRecommendation",
    "AdminService": "UpsertClient GetClient ListClients UpsertCampaigns UpsertTemplates Suppress "
    "Unsuppress EraseLead",
    "CaptureService": "UpsertLeads RecordActivities RecordEmailEvents RecordReplies RecordMeetings "
    "RecordDeals RecordOutcomes UpdateThread UpsertPoolPersons AssignPoolPersons AnalyzeContent "
    "AnalyzeReply",
    "ExperimentService": "CreateExperiment AssignVariant GetExperiment EndExperiment",
    "AnalyticsService": "GetEngagementStats GetConversationStats GetDealStats GetFunnelStats",
}

STREAMS = {  # method -> (client streams, server streams)
    "ScoringService.ScoreTable": (True, True),
    "ScoringService.RescoreLeads": (False, True),
    "LearningService.Learn": (False, True),
    "LearningService.Backfill": (False, True),
}

FIELDS = {
    "RateEstimate": "rate adjusted_rate low high sample converted lift adjusted_lift "
    "stratified_lift stratified_low stratified_high q_value",
    "ModelInfo": "model_version source computed_time valid_until_time sample_size confidence stale",
    "Weights": "data_quality authority company_fit timing risk",
    "Components": "data_quality authority company_fit timing risk",
    "Contributions": "data_quality authority company_fit timing risk",
    "Icp": "industries employee_min employee_max countries titles",
    "LeadScore": "lead_id score tier components contributions weighted_sum weights suppressed "
    "suppression_reason tier_channels channels conversion_probability reasons model",
    "ConversionProbability": "probability low high target",
    "Reason": "factor points text",
    "ScoreLeadRequest": "client_id lead lead_id campaign_id icp as_of_time persist",
    "BatchScoreLeadsRequest": "client_id leads lead_ids campaign_id icp as_of_time persist view",
    "BatchScoreLeadsResponse": "scores failures tier_counts mean_score weights model",
    "ScoreFailure": "index lead_id code message",
    "ScoreTableRequest": "client_id campaign_id icp as_of_time arrow_ipc",
    "ScoreTableResponse": "arrow_ipc",
    "GetTimingRequest": "client_id lead_id timezone country region city campaign_id channel "
    "touch_number last_touch_time earliest_time count",
    "GetTimingResponse": "best_days best_hours windows next_send_time gap_days touch_distribution "
    "decision_id model",
    "DayAdvice": "day_of_week estimate",
    "HourAdvice": "hour estimate",
    "SendWindow": "start_time end_time local_start timezone estimate propensity",
    "GetChannelsRequest": "client_id tier score lead_id campaign_id available_channels "
    "used_channels",
    "GetChannelsResponse": "channels next_channel sequences multi_channel decision_id model",
    "ChannelChoice": "channel estimate allowed why_not propensity",
    "ChannelSequence": "channels estimate",
    "MultiChannelAdvice": "recommendation single multi lift",
    "GetContentRequest": "client_id channel",
    "GetContentResponse": "pain_points ctas angles subject_patterns optimal_length "
    "personalization_lift template_ranking model",
    "ContentRanking": "effective ineffective undecided",
    "GetSequenceRequest": "client_id lead lead_id tier campaign_id touch_count available_channels "
    "used_channels start_time timezone",
    "GetSequenceResponse": "touches estimate decision_id model",
    "PlannedTouch": "touch_number channel scheduled_time local_time timezone gap_days source",
    "GetPromptContextRequest": "client_id channel max_lines",
    "GetPromptContextResponse": "lines",
    "GetPatternRequest": "client_id type",
    "ListPatternHistoryRequest": "client_id type page_size page_token",
    "LearnRequest": "client_id all_eligible lookback_days min_conversions validity_days as_of_time "
    "force dry_run",
    "LearnResponse": "progress result",
    "LearnProgress": "run_id client_id stage fraction message",
    "LearnResult": "run_id clients",
    "ClientLearnResult": "patterns weights_before weights_after evaluation promoted reason seconds",
    "ItemResult": "status reason idempotency_key",
    "Pattern": "type version as_of_time computed_time valid_until_time sample_size converted "
    "baseline_conversion_rate confidence window_start_time window_end_time method status "
    "status_reason note who what when how funnel conversation",
}

PATTERN_KEYS = {
    "WhoPattern": "title_rankings industry_rankings size_analysis timing_signals "
    "objection_patterns",
    "SizeAnalysis": "sweet_spot sweet_spot_rate distribution",
    "TimingSignals": "new_role_lift hiring_lift funded_lift",
    "ObjectionPatterns": "by_industry by_company_size overall_distribution",
    "WhatPattern": "subject_patterns pain_points ctas angles optimal_length personalization_lift "
    "template_performance ab_test_insights link_effectiveness ai_model_performance",
    "SubjectPatterns": "winning losing",
    "PainPoints": "effective ineffective",
    "Ctas": "effective by_type",
    "Angles": "rankings",
    "OptimalLength": "optimal_words range_min range_max",
    "TemplatePerformance": "top_templates bottom_templates total_templates_analyzed",
    "AbTestInsights": "test_insights total_tests_analyzed",
    "LinkEffectiveness": "with_links_rate without_links_rate links_lift optimal_link_count "
    "recommendation",
    "AiModelPerformance": "best_model model_rankings best_prompt prompt_rankings",
    "WhenPattern": "best_days best_hours converting_touch_distribution optimal_sequence_gaps "
    "engagement_timing timezone_insights conversion_timing",
    "EngagementTiming": "avg_time_to_open_minutes median_time_to_open_minutes "
    "avg_time_to_click_minutes median_time_to_click_minutes median_open_to_click_minutes "
    "optimal_open_window_minutes optimal_click_window_minutes open_rate click_rate "
    "click_to_open_rate",
    "TimezoneInsights": "by_timezone timezone_coverage",
    "ConversionTiming": "avg_days_to_convert median_days_to_convert percentile_50 percentile_80 "
    "percentile_95",
    "HowPattern": "channel_effectiveness sequence_patterns tier_channel_effectiveness "
    "multi_channel_lift email_engagement_correlation channel_conversation_quality "
    "booking_channel_distribution first_touch_effectiveness channel_transitions",
    "FirstTouch": "best_first_channel",
    "SequencePatterns": "winning_sequences",
    "MultiChannelLift": "single_channel_rate multi_channel_rate multi_channel_lift recommendation "
    "optimal_channel_count",
    "FunnelPattern": "show_rate meeting_to_deal win_rate lost_deals channel_attribution velocity",
    "ShowRate": "sample_size overall_rate best_day best_hour insights",
    "MeetingToDeal": "sample_size meeting_to_deal_rate avg_deal_value insights",
    "WinRate": "sample_size win_rate avg_won_value avg_days_to_close insights",
    "LostDeals": "sample_size top_reasons",
    "ChannelAttribution": "sample_size total_revenue channels",
    "Velocity": "sample_size stage_velocity",
    "LostReasonShare": "reason count share total_value_lost avg_days_in_pipeline",
    "ChannelRevenue": "channel deals_won deals_total win_rate revenue revenue_share avg_deal_value",
    "StageVelocity": "stage avg_days_won avg_days_lost won_count lost_count",
    "StalledDeal": "deal_id stage days_in_stage",
    "Insight": "type impact message action figures",
    "ConversationPattern": "thread_totals objection_outcomes objection_responses common_questions "
    "sentiment_trajectory response_time_effect turns escalation intent_mix",
    "ThreadTotals": "threads resolved converted rejected no_response conversion_rate",
    "ObjectionOutcome": "objection_type threads share estimate",
    "ObjectionResponse": "objection_type response_template angle threads estimate",
    "CommonQuestion": "question frequency avg_sentiment_score estimate",
    "SentimentTrajectory": "first_inbound conversion_rate improving worsening",
    "ResponseTimeEffect": "bucket threads estimate",
    "Turns": "median_turns_converted median_turns_lost conversion_rate_by_turns",
    "Escalation": "escalated_threads conversion_rate_escalated conversion_rate_not",
    "IntentShare": "messages estimate",
}

VOCABULARIES: dict[str, EnumType] = {
    "Tier": vocabulary.Tier,
    "EmailStatus": vocabulary.EmailStatus,
    "LeadStatus": vocabulary.LeadStatus,
    "TimePrecision": vocabulary.TimePrecision,
    "ConversionType": vocabulary.ConversionType,
    "PatternType": vocabulary.PatternType,
    "PatternStatus": vocabulary.PatternStatus,
    "Source": vocabulary.Source,
    "Verdict": vocabulary.Verdict,
    "Promotion": vocabulary.Promotion,
    "RunState": vocabulary.RunState,
    "SubscriptionStatus": vocabulary.SubscriptionStatus,
    "RejectionReason": vocabulary.RejectionReason,
    "Objection": vocabulary.Objection,
    "ReplyIntent": vocabulary.ReplyIntent,
    "Sentiment": vocabulary.Sentiment,
    "ThreadStatus": vocabulary.ThreadStatus,
    "ThreadOutcome": vocabulary.ThreadOutcome,
    "MeetingType": vocabulary.MeetingType,
    "MeetingOutcome": vocabulary.MeetingOutcome,
    "DealStage": vocabulary.DealStage,
    "LostReason": vocabulary.LostReason,
    "EmailEventType": vocabulary.EmailEventType,
    "IdentifierKind": IdentifierKind,
}

TIMESTAMP = ".google.protobuf.Timestamp"


def test_only_bundled_protos_are_imported(contract: Contract) -> None:
    for imports in contract.files.values():
        for each in imports:
            assert each.startswith("google/protobuf/") or each in contract.files


def test_everything_is_explained(contract: Contract) -> None:
    assert len(contract.comments) > 1500
    bare = [name for name, comment in contract.comments.items() if len(comment) < 4]
    assert bare == []


def test_messages_and_enums_are_not_nested(contract: Contract) -> None:
    """The walk over comments looks at the top level only."""
    for message in contract.messages.values():
        assert all(each.options.map_entry for each in message.nested_type)
        assert not message.enum_type


def test_services_and_methods(contract: Contract) -> None:
    assert set(contract.services) == set(RPCS)
    for service, names in RPCS.items():
        assert [each.name for each in contract.services[service].method] == names.split()


def test_streams(contract: Contract) -> None:
    for name, method in contract.methods.items():
        streams = (method.client_streaming, method.server_streaming)
        assert streams == STREAMS.get(name, (False, False)), name


def test_score_lead_answers_the_score_itself(contract: Contract) -> None:
    for name, method in contract.methods.items():
        own = method.name if name != "ScoringService.ScoreLead" else None
        assert method.input_type == f".cis.v1.{method.name}Request"
        assert method.output_type == (f".cis.v1.{own}Response" if own else ".cis.v1.LeadScore")


@pytest.mark.parametrize("message", sorted(FIELDS | PATTERN_KEYS))
def test_field_names(contract: Contract, message: str) -> None:
    wanted = (FIELDS | PATTERN_KEYS)[message].split()
    assert set(wanted) - set(contract.field_names(message)) == set()


def test_lead_is_the_domain_lead(contract: Contract) -> None:
    assert contract.field_names("Lead") == [each.name for each in dataclasses.fields(Lead)]
    assert set(contract.field_names("Job")) == {each.name for each in dataclasses.fields(Job)}
    assert contract.field_names("RateEstimate") == [
        each.name for each in dataclasses.fields(RateEstimate)
    ]
    assert contract.field_names("SegmentRate") == [
        each.name for each in dataclasses.fields(SegmentRate)
    ]


def test_patterns_are_the_domain_patterns(contract: Contract) -> None:
    """Stored JSON has the keys of the domain classes, and converts by equal names."""
    todo: list[Any] = [*PATTERN_CLASSES.values(), AttributeRanking, BlockStatus]
    seen: set[Any] = set()
    while todo:
        kind = todo.pop()
        if kind in seen:
            continue
        seen.add(kind)
        hints = typing.get_type_hints(kind)
        wanted = {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.name != "envelope"}
        assert set(contract.field_names(kind.__name__)) == set(wanted)
        for name, hint in wanted.items():
            todo += compare(contract, f"{kind.__name__}.{name}", hint)
    assert len(seen) > 30


def compare(contract: Contract, name: str, hint: Any) -> list[Any]:
    """Checks one field against the type of its domain twin; the classes found inside."""
    each = contract.fields[name]
    options = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
    hint = next(option for option in options if option is not types.NoneType)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    assert (each.label == FieldDescriptorProto.LABEL_REPEATED) == (origin in (tuple, dict)), name
    if origin is dict:
        entry = map_value(contract, each)
        if typing.get_origin(inner[1]) is not tuple:
            return matched(entry, inner[1], name)
        items = contract.fields[f"{entry.type_name.removeprefix('.cis.v1.')}.items"]
        return matched(items, typing.get_args(inner[1])[0], name)
    if origin is tuple:
        return matched(each, inner[0], name)
    scalar = each.type != FieldDescriptorProto.TYPE_MESSAGE
    assert each.proto3_optional == (scalar and len(options) > 1), name
    return matched(each, hint, name)


def map_value(contract: Contract, each: FieldDescriptorProto) -> FieldDescriptorProto:
    path = each.type_name.removeprefix(".cis.v1.").split(".")
    entry = next(e for e in contract.messages[path[0]].nested_type if e.name == path[1])
    return entry.field[1]


def matched(each: FieldDescriptorProto, hint: Any, name: str) -> list[Any]:
    kinds = {
        float: {FieldDescriptorProto.TYPE_DOUBLE},
        bool: {FieldDescriptorProto.TYPE_BOOL},
        int: {
            FieldDescriptorProto.TYPE_INT32,
            FieldDescriptorProto.TYPE_INT64,
            FieldDescriptorProto.TYPE_ENUM,
        },
        str: {FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_ENUM},
    }
    if dataclasses.is_dataclass(hint):
        assert each.type_name == f".cis.v1.{typing.cast(type, hint).__name__}", name
        return [hint]
    if issubclass(hint, Enum):
        assert each.type_name == f".cis.v1.{hint.__name__}", name
        return []
    assert each.type in kinds[hint], name
    return []


def test_unknown_facts_of_a_lead_can_be_told_from_zero(contract: Contract) -> None:
    for each in contract.messages["Lead"].field:
        scalar = not each.type_name and each.label != FieldDescriptorProto.LABEL_REPEATED
        assert each.proto3_optional == (scalar and each.name != "lead_id"), each.name


@pytest.mark.parametrize("enum", sorted(VOCABULARIES))
def test_enumerations_are_the_domain_words(contract: Contract, enum: str) -> None:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum).upper()
    names = [value.name for value in contract.enums[enum].value]
    assert names[0] == f"{prefix}_UNSPECIFIED"
    assert names[1:] == [f"{prefix}_{name}" for name in VOCABULARIES[enum].__members__]


def test_weekdays_are_iso_numbers(contract: Contract) -> None:
    assert contract.values["DAY_OF_WEEK_MONDAY"] == 1
    assert contract.values["DAY_OF_WEEK_SUNDAY"] == 7


def test_instants_end_in_time_and_dates_in_date(contract: Contract) -> None:
    for name, each in contract.fields.items():
        text = each.type == FieldDescriptorProto.TYPE_STRING
        assert (each.type_name == TIMESTAMP) == (name.endswith("_time") and not text), name
        assert not name.endswith(("_at", "_ts")), name
        if name.endswith("_date"):
            assert text, name
        if text and name.endswith("_time"):
            assert each.name.startswith("local_"), name


def test_lists_are_paged(contract: Contract) -> None:
    for name, method in contract.methods.items():
        if method.name.startswith("List"):
            request = contract.field_names(f"{method.name}Request")
            assert {"page_size", "page_token"} <= set(request), name
            assert "next_page_token" in contract.field_names(f"{method.name}Response"), name


def test_every_checked_key_states_its_range(contract: Contract) -> None:
    """Rules are made from these words; a key without them would go unchecked."""
    keys = [
        name
        for name in contract.fields
        if re.fullmatch(r"\w+(Request|Item)\.(client_id|lead_id|campaign_id)", name)
    ]
    assert len(keys) > 60
    for name in keys:
        assert "Range: 1..128 characters." in contract.comments[name], name


def test_batches_state_their_limit(contract: Contract) -> None:
    for name, each in contract.fields.items():
        repeated = each.label == FieldDescriptorProto.LABEL_REPEATED
        enum = each.type == FieldDescriptorProto.TYPE_ENUM
        if re.fullmatch(r"\w+Request\.\w+", name) and repeated and not enum:
            assert "Range:" in contract.comments[name], name


def test_every_maintained_message_is_used(contract: Contract) -> None:
    """A message that no method can reach is dead weight in every language."""
    todo = [
        name.removeprefix(".cis.v1.")
        for method in contract.methods.values()
        for name in (method.input_type, method.output_type)
    ]
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        if name in reached or name not in contract.messages:
            continue
        reached.add(name)
        message = contract.messages[name]
        entries = [each for entry in message.nested_type for each in entry.field]
        todo += [each.type_name.removeprefix(".cis.v1.") for each in (*message.field, *entries)]
    assert set(contract.messages) - reached == set()
