"""What every pattern says about itself, and whether there is enough to say anything."""

from __future__ import annotations

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.outcomes import Population
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.envelope import Envelope, KnownUnits
from cis_server.domain.vocabulary import PatternType
from cis_server.stats.confidence import confidence


def require_enough(
    units: int, converted: int, unit: str, settings: DetectorSettings, note: str = ""
) -> None:
    """Check the minimums of a detector (pattern facts, section 1).

    Args:
        units: with an outcome.
        converted: of them.
        unit: name of a unit in the plural, for the reason.
        settings: the minimums.
        note: what was left out, for the reason.

    Raises:
        InsufficientData: fewer units, conversions or non-conversions than the minimum.
    """
    needed = (
        (units, settings.minimum_units, f"{unit} with an outcome"),
        (converted, settings.minimum_converted, "converted"),
        (units - converted, settings.minimum_not_converted, "not converted"),
    )
    missing = [f"{have} {what}, {least} needed" for have, least, what in needed if have < least]
    if missing:
        reason = "; ".join([*missing, note] if note else missing)
        raise InsufficientData(reason, sample=units, converted=converted)


def envelope(
    kind: PatternType,
    run: Population,
    blocks: Blocks,
    *,
    unit: str,
    method: str,
    sample: int,
    converted: int,
    known: dict[str, KnownUnits] | None = None,
) -> Envelope:
    """The envelope of a pattern.

    Args:
        kind: the detector.
        run: the population.
        blocks: how the blocks came out.
        unit: unit of analysis of `sample`.
        method: estimators in words.
        sample: units with an outcome.
        converted: of them.
        known: of them, those for which a dimension is known, by dimension.
    """
    return Envelope(
        type=kind,
        as_of=run.as_of,
        window_start=run.window_start,
        window_end=run.as_of,
        method=method,
        sample_size=sample,
        n_converted=converted,
        unit=unit,
        baseline_conversion_rate=rounded_rate(converted / sample),
        confidence=round(confidence(sample, converted), 4),
        blocks=blocks.statuses,
        note=run.note,
        known=known or {},
    )
