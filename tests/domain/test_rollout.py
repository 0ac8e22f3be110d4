"""Which leads a rollout takes: always the same ones, as many as told, others each time."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.rollout import RolloutShare

LEADS = [f"lead-{i}" for i in range(20_000)]


def share(percentage: float, version: int = 2, client_id: str = "acme") -> RolloutShare:
    return RolloutShare.of(client_id, "weights", "", version, percentage)


def taken(of: RolloutShare) -> set[str]:
    return {lead for lead in LEADS if of.takes(lead)}


@pytest.mark.parametrize("percentage", [1, 10, 50, 99])
def test_as_many_as_told(percentage: int) -> None:
    p = percentage / 100
    expected, error = len(LEADS) * p, (len(LEADS) * p * (1 - p)) ** 0.5
    assert abs(len(taken(share(percentage))) - expected) < 4 * error


def test_each_rollout_takes_others() -> None:
    """Of those one rollout takes at 10 %, another takes about 10 %."""
    one = taken(share(10))
    for other in (share(10, version=3), share(10, client_id="umbrella")):
        both = len(one & taken(other)) / len(one)
        assert abs(both - 0.1) < 4 * (0.1 * 0.9 / len(one)) ** 0.5


@given(st.text(min_size=1), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_keeps_everybody(lead_id: str, one: float, two: float) -> None:
    small, large = sorted((one, two))
    assert share(large).takes(lead_id) or not share(small).takes(lead_id)


@given(st.text(min_size=1))
def test_none_and_all(lead_id: str) -> None:
    assert not share(0).takes(lead_id)
    assert share(100).takes(lead_id)


def test_a_lead_without_an_id_is_in_no_rollout() -> None:
    assert not share(100).takes("")


def test_another_process_takes_the_same() -> None:
    program = (
        "from cis_server.domain.rollout import RolloutShare as R;"
        "s = R.of('acme', 'weights', '', 2, 10);"
        "print(sum(s.takes(f'lead-{i}') << i for i in range(200)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = sum(share(10).takes(f"lead-{i}") << i for i in range(200))
    assert int(other.stdout) == here
    # Golden: stored rollouts must go on as they began, whatever release runs.
    assert [i for i in range(60) if share(10).takes(f"lead-{i}")] == GOLDEN


GOLDEN = [21, 28, 40, 42, 43, 44, 56, 57, 58]
