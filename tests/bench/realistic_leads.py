"""Leads as the simulator draws them: distinct people, companies and dates, words as in life."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import numpy as np

from cis_client.v1 import core_pb2 as core
from cis_server.demo.population import draw_population
from cis_server.demo.specs import ClientSpec

AS_OF: Final = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
_STATUS: Final = {"email_status": core.EmailStatus, "status": core.LeadStatus}


def realistic_leads(count: int, seed: int = 1) -> list[core.Lead]:
    """Messages of as many simulated leads: about half their fields set, history and technologies
    among them."""
    spec = ClientSpec(client_id="bench", name="Bench", leads=count)
    frame = draw_population(spec, np.random.default_rng(seed), AS_OF).leads
    known = {field.name for field in core.Lead.DESCRIPTOR.fields}
    leads = []
    for row in frame.iter_rows(named=True):
        fields = {
            name: _wire(name, value)
            for name, value in row.items()
            if name in known and value is not None
        }
        leads.append(core.Lead(**fields))
    return leads


def _wire(name: str, value: Any) -> Any:
    if name in _STATUS:
        return _STATUS[name].Value(f"{name.upper()}_{value.upper()}")
    if name in ("attributes", "employment_history") and isinstance(value, str):
        value = json.loads(value)
    if name == "employment_history":
        return [
            core.Job(**{key: _wire(key, item) for key, item in job.items() if item is not None})
            for job in value
        ]
    return value.isoformat() if isinstance(value, dt.date) else value
