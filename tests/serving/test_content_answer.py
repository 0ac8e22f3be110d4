"""What content converts: the lists of the pattern, its channel's if there is one, or defaults."""

from __future__ import annotations

from dataclasses import replace

import pytest
from full_patterns import LOSE, OPEN, WIN, length, pain, what_pattern
from serving_fakes import NOW, rate, segment

from cis_server.domain.model_info import DEFAULT_MODEL, ModelInfo
from cis_server.domain.vocabulary import Source, Verdict
from cis_server.domain.what_pattern import OptimalLength, PainPoints
from cis_server.serving.answers import ContentRanking, LengthAdvice
from cis_server.serving.content import by_verdict, content_answer, length_advice

MODEL = ModelInfo(
    model_version="7",
    source=Source.LEARNED,
    computed_at=NOW,
    valid_until=NOW,
    sample_size=4000,
    confidence=0.9,
)


def values(rates: tuple[object, ...]) -> list[str]:
    return [getattr(rate, "value") for rate in rates]  # noqa: B009


def figures(advice: LengthAdvice) -> tuple[int | None, int | None, int | None, str]:
    return advice.optimal, advice.range_min, advice.range_max, advice.unit


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (None, (75, 50, 100, "words")),
        ("email", (75, 50, 100, "words")),
        ("linkedin", (40, None, None, "words")),
        ("sms", (120, None, None, "characters")),
        ("voice", (None, None, None, "words")),
    ],
)
def test_nothing_learned(channel: str | None, expected: tuple[object, ...]) -> None:
    answer = content_answer(None, channel, DEFAULT_MODEL)
    assert answer.model.source is Source.DEFAULT
    assert figures(answer.optimal_length) == expected
    assert answer.optimal_length.verdict is Verdict.UNDECIDED
    assert answer.optimal_length.estimate is None
    for ranking in (answer.pain_points, answer.ctas, answer.angles, answer.subject_patterns):
        assert ranking == ContentRanking()
    assert (answer.personalization_lift, answer.template_ranking) == ((), ())


def test_the_lists_are_those_of_the_pattern() -> None:
    answer = content_answer(what_pattern(), "email", MODEL)
    assert answer.model == MODEL
    assert values(answer.pain_points.effective) == ["leads", "time"]
    assert answer.pain_points.effective[0] == segment("leads", 80, 1000, WIN)
    assert values(answer.pain_points.ineffective) == ["cost"]
    assert values(answer.pain_points.undecided) == ["quality"]
    assert values(answer.ctas.effective) == ["open to a quick chat"]
    assert values(answer.ctas.ineffective) == ["let me know"]
    assert values(answer.ctas.undecided) == ["worth a look"]
    assert values(answer.angles.effective) == ["curiosity"]
    assert values(answer.angles.ineffective) == ["fear_based", "urgency"], "worst first"
    assert values(answer.angles.undecided) == ["roi_focused"]
    assert values(answer.subject_patterns.effective) == ["question_subject"]
    assert values(answer.subject_patterns.ineffective) == ["all_caps"]
    assert values(answer.subject_patterns.undecided) == ["other"]
    assert values(answer.personalization_lift) == ["company_mention", "first_name"]
    assert answer.personalization_lift[0].lift == pytest.approx(1.98, abs=0.05)
    assert values(answer.template_ranking) == ["t1", "t5", "t9"]
    assert figures(answer.optimal_length) == (72, 60, 90, "words")
    assert answer.optimal_length.verdict is WIN
    assert answer.optimal_length.estimate == rate(90, 1000), "that of the winning bin"


def test_a_length_that_makes_no_difference_is_not_advised() -> None:
    advice = content_answer(what_pattern(), "linkedin", MODEL).optimal_length
    assert figures(advice) == (None, None, None, "words")
    assert advice.verdict is OPEN


@pytest.mark.parametrize("source", [Source.LEARNED, Source.BLENDED])
@pytest.mark.parametrize(
    ("channel", "unit"), [(None, "words"), ("sms", "characters"), ("voice", "words")]
)
def test_a_default_length_is_not_given_as_learned(
    channel: str | None, unit: str, source: Source
) -> None:
    model = replace(MODEL, source=source, confidence=0.6)
    answer = content_answer(what_pattern(lengths={}), channel, model)
    assert figures(answer.optimal_length) == (None, None, None, unit)
    assert answer.optimal_length.verdict is OPEN


def test_a_length_in_characters_is_given_in_characters() -> None:
    characters = OptimalLength(
        optimal_words=None,
        optimal_chars=140,
        range_min=130,
        range_max=150,
        unit="characters",
        verdict=WIN,
        bins=(),
    )
    learned = what_pattern(lengths={"sms": characters})
    assert figures(length_advice(learned, "sms", 1.0)) == (140, 130, 150, "characters")


def test_in_between_the_length_is_a_blend() -> None:
    model = replace(MODEL, source=Source.BLENDED, confidence=0.6)
    pattern = what_pattern(lengths={"email": length(95, 90, 110)})
    advice = content_answer(pattern, None, model).optimal_length
    assert figures(advice) == (85, 70, 105, "words")
    assert advice.estimate is None, "85 words were not measured, 90 to 110 were"
    pattern = what_pattern(lengths={"email": length(80, 60, 90)})
    advice = content_answer(pattern, None, model).optimal_length
    assert figures(advice) == (78, 55, 95, "words")
    assert advice.estimate == rate(90, 1000), "78 words are among the 60 to 90 of this rate"


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("channel", ["email", "linkedin"])
@pytest.mark.parametrize("learned", [(100, 90, 120), (100, None, None), (20, 10, 30)])
def test_a_blended_length_never_lies_outside_its_range(
    channel: str, learned: tuple[int, int | None, int | None], share: float
) -> None:
    pattern = what_pattern(lengths={channel: length(*learned)})
    best, low, high, _ = figures(length_advice(pattern, channel, share))
    assert best is not None
    assert low is None or low <= best
    assert high is None or best <= high
    assert (low is None) == (high is None)


@pytest.mark.parametrize(
    "model",
    [
        replace(MODEL, source=Source.DEFAULT, confidence=0.4),
        replace(MODEL, source=Source.DEFAULT, stale=True),
    ],
)
def test_what_may_not_be_trusted_does_not_answer(model: ModelInfo) -> None:
    answer = content_answer(what_pattern(), "email", model)
    assert answer.pain_points == ContentRanking()
    assert figures(answer.optimal_length) == (75, 50, 100, "words")
    assert answer.model == model, "and the caller sees what ran out"


def test_a_channel_with_rates_of_its_own_answers_from_them() -> None:
    own_pains = PainPoints(effective=(pain("revenue", 90, 900, WIN),), ineffective=(), undecided=())
    own = what_pattern(pains=own_pains, confidence=0.72)
    own = replace(own, envelope=replace(own.envelope, sample_size=700))
    weak = what_pattern(pains=own_pains, confidence=0.3)
    whole = what_pattern(by_channel={"linkedin": own, "sms": weak})
    answer = content_answer(whole, "linkedin", MODEL)
    assert values(answer.pain_points.effective) == ["revenue"]
    assert (answer.model.sample_size, answer.model.confidence) == (700, 0.72)
    assert answer.model.source is Source.LEARNED
    for channel in ("sms", "email", None):
        other = content_answer(whole, channel, MODEL)
        assert values(other.pain_points.effective) == ["leads", "time"]
        assert other.model == MODEL
    blended = what_pattern(by_channel={"linkedin": what_pattern(confidence=0.6)})
    assert content_answer(blended, "linkedin", MODEL).model.source is Source.BLENDED


def test_rates_are_sorted_by_what_is_known_of_them() -> None:
    ranking = by_verdict(
        [segment("a", 9, 30, WIN), segment("b", 300, 1000, WIN), segment("c", 1, 500, LOSE)]
    )
    assert values(ranking.effective) == ["b", "a"]
    assert values(ranking.ineffective) == ["c"]
