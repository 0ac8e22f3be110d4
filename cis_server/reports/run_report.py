"""A run told on one page: what was learned, whether it went live, and by which gate not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from cis_server.domain.model_comparison import LIVE, ModelComparison
from cis_server.domain.policy_value import PolicyOutcomes
from cis_server.domain.runs import Gate, PropensityOutcome, Run, RunResult, WeightsOutcome
from cis_server.domain.weights import COMPONENTS
from cis_server.reports.charts import (
    CurvePoint,
    calibration_chart,
    drift_chart,
    lift_chart,
    weights_chart,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    """A version that a run stored, as its registry row tells it."""

    version: str
    kind: str
    """``weights`` or ``propensity``."""
    state: str
    """Where it stands today."""
    target: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


def run_report(run: Run, models: Sequence[ReportedModel], *, drift_limit: float) -> str:
    """The page of one client's run: HTML with its charts inside, nothing fetched from elsewhere.

    Args:
        run: as stored; a run that has not ended, or failed, is told as far as it came.
        models: versions the run stored.
        drift_limit: stability index above which a shift counts as drift.

    Returns:
        A whole HTML document. Equal input gives equal text.
    """
    parts = [_head(run), _verdict(run)]
    if run.result is not None:
        parts += [
            _patterns(run.result),
            _weights(run.result.weights),
            *(
                _propensity(outcome, models, drift_limit)
                for outcome in (run.result.propensity, *run.result.propensity_targets)
            ),
            _policies(run.result.policies),
        ]
    parts += [_stages(run), _lineage(run, models)]
    title = f"Learning run of {run.client_id}"
    return _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(filter(None, parts)))


def _head(run: Run) -> str:
    facts = [
        ("run", run.run_id),
        ("data up to", _instant(run.options.as_of)),
        ("look-back", f"{run.options.lookback_days} days"),
        ("ended", _instant(run.finished_at)),
    ]
    if run.result is not None:
        result = run.result
        facts += [
            ("leads", f"{result.leads:,}"),
            ("activities", f"{result.activities:,}"),
            ("conversions", f"{result.conversions:,}"),
            ("took", f"{result.seconds:.1f} s"),
        ]
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return f"<h1>Learning run of {escape(run.client_id)}</h1><dl>{items}</dl>"


def _verdict(run: Run) -> str:
    result = run.result
    if run.error:
        return f'<p class="verdict no">The run failed: {escape(run.error)}</p>'
    if result is None:
        return f'<p class="verdict">The run has not ended: {escape(run.message or run.stage)}</p>'
    live = ["weights"] if result.weights.promoted else []
    live += [
        f"probability of {_words(each.target)}"
        for each in (result.propensity, *result.propensity_targets)
        if each.promoted
    ]
    said = f"New {' and '.join(live)} went live." if live else "Nothing new went live."
    if run.options.dry_run:
        said += " It was a dry run: nothing was stored."
    said_of = [("Weights", result.weights.status, result.weights.reason)]
    said_of += [
        (f"Probability of {_words(each.target)}", each.status, each.reason)
        for each in (result.propensity, *result.propensity_targets)
    ]
    items = "".join(
        f"<li><b>{escape(what)}</b> ({escape(_words(status))}): {escape(reason)}.</li>"
        for what, status, reason in said_of
    )
    return f'<p class="verdict {"yes" if live else ""}">{escape(said)}</p><ul>{items}</ul>'


def _patterns(result: RunResult) -> str:
    rows = [
        (
            pattern.type.value.upper(),
            pattern.status.value.replace("_", " "),
            f"{pattern.sample_size:,}",
            f"{pattern.n_converted:,}",
            f"{pattern.confidence:.2f}",
            pattern.reason,
        )
        for pattern in result.patterns
    ]
    heads = ("pattern", "status", "units", "converted", "confidence", "")
    return "<h2>Patterns</h2>" + _table(heads, rows, numbers=(2, 3, 4))


def _weights(outcome: WeightsOutcome) -> str:
    learned = outcome.learned
    parts = ["<h2>Weights of the lead score</h2>"]
    if learned is not None:
        low, high = outcome.low, outcome.high
        parts.append(
            _figure(
                weights_chart(
                    COMPONENTS,
                    outcome.before.as_tuple(),
                    learned.as_tuple(),
                    low.as_tuple() if low is not None else None,
                    high.as_tuple() if high is not None else None,
                ),
                f"How much each component counts, from {outcome.n:,} leads of which "
                f"{outcome.n_converted:,} converted. Bars hold the true weight with 90 %.",
            )
        )
    parts.append(_gates(outcome.gates))
    return "".join(parts)


def _propensity(
    outcome: PropensityOutcome, models: Sequence[ReportedModel], drift_limit: float
) -> str:
    metrics: Mapping[str, Any] = next(
        (m.metrics for m in models if m.kind == "propensity" and m.target == outcome.target), {}
    )
    parts = [f"<h2>Probability of {escape(_words(outcome.target))}</h2>"]
    if outcome.pr_auc is None:
        parts.append(f"<p>{escape(outcome.reason)}.</p>")
    if outcome.pr_auc is not None:
        parts.append(
            f"<p>Fitted on {outcome.n_train:,} leads ({outcome.positives_train:,} converted) and "
            f"judged on {outcome.n_test:,} later ones ({outcome.positives_test:,} converted) that "
            "it had not seen, of other companies.</p>"
        )
    charts = []
    curve = [
        CurvePoint(item["predicted"], item["observed"], item["n"])
        for item in metrics.get("calibration_curve", ())
    ]
    if curve:
        charts.append(_figure(calibration_chart(curve), "Are the probabilities true?"))
    lifts = _lifts(outcome, metrics)
    if lifts:
        charts.append(_figure(lift_chart(lifts), "Are the best leads found first?"))
    parts.append(f'<div class="pair">{"".join(charts)}</div>' if charts else "")
    parts.append(_comparison(outcome))
    parts.append(_others(outcome.comparisons))
    parts.append(_gates(outcome.gates))
    drift = {str(k): float(v) for k, v in metrics.get("feature_drift", {}).items()}
    if isinstance(metrics.get("drift"), (int, float)):
        drift["score"] = float(metrics["drift"])
    if len(drift) > 1:
        words = "Do later leads look like those the model was fitted on?"
        parts.append("<h3>Drift</h3>" + _figure(drift_chart(drift, drift_limit), words))
    parts.append(_selection(metrics.get("selection", {})))
    return "".join(parts)


def _lifts(outcome: PropensityOutcome, metrics: Mapping[str, Any]) -> dict[float, float]:
    curve = {float(item["share"]): float(item["lift"]) for item in metrics.get("lift_curve", ())}
    known = ((0.1, outcome.lift_at_10), (0.2, outcome.lift_at_20))
    return curve or {share: lift for share, lift in known if lift is not None}


def _comparison(outcome: PropensityOutcome) -> str:
    if outcome.pr_auc is None:
        return ""
    rows = [
        ("PR-AUC", _number(outcome.pr_auc), _number(outcome.pr_auc_baseline), "higher is better"),
        ("Brier score", _number(outcome.brier), _number(outcome.brier_baseline), "lower is better"),
        ("log-loss", _number(outcome.log_loss), "", "lower is better"),
        ("lift in the best 10 %", _number(outcome.lift_at_10, 2), "", "1 is chance"),
        ("lift in the best 20 %", _number(outcome.lift_at_20, 2), "", "1 is chance"),
    ]
    return _table(("held out", "model", "lead score", ""), rows, numbers=(1, 2))


def _others(comparisons: Sequence[ModelComparison]) -> str:
    """The model beside the one that was live and beside gradient trees."""
    if not comparisons:
        return ""
    rows = [
        (
            _other(each),
            f"{each.n:,}",
            f"{each.n_converted:,}",
            _number(each.pr_auc),
            _number(each.other_pr_auc),
            _gain(each),
            each.reason or _meaning(each),
        )
        for each in comparisons
    ]
    heads = ("", "leads", "converted", "PR-AUC", "of the other", "gain", "")
    return "<h3>Beside other models</h3>" + _table(heads, rows, numbers=(1, 2, 3, 4, 5))


def _other(found: ModelComparison) -> str:
    if found.other != LIVE:
        return "gradient trees"
    return f"{found.version or 'the model'}, live until now"


def _gain(found: ModelComparison) -> str:
    if found.gain is None:
        return ""
    text = f"{found.gain:+.3f}"
    if found.low is None or found.high is None:
        return text
    level = "" if found.level is None else f", {found.level:.0%}"
    return f"{text} ({found.low:+.3f} to {found.high:+.3f}{level})"


def _meaning(found: ModelComparison) -> str:
    if found.other != LIVE:
        return "a yardstick, never served: much better trees would mean that something is missed"
    if found.low is None or found.high is None:
        return ""
    if found.low > 0.0:
        return "better than what is live"
    return "worse than what is live" if found.high < 0.0 else "no clear difference"


def _gates(gates: Iterable[Gate]) -> str:
    rows = [
        ("passed" if gate.passed else "refused", gate.name.replace("_", " "), gate.text)
        for gate in gates
    ]
    return _table(("gate", "", "what was found"), rows, marks=True) if rows else ""


def _selection(groups: Mapping[str, Any]) -> str:
    parts = []
    for group, items in groups.items():
        rows = [
            (item["value"], f"{item['leads']:,}", f"{item['selected_share']:.1%}") for item in items
        ]
        heads = (group.replace("_", " "), "leads", "in the best tenth")
        parts.append(f"<div>{_table(heads, rows, numbers=(1, 2))}</div>")
    if not parts:
        return ""
    return f'<h3>Who is selected</h3><div class="pair">{"".join(parts)}</div>'


def _policies(policies: PolicyOutcomes) -> str:
    if not policies.outcomes:
        return f"<h2>Exploration</h2><p>{escape(policies.note)}.</p>" if policies.note else ""
    rows = [
        (
            each.kind,
            f"{each.judged:,}",
            f"{each.converted:,}",
            _interval(each.current_value, each.current_low, each.current_high),
            _interval(each.best_value, each.best_low, each.best_high),
            each.warning,
        )
        for each in policies.outcomes
    ]
    heads = ("decision", "judged", "converted", "policy in force", "always the best", "")
    return "<h2>Exploration</h2><p>Conversions per decision, with 90 % intervals.</p>" + _table(
        heads, rows, numbers=(1, 2)
    )


def _interval(value: float | None, low: float, high: float) -> str:
    return "not known" if value is None else f"{value:.1%} ({low:.1%} to {high:.1%})"


def _stages(run: Run) -> str:
    rows = [
        (
            stage.stage.replace("_", " "),
            f"{stage.seconds:.2f}",
            f"{stage.rows:,}" if stage.rows is not None else "",
        )
        for stage in run.stages
    ]
    if not rows:
        return ""
    return "<h2>Stages</h2>" + _table(("stage", "seconds", "rows"), rows, numbers=(1, 2))


def _lineage(run: Run, models: Sequence[ReportedModel]) -> str:
    rows = [("code", run.code_version)]
    if run.result is not None:
        rows.append(("data, SHA-256", run.result.snapshot_hash))
        if run.result.peak_memory_bytes:
            rows.append(("most memory", f"{run.result.peak_memory_bytes / 2**20:,.0f} MB"))
    rows += [(m.version, f"{m.kind}, now {m.state.replace('_', ' ')}") for m in models]
    libraries: Mapping[str, Any] = next(
        (m.lineage["libraries"] for m in models if "libraries" in m.lineage), {}
    )
    rows += [(str(name), str(version)) for name, version in sorted(libraries.items())]
    return "<h2>How to make it again</h2>" + _table(("", ""), [row for row in rows if row[1]])


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    marks: bool = False,
) -> str:
    def cell(position: int, text: str) -> str:
        kind = "n" if position in numbers else ""
        if marks and position == 0:
            kind = "yes" if text == "passed" else "no"
        return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"

    def line(cells: Iterable[str]) -> str:
        return f"<tr>{''.join(cells)}</tr>"

    head = line(
        f'<th class="n">{escape(text)}</th>' if i in numbers else f"<th>{escape(text)}</th>"
        for i, text in enumerate(heads)
    )
    body = "".join(line(cell(i, text) for i, text in enumerate(row)) for row in rows)
    return f"<table><thead>{head if any(heads) else ''}</thead><tbody>{body}</tbody></table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


_TARGETS: Final = {
    "converted": "conversion",
    "call_booked": "a call booked within 7 days",
    "qualified": "qualification within 14 days",
    "customer": "becoming a customer within 30 days",
}


def _words(name: str) -> str:
    return _TARGETS.get(name, name.replace("_", " "))


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _instant(value: dt.datetime | None) -> str:
    return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC") if value is not None else "-"


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE: Final = """
body{margin:0;background:#f5f7fa;color:#1f2933;font:15px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:2rem auto;padding:2rem 2.5rem;background:#fff;
border:1px solid #e4e7eb;border-radius:8px}
h1{margin:0 0 1rem;font-size:1.6rem}
h2{margin:2.2rem 0 .8rem;font-size:1.2rem;border-bottom:1px solid #e4e7eb;padding-bottom:.3rem}
h3{margin:1.4rem 0 .5rem;font-size:1rem}
dl{display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin:0}
dt{color:#616e7c;font-size:.8rem}dd{margin:0;overflow-wrap:anywhere}
.verdict{margin:1.4rem 0 .6rem;padding:.7rem 1rem;border-left:4px solid #9aa5b1;
background:#f5f7fa;font-weight:600}
.verdict.yes{border-color:#2f855a}.verdict.no{border-color:#c2410c}
table{border-collapse:collapse;margin:.6rem 0;font-size:.92rem}
th{text-align:left;color:#616e7c;font-weight:500}
th,td{padding:.25rem 1.1rem .25rem 0;vertical-align:top;border-bottom:1px solid #eef1f4;
overflow-wrap:anywhere}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;overflow-wrap:normal}
td.yes,td.no{color:#2f855a;font-weight:600;white-space:nowrap;overflow-wrap:normal}
td.no{color:#c2410c}
figure{margin:.8rem 0}figure svg{max-width:100%;height:auto}
figcaption{color:#616e7c;font-size:.85rem}
.pair{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;align-items:flex-start}
@media print{body{background:#fff}main{border:0;margin:0;padding:0}}
"""
