"""What each command of ``cis`` asks, and how it shows the answer."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from google.protobuf.message import Message

from cis_client._follow import ProgressLine, follow_run, start_run
from cis_client._frame_files import (
    PartsFile,
    ScoredColumns,
    ScoredParts,
    holds_columns,
    parts_of,
)
from cis_client._leads_csv import OWN_PREFIX, LeadsFile
from cis_client._methods import RPCS
from cis_client._pattern_report import pattern_report
from cis_client._reports import (
    channels_report,
    health_report,
    learn_report,
    patterns_report,
    run_report,
    runs_report,
    score_report,
    tier_table,
    timing_report,
)
from cis_client._scoring_files import ScoredFile, ScoredRow, Summary, score_rows
from cis_client._tables import UNKNOWN, Table, facts, number, percent
from cis_client._transport import ServingStatus
from cis_client._words import as_json, field_word, json_text
from cis_client.client import Client
from cis_client.errors import NotFound
from cis_client.v1.learning_service_pb2 import (
    CheckHealthRequest,
    CheckHealthResponse,
    GetLearningRunRequest,
    LearnRequest,
    LearnResult,
    ListLearningRunsRequest,
)
from cis_client.v1.pattern_service_pb2 import (
    GetPatternRequest,
    ListPatternsRequest,
)
from cis_client.v1.recommendation_service_pb2 import GetChannelsRequest, GetTimingRequest
from cis_client.v1.scoring_service_pb2 import BatchScoreLeadsRequest, ScoreLeadRequest

DONE, PARTLY = 0, 1

FAILURES_SHOWN = 20
BEST_SHOWN = 20


class Console:
    """Where a command writes.

    Args:
        out: answers.
        errors: progress and complaints.
        as_json: whether answers are for programs.
    """

    def __init__(self, out: TextIO, errors: TextIO, *, as_json: bool) -> None:
        self.out, self.errors, self.as_json = out, errors, as_json

    def blocks(self, blocks: Iterable[str]) -> None:
        """Writes blocks of text with an empty line between them."""
        for index, block in enumerate(blocks):
            self.out.write(f"\n{block}\n" if index else f"{block}\n")

    def answer(self, message: Message, blocks: Iterable[str]) -> None:
        """Writes an answer: the message for programs, the blocks for people."""
        if self.as_json:
            self.json(as_json(message))
        else:
            self.blocks(blocks)

    def json(self, value: object) -> None:
        """Writes JSON."""
        self.out.write(json_text(value) + "\n")

    def complain(self, text: str) -> None:
        """Says what went wrong."""
        self.errors.write(f"cis: {text}\n")


def score(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Scores a file, or explains one stored lead."""
    if arguments.lead_id is not None:
        request = ScoreLeadRequest(
            client_id=arguments.client,
            lead_id=arguments.lead_id,
            campaign_id=arguments.campaign,
            as_of_time=arguments.as_of,
            persist=arguments.persist,
        )
        answer = client.score_lead(request)
        console.answer(answer, score_report(answer))
        return DONE
    return _score_file(client, arguments, console)


def _score_file(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    template = BatchScoreLeadsRequest(
        client_id=arguments.client,
        campaign_id=arguments.campaign,
        as_of_time=arguments.as_of,
        persist=arguments.persist,
    )
    if holds_columns(arguments.file):
        return _score_columns(client, arguments, console)
    started = time.monotonic()
    summary, failures = Summary(), list[ScoredRow]()
    kept: list[ScoredRow] = []
    to_console = arguments.output == "-"
    with ExitStack() as files:
        leads = LeadsFile(files.enter_context(_reading(arguments.file)))
        written: ScoredFile | ScoredColumns | None = None
        if holds_columns(arguments.output):
            columns = ScoredColumns(files.enter_context(PartsFile(arguments.output)), leads)
            written = columns
        elif arguments.output is not None:
            out = files.enter_context(_writing(arguments.output, console.out))
            written = ScoredFile(out, leads)
        for row in score_rows(leads, template, client.batch_score_leads):
            summary.add(row)
            if row.score is None:
                failures.append(row)
            elif written is None:
                kept.append(row)
                if not console.as_json and len(kept) > 50 * BEST_SHOWN:
                    kept = _best(kept)
            if written is not None:
                written.write(row)
        if isinstance(written, ScoredColumns):
            written.finish()
    seconds = time.monotonic() - started
    if to_console:
        for row in failures[:FAILURES_SHOWN]:
            console.complain(f"line {row.row.line}: {row.error}")
    elif console.as_json:
        console.json(_scored_json(summary, failures, kept, seconds))
    else:
        console.blocks(_scored_blocks(summary, failures, _best(kept), arguments.output, seconds))
    return PARTLY if failures else DONE


def _score_columns(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Scores a Parquet or Arrow file, a part at a time, by `ScoreTable`."""
    if arguments.persist:
        raise ValueError("--persist needs a CSV file: tables are scored without storing anything")
    if arguments.output == "-":
        raise ValueError(f"{arguments.file} is not text: name a file to write")
    started = time.monotonic()

    def scored(part: Any) -> Any:
        return client.score_frame(
            part,
            arguments.client,
            campaign_id=arguments.campaign,
            as_of_time=arguments.as_of,
            prefix=OWN_PREFIX,
        )

    parts = ScoredParts(scored, keep_all=console.as_json and arguments.output is None)
    with ExitStack() as files:
        written = None
        if arguments.output is not None:
            written = files.enter_context(PartsFile(arguments.output))
        for part in parts_of(arguments.file):
            whole = parts.scored(part)
            if written is not None:
                written.write(whole)
    seconds = time.monotonic() - started
    kept = [] if arguments.output is not None else parts.kept
    if console.as_json:
        console.json(_scored_json(parts.summary, parts.failures, kept, seconds))
    else:
        best, output = _best(kept), arguments.output
        console.blocks(_scored_blocks(parts.summary, parts.failures, best, output, seconds))
    return PARTLY if parts.failures else DONE


def _best(rows: list[ScoredRow]) -> list[ScoredRow]:
    """The highest scores, ties in the order of the file."""
    ranked = sorted(
        (row for row in rows if row.score is not None and not row.score.suppressed),
        key=lambda row: -row.score.score if row.score is not None else 0,
    )
    return ranked[:BEST_SHOWN]


def _scored_blocks(
    summary: Summary,
    failures: list[ScoredRow],
    best: list[ScoredRow],
    output: str | None,
    seconds: float,
) -> Iterator[str]:
    if output is None and best:
        table = Table(("line", "lead", "score", "tier", "conversion"), "best leads")
        table.more = sum(summary.tiers.values()) - len(best)
        for row in best:
            if row.score is not None:
                probability = row.score.conversion_probability.probability
                has = row.score.HasField("conversion_probability")
                table.add(
                    str(row.row.line),
                    row.score.lead_id or UNKNOWN,
                    str(row.score.score),
                    field_word(row.score, "tier"),
                    percent(probability) if has else UNKNOWN,
                )
        yield table.text()
    if summary.scored:
        yield tier_table(summary.tier_counts()).text()
    if failures:
        refused = Table(("line", "lead", "reason"), "not scored")
        refused.more = max(0, len(failures) - FAILURES_SHOWN)
        for row in failures[:FAILURES_SHOWN]:
            name = row.row.lead.lead_id if row.row.lead is not None else ""
            refused.add(str(row.row.line), name or UNKNOWN, row.error)
        yield refused.text()
    yield facts(
        (
            ("scored", number(summary.scored)),
            ("not scored", number(summary.failed)),
            ("mean score", number(summary.mean_score, 1)),
            ("seconds", f"{seconds:.1f}"),
            ("written to", output or ""),
        )
    )


def _scored_json(
    summary: Summary, failures: list[ScoredRow], kept: list[ScoredRow], seconds: float
) -> dict[str, Any]:
    return {
        "scored": summary.scored,
        "failed": summary.failed,
        "mean_score": summary.mean_score,
        "tier_counts": dict(summary.tiers),
        "seconds": round(seconds, 3),
        "scores": [
            {"line": row.row.line, **as_json(row.score)} for row in kept if row.score is not None
        ],
        "failures": [{"line": row.row.line, "message": row.error} for row in failures],
    }


@contextmanager
def _reading(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdin
        return
    try:
        with Path(name).open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text: {error.reason}") from None


@contextmanager
def _writing(name: str, out: TextIO) -> Iterator[TextIO]:
    """Opens a file that appears under its name only when it is complete."""
    if name == "-":
        yield out
        return
    path = Path(name)
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{name}: only .csv, .parquet and .arrow can be written")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def timing(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Says when to contact a lead."""
    answer = client.get_timing(
        GetTimingRequest(
            client_id=arguments.client,
            lead_id=arguments.lead_id,
            timezone=arguments.timezone,
            country=arguments.country,
            region=arguments.region,
            city=arguments.city,
            campaign_id=arguments.campaign,
            channel=arguments.channel,
            touch_number=arguments.touch_number,
            last_touch_time=arguments.last_touch,
            earliest_time=arguments.earliest,
            count=arguments.count,
        )
    )
    console.answer(answer, timing_report(answer))
    return DONE


def channels(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Says through which channel to contact a lead."""
    answer = client.get_channels(
        GetChannelsRequest(
            client_id=arguments.client,
            tier=arguments.tier,
            score=arguments.score,
            lead_id=arguments.lead_id,
            campaign_id=arguments.campaign,
            available_channels=arguments.available,
            used_channels=arguments.used,
        )
    )
    console.answer(answer, channels_report(answer))
    return DONE


def learn(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Starts a learning run, or follows one to its end."""
    request = LearnRequest(
        client_id=arguments.client,
        lookback_days=arguments.lookback_days,
        min_conversions=arguments.min_conversions,
        validity_days=arguments.validity_days,
        as_of_time=arguments.as_of,
        force=arguments.force,
        dry_run=arguments.dry_run,
    )
    if arguments.all:
        request.all_eligible = True
    if arguments.follow:
        line = ProgressLine(console.errors)
        try:
            result = follow_run(client, request, line.show)
        finally:
            line.clear()
        return _learned(result, console)
    first = start_run(client, request)
    if isinstance(first, LearnResult):
        return _learned(first, console)
    text = f"run {first.run_id} is under way: cis runs --run {first.run_id}"
    console.answer(first, [text])
    return DONE


def _learned(result: LearnResult, console: Console) -> int:
    console.answer(result, learn_report(result))
    return PARTLY if any(each.error for each in result.clients) else DONE


def patterns(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Lists what was learned, or shows one pattern in full."""
    if arguments.type is None:
        listed = client.list_patterns(
            ListPatternsRequest(client_id=arguments.client, include_expired=True)
        )
        console.answer(listed, patterns_report(listed))
        return DONE
    answer = client.get_pattern(GetPatternRequest(client_id=arguments.client, type=arguments.type))
    console.answer(answer, pattern_report(answer, arguments.top))
    return DONE


def runs(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Lists learning runs, or shows one in full."""
    if arguments.run is not None:
        answer = client.get_learning_run(GetLearningRunRequest(run_id=arguments.run))
        console.answer(answer, run_report(answer.run))
        return DONE
    listed = client.list_learning_runs(
        ListLearningRunsRequest(client_id=arguments.client, page_size=arguments.count)
    )
    console.answer(listed, runs_report(listed.runs))
    return DONE


def health(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Says what the server's health service says, and warnings about what clients learned."""
    services = ["", *dict.fromkeys(rpc.service for rpc in RPCS.values())]
    states = {name: _status(client, name) for name in services}
    serving = all(state is ServingStatus.SERVING for state in states.values())
    table = Table(("service", "status"))
    for name, state in states.items():
        table.add(name or "(the server)", state.name.lower())
    warnings = None
    if arguments.client is not None:
        warnings = client.check_health(CheckHealthRequest(client_id=arguments.client))
    elif arguments.all:
        warnings = _all_warnings(client)
    if console.as_json:
        found: dict[str, Any] = {name: state.name for name, state in states.items()}
        body: dict[str, Any] = {"serving": serving, "services": found}
        if warnings is not None:
            body["health"] = as_json(warnings)
        console.json(body)
    else:
        console.blocks([table.text(), *(health_report(warnings) if warnings is not None else ())])
    return DONE if serving else PARTLY


def _all_warnings(client: Client) -> CheckHealthResponse:
    """The pages of all clients as one answer."""
    whole = client.check_health(CheckHealthRequest())
    while whole.next_page_token:
        page = client.check_health(CheckHealthRequest(page_token=whole.next_page_token))
        whole.clients.extend(page.clients)
        whole.next_page_token = page.next_page_token
    return whole


def _status(client: Client, service: str) -> ServingStatus:
    try:
        return client.serving_status(service)
    except NotFound:
        return ServingStatus.SERVICE_UNKNOWN
