"""`cis.v1.Lead` and `cis.v1.Icp` between message and domain."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from cis_client.v1 import core_pb2
from cis_server.domain.clients import Icp
from cis_server.domain.lead import Job, Lead
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.rpc.messages.values import iso_date, number_of, word_of

_EMAIL_STATUS = word_of(core_pb2.EmailStatus, EmailStatus)
_LEAD_STATUS = word_of(core_pb2.LeadStatus, LeadStatus)
_EMAIL_STATUS_NUMBER = number_of(core_pb2.EmailStatus, EmailStatus)
_LEAD_STATUS_NUMBER = number_of(core_pb2.LeadStatus, LeadStatus)


def lead_from_message(message: core_pb2.Lead, path: str) -> Lead:
    """The lead in a message.

    Args:
        message: as the caller sent it, already checked against the rules.
        path: where it stands in the request, for errors (``lead``, ``leads[3]``).

    Raises:
        InvalidInput: a date is not ISO text.
    """
    # Only the fields that are set are visited: most leads carry a third of them.
    values: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if value == "":
            continue  # empty text means unset, as an exporter of CSV files would write it
        name = descriptor.name
        convert = _CONVERT.get(name)
        values[name] = value if convert is None else convert(value, f"{path}.{name}")
    return Lead(**values)


def lead_to_message(lead: Lead) -> core_pb2.Lead:
    """The message of a lead; None and empty stay unset."""
    message = core_pb2.Lead(
        email_status=_EMAIL_STATUS_NUMBER[lead.email_status],
        status=_LEAD_STATUS_NUMBER[lead.status]
        if lead.status
        else core_pb2.LEAD_STATUS_UNSPECIFIED,
        technologies=lead.technologies,
        attributes=lead.attributes,
        employment_history=[
            core_pb2.Job(
                company=job.company,
                title=job.title,
                start_date=_text(job.start_date),
                end_date=_text(job.end_date),
                current=job.current,
            )
            for job in lead.employment_history
        ],
    )
    for name in _PLAIN:
        value = getattr(lead, name)
        if value is not None:
            setattr(message, name, _text(value) if isinstance(value, dt.date) else value)
    return message


def icp_from_message(message: core_pb2.Icp) -> Icp:
    """The ideal customer profile in a message; what is not set keeps the default."""
    default = Icp()
    return Icp(
        industries=tuple(message.industries),
        employee_min=message.employee_min
        if message.HasField("employee_min")
        else default.employee_min,
        employee_max=message.employee_max
        if message.HasField("employee_max")
        else default.employee_max,
        countries=tuple(message.countries) or default.countries,
        titles=tuple(message.titles) or default.titles,
    )


def icp_to_message(icp: Icp) -> core_pb2.Icp:
    """The message of an ideal customer profile."""
    return core_pb2.Icp(
        industries=icp.industries,
        employee_min=icp.employee_min,
        employee_max=icp.employee_max,
        countries=icp.countries,
        titles=icp.titles,
    )


def _job(message: core_pb2.Job, path: str) -> Job:
    def date(name: str) -> dt.date | None:
        text = getattr(message, name)
        return iso_date(text, f"{path}.{name}") if text else None

    return Job(
        company=message.company or None,
        title=message.title or None,
        start_date=date("start_date"),
        end_date=date("end_date"),
        current=message.current if message.HasField("current") else None,
    )


def _jobs(messages: Any, path: str) -> tuple[Job, ...]:
    return tuple(_job(message, f"{path}[{i}]") for i, message in enumerate(messages))


def _date(text: str, path: str) -> dt.date | None:
    return iso_date(text, path) if text else None


_CONVERT: dict[str, Callable[[Any, str], Any]] = {
    "email_status": lambda value, _: _EMAIL_STATUS(value) or EmailStatus.UNKNOWN,
    "status": lambda value, _: _LEAD_STATUS(value),
    "employment_start_date": _date,
    "latest_funding_date": _date,
    "employment_history": _jobs,
    "technologies": lambda value, _: tuple(value),
    "attributes": lambda value, _: dict(value),
}

_PLAIN = tuple(
    field.name
    for field in core_pb2.Lead.DESCRIPTOR.fields
    if field.name
    not in ("email_status", "status", "technologies", "attributes", "employment_history")
)


def _text(date: dt.date | None) -> str | None:
    return date.isoformat() if date is not None else None
