"""The commands ``cis top-leads`` and ``cis rescore``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cis_client._tables import UNKNOWN, Table, number, percent
from cis_client._words import field_word
from cis_client.client import Client
from cis_client.v1.core_pb2 import RunState
from cis_client.v1.scoring_service_pb2 import (
    LEAD_ORDER_CONVERSION_PROBABILITY,
    LEAD_ORDER_SCORE,
    ListTopLeadsRequest,
    ListTopLeadsResponse,
    RescoreLeadsRequest,
    RescoreLeadsResponse,
)

if TYPE_CHECKING:
    from cis_client._commands import Console

DONE, PARTLY = 0, 1
_PAGE = 1000


def top_leads_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis top-leads`` takes beside the client."""
    parser.add_argument(
        "--by",
        choices=("score", "probability"),
        default="score",
        help="what ranks the leads (default: score)",
    )
    parser.add_argument("--campaign", metavar="ID", help="only leads of this campaign")


def rescore_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``cis rescore`` takes beside the client."""
    parser.add_argument("--campaign", metavar="ID", help="only leads of this campaign")
    parser.add_argument("--follow", action="store_true", help="show progress and the result")


def top_leads(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Lists the best stored leads."""
    request = ListTopLeadsRequest(
        client_id=arguments.client,
        order_by=LEAD_ORDER_CONVERSION_PROBABILITY
        if arguments.by == "probability"
        else LEAD_ORDER_SCORE,
        tiers=arguments.tier,
        campaign_id=arguments.campaign,
    )
    found = ListTopLeadsResponse()
    while len(found.scores) < arguments.count:
        request.page_size = min(_PAGE, arguments.count - len(found.scores))
        page = client.list_top_leads(request)
        found.scores.extend(page.scores)
        found.model.CopyFrom(page.model)
        found.next_page_token = request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    console.answer(found, [_ranking(found)])
    return DONE


def _ranking(found: ListTopLeadsResponse) -> str:
    table = Table(("lead", "score", "tier", "conversion", "channels", "scored"), "best leads")
    for each in found.scores:
        chance = each.conversion_probability.probability
        table.add(
            each.lead_id,
            str(each.score),
            field_word(each, "tier"),
            percent(chance) if each.HasField("conversion_probability") else UNKNOWN,
            ", ".join(each.channels) or UNKNOWN,
            f"{each.scored_time.ToDatetime():%Y-%m-%d %H:%M}"
            if each.HasField("scored_time")
            else UNKNOWN,
        )
    return table.text() if found.scores else "no scored active leads"


def rescore(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Has all active leads scored again; follows that to its end when asked to."""
    request = RescoreLeadsRequest(client_id=arguments.client, campaign_id=arguments.campaign)
    last = RescoreLeadsResponse()
    with client.rescore_leads(request) as events:
        for last in events:
            if not arguments.follow:
                break
            if last.HasField("total") and not console.as_json:
                console.errors.write(
                    f"{last.fraction:4.0%}  {last.scored:,} of {last.total:,} leads\n"
                )
                console.errors.flush()
    console.answer(last, _rescored(last) if _ended(last) else [_under_way(last)])
    return PARTLY if last.state == RunState.RUN_STATE_FAILED or last.failed else DONE


def _ended(last: RescoreLeadsResponse) -> bool:
    return last.state in (RunState.RUN_STATE_SUCCEEDED, RunState.RUN_STATE_FAILED)


def _under_way(last: RescoreLeadsResponse) -> str:
    return f"run {last.run_id} is under way: cis rescore --follow attaches to it"


def _rescored(last: RescoreLeadsResponse) -> list[str]:
    blocks = [f"{last.message}: {number(last.scored)} scored, {number(last.failed)} not"]
    if last.tier_moves:
        moves = Table(("from", "to", "leads"), "tier moves")
        for move in last.tier_moves:
            before = field_word(move, "from_tier") if move.from_tier else "never scored"
            moves.add(before, field_word(move, "to_tier"), number(move.count))
        blocks.append(moves.text())
    return blocks
