"""The Python example of docs/experiments.md, run as it stands against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from running_server import make_client

from cis_client import Client
from cis_client.v1 import experiment_service_pb2 as experiments
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.rederive import drain_dirty

PAGE = Path(__file__).parents[2] / "docs" / "experiments.md"


def example() -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_example_plans_assigns_looks_and_ends(
    api: Client,
    target: str,
    sql: Callable[..., list[tuple[Any, ...]]],
    module_database_url: str,
    tmp_path: Path,
) -> None:
    make_client(api, "acme")
    sql("INSERT INTO campaigns (client_id, campaign_id, name) VALUES ('acme', 'spring', 'Spring')")
    ids = [f"lead-{number}" for number in range(1, 201)]
    sql(
        "INSERT INTO leads (client_id, lead_id, campaign_id) SELECT 'acme', unnest(%s::text[]),"
        " 'spring'",
        ids,
    )
    # The example states no base rate: a tenth of those contacted two months ago replied.
    for action, days, leads in (("sent", 60, ids), ("replied", 59, ids[:20])):
        sql(
            "INSERT INTO activities (client_id, lead_id, campaign_id, channel, action, occurred_at)"
            " SELECT 'acme', unnest(%s::text[]), 'spring', 'email', %s,"
            " now() - make_interval(days => %s)",
            leads,
            action,
            days,
        )
    engine = make_engine(module_database_url)
    with tenant(engine, "acme") as connection:
        drain_dirty(connection, "acme")
    engine.dispose()
    text = example()
    assert text.count("localhost:50051") == 1
    script = tmp_path / "example.py"
    script.write_text(text.replace("localhost:50051", target))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    variants, standing = done.stdout.strip().splitlines()
    told = re.findall(r"'(lead-\d)': '(control|question)'", variants)
    assert [lead for lead, _ in told] == ["lead-1", "lead-2"]
    assert standing
    ((experiment_id,),) = sql("SELECT ab_test_id FROM ab_tests WHERE client_id = 'acme'")
    ended = api.get_experiment(
        experiments.GetExperimentRequest(client_id="acme", experiment_id=experiment_id)
    ).experiment
    assert ended.state == experiments.EXPERIMENT_STATE_COMPLETED
    assert ended.power_plan.base_rate > 0
    assert ended.power_plan.leads_per_variant > 100
