"""`cis-server demo`: the whole story in a terminal, against planted truth.

A server is started over a database of its own, two clients' outreach is simulated, a lead is scored
before anything was learned, both clients learn, and what they learned stands beside what was
planted. Everything is asked through the public client, as an engine would.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cis_client import Client, ClientOptions
from cis_client.v1 import core_pb2, patterns_pb2
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.demo.demo_clients import demo_clients
from cis_server.demo.loading import write
from cis_server.demo.simulator import Simulation, simulate
from cis_server.demo.truth import TrueRate, Truth
from cis_server.domain.weights import COMPONENTS
from cis_server.errors import ConfigurationError
from cis_server.persistence.database import opened_database
from cis_server.settings import Settings

SEED: Final = 7
_LEADS_EACH: Final = 8_000

_LEADS: Final[Mapping[str, core_pb2.Lead]] = {
    "acme": core_pb2.Lead(
        lead_id="demo-founder",
        title="Founder & CEO",
        email="dana@northwind.example",
        email_status=core_pb2.EMAIL_STATUS_VERIFIED,
        linkedin_url="https://www.linkedin.com/in/dana-northwind",
        industry="Software",
        employee_count=120,
        country="Australia",
        city="Sydney",
        region="NSW",
        is_hiring=True,
        attributes={"crm_source": "referral"},
    ),
    "globex": core_pb2.Lead(
        lead_id="demo-director",
        title="Director of Operations",
        email="sam@stmary.example",
        email_status=core_pb2.EMAIL_STATUS_GUESSED,
        phone="+1 212 555 0100",
        industry="Healthcare",
        employee_count=300,
        country="United States",
        city="New York",
        region="NY",
        is_hiring=True,
        attributes={"crm_source": "webinar"},
    ),
}
_ZONES: Final = {"acme": "Australia/Sydney", "globex": "America/New_York"}


def run(settings: Settings, *, once: bool) -> int:
    """Tell the story.

    Args:
        settings: its data folder holds the demonstration's database, apart from any other.
        once: end after the story; else the server goes on until Ctrl-C.

    Returns:
        The exit code: 0, or 130 when a signal ended it before its time.
    """
    console = Console(highlight=False)
    with _Interruption() as interruption:
        _story(console, settings, interruption, once=once)
    return 130 if interruption.cut_short else 0


def _story(
    console: Console, settings: Settings, interruption: _Interruption, *, once: bool
) -> None:
    started = time.monotonic()
    console.print("[bold]CIS demonstration[/]: two clients, opposite truths, one server\n")
    database = opened_database(None, settings.data_dir / "demo", throwaway=True)
    with database as url, interruption.off_at_the_end():
        console.print(f"  [green]✓[/] Postgres is up ({time.monotonic() - started:.1f} s)")
        simulation = _simulated(console, url)
        with (
            _server(settings, url, interruption) as target,
            Client(ClientOptions(target=target)) as client,
        ):
            client.wait_ready()
            console.print(f"  [green]✓[/] the server is up at {target}\n")
            _tell(console, client, simulation)
            console.print(f"\nThe story took {time.monotonic() - started:.0f} seconds.")
            if not once:
                _show_how_to_go_on(console, target)
                interruption.wait()


def _tell(console: Console, client: Client, simulation: Simulation) -> None:
    before = {name: _score(client, name) for name in _LEADS}
    _heading(console, "1. Before learning: the same defaults for everybody")
    for name in _LEADS:
        _show_score(console, name, before[name], None)
    _heading(console, "2. Learning from what led to meetings")
    results = _learned(console, client)
    for name, result in results.items():
        _show_result(console, name, result)
    _heading(console, "3. Weights: learned beside planted")
    _show_weights(console, results, simulation)
    _heading(console, "4. Who converts: learned beside planted")
    for name in _LEADS:
        _show_who(console, client, name, simulation.truth[name])
    _heading(console, "5. The same leads now")
    for name in _LEADS:
        _wait_for_model(client, name)
        _show_score(console, name, _score(client, name), before[name])
    _heading(console, "6. When, and through which channel")
    for name in _LEADS:
        _show_timing(console, client, name, simulation.truth[name])
        _show_channels(console, client, name, simulation.truth[name])


def _simulated(console: Console, url: str) -> Simulation:
    started = time.monotonic()
    as_of = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    simulation = simulate(demo_clients(_LEADS_EACH), SEED, as_of)
    counts = write(simulation, url, replace=True)
    told = ", ".join(
        f"{counts[table]:,} {table.replace('_', ' ')}"
        for table in ("leads", "activities", "email_events", "meetings", "deals")
    )
    console.print(f"  [green]✓[/] simulated {told} ({time.monotonic() - started:.1f} s)")
    return simulation


@contextlib.contextmanager
def _server(settings: Settings, url: str, interruption: _Interruption) -> Iterator[str]:
    """A server of its own on a free port; stopped at the end."""
    log = settings.data_dir / "demo" / "server.log"
    command = [sys.executable, "-m", "cis_server", "serve", "--host=127.0.0.1"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--port=0", "--http-port=0", "--workers=1"],
            env={**os.environ, "CIS_DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        with interruption.off_at_the_end():
            yield _announced(process, str(log))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _announced(process: subprocess.Popen[bytes], log: str) -> str:
    """The address in the line the server writes once all its processes are ready."""
    stdout = process.stdout
    line = stdout.readline().decode() if stdout is not None else ""
    found = re.search(r"serving on (\S+)", line)
    if found is None:
        raise ConfigurationError(f"the server did not start; see {log}")
    return found[1]


def _score(client: Client, name: str) -> core_pb2.LeadScore:
    return client.score_lead(scoring.ScoreLeadRequest(client_id=name, lead=_LEADS[name]))


def _wait_for_model(client: Client, name: str) -> None:
    """Serving hears of a finished run by notification, milliseconds after the run's own answer."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        if _score(client, name).HasField("conversion_probability"):
            return
        time.sleep(0.05)


def _learned(console: Console, client: Client) -> dict[str, learning.ClientLearnResult]:
    results = {}
    with Progress(
        TextColumn("  {task.fields[client]:<7}"),
        BarColumn(30),
        TextColumn("{task.fields[stage]}"),
        console=console,
        transient=True,
    ) as progress:
        for name in _LEADS:
            task = progress.add_task("", total=1.0, client=name, stage="queued")
            for event in client.learn(learning.LearnRequest(client_id=name)):
                if event.HasField("progress"):
                    step = event.progress
                    progress.update(task, completed=step.fraction, stage=step.stage)
                else:
                    results[name] = event.result.clients[0]
                    progress.update(task, completed=1.0, stage="done")
    return results


def _show_result(console: Console, name: str, result: learning.ClientLearnResult) -> None:
    if result.error:
        console.print(f"  [red]✗[/] {name}: {result.error}")
        return
    found = ", ".join(
        f"{_word(core_pb2.PatternType.Name(p.type))} {_word(core_pb2.PatternStatus.Name(p.status))}"
        for p in result.patterns
    )
    console.print(
        f"  [green]✓[/] {name}: {result.sample_size:,} leads, {result.converted} conversions, "
        f"{result.seconds:.1f} s ({found})"
    )
    for model in result.propensity:
        console.print(f"    {_TARGETS[model.target]}: {_judged(model)}")


_TARGETS: Final[Mapping[int, str]] = {
    core_pb2.CONVERSION_TARGET_CONVERTED: "probability of conversion",
    core_pb2.CONVERSION_TARGET_CALL_BOOKED: "of a call booked within 7 days",
    core_pb2.CONVERSION_TARGET_QUALIFIED: "of qualification within 14 days",
    core_pb2.CONVERSION_TARGET_CUSTOMER: "of becoming a customer within 30 days",
}


def _judged(model: learning.PropensityResult) -> str:
    """How a model did on later leads it had not seen, and what came of it."""
    fate = "live" if model.promoted else f"not promoted: {model.reason}"
    evaluation = model.evaluation
    if not evaluation.HasField("pr_auc"):
        return fate
    return (
        f"PR-AUC {evaluation.pr_auc:.3f} on later leads (lead score alone "
        f"{evaluation.baseline_pr_auc:.3f}), lift in the top 10 % "
        f"{evaluation.lift_at_10:.1f}; {fate}"
    )


def _show_weights(
    console: Console,
    results: Mapping[str, learning.ClientLearnResult],
    simulation: Simulation,
) -> None:
    table = Table()
    table.add_column("component")
    table.add_column("default", justify="right")
    for name in results:
        table.add_column(f"{name}: planted", justify="right", style="dim")
        table.add_column("learned", justify="right", style="bold")
    for component in COMPONENTS:
        row = [component.replace("_", " ")]
        for name, result in results.items():
            if len(row) == 1:
                row.append(f"{getattr(result.weights_before, component):.2f}")
            row.append(f"{simulation.truth[name].implied_weights[component]:.2f}")
            row.append(f"{getattr(result.weights_after, component):.3f}")
        table.add_row(*row)
    console.print(table)
    for name, result in results.items():
        verdict = "promoted" if result.weights_after != result.weights_before else result.reason
        gates = "; ".join(gate.text for gate in result.gates)
        console.print(f"  {name}: {verdict}. {gates}", style="dim")


def _show_who(console: Console, client: Client, name: str, truth: Truth) -> None:
    pattern = client.get_pattern(
        patterns.GetPatternRequest(client_id=name, type=core_pb2.PATTERN_TYPE_WHO)
    ).pattern
    table = Table(
        title=f"{name}: baseline {pattern.baseline_conversion_rate:.1%}", title_style="bold"
    )
    for heading in ("segment", "leads", "rate", "90 % interval", "lift", "planted", "verdict"):
        table.add_column(heading, justify="left" if heading in ("segment", "verdict") else "right")
    for dimension, rankings, planted in _who_rows(pattern, truth):
        for segment in _telling(rankings):
            true = planted(segment.value)
            estimate = segment.estimate
            table.add_row(
                f"{dimension}: {segment.value}",
                str(estimate.sample),
                f"{estimate.adjusted_rate:.1%}",
                f"{estimate.low:.1%} – {estimate.high:.1%}",
                f"{estimate.adjusted_lift:.1f}",
                f"{true.lift:.1f}" if true else "",
                _verdict(segment.verdict),
            )
    console.print(table)


def _telling(rankings: Sequence[core_pb2.SegmentRate]) -> list[core_pb2.SegmentRate]:
    """The segments with a verdict, at most three winning and two losing ones, else the first."""
    winning = [s for s in rankings if s.verdict == core_pb2.VERDICT_WINNING]
    losing = [s for s in rankings if s.verdict == core_pb2.VERDICT_LOSING]
    return [*winning[:3], *losing[-2:]] or list(rankings[:1])


_Planted = Callable[[str], TrueRate | None]


def _who_rows(
    pattern: patterns_pb2.Pattern, truth: Truth
) -> list[tuple[str, list[core_pb2.SegmentRate], _Planted]]:
    def planted(dimension: str) -> _Planted:
        known = {
            value.casefold(): rate for value, rate in truth.lead_rates.get(dimension, {}).items()
        }
        return lambda value: known.get(value.casefold())

    rankings = {entry.attribute: list(entry.segments) for entry in pattern.who.attribute_rankings}
    return [
        ("level", rankings.get("title_level", []), planted("title_level")),
        ("industry", list(pattern.who.industry_rankings), planted("industry")),
        (
            "source",
            rankings.get("attributes.crm_source", []),
            planted("attributes.crm_source"),
        ),
    ]


def _show_score(
    console: Console, name: str, score: core_pb2.LeadScore, before: core_pb2.LeadScore | None
) -> None:
    lead = _LEADS[name]
    change = f" (was {before.score})" if before is not None else ""
    console.print(
        f"  [bold]{name}[/]: {lead.title}, {lead.industry}, {lead.employee_count} staff, "
        f"{lead.city} → score [bold]{score.score}[/]{change}, "
        f"{_word(core_pb2.Tier.Name(score.tier))}, channels {', '.join(score.channels) or 'none'}"
    )
    if score.HasField("conversion_probability"):
        chance = score.conversion_probability
        console.print(
            f"    converts with probability [bold]{chance.probability:.1%}[/] "
            f"(90 % interval {chance.low:.1%} – {chance.high:.1%})"
        )
    for reason in score.reasons:
        colour = "green" if reason.points > 0 else "red"
        console.print(f"    [{colour}]{reason.points:+6.1f}[/]  {reason.text}")
    source = _word(core_pb2.Source.Name(score.model.source))
    told = f"{source}, from {score.model.sample_size} leads" if score.model.sample_size else source
    console.print(f"    weights: {told}", style="dim")


def _show_timing(console: Console, client: Client, name: str, truth: Truth) -> None:
    answer = client.get_timing(
        recommendation.GetTimingRequest(client_id=name, timezone=_ZONES[name], count=3)
    )
    days = ", ".join(_day(day) for day in answer.best_days)
    hours = ", ".join(f"{hour.hour}:00{_rate(hour.estimate)}" for hour in answer.best_hours)
    planted = f"{truth.peak_hour:.0f}:00" if truth.peak_hour is not None else "none"
    best_day = max(truth.touch_rates["weekday"].items(), key=lambda item: item[1].lift)
    console.print(f"  [bold]{name}[/] days: {days}")
    console.print(f"    hours: {hours}  [dim](planted peak {planted})[/]")
    if best_day[1].lift > 1.5 and best_day[1].units > 500:
        weekday = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")[int(best_day[0]) - 1]
        console.print(f"    [dim]planted best day {weekday}, lift {best_day[1].lift:.1f}[/]")
    slots = "; ".join(window.local_start[:16].replace("T", " ") for window in answer.windows)
    console.print(f"    next slots on the lead's clock: {slots} ({answer.timezone})")


def _show_channels(console: Console, client: Client, name: str, truth: Truth) -> None:
    answer = client.get_channels(
        recommendation.GetChannelsRequest(client_id=name, tier=core_pb2.TIER_HOT)
    )
    listed = ", ".join(
        f"{choice.channel}{_rate(choice.estimate)}" for choice in answer.channels if choice.allowed
    )
    planted = max(
        (item for item in truth.touch_rates["channel"].items() if item[1].units > 500),
        key=lambda item: item[1].lift,
    )
    console.print(
        f"    channels for a hot lead: {listed}; next: [bold]{answer.next_channel}[/] "
        f"[dim](planted best channel {planted[0]}, lift {planted[1].lift:.1f})[/]"
    )


def _show_how_to_go_on(console: Console, target: str) -> None:
    console.print(f"\nThe server goes on at {target}. Try, in another terminal:")
    cis = _shown(Path(sys.executable).with_name("cis"))
    console.print(f"  {cis} patterns --target {target} --client acme --type who")
    console.print(
        f"  {cis} timing --target {target} --client globex --timezone America/New_York",
        soft_wrap=True,
    )
    console.print("Ctrl-C ends it.")


def _shown(program: Path) -> str:
    """The program as a reader in this folder can type it."""
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


class _Interruption:
    """SIGINT, SIGTERM and SIGHUP (a closed terminal) end the story; server and database go too.

    An exception raised by a signal handler surfaces wherever the program happens to be. A library
    may turn it into an error of its own there (Polars: a panic) or swallow it (a callback from C).
    Hence it is raised again every second until the resources are being given back, and whatever
    error comes out of an interrupted story counts as its interruption.
    """

    _KINDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)

    def __init__(self) -> None:
        self.cut_short = False
        """A signal came before the story was told."""
        self._asked = False
        self._off = False
        self._before: list[object] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(kind, self._raise) for kind in self._KINDS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._switch_off()
        for number, handler in zip(self._KINDS, self._before, strict=True):
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() itself gave
        return self.cut_short

    def wait(self) -> None:
        """Return when a signal asks for the end, which then is no interruption."""
        self._switch_off()
        while not self._asked:
            time.sleep(0.1)

    @contextlib.contextmanager
    def off_at_the_end(self) -> Iterator[None]:
        """From the end of this context on signals no longer interrupt: what follows gives back."""
        try:
            yield
        finally:
            self._switch_off()

    def _switch_off(self) -> None:
        self._off = True
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if not self._off:
            self.cut_short = True
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            raise KeyboardInterrupt


def _heading(console: Console, text: str) -> None:
    console.print()
    console.rule(f"[bold]{text}", align="left")


def _day(day: recommendation.DayAdvice) -> str:
    return f"{day.value.capitalize()}{_rate(day.estimate)}"


def _rate(estimate: core_pb2.RateEstimate) -> str:
    if not estimate.sample:
        return ""
    return f" {estimate.adjusted_rate:.1%} (n {estimate.sample:,})"


def _verdict(verdict: core_pb2.Verdict.ValueType) -> str:
    word = _word(core_pb2.Verdict.Name(verdict))
    colour = {"winning": "green", "losing": "red"}.get(word, "dim")
    return f"[{colour}]{word}[/]"


def _word(name: str) -> str:
    """``TIER_HOT`` as hot, ``PATTERN_STATUS_INSUFFICIENT_DATA`` as insufficient data."""
    for prefix in ("TIER_", "SOURCE_", "VERDICT_", "PATTERN_TYPE_", "PATTERN_STATUS_"):
        name = name.removeprefix(prefix)
    return name.lower().replace("_", " ")
