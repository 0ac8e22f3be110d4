"""How `cis learn` tells what exploration showed."""

from __future__ import annotations

from cis_client._reports import learn_report
from cis_client.v1.learning_service_pb2 import ClientLearnResult, LearnResult, PolicyValue


def test_values_stand_with_their_intervals() -> None:
    policy = PolicyValue(
        kind="channel",
        decisions=900,
        judged=640,
        current_value=0.07,
        current_low=0.05,
        current_high=0.09,
        effective_size=12.4,
        warning="only 12 effective choices",
    )
    result = LearnResult(clients=[ClientLearnResult(client_id="acme", policies=[policy])])
    *_, said = learn_report(result)
    row = said.splitlines()[-1]
    for words in ("channel", "640 of 900", "7.00 % 5.00–9.00 %", "–", "12", "only 12 effective"):
        assert words in row
    silent = LearnResult(clients=[ClientLearnResult(client_id="acme")])
    assert not any("exploration" in block for block in learn_report(silent))
