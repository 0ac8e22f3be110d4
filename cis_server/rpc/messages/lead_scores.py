"""From a `Lead` message to the bytes of its `LeadScore`, without anything in between.

The reference is `lead_from_message`, `score_lead` and `score_message`: they check, convert, score
and build a message, in about 90 µs. Here a lead is read in one pass, its distinct values are
looked up (`signals`), and so are the five components of its score (`score_parts`); what is left is
to add them up and to put bytes side by side. The answer is the same message to the last bit. A
lead that breaks a rule gets no answer here: the reference says what is wrong with it.

How to use it: prepare a `PreparedScoring` of the call's `ScoringContext` and ask it for the writer
of each lead::

    writer = prepared.writer(lead.lead_id)
    written = writer.write(lead)                # None: hand the lead to the reference
    message, score, tier = written              # serialised LeadScore without `model`
    message += writer.model                     # where each score tells its own model
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from operator import attrgetter, gt
from typing import Any, Final, TypeAlias

from cis_client.v1 import core_pb2
from cis_server.domain.lead import Lead
from cis_server.domain.suppression import GateReason
from cis_server.domain.tiers import channels_of_tier, tier_of
from cis_server.domain.vocabulary import Tier
from cis_server.rpc.messages.lead_rules import (
    FIRST_YEAR,
    LAST_YEAR,
    MOST_BOUNCES,
    check_attributes,
    check_history,
    check_technologies,
    longest,
)
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.probabilities import ProbabilityWriter
from cis_server.rpc.messages.score_parts import NO_TEXT, SOME_TEXT, USABLE, ScorePart
from cis_server.rpc.messages.signals import IrregularError
from cis_server.rpc.messages.values import TIER_NUMBER, model_message
from cis_server.rpc.messages.wire import delimited, float64
from cis_server.scoring.arithmetic import rounded_score
from cis_server.scoring.contacts import is_email_address, is_linkedin_profile, is_phone_number
from cis_server.scoring.icp import matcher
from cis_server.scoring.reasons import MAX_REASONS
from cis_server.scoring.scorer import channels_of_lead
from cis_server.scoring.suppression import belongs_to, competitor_set
from cis_server.serving.memo import Memo
from cis_server.serving.scoring_answers import ScoringContext

WrittenScore: TypeAlias = tuple[bytes, int, Tier]
"""A serialised `LeadScore` without `model`, its score and its effective tier."""

Reached: TypeAlias = tuple[Tier, tuple[bool, bool, bool, bool, bool]]
"""A tier and what contact data there are, see `LeadScoreWriter`."""

FoundFacts: TypeAlias = tuple[int, int, bool, bool, bool, bool, bool, int]
"""`NO_TEXT`, `SOME_TEXT` or `USABLE` e-mail; phone number: 0 none, 1 not verified, 2 verified;
whether there is a profile, a personal address; whether mail bounced, the lead opted out, is a
competitor; place in `GATES`, or `NO_GATE`."""

NO_GATE: Final = -1
GATES: Final = tuple(GateReason)
"""Why a lead is suppressed; `NO_GATE` when it is not."""

_TEXTS: Final = (
    *("lead_id", "email", "phone", "linkedin_url", "personal_email", "postal_address", "domain"),
    *("first_name", "last_name", "linkedin_headline", "person_city", "person_region"),
    *("person_country", "company_name", "latest_funding_stage", "city", "region"),
)
"""Texts that are checked here; every other field is checked where its value is first met."""

_LONGEST: Final = tuple(map(longest, _TEXTS))
_texts: Final = attrgetter(*_TEXTS)
_facts: Final = attrgetter(
    *("title", "seniority", "industry", "employee_count", "country", "employment_start_date"),
    *("latest_funding_date", "is_hiring", "timezone"),
    *("email_status", "phone_verified", "call_register_listed"),
    *("status", "bounce_count", "unsubscribed", "do_not_contact"),
    *("founded_year", "revenue", "total_funding"),
    *("employment_history", "technologies", "attributes"),
)
_FINITE: Final = sys.float_info.max
_EMAIL_STATUSES: Final = frozenset(core_pb2.EmailStatus.values())
_LEAD_STATUSES: Final = frozenset(core_pb2.LeadStatus.values())
_INVALID_STATUS: Final = core_pb2.EMAIL_STATUS_INVALID
_UNSUBSCRIBED_STATUS: Final = core_pb2.LEAD_STATUS_UNSUBSCRIBED
_BOUNCED_STATUS: Final = core_pb2.LEAD_STATUS_BOUNCED
_UNSUBSCRIBED: Final = GATES.index(GateReason.UNSUBSCRIBED)
_DO_NOT_CONTACT: Final = GATES.index(GateReason.DO_NOT_CONTACT)
_COMPETITOR: Final = GATES.index(GateReason.COMPETITOR_DOMAIN)
_LISTED: Final = GATES.index(GateReason.SUPPRESSION_LIST)

_DEAD: Final = Tier.DEAD
_TIER_OF_SCORE: Final = tuple(map(tier_of, range(101)))


def _bytes(**fields: Any) -> bytes:
    return core_pb2.LeadScore(**fields).SerializeToString()


def _heads(number: int, most: int) -> tuple[bytes, ...]:
    """What stands before a field's payload, by the length of that."""
    return tuple(delimited(number, bytes(n))[: -n or None] for n in range(most + 1))


# Fields of LeadScore, serialised.
_LEAD_ID: Final = (b"", *_heads(1, 512)[1:])
_SCORE: Final = tuple(_bytes(score=score) for score in range(101))
_TIER: Final = tuple(_bytes(tier=TIER_NUMBER[tier]) for tier in sorted(Tier))
_COMPONENTS: Final = _heads(4, 45)
_CONTRIBUTIONS: Final = _heads(5, 45)
_GATE: Final = (*(_bytes(suppressed=True, suppression_reason=gate.value) for gate in GATES), b"")


class PreparedScoring:
    """A scoring context with the writers of its leads.

    Attributes:
        context: as gathered.
        only: the writer of every lead; None during a rollout.
        tables: what is kept by value.
    """

    __slots__ = ("_parts", "context", "only", "tables")

    def __init__(self, context: ScoringContext, tables: LeadTables) -> None:
        self.context = context
        self.tables = tables
        self.only = LeadScoreWriter(context, tables) if context.rollout is None else None
        self._parts: dict[tuple[bool, bool], LeadScoreWriter] = {}

    def writer(self, lead_id: str) -> LeadScoreWriter:
        """What writes the score of this lead: during a rollout one of several, else the same."""
        if self.only is not None:
            return self.only
        rollout = self.context.rollout
        assert rollout is not None
        return self.of_parts(rollout.parts(lead_id))

    def of_parts(self, parts: tuple[bool, bool]) -> LeadScoreWriter:
        """The writer of the leads with these `ScoringRollout.parts`."""
        if self.only is not None:
            return self.only
        rollout = self.context.rollout
        assert rollout is not None
        known = self._parts.get(parts)
        if known is None:
            known = LeadScoreWriter(rollout.applied(self.context, parts), self.tables)
            self._parts[parts] = known
        return known


class LeadScoreWriter:
    """Writes the scores of leads in one context.

    Attributes:
        context: what the leads are scored with; has no rollout.
        model: the field `LeadScore.model`, serialised: what told the weights.
        probability: writes the field `LeadScore.conversion_probability`; None without a model.
        channels: `Reached` -> the fields `tier_channels` and `channels`, serialised.
    """

    __slots__ = (
        "_competitors",
        "_countries",
        "_fundings",
        "_industries",
        "_lists",
        "_parts",
        "_roles",
        "_sizes",
        "_suppression",
        "_tables",
        "_titles",
        "channels",
        "context",
        "model",
        "probability",
    )

    def __init__(self, context: ScoringContext, tables: LeadTables) -> None:
        self.context = context
        told = core_pb2.LeadScore(model=model_message(context.model_info))
        self.model = told.SerializeToString()
        day, profile = tables.days[context.as_of], tables.profiles[matcher(context.icp)]
        self._tables, self._titles = tables, tables.titles
        self._roles, self._fundings = day.role, day.funding
        self._industries, self._sizes = profile.industry, profile.size
        self._countries = profile.country
        self._parts = tables.parts[context.weights]
        self._suppression, self._lists = context.suppression, len(context.suppression) > 0
        self._competitors = competitor_set(context.competitor_domains)
        self.probability = (
            ProbabilityWriter(context.model, context.model_version, context.as_of, tables.budget)
            if context.model is not None
            else None
        )
        self.channels: Mapping[Reached, bytes] = Memo(
            lambda reached: _channels_piece(reached, context.tier_channels), tables.budget
        )

    @property
    def weights(self) -> bytes:
        """The field `LeadScore.weights`, serialised."""
        return self._parts.weights

    def write(self, lead: core_pb2.Lead) -> WrittenScore | None:
        """The score of a lead.

        Args:
            lead: as the caller sent it; it is checked here.

        Returns:
            None when the lead breaks a rule: `check_item` says which.
        """
        try:
            return self._written(lead)
        except IrregularError:
            return None

    def _written(self, lead: core_pb2.Lead) -> WrittenScore:
        # One long function: calling ten small ones would cost as much as what they do.
        texts = _texts(lead)
        if any(map(gt, map(len, texts), _LONGEST)) or "\0" in "".join(texts):
            raise IrregularError
        lead_id, email, phone, linkedin, personal, postal, domain = texts[:7]
        (
            title,
            seniority,
            industry,
            employees,
            country,
            role_start,
            funded,
            hiring,
            zone,
            email_status,
            phone_verified,
            call_register,
            status,
            bounces,
            unsubscribed,
            do_not_contact,
            founded,
            revenue,
            funding,
            history,
            technologies,
            attributes,
        ) = _facts(lead)
        if (
            (email and "@" not in email)
            or email_status not in _EMAIL_STATUSES
            or status not in _LEAD_STATUSES
            or not 0.0 <= revenue <= _FINITE
            or not 0.0 <= funding <= _FINITE
            or not 0 <= bounces <= MOST_BOUNCES
            or not (FIRST_YEAR <= founded <= LAST_YEAR or not founded)
            or (not founded and lead.HasField("founded_year"))
        ):
            raise IrregularError
        tables = self._tables
        if zone:
            tables.zones[zone]
        if history:
            check_history(history, tables)
        if technologies:
            check_technologies(technologies)
        if attributes:
            check_attributes(attributes, tables)
        if not hiring and not lead.HasField("is_hiring"):
            hiring = None

        has_email = USABLE if email and is_email_address(email) else SOME_TEXT if email else NO_TEXT
        has_phone = (2 if phone_verified else 1) if phone and is_phone_number(phone) else 0
        has_profile = linkedin != "" and is_linkedin_profile(linkedin)
        if status == _UNSUBSCRIBED_STATUS:
            unsubscribed = True
        competitor = bool(self._competitors) and belongs_to(self._competitors, domain, email)
        gate = NO_GATE
        if unsubscribed:
            gate = _UNSUBSCRIBED
        elif do_not_contact:
            gate = _DO_NOT_CONTACT
        elif competitor:
            gate = _COMPETITOR
        elif self._lists and self._suppression.holds_any(
            self._suppression.keys(lead_id, email, personal, phone, domain)
        ):
            gate = _LISTED

        return self._looked_up(
            (
                lead_id,
                title,
                seniority,
                industry,
                employees,
                country,
                role_start,
                funded,
                hiring,
                email_status,
                call_register,
                postal,
            ),
            hiring,
            (
                has_email,
                has_phone,
                has_profile,
                personal != "" and is_email_address(personal),
                bounces > 0 or status == _BOUNCED_STATUS,
                unsubscribed,
                competitor,
                gate,
            ),
            lead,
        )

    def _looked_up(
        self,
        told: tuple[Any, ...],
        hiring: bool | None,
        found: FoundFacts,
        lead: core_pb2.Lead,
    ) -> WrittenScore:
        """The score of a checked lead.

        Args:
            told: its id, texts and dates that are looked up, see `_written`.
            hiring: None when it is not known.
            found: what was made out.
            lead: for its attributes.
        """
        (
            has_email,
            has_phone,
            has_profile,
            has_personal,
            bounced,
            unsubscribed,
            competitor,
            gate,
        ) = found
        (
            lead_id,
            title,
            seniority,
            industry,
            employees,
            country,
            role_start,
            funded,
            _,
            email_status,
            call_register,
            postal,
        ) = told
        heading = self._titles[title, seniority]
        fit_industry = self._industries[industry]
        fit_size = self._sizes[employees]
        fit_country = self._countries[country]
        new_role = self._roles[role_start]
        new_funds = self._fundings[funded]
        inputs = self._parts
        parts = (
            inputs.quality[email_status, has_email, has_phone, has_profile, has_personal],
            inputs.authority[heading[0]],
            inputs.fit[fit_industry[0], fit_size[0], fit_country[0]],
            inputs.timing[new_role[0], hiring, new_funds[0]],
            inputs.risk[bounced, unsubscribed, competitor, heading[3]],
        )
        probability = b""
        if self.probability is not None:
            facts = (
                title,
                industry,
                employees,
                seniority,
                country,
                email_status,
                has_email == USABLE,
                has_phone > 0,
                has_profile,
                hiring,
                role_start,
                funded,
                *[part[0] for part in parts],
            )
            probability = self.probability.field(facts, lead.attributes)
        return self._assembled(
            lead_id.encode(),
            parts,
            (heading, heading, fit_industry, fit_size, fit_country, new_role, new_funds),
            (
                has_email == USABLE and email_status != _INVALID_STATUS,
                has_phone > 0,
                has_profile,
                postal != "" and not postal.isspace(),
                call_register,
            ),
            gate,
            probability,
        )

    def _assembled(
        self,
        lead_id: bytes,
        parts: tuple[ScorePart, ScorePart, ScorePart, ScorePart, ScorePart],
        signals: Sequence[tuple[Any, ...]],
        contact: tuple[bool, bool, bool, bool, bool],
        gate: int,
        probability: bytes,
    ) -> WrittenScore:
        """Put a score together.

        Args:
            lead_id: in UTF-8.
            parts: of the five components, from `PartTables`.
            signals: the `Signal`s in the order of `SOURCES`; the first counts for nothing.
            contact: whether there is an address that is not invalid, a phone number, a profile, an
                address for letters; whether the phone number is on the call register.
            gate: place in `GATES`, or `NO_GATE`.
            probability: the field `LeadScore.conversion_probability`, serialised.
        """
        quality, authority, fit, timing, risk = parts
        total = quality[3] + authority[3] + fit[3] + timing[3] + risk[3]
        score = int(rounded_score(total))
        tier = _TIER_OF_SCORE[score] if gate == NO_GATE else _DEAD
        raw = quality[1] + authority[1] + fit[1] + timing[1] + risk[1]
        weighted = quality[2] + authority[2] + fit[2] + timing[2] + risk[2]
        pieces = [
            _LEAD_ID[len(lead_id)],
            lead_id,
            _SCORE[score],
            _TIER[tier],
            _COMPONENTS[len(raw)],
            raw,
            _CONTRIBUTIONS[len(weighted)],
            weighted,
            b"\x31" + float64(total) if total else b"",
            self._parts.weights,
            _GATE[gate],
            self.channels[tier, contact],
            probability,
        ]
        factors = self._parts.gains
        for rank in sorted(quality[4] + authority[4] + fit[4] + timing[4] + risk[4])[:MAX_REASONS]:
            source, points, front, back = factors[rank]
            if source:
                front, back = signals[source][1:3]
            pieces += (front, points, back)
        factors = self._parts.misses
        for rank in sorted(quality[5] + authority[5] + fit[5] + timing[5] + risk[5])[:MAX_REASONS]:
            source, points, front, back = factors[rank]
            if source:
                front, back = signals[source][1:3]
            pieces += (front, points, back)
        return b"".join(pieces), score, tier


def _channels_piece(reached: Reached, policy: Mapping[str, tuple[str, ...]]) -> bytes:
    """The fields `LeadScore.tier_channels` and `channels` of leads that can be reached so."""
    tier, (mailable, phone, profile, postal, call_register) = reached
    lead = Lead(
        email="name@host.example" if mailable else None,
        phone="00000" if phone else None,
        linkedin_url="host.example/in/name" if profile else None,
        postal_address="somewhere" if postal else None,
        call_register_listed=call_register,
    )
    return core_pb2.LeadScore(
        tier_channels=channels_of_tier(tier, policy), channels=channels_of_lead(lead, tier, policy)
    ).SerializeToString()
