"""WHAT: which content of messages brings conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.envelope import envelope, require_enough
from cis_server.detectors.levels import Levels
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.touch_snapshots import touch_snapshots
from cis_server.detectors.what_blocks import (
    ai_model_block,
    angle_block,
    cta_block,
    flag_block,
    length_block,
    link_block,
    pain_point_block,
    subject_block,
    template_block,
)
from cis_server.detectors.what_content import Lengths, TouchContent
from cis_server.detectors.what_counts import Counts, Part, TouchStrata
from cis_server.detectors.what_experiments import AbTests
from cis_server.domain.content import PERSONALISATION
from cis_server.domain.dataset import Dataset
from cis_server.domain.envelope import FlagEffect, KnownUnits
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import PatternStatus, PatternType
from cis_server.domain.what_pattern import (
    LinkEffectiveness,
    OptimalLength,
    PainPoints,
    WhatPattern,
)

_METHOD = (
    "touch-level rates, a touch succeeding when the conversion is credited to it; compared within "
    "channel, score tier and touch number (Mantel-Haenszel, shrunk; channels towards each other); "
    "Cochran-Mantel-Haenszel test with Benjamini-Hochberg over all segments; A/B tests by lead, "
    "Beta-Binomial posterior and always-valid confidence sequence"
)
_SUBJECTS, _PAINS, _ANGLES = "subject_patterns", "pain_points_used", "angles"
_CTA, _CTA_TYPE = "cta_used", "cta_type"
_LINKS, _LINK_COUNT, _LENGTH = "has_links", "link_count", "length"
_QUESTION, _ATTACHMENT = "has_question", "has_attachment"
_TEMPLATE, _MODEL, _PROMPT = "template_id", "ai_model", "prompt_version"
_COLUMNS = (
    *("channel", "tier", "touch_number", "success", "links"),
    *(_TEMPLATE, _MODEL, _PROMPT),
)


def detect_what(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    run: Population | None = None,
) -> WhatPattern:
    """Compare messages by what they say, with channel, score tier and touch number held fixed.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        The pattern; the same data give the same pattern whatever the row order.

    Raises:
        InsufficientData: too few touches, conversions or non-conversions.
    """
    settings = settings or DetectorSettings()
    run = run or population(dataset, settings)
    resolved = run.resolved_columns(("success",))
    require_enough(resolved.height, int(resolved["success"].sum()), "touches", settings)
    return _Detection(run, settings).pattern()


class _Detection:
    """One run: what was counted of each dimension, and what was judged."""

    def __init__(self, run: Population, settings: DetectorSettings) -> None:
        self._run, self._settings = run, settings
        touches = run.resolved_columns(_COLUMNS)
        self._content = TouchContent(touches, settings, partial(touch_snapshots, run))
        self._strata = TouchStrata(touches, settings)
        self._parts = (self._strata.whole, *self._strata.channels())
        self._blocks = {part.channel: Blocks() for part in self._parts}
        self._segments = Segments(settings, self._strata.whole.rate)
        self._counts: dict[str, Counts] = {}
        self._lengths: dict[str, Lengths] = {}
        self._judged: Mapping[str, Judged] = {}
        self._ab_tests = cache(partial(AbTests, run, settings))

    def pattern(self) -> WhatPattern:
        """Count everything, judge it together, put the blocks together."""
        self._add_words()
        self._add_flags()
        self._add_lengths()
        self._judged = self._segments.judged()
        self._require_content()
        whole, *channels = self._parts
        by_channel = {str(part.channel): self._part_pattern(part) for part in channels}
        return replace(self._part_pattern(whole), by_channel=by_channel)

    def _require_content(self) -> None:
        """Where nothing of any message is known, there is no pattern, whatever else went well.

        Raises:
            InsufficientData: no touch has a value of any dimension.
        """
        whole = self._parts[0]
        faults = [s for s in self._blocks[None].statuses if s.status is PatternStatus.ERROR]
        silent = all(not counts.n.any() for counts in self._counts.values())
        if silent and not faults and not self._lengths and self._ab_tests().empty:
            raise InsufficientData(
                "nothing is known of what the messages say: no content, template, model or test",
                whole.units,
                whole.converted,
            )

    def _add_words(self) -> None:
        content = self._content
        for block, key in (
            ("subject_patterns", _SUBJECTS),
            ("pain_points", _PAINS),
            ("angles", _ANGLES),
        ):
            self._add(block, partial(content.listed, key))
        read_cta = cache(partial(content.word, _CTA))
        self._add("ctas", read_cta)
        self._add("ctas", lambda: content.word_type(read_cta(), _CTA_TYPE))
        for name in (_MODEL, _PROMPT):
            self._add("ai_model_performance", partial(content.column, name))
        # Compared within its channel anyway: nothing is gained by looking at each alone.
        self._add("template_performance", partial(content.column, _TEMPLATE), whole_only=True)

    def _add_flags(self) -> None:
        content = self._content
        self._add("link_effectiveness", content.with_links)
        self._add("link_effectiveness", content.link_count)
        for name in PERSONALISATION:
            self._add("personalization_lift", partial(content.flag, f"has_{name}"))
        self._add("question_effect", partial(content.flag, _QUESTION))
        self._add("attachment_effect", partial(content.flag, _ATTACHMENT))

    def _add(self, block: str, read: Callable[[], Levels], *, whole_only: bool = False) -> None:
        """Count a dimension and add it to the run for all parts; a fault is noted in each."""
        counted = cache(lambda: self._strata.counts(read()))

        def add(part: Part) -> None:
            counts = counted()
            self._counts[counts.dimension] = counts
            counts.add_to(self._segments, part)

        for part in self._parts[:1] if whole_only else self._parts:
            self._blocks[part.channel].step(block, partial(add, part))

    def _add_lengths(self) -> None:
        for part in self._strata.every_channel():
            for block in {None, part.channel} & set(self._blocks):
                self._blocks[block].step("optimal_length", partial(self._add_length, part))

    def _add_length(self, part: Part) -> None:
        channel = str(part.channel)
        if channel in self._lengths:
            return
        try:
            lengths = self._content.length(channel)
        except InsufficientData:
            return  # The other channels may have enough.
        self._strata.counts(lengths.levels()).add_to(self._segments, part)
        self._lengths[channel] = lengths

    def _part_pattern(self, part: Part) -> WhatPattern:
        settings, blocks = self._settings, self._blocks[part.channel]
        judged = partial(self._judged_of, part)
        subjects = blocks.run("subject_patterns", lambda: subject_block(judged(_SUBJECTS)))
        pains = blocks.run("pain_points", lambda: self._pain_points(part))
        ctas = blocks.run("ctas", lambda: cta_block(judged(_CTA), judged(_CTA_TYPE)))
        angles = blocks.run("angles", lambda: angle_block(judged(_ANGLES)))
        lengths = blocks.run("optimal_length", lambda: self._optimal_lengths(part))
        personal = blocks.run("personalization_lift", lambda: self._personalisation(part))
        templates = blocks.run(
            "template_performance", lambda: template_block(self._templates(part), settings)
        )
        tests = blocks.run("ab_test_insights", lambda: self._ab_tests().insights(part.channel))
        links = blocks.run("link_effectiveness", lambda: self._links(part))
        models = blocks.run(
            "ai_model_performance", lambda: ai_model_block(judged(_MODEL), judged(_PROMPT))
        )
        question = blocks.run("question_effect", lambda: self._flag(part, _QUESTION, "question"))
        attached = blocks.run(
            "attachment_effect", lambda: self._flag(part, _ATTACHMENT, "attachment")
        )
        return WhatPattern(
            envelope=envelope(
                PatternType.WHAT,
                self._run,
                blocks,
                unit="touches",
                method=_METHOD,
                sample=part.units,
                converted=part.converted,
                known=self._known(part),
            ),
            subject_patterns=subjects,
            pain_points=pains,
            ctas=ctas,
            angles=angles,
            optimal_length=lengths or {},
            personalization_lift=personal or {},
            template_performance=templates,
            ab_test_insights=tests,
            link_effectiveness=links,
            ai_model_performance=models,
            question_effect=question,
            attachment_effect=attached,
        )

    def _judged_of(self, part: Part, dimension: str) -> Judged | None:
        return self._judged.get(part.name(dimension))

    def _known(self, part: Part) -> dict[str, KnownUnits]:
        found = {name: self._judged_of(part, name) for name in self._counts}
        for channel in self._lengths_of(part):
            found[f"{_LENGTH}.{channel}"] = self._judged.get(f"{_LENGTH}.{channel}")
        return {name: judged.known for name, judged in found.items() if judged is not None}

    def _pain_points(self, part: Part) -> PainPoints | None:
        judged = self._judged_of(part, _PAINS)
        return None if judged is None else pain_point_block(judged, self._counts[_PAINS], part)

    def _flag(self, part: Part, dimension: str, value: str) -> FlagEffect | None:
        judged = self._judged_of(part, dimension)
        if judged is None:
            return None
        return flag_block(judged, value, self._counts[dimension], part, self._settings)

    def _personalisation(self, part: Part) -> dict[str, FlagEffect] | None:
        effects = {name: self._flag(part, f"has_{name}", name) for name in PERSONALISATION}
        return {name: effect for name, effect in effects.items() if effect is not None} or None

    def _links(self, part: Part) -> LinkEffectiveness | None:
        effect = self._flag(part, _LINKS, "links")
        return link_block(effect, self._judged_of(part, _LINK_COUNT))

    def _optimal_lengths(self, part: Part) -> dict[str, OptimalLength] | None:
        found = {
            name: length_block(self._judged[f"{_LENGTH}.{name}"], self._lengths[name])
            for name in self._lengths_of(part)
            if f"{_LENGTH}.{name}" in self._judged
        }
        return {name: block for name, block in found.items() if block is not None} or None

    def _lengths_of(self, part: Part) -> list[str]:
        """Channels of a part whose lengths were looked at."""
        return [name for name in self._lengths if part.channel in (None, name)]

    def _templates(self, part: Part) -> tuple[SegmentRate, ...]:
        """Templates; of a channel, those that went out over it alone."""
        judged = self._judged.get(_TEMPLATE)
        if judged is None:
            return ()
        counts = self._counts[_TEMPLATE]
        inside = counts.n[:, part.columns].sum(axis=1) == counts.n.sum(axis=1)
        own = {value for value, here in zip(counts.values, inside, strict=True) if here}
        return tuple(segment for segment in judged.segments if segment.value in own)
