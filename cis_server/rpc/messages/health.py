"""Health warnings as messages."""

from __future__ import annotations

from cis_client.v1 import core_pb2
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.health import ClientHealth, HealthWarning, Severity
from cis_server.rpc.messages.runs import PATTERN_TYPE_NUMBER
from cis_server.rpc.messages.values import timestamp

_SEVERITY_NUMBER = {it: learning.Severity.Value(f"SEVERITY_{it.name}") for it in Severity}
_SEVERITY = {int(number): severity for severity, number in _SEVERITY_NUMBER.items()}
_ANY_PATTERN = core_pb2.PatternType.PATTERN_TYPE_UNSPECIFIED


def severity_of(number: int) -> Severity:
    """The least severity asked for; all when the request does not say."""
    return _SEVERITY.get(number, Severity.LOW)


def client_health_message(health: ClientHealth, at_least: Severity) -> learning.ClientHealth:
    """One client; its counts tell all warnings, also those that were not asked for."""
    return learning.ClientHealth(
        client_id=health.client_id,
        warnings=[_warning(it) for it in health.warnings if it.severity >= at_least],
        warning_count=len(health.warnings),
        high_severity_count=health.high_count,
        last_success_time=timestamp(health.last_success_at),
    )


def _warning(warning: HealthWarning) -> learning.HealthWarning:
    return learning.HealthWarning(
        type=warning.type,
        pattern=_ANY_PATTERN if warning.pattern is None else PATTERN_TYPE_NUMBER[warning.pattern],
        message=warning.message,
        severity=_SEVERITY_NUMBER[warning.severity],
        remedy=warning.remedy,
        value=warning.value,
        bound=warning.bound,
    )
