"""The answers of a serving process: state in memory, request in, answer out.

Nothing here waits, save what names a stored lead (`stored_leads`, bounded by the time given) and
`pattern`, which is asked by dashboards and may read the store. Servicers convert, call and convert.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import PatternKey, PatternRecord, StoredLead, StoredTouch
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.patterns import HowPattern, WhenPattern
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType, Source, Tier
from cis_server.domain.weights import read_weights
from cis_server.domain.what_pattern import WhatPattern
from cis_server.errors import NotFound
from cis_server.serving.answers import (
    ChannelsAnswer,
    ContentAnswer,
    PromptContextAnswer,
    SequenceAnswer,
    TimingAnswer,
)
from cis_server.serving.channel_plan import DEFAULT_CHANNELS
from cis_server.serving.channels import ChannelsRequest, channels_answer
from cis_server.serving.content import content_answer
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.draws import draws_for
from cis_server.serving.freshness import combined_info, may_answer, pattern_info
from cis_server.serving.pattern_cache import ResidentPattern
from cis_server.serving.ports import LeadReader
from cis_server.serving.prompt_context import PromptPatterns, prompt_lines
from cis_server.serving.scoring_answers import (
    ScoringContext,
    WeightsAnswer,
    scored_lead,
    scoring_context,
    weights_in_force,
)
from cis_server.serving.sequence import SequenceMaterial, SequenceRequest, sequence_answer
from cis_server.serving.snapshot import ClientSnapshot
from cis_server.serving.standing_advice import StandingAdvice
from cis_server.serving.store import SnapshotStore
from cis_server.serving.timing import TimingRequest, places_of, timing_answer
from cis_server.serving.timing_plan import DEFAULT_TIMING

LEAD_SECONDS: Final = 0.25
"""Longest wait for stored leads; a caller's shorter deadline counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternAnswer:
    """One pattern, expired or not, and how its type's last run ended."""

    pattern: Stored | None
    """None when no run ever succeeded."""
    record: PatternRecord
    """Without content."""
    model: ModelInfo


class Advisor:
    """Answers every question that memory can answer."""

    def __init__(
        self,
        store: SnapshotStore,
        leads: LeadReader,
        decisions: DecisionLog,
        clock: Callable[[], dt.datetime],
    ) -> None:
        """Put the parts together.

        Args:
            store: state in memory.
            leads: reader of stored leads.
            decisions: log of explored choices.
            clock: gives the present instant, aware.
        """
        self._store, self._leads, self._decisions, self._clock = store, leads, decisions, clock
        self.standing = StandingAdvice(store, decisions, clock)

    def scoring_context(
        self,
        client_id: str,
        *,
        campaign_id: str | None = None,
        icp: Icp | None = None,
        as_of: dt.datetime | None = None,
    ) -> ScoringContext:
        """What a scoring call scores with; see `scoring_answers` for what comes next.

        Raises:
            NotFound: there is no such client.
        """
        return scoring_context(
            self._store.client(client_id),
            self._clock(),
            database_away=self._store.database_away,
            campaign_id=campaign_id,
            icp=icp,
            as_of=as_of,
        )

    def scoring_state(self, client_id: str) -> tuple[ClientSnapshot | None, dt.datetime, bool]:
        """All that a scoring context depends on besides what the call says.

        Returns:
            The client, None when it is not known; the present instant; whether the database is
            away.
        """
        store = self._store
        return store.snapshot.clients.get(client_id), self._clock(), store.database_away

    def weights(self, client_id: str) -> WeightsAnswer:
        """The weights in force.

        Raises:
            NotFound: there is no such client.
        """
        client = self._store.client(client_id)
        weights, info = weights_in_force(
            client, self._clock(), database_away=self._store.database_away
        )
        standing, record = client.weights_standing, client.weights_record
        learned, learned_version = None, ""
        if record is not None and info.source is Source.DEFAULT:
            learned, learned_version = client.weights, record.version
        elif standing.learned is not None:
            found, objection = read_weights(standing.learned.content)
            if objection is None:
                learned, learned_version = found, standing.learned.version
        return WeightsAnswer(
            weights=weights,
            model_info=info,
            standing=standing,
            learned=learned,
            learned_version=learned_version,
            rollout=client.rollout.weights if client.rollout is not None else None,
        )

    def timing(self, request: TimingRequest) -> TimingAnswer:
        """When to contact a lead.

        Raises:
            NotFound: there is no such client or campaign.
        """
        client = self._store.client(request.client_id)
        resident, usable, model = self._pattern(request.client_id, PatternType.WHEN)
        plan = resident.timing if resident is not None and usable else None
        answer, decision = timing_answer(
            plan or DEFAULT_TIMING,
            request,
            client.client,
            client.campaign(request.campaign_id),
            model,
            self._clock(),
            draws_for(
                request.lead_id,
                request.client_id,
                "timing",
                request.channel or "",
                str(request.touch_number or 0),
                model.model_version,
            ),
        )
        if decision is not None:
            self._decisions.add(decision)
        return answer

    def timing_of_lead(
        self, request: TimingRequest, timeout_seconds: float = LEAD_SECONDS
    ) -> TimingAnswer:
        """`timing` for the stored lead `request.lead_id` names.

        What the request says goes first, save that the lead's place comes before the request's.

        Raises:
            NotFound: there is no such client, lead or named campaign.
            StoreUnavailable: the lead could not be read in time.
        """
        stored = self._stored_lead(request.client_id, request.lead_id or "", timeout_seconds)
        return self.timing(completed_timing(request, stored))

    def channels(self, request: ChannelsRequest) -> ChannelsAnswer:
        """Through which channel to contact a lead.

        Raises:
            NotFound: there is no such client or campaign.
        """
        client = self._store.client(request.client_id)
        resident, usable, model = self._pattern(request.client_id, PatternType.HOW)
        plan = resident.channels if resident is not None and usable else None
        answer, decision = channels_answer(
            plan or DEFAULT_CHANNELS,
            request,
            client.client.policy,
            client.campaign(request.campaign_id),
            model,
            self._clock(),
            draws_for(
                request.lead_id,
                request.client_id,
                "channel",
                ",".join(request.used_channels),
                model.model_version,
            ),
        )
        if decision is not None:
            self._decisions.add(decision)
        return answer

    def channels_of_lead(
        self, request: ChannelsRequest, timeout_seconds: float = LEAD_SECONDS
    ) -> ChannelsAnswer:
        """`channels` for the stored lead `request.lead_id` names, scored as of now.

        Raises:
            NotFound: there is no such client, lead or named campaign.
            StoreUnavailable: the lead could not be read in time.
        """
        stored = self._stored_lead(request.client_id, request.lead_id or "", timeout_seconds)
        context = self.scoring_context(
            request.client_id, campaign_id=request.campaign_id or stored.described_campaign_id
        )
        score = scored_lead(stored.lead, context)
        return self.channels(
            completed_channels(request, stored, score.tier, suppressed=score.suppressed)
        )

    def sequence(self, request: SequenceRequest) -> SequenceAnswer:
        """A plan of touches for a tier, or for a lead that is given and scored as of now.

        Raises:
            NotFound: there is no such client or campaign.
        """
        client = self._store.client(request.client_id)
        if request.lead is not None and request.tier is None:
            request = self._scored(request, request.lead)
        when, when_usable, when_model = self._pattern(request.client_id, PatternType.WHEN)
        how, how_usable, how_model = self._pattern(request.client_id, PatternType.HOW)
        timing = when.timing if when is not None and when_usable else None
        channels = how.channels if how is not None and how_usable else None
        learned = when.pattern if when is not None and timing is not None else None
        answer, decision = sequence_answer(
            SequenceMaterial(
                timing=timing or DEFAULT_TIMING,
                timing_model=when_model,
                channels=channels or DEFAULT_CHANNELS,
                channels_model=how_model,
                mean_touches=learned.avg_touches_to_convert
                if isinstance(learned, WhenPattern) and timing is not None and timing.share > 0.0
                else None,
            ),
            request,
            client.client,
            client.campaign(request.campaign_id),
            self._clock(),
            partial(draws_for, request.lead_id, request.client_id),
        )
        if decision is not None:
            self._decisions.add(decision)
        return answer

    def sequence_of_lead(
        self, request: SequenceRequest, timeout_seconds: float = LEAD_SECONDS
    ) -> SequenceAnswer:
        """`sequence` for the stored lead `request.lead_id` names, scored as of now.

        Raises:
            NotFound: there is no such client, lead or named campaign.
            StoreUnavailable: the lead could not be read in time.
        """
        stored = self._stored_lead(request.client_id, request.lead_id or "", timeout_seconds)
        return self.sequence(completed_sequence(request, stored))

    def content(self, client_id: str, channel: str | None) -> ContentAnswer:
        """What content converts on a channel, or on all together.

        Raises:
            NotFound: there is no such client.
        """
        self._store.client(client_id)
        resident, usable, model = self._pattern(client_id, PatternType.WHAT)
        pattern = resident.pattern if resident is not None and usable else None
        return content_answer(pattern if isinstance(pattern, WhatPattern) else None, channel, model)

    def prompt_context(
        self, client_id: str, channel: str | None, max_lines: int
    ) -> PromptContextAnswer:
        """What was learned, as sentences for a prompt.

        Raises:
            NotFound: there is no such client.
        """
        self._store.client(client_id)
        models: dict[str, ModelInfo] = {}
        learned: dict[PatternType, Stored | None] = {}
        for kind in (PatternType.WHAT, PatternType.WHEN, PatternType.HOW):
            resident, _, models[kind.value] = self._pattern(client_id, kind)
            trusted = models[kind.value].source is not Source.DEFAULT
            learned[kind] = resident.pattern if resident is not None and trusted else None
        what, when, how = learned.values()
        patterns = PromptPatterns(
            what=what if isinstance(what, WhatPattern) else None,
            when=when if isinstance(when, WhenPattern) else None,
            how=how if isinstance(how, HowPattern) else None,
        )
        told = {name: info for name, info in models.items() if info.source is not Source.DEFAULT}
        expired = {name: info for name, info in models.items() if info.stale}
        model = combined_info((told | expired) or models)
        if told:
            # Lines hold nothing but what was learned: what was not has no say in the source.
            model = replace(model, source=combined_info(told).source)
        return PromptContextAnswer(
            lines=prompt_lines(patterns, channel, max_lines),
            model=model,
        )

    def require_client(self, client_id: str) -> None:
        """Make sure that there is such a client.

        Raises:
            NotFound: there is none.
        """
        self._store.client(client_id)

    def stored_leads(
        self, client_id: str, lead_ids: Sequence[str], timeout_seconds: float = LEAD_SECONDS
    ) -> Mapping[str, StoredLead]:
        """Stored leads by id; unknown ones are left out.

        Raises:
            NotFound: there is no such client.
            StoreUnavailable: no answer in time.
        """
        self._store.client(client_id)
        return self._leads.read_leads(client_id, lead_ids, min(timeout_seconds, LEAD_SECONDS))

    def pattern(self, client_id: str, pattern_type: PatternType) -> PatternAnswer:
        """A pattern for people to look at, expired ones too; may wait for the store.

        Raises:
            NotFound: there is no such client, or its type was never run.
            StoreUnavailable: it is not in memory and the database is away.
        """
        self._store.client(client_id)
        resident = self._store.load_pattern(PatternKey(client_id, pattern_type))
        if resident.record is None:
            raise NotFound("pattern", pattern_type.value)
        model = pattern_info(
            resident.record, self._clock(), database_away=self._store.database_away
        )
        return PatternAnswer(pattern=resident.pattern, record=resident.record, model=model)

    def _pattern(
        self, client_id: str, pattern_type: PatternType
    ) -> tuple[ResidentPattern | None, bool, ModelInfo]:
        """What is in memory, whether it may answer, and what to say of it."""
        resident = self._store.pattern(PatternKey(client_id, pattern_type))
        record = resident.record if resident is not None else None
        now, away = self._clock(), self._store.database_away
        usable = record is not None and may_answer(record.valid_until, now, database_away=away)
        return resident, usable, pattern_info(record, now, database_away=away)

    def _scored(self, request: SequenceRequest, lead: Lead) -> SequenceRequest:
        """The request with what scoring the lead tells of it."""
        context = self.scoring_context(request.client_id, campaign_id=request.campaign_id)
        score = scored_lead(lead, context)
        return replace(
            request,
            tier=score.tier,
            suppressed=score.suppressed,
            suppression_reason=score.suppression_reason,
            timezone=request.timezone or lead.timezone,
            places=request.places or places_of(lead),
        )

    def _stored_lead(self, client_id: str, lead_id: str, timeout_seconds: float) -> StoredLead:
        found = self.stored_leads(client_id, (lead_id,), timeout_seconds).get(lead_id)
        if found is None:
            raise NotFound("lead", lead_id)
        described = found.campaign_id in self._store.client(client_id).campaigns
        return found if described else replace(found, campaign_described=False)


def completed_timing(request: TimingRequest, stored: StoredLead) -> TimingRequest:
    """The request with what it leaves open taken from the stored lead."""
    lead: Lead = stored.lead
    touches = stored.touches_of(request.campaign_id)
    return replace(
        request,
        timezone=request.timezone or lead.timezone,
        places=(*places_of(lead), *request.places),
        campaign_id=request.campaign_id or stored.described_campaign_id,
        touch_number=request.touch_number or len(touches) + 1,
        last_touch_time=request.last_touch_time or _last(touches),
        last_contact_time=stored.last_contact_at,
    )


def completed_channels(
    request: ChannelsRequest, stored: StoredLead, tier: Tier, *, suppressed: bool
) -> ChannelsRequest:
    """The request with the stored lead's tier, contact data and touches."""
    return replace(
        request,
        tier=tier,
        lead=stored.lead,
        suppressed=suppressed,
        campaign_id=request.campaign_id or stored.described_campaign_id,
        used_channels=request.used_channels or _channels(stored.touches_of(request.campaign_id)),
    )


def completed_sequence(request: SequenceRequest, stored: StoredLead) -> SequenceRequest:
    """The request with the stored lead, its campaign and its touches.

    When the caller says which channels were used, the time of the campaign's last stored touch
    still counts: it is the latest one that is known.
    """
    touches = stored.touches_of(request.campaign_id)
    return replace(
        request,
        lead=stored.lead,
        campaign_id=request.campaign_id or stored.described_campaign_id,
        used_channels=request.used_channels or _channels(touches),
        last_touch_time=request.last_touch_time or _last(touches),
        last_contact_time=stored.last_contact_at,
    )


def _channels(touches: Sequence[StoredTouch]) -> tuple[str, ...]:
    return tuple(touch.channel for touch in touches)


def _last(touches: Sequence[StoredTouch]) -> dt.datetime | None:
    return touches[-1].sent_at if touches else None
