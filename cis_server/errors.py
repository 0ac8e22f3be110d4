"""The exception tree. Knows no gRPC, SQL or HTTP; `rpc/status.py` maps it to status codes.

CisError
├── InvalidInput         a value the caller sent is wrong; names the field path
├── NotFound             an unknown client, lead, run or pattern
├── PreconditionFailed   the request is sound but the state does not allow it
├── DeadlinePassed       the time given to a call, or the most it may take, is over
├── Overloaded           more work than is taken on
├── StoreUnavailable     the database is needed and away
├── DataError            stored data or a file cannot be used
└── ConfigurationError   a setting is missing or wrong
"""

from __future__ import annotations

from collections.abc import Mapping


class CisError(Exception):
    """Root of every error this system raises on purpose."""


class InvalidInput(CisError):  # noqa: N818 - names read as what happened, as in the tree above
    """A value the caller sent is wrong.

    Attributes:
        violations: (field path, what is wrong with it), at least one.
    """

    def __init__(self, field: str, description: str, *more: tuple[str, str]) -> None:
        self.violations: tuple[tuple[str, str], ...] = ((field, description), *more)
        super().__init__("; ".join(f"{path}: {text}" for path, text in self.violations))


class NotFound(CisError):  # noqa: N818
    """Something named by the caller does not exist.

    Attributes:
        kind: what was looked for ("client", "campaign", "lead", "run", "pattern", "model").
        name: the id that was asked for.
    """

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name!r} does not exist")


class PreconditionFailed(CisError):  # noqa: N818
    """The request is sound but the state does not allow it.

    Attributes:
        reason: upper-snake-case code, e.g. ``TOO_FEW_CONVERSIONS``.
        figures: the counts or values behind the refusal.
    """

    def __init__(
        self, reason: str, message: str, figures: Mapping[str, object] | None = None
    ) -> None:
        self.reason, self.message = reason, message
        self.figures = {key: str(value) for key, value in (figures or {}).items()}
        super().__init__(f"{reason}: {message}")


class DeadlinePassed(CisError):  # noqa: N818
    """The time given to a call, or the most that any call may take, is over."""


class Overloaded(CisError):  # noqa: N818
    """More work than is taken on.

    Attributes:
        retry_after_seconds: when to try again.
    """

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class StoreUnavailable(CisError):  # noqa: N818
    """The database is needed and away, or did not answer in time.

    Attributes:
        retry_after_seconds: when to try again.
    """

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class DataError(CisError):
    """Stored data or a file cannot be used."""


class ConfigurationError(CisError):
    """A setting is missing or wrong."""
