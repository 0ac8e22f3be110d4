"""Commands of ``cis`` about what the service proposes to people."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from cis_client._commands import DONE, Console
from cis_client._tables import Table, facts
from cis_client._words import field_word, moment
from cis_client.client import Client
from cis_client.v1.learning_service_pb2 import (
    RECOMMENDATION_STATE_ACCEPTED,
    RECOMMENDATION_STATE_REJECTED,
    DecideRecommendationRequest,
    GetRecommendationsRequest,
    Recommendation,
    RecommendationState,
)

DECISIONS = {"accept": RECOMMENDATION_STATE_ACCEPTED, "reject": RECOMMENDATION_STATE_REJECTED}
"""Word on the command line -> decision."""
STATES = ("proposed", "accepted", "rejected", "expired", "all")
"""What ``--state`` takes."""


def recommendations(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Lists what is proposed, most expected extra conversions first."""
    answer = client.get_recommendations(
        GetRecommendationsRequest(
            client_id=arguments.client, states=_states(arguments.state), page_size=arguments.count
        )
    )
    console.answer(answer, recommendations_report(answer.recommendations, long=arguments.long))
    if answer.unreadable_recommendation_ids:
        named = ", ".join(answer.unreadable_recommendation_ids)
        console.complain(f"left out, for the server cannot read them: {named}")
    return DONE


def recommendation(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Records a decision on one of them."""
    answer = client.decide_recommendation(
        DecideRecommendationRequest(
            client_id=arguments.client,
            recommendation_id=arguments.id,
            decision=DECISIONS[arguments.decision],
            approver=arguments.approver,
            reason=arguments.comment,
        )
    )
    console.answer(answer, [_in_full(answer.recommendation)])
    return DONE


def recommendations_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cis recommendations``."""
    parser.add_argument("--client", required=True, metavar="ID", help="the client")
    parser.add_argument(
        "--state", choices=STATES, default="proposed", help="which ones (default: proposed)"
    )
    parser.add_argument(
        "--count", type=int, default=20, metavar="N", help="most to show, up to 100 (default: 20)"
    )
    parser.add_argument("--long", action="store_true", help="each in full, with its evidence")


def recommendation_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cis recommendation``."""
    parser.add_argument("decision", choices=tuple(DECISIONS), help="what is decided")
    parser.add_argument("id", metavar="ID", help="the recommendation, as listed")
    parser.add_argument("--client", required=True, metavar="ID", help="the client")
    parser.add_argument("--approver", required=True, metavar="NAME", help="who decides")
    parser.add_argument("--comment", default="", metavar="TEXT", help="why")


def recommendations_report(found: Sequence[Recommendation], *, long: bool) -> Iterator[str]:
    """What is proposed: a table, or each one in full."""
    if not found:
        yield "nothing is proposed"
        return
    if long:
        yield from (_in_full(one) for one in found)
        return
    table = Table(("extra/30 d", "90 % interval", "basis", "state", "proposal", "id"))
    for one in found:
        table.add(
            f"{one.expected_extra_conversions:+.1f}",
            f"{one.low:+.1f} to {one.high:+.1f}",
            field_word(one, "basis"),
            field_word(one, "state"),
            one.title,
            one.recommendation_id,
        )
    yield table.text()


def _in_full(one: Recommendation) -> str:
    rows = [
        ("id", one.recommendation_id),
        ("kind", field_word(one, "kind")),
        ("state", field_word(one, "state")),
        ("proposal", one.text),
        ("evidence", one.evidence),
        ("basis", field_word(one, "basis")),
    ]
    if one.HasField("power_plan"):
        plan = one.power_plan
        rows.append(("leads", f"{plan.leads_per_variant} per variant"))
        rows.append(("days", f"{plan.expected_days:.0f}"))
    if one.approver:
        decided = f"{one.approver}, {moment(one, 'decided_time')}"
        rows.append(("decided by", decided))
        rows.append(("comment", one.reason or "none"))
    return facts(rows, one.title)


def _states(name: str) -> list[RecommendationState.ValueType]:
    if name == "all":
        return [number for number in RecommendationState.values() if number]
    return [RecommendationState.Value(f"RECOMMENDATION_STATE_{name.upper()}")]
