"""``cis models``, ``promote``, ``rollback``, ``reject``, ``weights set`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cis_client.cli import main

Cis = Callable[..., tuple[int, str, str]]

ONE = {
    "data-quality": "0.1",
    "authority": "0.4",
    "company-fit": "0.2",
    "timing": "0.2",
    "risk": "0.1",
}
OTHER = {**ONE, "authority": "0.2", "risk": "0.3"}


@pytest.fixture
def cis(target: str, tenant_id: str, capsys: pytest.CaptureFixture[str]) -> Cis:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--client", tenant_id, "--target", target])
        # The server of this process logs to the same output.
        shown = capsys.readouterr()
        lines = [line for line in shown.out.splitlines() if " [info " not in line]
        return code, "\n".join(lines), shown.err

    return run


def options(weights: dict[str, str]) -> list[str]:
    return [part for name, value in weights.items() for part in (f"--{name}", value)]


def as_json(answer: tuple[int, str, str]) -> Any:
    code, out, _ = answer
    assert code == 0
    return json.loads(out)


def test_versions_from_a_shell(cis: Cis) -> None:
    code, out, _ = cis("weights", "set", *options(ONE), "--approver", "ana", "--reason", "we know")
    assert code == 0
    assert "weights-1" in out
    assert "ana" in out
    assert "we know" in out
    assert "set by hand" in cis("weights")[1]
    cis("weights", "set", *options(OTHER), "--approver", "ben")
    listed = as_json(cis("models", "--json"))["models"]
    assert [(m["model_version"], m["state"]) for m in listed] == [
        ("weights-2", "MODEL_STATE_LIVE"),
        ("weights-1", "MODEL_STATE_RETIRED"),
    ]
    rows = [" ".join(line.split()) for line in cis("models", "--state", "live")[1].splitlines()]
    assert len(rows) == 3
    assert rows[2].startswith("weights-2 weights – live 100 % manual")
    code, out, _ = cis("promote", "weights-1", "--percent", "20", "--approver", "ana")
    assert (code, out) == (0, "weights-1 serves 20 % of the leads; weights-2 serves the rest")
    assert "weights-1, to 20 % of the leads" in cis("weights")[1]
    code, out, _ = cis("rollback", "--approver", "cy", "--reason", "worse")
    assert out == "weights-1 was taken back; weights-2 serves all leads again"
    told = cis("models", "--version", "weights-1")[1]
    assert "history" in told
    assert "worse" in told
    # What the rollout replaced, weights-2, stays live; below it lies nothing but the defaults.
    code, out, _ = cis("rollback", "--approver", "cy")
    assert out == "weights-2 was taken back; the default serves all leads again"


def test_refusals_from_a_shell(cis: Cis) -> None:
    code, _, err = cis("rollback", "--approver", "cy")
    assert (code, err) == (4, "cis: no version is in force that could be taken back\n")
    cis("weights", "set", *options(ONE), "--approver", "ana")
    code, _, err = cis("reject", "weights-1", "--approver", "cy")
    assert (code, err) == (4, "cis: weights-1 is in force: roll it back instead\n")
    code, _, err = cis("promote", "weights-7", "--approver", "cy")
    assert (code, err) == (4, "cis: model 'weights-7' does not exist\n")
    code, _, err = cis("weights", "set", "--authority", "0.5")
    assert code == 2
    assert "--data-quality" in err
    assert "--approver" in err
    code, _, err = cis("weights", "set", *options({**ONE, "risk": "0.3"}), "--approver", "ana")
    assert code == 4
    assert "add up to 1" in err
    with pytest.raises(SystemExit):
        cis("promote", "weights-1", "--percent", "0", "--approver", "ana")
