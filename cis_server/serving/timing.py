"""When to contact a lead: GetTiming's answer as a function of pattern, request, clock and draws.

Windows lie on the lead's own clock, inside the allowed hours, never in the past and, after an
earlier touch, inside the gap interval. They are ranked by what they promise less what waiting
costs: preference * (1 - d) ** |days from the aim|, where the aim is now for a first touch and the
planned gap for a later one. Today counts: a lead is not kept waiting a week for a slightly better
weekday.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import DecisionOption, DecisionRecord
from cis_server.domain.local_time import find_zone
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.patterns import MIN_GAP_DAYS
from cis_server.domain.timezones import ZoneConfidence, timezone_of
from cis_server.serving.answers import SendWindow, TimingAnswer, ZoneSource
from cis_server.serving.draws import Draws, decision_id
from cis_server.serving.exploration import choose
from cis_server.serving.gaps import GapInterval, gap_before
from cis_server.serving.send_hours import send_hours
from cis_server.serving.slots import LEAST_REMAINDER, Slot, upcoming_slots
from cis_server.serving.timing_plan import ChannelPlan, SlotChoices, TimingPlan

DELAY_COST_PER_DAY: Final = 0.05
"""Share of a touch's worth lost by a day's delay: interest and data age, so a slot must be a good
twentieth better to be worth a day's wait. Our choice; no source gives a figure."""
DEFAULT_COUNT: Final = 3
LAST_RESORT_ZONE: Final = "UTC"

_WEEK = 8  # days that hold every cell at least once from any moment of today on
_FARTHEST = 400  # days; fifty windows fit even where one hour a week is allowed
_SAME_DAY = dt.timedelta(hours=12)
_OPTIONS = 12  # windows among which exploration draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where somebody is, as far as it is known."""

    country: str | None = None
    region: str | None = None
    city: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingRequest:
    """What is asked. Values are checked already."""

    client_id: str
    lead_id: str | None = None
    timezone: str | None = None
    """IANA name: the lead's own."""
    places: tuple[Place, ...] = ()
    """Tried in order: the person's, then the company's."""
    campaign_id: str | None = None
    channel: str | None = None
    touch_number: int | None = None
    """Of the touch to be sent, 1 for the first."""
    last_touch_time: dt.datetime | None = None
    """When the touch before was sent: gaps count from here."""
    last_contact_time: dt.datetime | None = None
    """When the lead was last contacted, in whichever campaign: at least `MIN_GAP_DAYS` days ago."""
    earliest_time: dt.datetime | None = None
    count: int = DEFAULT_COUNT


@dataclass(frozen=True, slots=True)
class LeadZone:
    """A zone and how it was found."""

    name: str
    zone: ZoneInfo
    source: ZoneSource


def lead_zone(
    request: TimingRequest, campaign: CampaignRecord | None, client: ClientRecord
) -> LeadZone:
    """The lead's zone: named, else told from a place, else assumed from campaign or client."""
    if request.timezone is not None:
        zone = find_zone(request.timezone)
        if zone is not None:
            return LeadZone(request.timezone, zone, ZoneSource.EXACT)
    for place in request.places:
        found = _zone_of_place(place)
        if found is not None:
            return found
    for name in (campaign.timezone if campaign else None, client.timezone, LAST_RESORT_ZONE):
        zone = find_zone(name) if name else None
        if name and zone is not None:
            return LeadZone(name, zone, ZoneSource.ASSUMED)
    raise RuntimeError("the time zone database is missing")


def places_of(lead: Lead) -> tuple[Place, ...]:
    """Where a lead may be: the person's place first, then the company's."""
    return (
        Place(country=lead.person_country, region=lead.person_region, city=lead.person_city),
        Place(country=lead.country, region=lead.region, city=lead.city),
    )


def timing_answer(
    plan: TimingPlan,
    request: TimingRequest,
    client: ClientRecord,
    campaign: CampaignRecord | None,
    model: ModelInfo,
    now: dt.datetime,
    draws: Draws,
) -> tuple[TimingAnswer, DecisionRecord | None]:
    """Answer one request.

    Args:
        plan: of the usable WHEN pattern, or `DEFAULT_TIMING`.
        request: what is asked.
        client: for its zone and exploration share.
        campaign: the one named in the request; None: none.
        model: what to say of `plan`.
        now: aware.
        draws: two numbers are taken at most; seeded by lead and touch, so that a rerun agrees.

    Returns:
        The answer, and the record to log when exploration is on.
    """
    zone = lead_zone(request, campaign, client)
    channel_plan = plan.channel(request.channel)
    choices = slot_choices(channel_plan, request, campaign, zone)
    gap = _gap(plan, request)
    search = _Search.of(request, gap, now)
    slots = _ranked_slots(choices, zone.zone, search, request.count)
    share = client.policy.exploration_share
    slots, propensities, options = _explored(slots, search.aim, channel_plan, share, draws)
    windows = tuple(
        _window(slot, zone, propensity)
        for slot, propensity in zip(
            slots[: request.count], propensities[: request.count], strict=True
        )
    )
    first = windows[0]
    identity = decision_id(
        "timing",
        request.client_id,
        request.lead_id or str(draws.random()),
        request.channel or "",
        request.campaign_id or "",
        str(request.touch_number or 0),
        model.model_version,
        slots[0].nominal_start.isoformat(),
    )
    answer = TimingAnswer(
        best_days=channel_plan.best_days,
        best_hours=channel_plan.best_hours,
        windows=windows,
        next_send_time=inside(slots[0], draws),
        gap_days=gap.days if gap else None,
        gap_min_days=gap.min_days if gap else None,
        gap_max_days=gap.max_days if gap else None,
        touch_distribution=plan.touches,
        timezone=zone.name,
        timezone_source=zone.source,
        decision_id=identity,
        propensity=first.propensity,
        model=model,
    )
    if share <= 0.0:
        return answer, None
    return answer, _decision(answer, slots[0], request, options, now)


def slot_choices(
    plan: ChannelPlan, request: TimingRequest, campaign: CampaignRecord | None, zone: LeadZone
) -> SlotChoices:
    """The cells in which the touch asked for may be placed."""
    return plan.choices(
        send_hours(
            request.channel,
            campaign,
            plan.learned_days,
            zone_assumed=zone.source is ZoneSource.ASSUMED,
        )
    )


@dataclass(frozen=True, slots=True)
class _Search:
    base: dt.datetime
    """Nothing starts earlier."""
    aim: dt.datetime
    """Delay is counted from here, either way."""
    latest: dt.datetime | None
    """End of the gap interval; None: no interval, or it has passed."""

    @classmethod
    def of(cls, request: TimingRequest, gap: GapInterval | None, now: dt.datetime) -> _Search:
        base = max(now, request.earliest_time) if request.earliest_time else now
        if request.last_contact_time is not None:
            base = max(base, request.last_contact_time + dt.timedelta(days=MIN_GAP_DAYS))
        base = base.astimezone(dt.UTC)
        last = request.last_touch_time
        if last is None or gap is None:
            return cls(base, base, None)
        last = last.astimezone(dt.UTC)
        base = max(base, last + dt.timedelta(days=gap.min_days))
        latest = last + dt.timedelta(days=gap.max_days)
        aim = max(base, last + dt.timedelta(days=gap.days))
        return cls(base, aim, latest if latest >= base else None)


def _gap(plan: TimingPlan, request: TimingRequest) -> GapInterval | None:
    first = request.touch_number is None or request.touch_number <= 1
    if first and request.last_touch_time is None:
        return None
    return gap_before(request.touch_number, plan.gaps, plan.share)


def _ranked_slots(choices: SlotChoices, zone: ZoneInfo, search: _Search, count: int) -> list[Slot]:
    """The best slots first; never empty.

    Inside a gap interval advised slots come before merely allowed ones; one that lasts beyond its
    end is cut there. An interval without any (a weekend) is stretched to the first day that has
    one, not to the next advised day: a gap of two days must not become five.
    """
    wanted = max(count, _OPTIONS)
    if search.latest is not None:
        latest = _stretched(choices, zone, search.base, search.latest)
        span = range((latest - search.base).days + 2)
        for cells in (choices.preferred, choices.allowed):
            inside = [
                slot if slot.end <= latest else replace(slot, end=latest)
                for slot in upcoming_slots(cells, zone, search.base, span)
                if latest - slot.start > LEAST_REMAINDER
            ]
            if inside:
                return by_worth(inside, search.aim)[:wanted]
    slots = first_touch_slots(choices, zone, search.base, count)
    return by_worth(slots, search.aim)[:wanted]


def first_touch_slots(
    choices: SlotChoices, zone: ZoneInfo, base: dt.datetime, count: int
) -> list[Slot]:
    """Slots to choose from where no gap counts, in order of time: those of a week, or `count`."""
    slots = list(upcoming_slots(choices.preferred, zone, base, range(_WEEK)))
    later = _WEEK
    while len(slots) < count and later < _FARTHEST:
        slots += upcoming_slots(choices.preferred, zone, base, range(later, later + _WEEK))
        later += _WEEK
    return slots


def _stretched(
    choices: SlotChoices, zone: ZoneInfo, base: dt.datetime, latest: dt.datetime
) -> dt.datetime:
    """The end of the interval, put off to the first day with an allowed slot if need be."""
    first = next(upcoming_slots(choices.allowed, zone, base, range(_FARTHEST)), None)
    if first is None or latest - first.start > LEAST_REMAINDER:
        return latest
    return first.start + _SAME_DAY


def by_worth(slots: list[Slot], aim: dt.datetime) -> list[Slot]:
    """The slots, best first; of equals the earlier one."""
    return sorted(slots, key=lambda s: (-worth(s, aim), s.start))


def worth(slot: Slot, aim: dt.datetime) -> float:
    """What a slot promises, less what waiting costs."""
    return slot.cell.preference * _delay_factor(slot, aim)


def _delay_factor(slot: Slot, aim: dt.datetime) -> float:
    days: float = abs((slot.start - aim).total_seconds()) / 86_400.0
    return math.pow(1.0 - DELAY_COST_PER_DAY, days)


def _explored(
    slots: list[Slot], aim: dt.datetime, plan: ChannelPlan, share: float, draws: Draws
) -> tuple[list[Slot], list[float], list[DecisionOption]]:
    """Put the chosen slot first; the propensity of each slot to be first stands beside it."""
    if share <= 0.0:
        return slots, [1.0, *([0.0] * (len(slots) - 1))], []
    arms = slots[:_OPTIONS]
    factors = [_delay_factor(slot, aim) for slot in arms]
    choice = choose(
        [slot.cell.estimate for slot in arms],
        0,
        share,
        draws,
        baseline=plan.baseline,
        discounts=factors,
    )
    propensities = [*choice.propensities, *([0.0] * (len(slots) - len(arms)))]
    options = [
        DecisionOption(
            choice=slot.nominal_start.isoformat(), propensity=propensity, best=index == 0
        )
        for index, (slot, propensity) in enumerate(zip(arms, choice.propensities, strict=True))
    ]
    if choice.index:
        slots = [slots[choice.index], *slots[: choice.index], *slots[choice.index + 1 :]]
        propensities.insert(0, propensities.pop(choice.index))
    return slots, propensities, options


def _window(slot: Slot, zone: LeadZone, propensity: float) -> SendWindow:
    return SendWindow(
        start=slot.start,
        end=slot.end,
        local_start=slot.start.astimezone(zone.zone).isoformat(timespec="seconds"),
        timezone=zone.name,
        day_of_week=slot.cell.day,
        hour=slot.cell.hour,
        estimate=slot.cell.estimate,
        propensity=propensity,
        source=slot.cell.source,
    )


def inside(slot: Slot, draws: Draws) -> dt.datetime:
    """An instant of the window, on a whole second, spread evenly over leads.

    The number decides a place in the whole window, so that the instant stays the same while the
    window comes nearer; only when that place has passed is it drawn from what is left.
    """
    at = draws.random()
    instant = _at(slot.nominal_start, slot.end, at)
    if instant >= slot.start:
        return instant
    left = slot.start
    if left.microsecond:
        left = left.replace(microsecond=0) + dt.timedelta(seconds=1)
    return _at(left, slot.end, at)


def _at(start: dt.datetime, end: dt.datetime, share: float) -> dt.datetime:
    return start + dt.timedelta(seconds=int((end - start).total_seconds() * share))


def _decision(
    answer: TimingAnswer,
    first: Slot,
    request: TimingRequest,
    options: Sequence[DecisionOption],
    now: dt.datetime,
) -> DecisionRecord:
    context = {
        "channel": request.channel,
        "campaign_id": request.campaign_id,
        "touch_number": None if request.touch_number is None else str(request.touch_number),
        "timezone": answer.timezone,
    }
    return DecisionRecord(
        decision_id=answer.decision_id,
        client_id=request.client_id,
        lead_id=request.lead_id,
        kind="timing",
        decided_at=now,
        choice=first.nominal_start.isoformat(),
        propensity=answer.propensity,
        options=tuple(options),
        context={key: value for key, value in context.items() if value is not None},
        model_version=answer.model.model_version,
    )


def _zone_of_place(place: Place) -> LeadZone | None:
    guess = timezone_of(place.country, place.region, place.city)
    if guess is None:
        return None
    zone = find_zone(guess.timezone)
    if zone is None:
        return None
    return LeadZone(guess.timezone, zone, _place_source(place, guess.confidence))


def _place_source(place: Place, confidence: ZoneConfidence) -> ZoneSource:
    """What decided: the least of country, region and city that gives this much certainty."""
    if confidence is ZoneConfidence.COUNTRY_GUESS:
        return ZoneSource.COUNTRY
    if confidence is ZoneConfidence.REGION:
        return ZoneSource.REGION
    by_country = timezone_of(place.country)
    if by_country is not None and by_country.confidence is ZoneConfidence.EXACT:
        return ZoneSource.COUNTRY
    by_region = timezone_of(place.country, place.region)
    if by_region is not None and by_region.confidence is ZoneConfidence.EXACT:
        return ZoneSource.REGION
    return ZoneSource.CITY
