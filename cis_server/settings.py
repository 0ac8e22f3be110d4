"""Settings: the only place that reads the environment.

Every setting is an environment variable with the prefix ``CIS_``; the field name in upper case is
the rest of its name (``CIS_DATABASE_URL``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set from outside, with the values that hold when nothing is."""

    model_config = SettingsConfigDict(env_prefix="CIS_", frozen=True, extra="ignore")

    database_url: str | None = None
    """``postgresql://…`` of an existing server; unset means an embedded one in the data folder."""
    test_database_url: str | None = None
    """Server the tests use instead of an embedded one; its login must be a superuser."""
    data_dir: Path = Field(default_factory=lambda: default_data_dir())
    """Folder for the embedded database, dataset snapshots and compiled kernels."""

    host: str = "127.0.0.1"
    """Address the gRPC and HTTP servers listen on."""
    port: int = Field(default=50051, ge=0, le=65535)
    """gRPC port; 0 picks a free one."""
    http_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the dashboard and REST; 0 picks a free one."""
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    """RPC processes; one per core unless told otherwise."""
    pin: bool = True
    """Pin each RPC process to a core; threads fighting for the lock across cores halve the rate."""
    grace_seconds: float = Field(default=10.0, ge=0.0)
    """How long running calls may take to finish after SIGTERM."""
    max_message_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Largest gRPC message taken or sent."""
    call_seconds_max: float = Field(default=30.0, gt=0.0)
    """Deadline of a unary call whose caller set none."""
    stream_cap: int = Field(default=256, ge=1)
    """Open streams a process serves before it answers RESOURCE_EXHAUSTED."""

    store_seconds: float = Field(default=0.25, gt=0.0)
    """Longest wait for the database inside a scoring call (``lead_id``, ``persist``)."""
    statement_seconds: float = Field(default=30.0, gt=0.0)
    """Statement timeout of ordinary reads and writes."""
    pool_size: int = Field(default=4, ge=1, le=100)
    """Database connections an RPC process keeps."""
    poll_seconds: float = Field(default=30.0, gt=0.0)
    """How often a serving process looks for changes whose notification was lost."""
    pattern_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    """Upper bound of the patterns a serving process keeps in memory."""
    worker_concurrency: int = Field(default=1, ge=1, le=64)
    """Jobs one worker process runs at a time."""

    numba_cache_dir: Path | None = None
    """Folder of the compiled kernels; unset means ``data_dir/numba``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "json"

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @property
    def kernel_cache(self) -> Path:
        """Folder the compiled kernels are kept in."""
        return self.numba_cache_dir or self.data_dir / "numba"

    @property
    def datasets(self) -> Path:
        """Folder of the Parquet snapshots learning runs work on."""
        return self.data_dir / "datasets"


def default_data_dir() -> Path:
    """The data folder when ``CIS_DATA_DIR`` is unset.

    ``$XDG_DATA_HOME/cis`` or ``~/.local/share/cis``; for root ``/var/lib/cis``, because the
    database runs as an unprivileged account, which cannot reach anything below ``/root``.
    """
    base = os.environ.get("XDG_DATA_HOME")
    if base:
        return Path(base) / "cis"
    if os.geteuid() == 0:
        return Path("/var/lib/cis")
    return Path.home() / ".local" / "share" / "cis"
