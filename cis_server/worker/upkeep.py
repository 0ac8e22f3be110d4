"""What the workers do every day: check the health of every client, and clean up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Engine

from cis_server.domain.health import ClientHealth
from cis_server.errors import NotFound, PreconditionFailed
from cis_server.persistence.connections import tenant
from cis_server.persistence.health import HealthReader, save_health
from cis_server.persistence.registry import rollback_on_drift
from cis_server.persistence.retention import clean_up
from cis_server.serving.client_health import HealthChecks

CHECK_SECONDS: Final = 600.0
"""Longest statement of the daily check, which nobody waits for."""


class Upkeep:
    """The daily tasks.

    Args:
        engine: connections to the database.
        datasets: folder in which the dataset of each run is kept.
        clock: the time now, aware.
    """

    def __init__(
        self,
        engine: Engine,
        datasets: Path,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._engine, self._datasets, self._clock = engine, datasets, clock
        self._checks = HealthChecks(HealthReader(engine, CHECK_SECONDS), clock)
        self._log = structlog.get_logger("cis.upkeep")

    def check_health(self) -> None:
        """Check every client, keep the results, and alert operators to every client with a high
        warning: one log line of level error each, event ``health_alert``.

        Where the client's policy promotes by itself, a live version that has drifted is taken back.

        Raises:
            StoreUnavailable: the database is away; the queue tries again.
        """
        found = self._checks.check(None)
        save_health(self._engine, found, self._clock())
        alerts = [health for health in found if health.high_count]
        for health in alerts:
            self._log.error(
                "health_alert",
                client=health.client_id,
                high=health.high_count,
                warnings=len(health.warnings),
                types=sorted({warning.type.value for warning in health.warnings}),
            )
            self._take_back(health)
        self._log.info(
            "health_checked",
            clients=len(found),
            healthy=sum(not health.warnings for health in found),
            warnings=sum(len(health.warnings) for health in found),
            alerts=len(alerts),
        )

    def clean_up(self) -> None:
        """Archive expired patterns, and remove history, versions, datasets and words of events
        that are too old.

        Raises:
            StoreUnavailable: the database is away; the queue tries again.
        """
        self._log.info(
            "cleaned_up", **asdict(clean_up(self._engine, self._datasets, self._clock()))
        )

    def _take_back(self, health: ClientHealth) -> None:
        for version in health.drifted:
            reason = f"drift alarm: {version.reason}"
            try:
                with tenant(self._engine, health.client_id) as connection:
                    taken = rollback_on_drift(
                        connection,
                        health.client_id,
                        version.model_id,
                        at=self._clock(),
                        reason=reason,
                    )
            except (NotFound, PreconditionFailed) as problem:
                self._log.warning("rollback_refused", client=health.client_id, why=str(problem))
                continue
            if taken is not None:
                self._log.warning("rolled_back", client=health.client_id, why=reason)
