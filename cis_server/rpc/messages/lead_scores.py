"""From a `Lead` message to the bytes of its `LeadScore`, without anything in between.

The reference is `lead_from_message`, `score_lead` and `score_message`: they check, convert, score
and build a message, in about 90 µs. Here a lead is read in one pass, its distinct values are
looked up (`signals`), and what it shares with leads of its kind is looked up too (`score_plans`);
what is left is to put bytes side by side. The answer is the same message to the last bit. A lead
that breaks a rule gets no answer here: the reference says what is wrong with it.

How to use it: prepare a `PreparedScoring` of the call's `ScoringContext` and ask it for the writer
of each lead::

    writer = prepared.writer(lead.lead_id)
    written = writer.write(lead)                # None: hand the lead to the reference
    message, plan = written                     # serialised LeadScore without `model`
    message += writer.model                     # where each score tells its own model
    plan.score, plan.tier                       # for counts
"""

from __future__ import annotations

from operator import attrgetter, gt
from typing import Any, Final

from cis_client.v1 import core_pb2
from cis_server.domain.suppression import GateReason
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.messages.score_plans import (
    GATES,
    NO_GATE,
    NO_TEXT,
    SOME_TEXT,
    USABLE,
    LeadKind,
    ScorePlan,
    score_plan,
)
from cis_server.rpc.messages.scores import probability_message
from cis_server.rpc.messages.signals import IrregularError, SignalTables, check
from cis_server.rpc.messages.values import model_message
from cis_server.rpc.messages.wire import delimited
from cis_server.rpc.rule_table import RULES
from cis_server.rpc.rules import Text, check_item
from cis_server.scoring.contacts import (
    is_email_address,
    is_filled,
    is_linkedin_profile,
    is_phone_number,
)
from cis_server.scoring.icp import matcher
from cis_server.scoring.suppression import belongs_to, competitor_set
from cis_server.serving.memo import Memo
from cis_server.serving.scoring_answers import ScoringContext

_TEXTS: Final = (
    *("lead_id", "email", "phone", "linkedin_url", "personal_email", "postal_address", "domain"),
    *("first_name", "last_name", "linkedin_headline", "person_city", "person_region"),
    *("person_country", "company_name", "latest_funding_stage", "city", "region"),
)
"""Texts that are checked here; every other field is checked where its value is first met."""


def _most(field: str) -> int:
    rule = RULES[f"cis.v1.Lead.{field}"]
    assert isinstance(rule, Text), field
    assert rule.least == 0, field
    assert rule.containing == ("@" if field == "email" else ""), field
    return rule.most


_LONGEST: Final = tuple(map(_most, _TEXTS))
_texts: Final = attrgetter(*_TEXTS)
_facts: Final = attrgetter(
    *("title", "seniority", "industry", "employee_count", "country", "employment_start_date"),
    *("latest_funding_date", "is_hiring", "timezone"),
    *("email_status", "phone_verified", "call_register_listed"),
    *("status", "bounce_count", "unsubscribed", "do_not_contact"),
    *("founded_year", "revenue", "total_funding"),
    *("employment_history", "technologies", "attributes"),
)
_EMAIL_STATUSES: Final = frozenset(core_pb2.EmailStatus.values())
_LEAD_STATUSES: Final = frozenset(core_pb2.LeadStatus.values())
_UNSUBSCRIBED_STATUS = core_pb2.LEAD_STATUS_UNSUBSCRIBED
_BOUNCED_STATUS = core_pb2.LEAD_STATUS_BOUNCED
_UNSUBSCRIBED = GATES.index(GateReason.UNSUBSCRIBED)
_DO_NOT_CONTACT = GATES.index(GateReason.DO_NOT_CONTACT)
_COMPETITOR = GATES.index(GateReason.COMPETITOR_DOMAIN)
_LISTED = GATES.index(GateReason.SUPPRESSION_LIST)

# LeadScore.lead_id up to its text, by the length of that in bytes.
_LEAD_ID: Final = (b"", *(delimited(1, bytes(length))[:-length] for length in range(1, 513)))


class PreparedScoring:
    """A scoring context with the writers of its leads.

    Attributes:
        context: as gathered.
        only: the writer of every lead; None during a rollout.
    """

    __slots__ = ("_parts", "_tables", "context", "only")

    def __init__(self, context: ScoringContext, tables: SignalTables) -> None:
        self.context = context
        self._tables = tables
        self.only = LeadScoreWriter(context, tables) if context.rollout is None else None
        self._parts: dict[tuple[bool, bool], LeadScoreWriter] = {}

    def writer(self, lead_id: str) -> LeadScoreWriter:
        """What writes the score of this lead: during a rollout one of several, else the same."""
        return self.only if self.only is not None else self._of_rollout(lead_id)

    def _of_rollout(self, lead_id: str) -> LeadScoreWriter:
        rollout = self.context.rollout
        assert rollout is not None
        parts = rollout.parts(lead_id)
        known = self._parts.get(parts)
        if known is None:
            known = LeadScoreWriter(rollout.applied(self.context, parts), self._tables)
            self._parts[parts] = known
        return known


class LeadScoreWriter:
    """Writes the scores of leads in one context.

    Attributes:
        context: what the leads are scored with; has no rollout.
        model: the field `LeadScore.model`, serialised: what told the weights.
    """

    __slots__ = (
        "_competitors",
        "_countries",
        "_fundings",
        "_industries",
        "_lists",
        "_plans",
        "_roles",
        "_sizes",
        "_suppression",
        "_titles",
        "_zones",
        "context",
        "model",
    )

    def __init__(self, context: ScoringContext, tables: SignalTables) -> None:
        self.context = context
        told = core_pb2.LeadScore(model=model_message(context.model_info))
        self.model = told.SerializeToString()
        day, profile = tables.days[context.as_of], tables.profiles[matcher(context.icp)]
        self._zones, self._titles = tables.zones, tables.titles
        self._roles, self._fundings = day.role, day.funding
        self._industries, self._sizes = profile.industry, profile.size
        self._countries = profile.country
        self._suppression, self._lists = context.suppression, len(context.suppression) > 0
        self._competitors = competitor_set(context.competitor_domains)
        self._plans: dict[tuple[Any, ...], ScorePlan] = Memo(
            lambda kind: score_plan(LeadKind(*kind), context), tables.budget
        )

    def write(
        self, lead: core_pb2.Lead, *, without_zero: bool = False
    ) -> tuple[bytes, ScorePlan] | None:
        """The serialised `LeadScore` of a lead, without `model`, and what it shares with others.

        Args:
            lead: as the caller sent it; it is checked here.
            without_zero: whether the bytes the lead was read from are known to hold no zero byte,
                hence no U+0000 and no false, 0 or empty text that is set.

        Returns:
            None when the lead breaks a rule: `check_item` says which.
        """
        try:
            return self._written(lead, without_zero)
        except IrregularError:
            return None

    def _written(self, lead: core_pb2.Lead, without_zero: bool) -> tuple[bytes, ScorePlan]:
        # One long function: calling ten small ones would cost as much as what they do.
        texts = _texts(lead)
        if any(map(gt, map(len, texts), _LONGEST)) or (not without_zero and "\0" in "".join(texts)):
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
        if (email and "@" not in email) or email_status not in _EMAIL_STATUSES:
            raise IrregularError
        if status not in _LEAD_STATUSES:
            raise IrregularError
        if bounces or revenue or funding or founded or history or technologies or attributes:
            _check_rare(lead)
        if zone:
            self._zones[zone]
        if not without_zero:
            if not founded and lead.HasField("founded_year"):
                raise IrregularError
            if not hiring and not lead.HasField("is_hiring"):
                hiring = None
        elif not hiring:
            hiring = None

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

        heading = self._titles[title, seniority]
        fit_industry = self._industries[industry]
        fit_size = self._sizes[employees]
        fit_country = self._countries[country]
        new_role = self._roles[role_start]
        new_funds = self._fundings[funded]
        plan = self._plans[
            email_status,
            (USABLE if is_email_address(email) else SOME_TEXT) if email else NO_TEXT,
            (2 if phone_verified else 1) if phone and is_phone_number(phone) else 0,
            linkedin != "" and is_linkedin_profile(linkedin),
            personal != "" and is_email_address(personal),
            heading[0],
            fit_industry[0],
            fit_size[0],
            fit_country[0],
            new_role[0],
            hiring,
            new_funds[0],
            bounces > 0 or status == _BOUNCED_STATUS,
            unsubscribed,
            competitor,
            heading[3],
            postal != "" and is_filled(postal),
            call_register,
            gate,
        ]
        name = lead_id.encode()
        pieces = [_LEAD_ID[len(name)], name, plan[0]]
        if self.context.model is not None:
            pieces.append(self._probability(lead, plan))
        signals = (heading, heading, fit_industry, fit_size, fit_country, new_role, new_funds)
        for source, piece in plan[1]:
            if source:
                signal = signals[source]
                pieces += (signal[1], piece, signal[2])
            else:
                pieces.append(piece)
        return b"".join(pieces), plan

    def _probability(self, lead: core_pb2.Lead, plan: ScorePlan) -> bytes:
        """The field `LeadScore.conversion_probability`, serialised."""
        context = self.context
        assert context.model is not None
        known = lead_from_message(lead, "")
        probability = context.model.probability(known, plan.components, context.as_of)
        probability = context.model.explained(probability, known, plan.components, context.as_of)
        return core_pb2.LeadScore(
            conversion_probability=probability_message(probability, context.model_version)
        ).SerializeToString()


def _check_rare(lead: core_pb2.Lead) -> None:
    """Hold fields that few leads have against their rules.

    Raises:
        IrregularError: one breaks its rule.
    """
    check("bounce_count", lead.bounce_count)
    check("revenue", lead.revenue)
    check("total_funding", lead.total_funding)
    if lead.founded_year:
        check("founded_year", lead.founded_year)
    check("technologies", lead.technologies)
    check("attributes", lead.attributes)
    check("employment_history", lead.employment_history)
    for job in lead.employment_history:
        try:
            check_item(job, "")
        except InvalidInput:
            raise IrregularError from None
