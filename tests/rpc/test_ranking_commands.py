"""`cis top-leads` and `cis rescore` against a real server."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from running_server import wait_until

from cis_client.cli import main
from cis_server.domain.lead import Lead
from cis_server.persistence.connections import make_engine
from cis_server.worker.rescorer import Rescorer


def test_rescore_then_list(
    target: str,
    tenant_id: str,
    store_leads: Callable[..., None],
    sql: Callable[..., list[tuple[Any, ...]]],
    module_database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    titles = ("CEO", "Engineer", "Assistant")
    leads = [
        Lead(lead_id=f"l{n}", title=titles[n % 3], email=f"a{n}@b{n}.example") for n in range(9)
    ]
    store_leads(tenant_id, leads)
    connection = [f"--client={tenant_id}", f"--target={target}"]
    assert main(["top-leads", *connection]) == 0
    assert "no scored active leads" in capsys.readouterr().out
    assert main(["rescore", *connection]) == 0
    assert "is under way" in capsys.readouterr().out

    query = "SELECT run_id FROM rescoring_runs WHERE client_id = %s AND state = 'queued'"
    ((run_id,),) = sql(query, tenant_id)

    def work() -> None:
        engine = make_engine(module_database_url)
        rescorer = Rescorer(engine, module_database_url, lambda: dt.datetime.now(dt.UTC))
        rescorer.rescore(tenant_id, run_id, False)
        engine.dispose()

    thread = threading.Timer(0.5, work)
    thread.start()
    assert main(["rescore", "--follow", *connection]) == 0
    thread.join()
    said = capsys.readouterr().out
    assert "9 scored, 0 not" in said
    assert "never scored" in said

    assert main(["top-leads", "--count=4", *connection]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.lstrip().startswith("l") and "lead" not in line for line in lines) == 4
    assert main(["top-leads", "--json", "--by=probability", *connection]) == 0
    said = capsys.readouterr().out
    found = json.loads(said[said.index("{\n") :])  # the server in this process logs there as well
    scores = [each["score"] for each in found["scores"]]
    assert len(scores) == 9
    assert scores == sorted(scores, reverse=True)
    wait_until(lambda: not sql(query, tenant_id), 5.0)
