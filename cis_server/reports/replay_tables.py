"""A replay as tables in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cis_server.domain.vocabulary import Tier
from cis_server.learning.replay import Replay

MOVERS = 10
"""Leads shown that move farthest up, and as many that move farthest down."""


def show(found: Replay, console: Console) -> None:
    """Print the tables of a replay."""
    console.print(
        f"[bold]{found.version}[/bold] held against [bold]{found.against}[/bold] on"
        f" {found.leads.height} leads; outcome: {found.target}"
    )
    console.print(_outcomes(found))
    if found.tier_moves:
        console.print(_moves(found))
    if found.rank_correlation is not None:
        console.print(f"rank correlation of the two: {found.rank_correlation:.2f}")
    console.print(_movers(found))
    for warning in found.warnings:
        console.print(f"[yellow]note:[/yellow] {warning}", highlight=False)


def _outcomes(found: Replay) -> Table:
    table = Table(title="conversions and lift, before → after")
    for name in ("leads", "conversions", "PR-AUC", "top 10 %", "lift", "top 20 %", "lift"):
        if not table.columns:
            table.add_column("group")
        table.add_column(name, justify="right")
    for group in found.groups:
        row = [group.name, f"{group.leads:,}", f"{group.converted:,}"]
        if group.pr_auc_before is None or group.pr_auc_after is None:
            row += ["–"] * 5
        else:
            row.append(f"{group.pr_auc_before:.3f} → {group.pr_auc_after:.3f}")
            for top in group.tops:
                row.append(f"{top.converted_before:.0f} → {top.converted_after:.0f}")
                row.append(f"{top.lift_before:.2f} → {top.lift_after:.2f}")
        table.add_row(*row)
    return table


def _moves(found: Replay) -> Table:
    table = Table(title="tiers: from (row) to (column)")
    tiers = sorted(Tier, reverse=True)
    table.add_column("")
    for tier in tiers:
        table.add_column(tier.label, justify="right")
    for before in tiers:
        counts = [found.tier_moves.get((before, after), 0) for after in tiers]
        if any(counts):
            table.add_row(before.label, *(f"{count:,}" if count else "" for count in counts))
    return table


def _movers(found: Replay) -> Table:
    table = Table(title="farthest moves in rank")
    table.add_column("lead")
    for name in ("from", "to", "change"):
        table.add_column(name, justify="right")
    table.add_column("converted")
    table.add_column("learned from")
    up = found.leads.sort("rank_change", "lead_id", descending=[True, False]).head(MOVERS)
    down = found.leads.sort("rank_change", "lead_id").head(MOVERS)
    for row in [
        *(row for row in up.iter_rows(named=True) if row["rank_change"] > 0),
        *(row for row in down.iter_rows(named=True) if row["rank_change"] < 0),
    ]:
        known = {True: "yes", False: "no", None: "not known yet"}[row["converted"]]
        table.add_row(
            row["lead_id"],
            str(row["rank_before"]),
            str(row["rank_after"]),
            f"{row['rank_change']:+d}",
            known,
            "yes" if row["in_sample"] else "",
        )
    return table
