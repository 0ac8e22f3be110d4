"""Answers as text for people: timing, channels, weights, scores, runs, what a run found."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Sequence

from cis_client._tables import UNKNOWN, Table, facts, interval, number, percent, yes
from cis_client._words import COMPONENTS, field_word, moment, rate, source, weight_cells, word
from cis_client.v1.core_pb2 import ConversionProbability, LeadScore, PatternType, TierCounts
from cis_client.v1.learning_service_pb2 import (
    CheckHealthResponse,
    ClientLearnResult,
    Evaluation,
    Gate,
    LearningRun,
    LearnResult,
    ModelComparison,
    PropensityResult,
)
from cis_client.v1.pattern_service_pb2 import GetWeightsResponse, ListPatternsResponse
from cis_client.v1.recommendation_service_pb2 import GetChannelsResponse, GetTimingResponse

TIERS = ("hot", "warm", "cool", "cold", "dead")
"""Tiers, warmest first."""


def score_report(score: LeadScore) -> Iterator[str]:
    """One lead's score with its parts and reasons."""
    probability = UNKNOWN
    if score.HasField("conversion_probability"):
        found = score.conversion_probability
        probability = f"{percent(found.probability)} ({interval(found.low, found.high)})"
        if found.model_version:
            probability += f", told by {found.model_version}"
    yield facts(
        (
            ("lead", score.lead_id),
            ("score", f"{score.score} ({score.weighted_sum:.2f})"),
            ("tier", field_word(score, "tier")),
            ("suppressed", score.suppression_reason or yes(score.suppressed)),
            ("conversion", probability),
            ("channels", ", ".join(score.channels) or "none"),
            ("weights", source(score.model)),
        )
    )
    parts = Table(("component", "points", "weight", "adds"))
    for name in COMPONENTS:
        parts.add(
            name,
            number(getattr(score.components, name), 2),
            f"{getattr(score.weights, name):.4f}",
            f"{getattr(score.contributions, name):.2f}",
        )
    yield parts.text()
    if score.reasons:
        reasons = Table(("points", "reason"))
        for reason in score.reasons:
            reasons.add(f"{reason.points:+.2f}", reason.text)
        yield reasons.text()
    if score.conversion_probability.factors:
        yield _factors_table(score.conversion_probability).text()


def _factors_table(found: ConversionProbability) -> Table:
    """What each feature did to the probability: the log-odds add up, the odds multiply."""
    title = f"what the probability of {field_word(found, 'target')} is made of"
    table = Table(("log-odds", "odds", "factor"), title)
    if found.HasField("base_log_odds"):
        table.add(f"{found.base_log_odds:+.3f}", "", "before anything of the lead counts")
    for factor in found.factors:
        # A lead far outside of what was learned has a factor that no float can hold.
        odds = f"× {math.exp(factor.log_odds):.2f}" if factor.log_odds < 6.9 else "× over 1 000"
        table.add(f"{factor.log_odds:+.3f}", odds, factor.text)
    return table


def tier_table(counts: TierCounts) -> Table:
    """How many leads fell into each tier."""
    total = sum(getattr(counts, tier) for tier in TIERS)
    table = Table(("tier", "leads", "share"))
    for tier in TIERS:
        leads = getattr(counts, tier)
        table.add(tier, number(leads), percent(leads / total if total else None))
    return table


def timing_report(answer: GetTimingResponse) -> Iterator[str]:
    """When to contact a lead."""
    gap = ""
    if answer.HasField("gap_days"):
        gap = (
            f"{number(answer.gap_days, 1)} days"
            f" ({number(answer.gap_min_days, 1)}–{number(answer.gap_max_days, 1)})"
        )
    yield facts(
        (
            ("send at", f"{moment(answer, 'next_send_time')} UTC"),
            ("zone", f"{answer.timezone} ({field_word(answer, 'timezone_source')})"),
            ("gap", gap),
            ("decision", answer.decision_id),
            ("told by", source(answer.model)),
        )
    )
    windows = Table(("lead's clock", "UTC", "rate", "source", "propensity"), "windows")
    for window in answer.windows:
        windows.add(
            _clock(window.local_start),
            moment(window, "start_time"),
            rate(window.estimate) if window.HasField("estimate") else UNKNOWN,
            field_word(window, "source"),
            number(window.propensity),
        )
    yield windows.text()
    for title, advice in (("days", answer.best_days), ("hours", answer.best_hours)):
        if advice and not any(each.HasField("estimate") for each in advice):
            values = ", ".join(each.value for each in advice)
            yield f"{title}: {values} (default, none was learned)"
            continue
        ranks = Table((title[:-1], "rate", "verdict", "source"), title)
        for each in advice:
            ranks.add(
                each.value,
                rate(each.estimate) if each.HasField("estimate") else UNKNOWN,
                field_word(each, "verdict") or UNKNOWN,
                field_word(each, "source"),
            )
        yield ranks.text()


def _clock(local: str) -> str:
    """A local time with its weekday."""
    return datetime.datetime.fromisoformat(local).strftime("%a %Y-%m-%d %H:%M")


def channels_report(answer: GetChannelsResponse) -> Iterator[str]:
    """Which channel next."""
    several = ""
    if answer.HasField("multi_channel"):
        several = field_word(answer.multi_channel, "recommendation")
        if answer.multi_channel.HasField("lift"):
            several += f" (lift {answer.multi_channel.lift:.2f})"
    yield facts(
        (
            ("next", answer.next_channel or "none allowed"),
            ("tier", field_word(answer, "tier") or "all together"),
            ("one or several", several),
            ("decision", answer.decision_id),
            ("told by", source(answer.model)),
        )
    )
    table = Table(("channel", "allowed", "rate", "verdict", "counted over", "why not"), "channels")
    for choice in answer.channels:
        table.add(
            choice.channel,
            yes(choice.allowed),
            rate(choice.estimate) if choice.HasField("estimate") else UNKNOWN,
            field_word(choice, "verdict") or UNKNOWN,
            field_word(choice, "basis") or UNKNOWN,
            choice.why_not_text or choice.why_not,
        )
    yield table.text()
    if answer.sequences:
        orders = Table(("sequence", "rate", "verdict", "source"), "sequences")
        for order in answer.sequences:
            orders.add(
                " → ".join(order.channels),
                rate(order.estimate) if order.HasField("estimate") else UNKNOWN,
                field_word(order, "verdict") or UNKNOWN,
                field_word(order, "source"),
            )
        yield orders.text()


def weights_report(answer: GetWeightsResponse) -> Iterator[str]:
    """The weights in force beside the defaults and the learned ones."""
    since = moment(answer, "updated_time") if answer.HasField("updated_time") else ""
    origin = "set by hand" if answer.manual else source(answer.model)
    sample = ""
    if answer.sample_size:
        sample = f"{number(answer.sample_size)} leads, {number(answer.converted)} converted"
    rollout = ""
    if answer.HasField("rollout_version"):
        rollout = f"{answer.rollout_version}, to {answer.rollout_percentage} % of the leads"
    yield facts(
        (
            ("in force", origin),
            ("live since", since),
            ("learned from", sample),
            ("learned, not live", answer.learned_version),
            ("before it", answer.previous_version),
            ("being rolled out", rollout),
        )
    )
    headings = ["component", "in force", "default"]
    columns = [weight_cells(answer.weights), weight_cells(answer.default_weights)]
    if answer.HasField("learned_weights"):
        headings.append("learned")
        columns.append(weight_cells(answer.learned_weights))
    if answer.HasField("rollout_weights"):
        headings.append("rolled out")
        columns.append(weight_cells(answer.rollout_weights))
    table = Table(headings)
    for name, *cells in zip(COMPONENTS, *columns, strict=True):
        table.add(name, *cells)
    yield table.text()


def patterns_report(answer: ListPatternsResponse) -> Iterator[str]:
    """All patterns of a client in one table."""
    by_type = {pattern.type: pattern for pattern in answer.patterns}
    runs = {run.type: run for run in answer.last_runs}
    table = Table(
        ("type", "last run", "sample", "converted", "baseline", "confidence", "valid until", "why")
    )
    for kind in sorted({*by_type, *runs}):
        name = word(PatternType.DESCRIPTOR, kind)
        run = runs.get(kind)
        status = field_word(run, "status") if run is not None else UNKNOWN
        why = run.reason if run is not None else ""
        pattern = by_type.get(kind)
        if pattern is None:
            table.add(name, status, *[UNKNOWN] * 5, why)
            continue
        until = moment(pattern, "valid_until_time")
        table.add(
            name,
            status,
            number(pattern.sample_size),
            number(pattern.converted),
            percent(pattern.baseline_conversion_rate),
            percent(pattern.confidence),
            f"{until} (stale)" if pattern.stale else until,
            why,
        )
    yield table.text()


def runs_report(runs: Iterable[LearningRun]) -> Iterator[str]:
    """Learning runs, one line each."""
    table = Table(("run", "client", "state", "done", "stage", "asked for", "seconds", "message"))
    for run in runs:
        table.add(
            run.run_id,
            run.client_id or "all",
            field_word(run, "state"),
            percent(run.fraction),
            run.stage,
            moment(run, "created_time"),
            f"{run.seconds:.1f}",
            # The rest of what came of it stands in the run.
            run.message.partition("; ")[0] or (run.errors[-1].message if run.errors else ""),
        )
    yield table.text()


def run_report(run: LearningRun) -> Iterator[str]:
    """One run: where it stands, its stages and faults, what it found."""
    peak = ""
    if run.HasField("peak_memory_bytes"):
        peak = f"{number(run.peak_memory_bytes / 2**20, 0)} MB"
    yield facts(
        (
            ("run", run.run_id),
            ("client", run.client_id or "all eligible"),
            ("state", f"{field_word(run, 'state')}, {percent(run.fraction)}"),
            ("message", run.message),
            ("as of", moment(run, "as_of_time")),
            ("looks back", f"{run.lookback_days} days"),
            ("asked for", f"{moment(run, 'created_time')} by {run.trigger or 'request'}"),
            ("seconds", f"{run.seconds:.1f}"),
            ("attempt", number(run.attempt)),
            ("peak memory", peak),
            ("data", run.snapshot_hash),
            ("counts", ", ".join(f"{key} {number(run.counts[key])}" for key in sorted(run.counts))),
        )
    )
    if run.stages:
        stages = Table(("stage", "client", "seconds", "rows"), "stages")
        for stage in run.stages:
            stages.add(
                stage.stage,
                stage.client_id,
                f"{stage.seconds:.2f}" if stage.HasField("seconds") else "under way",
                number(stage.rows) if stage.HasField("rows") else UNKNOWN,
            )
        yield stages.text()
    if run.errors:
        errors = Table(("when", "stage", "client", "tried again", "fault"), "faults")
        for error in run.errors:
            errors.add(
                moment(error, "event_time"),
                error.stage,
                error.client_id,
                yes(error.retried),
                error.message,
            )
        yield errors.text()
    yield from learn_report(result_of(run))


def result_of(run: LearningRun) -> LearnResult:
    """What a finished run found, as the stream of Learn would have told it."""
    return LearnResult(
        run_id=run.run_id, clients=run.results, seconds=run.seconds, skipped=run.skipped
    )


def learn_report(result: LearnResult) -> Iterator[str]:
    """What a run found for every client."""
    for client in result.clients:
        yield from _client_report(client)
    if result.skipped:
        table = Table(("client", "converted", "reason"), "left out")
        for skipped in result.skipped:
            table.add(skipped.client_id, number(skipped.converted), skipped.reason)
        yield table.text()


def _policies_table(result: ClientLearnResult) -> Table:
    columns = ("decision", "judged", "as it is", "always the best", "rests on", "warning")
    table = Table(columns, "conversions per decision, by what exploration tells")
    for each in result.policies:
        table.add(
            each.kind,
            f"{number(each.judged)} of {number(each.decisions)}",
            f"{percent(each.current_value)} {interval(each.current_low, each.current_high)}"
            if each.HasField("current_value")
            else UNKNOWN,
            f"{percent(each.best_value)} {interval(each.best_low, each.best_high)}"
            if each.HasField("best_value")
            else UNKNOWN,
            number(round(each.effective_size)),
            each.warning,
        )
    return table


def _client_report(result: ClientLearnResult) -> Iterator[str]:
    yield facts(
        (
            ("client", result.client_id),
            ("fault", result.error),
            (
                "leads",
                f"{number(result.sample_size)}, {number(result.converted)} converted",
            ),
            ("seconds", f"{result.seconds:.1f}"),
        )
    )
    patterns = Table(("pattern", "status", "sample", "converted", "confidence", "why"), "patterns")
    for pattern in result.patterns:
        patterns.add(
            field_word(pattern, "type"),
            field_word(pattern, "status"),
            number(pattern.sample_size),
            number(pattern.converted),
            percent(pattern.confidence),
            pattern.reason,
        )
    yield patterns.text()
    yield _weights_block(result)
    if result.HasField("evaluation"):
        yield evaluation_report("weights on outcomes not seen", result.evaluation)
    if result.gates:
        yield gates_table(result.gates, "gates of the weights").text()
    for model in result.propensity:
        yield from _propensity_report(model)
    if result.policies:
        yield _policies_table(result).text()


def _weights_block(result: ClientLearnResult) -> str:
    live = "live by force" if result.forced else "live" if result.promoted else "not live"
    status = field_word(result, "weights_status") or "not fitted"
    head = facts((("state", f"{status}, {live}"), ("why", result.reason)), "weights")
    fitted = result.weights_fitted if result.HasField("weights_fitted") else None
    table = Table(("component", "before", "after", "fitted", "90 % interval"))
    ends = [UNKNOWN] * len(COMPONENTS)
    if result.HasField("weights_low") and result.HasField("weights_high"):
        pairs = zip(
            weight_cells(result.weights_low), weight_cells(result.weights_high), strict=True
        )
        ends = [f"{low}–{high}" for low, high in pairs]
    for cells in zip(
        COMPONENTS,
        weight_cells(result.weights_before),
        weight_cells(result.weights_after),
        weight_cells(fitted),
        ends,
        strict=True,
    ):
        table.add(*cells)
    return f"{head}\n{table.text()}"


def gates_table(gates: Sequence[Gate], title: str) -> Table:
    """Gates between learning and going live."""
    table = Table(("gate", "passed", "value", "bound", "meaning"), title)
    for gate in gates:
        value = number(gate.value, 4) if gate.HasField("value") else UNKNOWN
        table.add(gate.name, yes(gate.passed), value, number(gate.bound, 4), gate.text)
    return table


def _propensity_report(model: PropensityResult) -> Iterator[str]:
    live = "live by force" if model.forced else "live" if model.promoted else "not live"
    yield facts(
        (
            ("state", f"{field_word(model, 'status')}, {live}"),
            ("why", model.reason),
            ("version", model.model_version),
            (
                "fitted on",
                f"{number(model.n_train)} leads, {number(model.n_train_converted)} converted",
            ),
        ),
        f"conversion model ({field_word(model, 'target')})",
    )
    if model.HasField("evaluation"):
        yield evaluation_report("the model on outcomes not seen", model.evaluation)
    if model.gates:
        yield gates_table(model.gates, "gates of the model").text()


def evaluation_report(title: str, found: Evaluation) -> str:
    """How good something is on outcomes it has not seen."""
    held = f"{number(found.n)} leads, {number(found.n_converted)} converted"
    pairs = [("held out", f"{held} ({found.method})" if found.method else held)]
    values = {field.name: value for field, value in found.ListFields()}
    for name, words in (("pr_auc", "PR-AUC"), ("log_loss", "log-loss"), ("brier", "Brier score")):
        if name in values:
            text = f"{values[name]:.4f}"
            if f"baseline_{name}" in values:
                text += f" (baseline {values[f'baseline_{name}']:.4f})"
            pairs.append((words, text))
    if found.HasField("gain"):
        text = f"{found.gain:+.5f} {found.metric_name}"
        if found.HasField("low") and found.HasField("high"):
            level = f"{found.interval_level:.0%} " if found.HasField("interval_level") else ""
            text += f" ({level}interval {found.low:+.5f} to {found.high:+.5f})"
        pairs.append(("gain", text))
    if found.HasField("calibration_slope"):
        text = f"{found.calibration_slope:.3f}"
        if found.HasField("calibration_slope_low") and found.HasField("calibration_slope_high"):
            text += f" ({found.calibration_slope_low:.3f}–{found.calibration_slope_high:.3f})"
        pairs.append(("calibration slope", text))
    if found.HasField("lift_at_10"):
        pairs.append(("best 10 %", f"{found.lift_at_10:.2f} × the overall rate"))
    if found.HasField("lift_at_20"):
        pairs.append(("best 20 %", f"{found.lift_at_20:.2f} × the overall rate"))
    if found.HasField("p_value"):
        pairs.append(("p-value", f"{found.p_value:.4f}"))
    pairs += [_beside(each) for each in found.comparisons]
    return facts(pairs, title)


def _beside(found: ModelComparison) -> tuple[str, str]:
    """A model against another on the same leads."""
    name = "gradient trees" if found.other == "challenger" else found.model_version
    words = f"beside {name or found.other}"
    if not found.HasField("gain"):
        return words, found.reason or UNKNOWN
    text = f"{found.gain:+.4f} PR-AUC"
    if found.HasField("low") and found.HasField("high"):
        level = f"{found.interval_level:.0%} " if found.HasField("interval_level") else ""
        text += f" ({level}interval {found.low:+.4f} to {found.high:+.4f})"
    return words, f"{text} on {number(found.n)} leads"


def health_report(answer: CheckHealthResponse) -> Iterator[str]:
    """Health warnings of clients."""
    yield facts(
        (
            ("clients", number(answer.clients_checked)),
            ("healthy", number(answer.healthy)),
            ("with warnings", number(answer.with_warnings)),
        )
    )
    table = Table(("client", "severity", "warning", "pattern", "meaning", "remedy"), "warnings")
    for client in answer.clients:
        for warning in client.warnings:
            table.add(
                client.client_id,
                field_word(warning, "severity"),
                warning.type,
                field_word(warning, "pattern") or UNKNOWN,
                warning.message,
                warning.remedy,
            )
    yield table.text()
