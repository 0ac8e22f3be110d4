"""What of the learned may go live, and the reason in words.

Three things can hold it back: a gate that refuses it, a client whose policy leaves the decision to
a person, and weights that were set by hand, which only an approver replaces. Force overrides the
first two, never the third, and says which gates it passed over.
"""

from __future__ import annotations

from collections.abc import Sequence

from cis_server.domain.clients import ClientRecord
from cis_server.domain.learned import Decision
from cis_server.domain.runs import Gate, LearnOptions
from cis_server.domain.vocabulary import Promotion


def fate(
    what: str,
    gates: Sequence[Gate],
    client: ClientRecord,
    options: LearnOptions,
    *,
    by_hand: bool = False,
) -> Decision:
    """`decided` under a client's policy and the options of a run; a dry run makes nothing live."""
    decision = decided(
        what, gates, policy=client.policy.promotion, force=options.force, by_hand=by_hand
    )
    if options.dry_run and decision.live:
        return Decision(live=False, reason=f"{decision.reason} (would be: dry run)")
    return decision


def decided(
    what: str,
    gates: Sequence[Gate],
    *,
    policy: Promotion,
    force: bool,
    by_hand: bool = False,
) -> Decision:
    """Decide on something that was fitted.

    Args:
        what: its name in the reason, e.g. ``weights``.
        gates: all of its gates.
        policy: of the client.
        force: whether the run was told to promote.
        by_hand: whether what is live was set by hand.
    """
    failed = [gate for gate in gates if not gate.passed]
    refusal = "; ".join(gate.text for gate in failed)
    if by_hand:
        return Decision(
            live=False,
            refused=bool(failed),
            reason=f"{what} kept beside those set by hand, which only an approver replaces",
        )
    if failed and not force:
        return Decision(live=False, refused=True, reason=f"{what} refused: {refusal}")
    if failed:
        names = ", ".join(gate.name for gate in failed)
        return Decision(
            live=True,
            forced=True,
            reason=f"{what} live by force, passing over {names}: {refusal}",
        )
    if policy is Promotion.AUTO:
        return Decision(live=True, reason=f"{what} live: every gate passed")
    if force:
        return Decision(live=True, forced=True, reason=f"{what} live by force: every gate passed")
    return Decision(
        live=False,
        reason=f"{what} kept for an approver: every gate passed, the client's policy is manual",
    )
