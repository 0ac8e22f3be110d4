"""Runs detectors over one dataset; one that fails never takes the others with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cis_server.detectors.blocks import InsufficientData, failure
from cis_server.detectors.conversation_pattern import detect_conversation
from cis_server.detectors.funnel import detect_funnel
from cis_server.detectors.how import detect_how
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.what import detect_what
from cis_server.detectors.when import detect_when
from cis_server.detectors.who import detect_who
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import Pattern
from cis_server.domain.vocabulary import PatternStatus, PatternType


class Detector(Protocol):
    """Table in, pattern out: no clock, no input or output."""

    def __call__(
        self,
        dataset: Dataset,
        *,
        settings: DetectorSettings | None = None,
        run: Population | None = None,
    ) -> Pattern:
        """Find the pattern, or raise `InsufficientData`."""
        ...


DETECTORS: Mapping[PatternType, Detector] = {
    PatternType.WHO: detect_who,
    PatternType.WHAT: detect_what,
    PatternType.WHEN: detect_when,
    PatternType.HOW: detect_how,
    PatternType.FUNNEL: detect_funnel,
    PatternType.CONVERSATION: detect_conversation,
}
"""Every detector, in the order they are run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOutcome:
    """How one detector's run ended.

    Attributes:
        status: ok, insufficient_data or error.
        reason: why there is no pattern; empty when there is.
        pattern: what was found; None unless ok.
        sample: units with an outcome.
        converted: of them.
        seconds: duration by the timer of the run; no part of the pattern.
    """

    status: PatternStatus
    reason: str
    pattern: Pattern | None
    sample: int
    converted: int
    seconds: float


def run_detectors(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    types: Sequence[PatternType] | None = None,
    progress: Callable[[PatternType, float], None] | None = None,
    timer: Callable[[], float] = time.perf_counter,
    run: Population | None = None,
) -> dict[PatternType, DetectorOutcome]:
    """Run the detectors over one dataset, labelling its population once.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        types: detectors to run, all by default; those not known here are ignored.
        progress: called before each detector with its type and the share done, 0..1.
        timer: seconds of a steady clock; only `DetectorOutcome.seconds` depends on it.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        An outcome per detector, whatever happened to the others.
    """
    settings = settings or DetectorSettings()
    wanted = [kind for kind in DETECTORS if types is None or kind in types]
    begun = timer()
    try:
        run = run or population(dataset, settings)
    except Exception as fault:
        return {kind: _lost(failure(fault), timer() - begun) for kind in wanted}
    outcomes: dict[PatternType, DetectorOutcome] = {}
    for place, kind in enumerate(wanted):
        if progress is not None:
            progress(kind, place / len(wanted))
        outcomes[kind] = _outcome(DETECTORS[kind], dataset, settings, run, timer)
    return outcomes


def _outcome(
    detector: Detector,
    dataset: Dataset,
    settings: DetectorSettings,
    run: Population,
    timer: Callable[[], float],
) -> DetectorOutcome:
    begun = timer()
    try:
        pattern = detector(dataset, settings=settings, run=run)
    except InsufficientData as finding:
        return DetectorOutcome(
            status=PatternStatus.INSUFFICIENT_DATA,
            reason=finding.reason,
            pattern=None,
            sample=finding.sample,
            converted=finding.converted,
            seconds=timer() - begun,
        )
    except Exception as fault:
        return _lost(failure(fault), timer() - begun)
    return DetectorOutcome(
        status=PatternStatus.OK,
        reason="",
        pattern=pattern,
        sample=pattern.envelope.sample_size,
        converted=pattern.envelope.n_converted,
        seconds=timer() - begun,
    )


def _lost(reason: str, seconds: float) -> DetectorOutcome:
    return DetectorOutcome(
        status=PatternStatus.ERROR,
        reason=reason,
        pattern=None,
        sample=0,
        converted=0,
        seconds=seconds,
    )
