"""Message texts with known content: what is drawn, how long it is, how it reads.

Every message is a row of factor codes (`Factors`); texts and snapshots are assembled column-wise
from the sentences below. Each sentence carries the marker words of its own category and of no
other, so that a keyword analyser finds exactly what was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.demo.specs import CHANNELS
from cis_server.domain.content import SUBJECT_LENGTHS

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

PAIN_POINTS: Final = (
    ("leads", "Keeping the pipeline full of qualified prospects takes patience."),
    ("revenue", "Monthly income swings because deals slip into the next quarter."),
    ("time", "Tedious manual steps fill most of the week for many people."),
    ("scaling", "Capacity turns into a bottleneck as soon as you expand."),
    ("competition", "Competitors keep catching up and taking market share."),
    ("cost", "Licences are expensive and the budget keeps shrinking."),
    ("quality", "Keeping the output consistent and reliable asks for care."),
    ("clients", "Customers leave quietly, and retention suffers for it."),
)
ANGLES: Final = (
    ("roi_focused", "The return usually shows within one quarter."),
    ("social_proof", "We wrote a case study with firms of your kind."),
    ("curiosity", "I noticed your plans and keep wondering about them."),
    ("fear_based", "Waiting is a risk, and missing out hurts later."),
    ("value_add", "A complimentary review is yours to keep."),
    ("authority", "We are a trusted and leading specialist here."),
    ("urgency", "Places are limited and the list closes this week."),
    ("neutral", "I am writing to explain what our product does."),
)
CTAS: Final = (
    ("open to a quick chat", "soft_ask", "Are you open to a quick chat?"),
    ("worth 15 minutes", "time_specific", "Would that be worth 15 minutes?"),
    ("quick call", "soft_ask", "Could we have a quick call?"),
    ("schedule a call", "direct_ask", "Please schedule a call with me."),
    ("happy to share", "value_offer", "I am happy to share more."),
    ("let me know", "passive", "Please let me know."),
    ("make sense to connect", "soft_ask", "Does it make sense to connect?"),
)
SUBJECTS: Final = (
    ("question_about", "Question about your plans"),
    ("quick_question", "Quick question"),
    ("reply_style", "Re: my note"),
    ("idea_for", "Idea for your plans"),
    ("thought_about", "Thought about next month"),
    ("ends_question", "Still relevant?"),
    ("casual_greeting", "Hi there"),
    ("introduction", "Introduction"),
    ("other", "Two lines on how we work"),
)
PERSONALISATION: Final = (
    "first_name",
    "company_mention",
    "recent_news",
    "mutual_connection",
    "industry_specific",
)
PERSONALISATION_SHARES: Final = (0.7, 0.5, 0.2, 0.12, 0.3)
_FILLERS: Final = (
    "Here is in short how it works in practice.",
    "Setting it up takes one afternoon and no new programs.",
    "Nothing changes for your colleagues on the first day.",
    "You see the numbers on one page every Monday.",
    "It speaks with the tools that you already have.",
    "Everything stays inside your own country and your own rules.",
    "You may stop whenever you like and keep your data.",
    "Many start small, with one office, and go on from there.",
)
LENGTHS: Final = {
    "email": (0, 8),
    "linkedin": (0, 4),
    "sms": (0, 1),
    "voice": (0, 3),
    "mail": (3, 8),
}
"""Channel -> least and most filler sentences."""
TEMPLATES_PER_CHANNEL: Final = 4
_OPENINGS: Final = (
    "I will be brief.",
    "A word about your work.",
    "Thank you for reading this.",
    "You do not know me yet.",
)
_CLOSINGS: Final = ("Kind regards,\nAlex", "Best,\nAlex", "Yours,\nAlex Moss", "Cheers,\nAlex")
_LINKS: Final = (
    "",
    "\nhttps://example.com/tour",
    "\nhttps://example.com/tour\nhttps://example.com/faq",
)
AI_MODELS: Final = ("writer-1", "writer-2")
PROMPT_VERSIONS: Final = ("v1", "v2", "v3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Content of messages, any shape; codes index the lists above."""

    pain: Codes
    angle: Codes
    cta: Codes
    subject: Codes
    """-1 where the channel has no subject."""
    fillers: Codes
    """Number of filler sentences."""
    template: Codes
    """0..3: which of the channel's templates."""
    links: Codes
    model: Codes
    prompt: Codes
    personal: Flags
    """(..., 5): as `PERSONALISATION`."""
    words: Codes
    """Words of the body, without closing and links."""

    def at(self, *index: NDArray[np.int64]) -> Factors:
        """The messages at these positions, as a flat list."""
        return Factors(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def draw_factors(
    channel: Codes, company_words: Codes, industry_words: Codes, rng: np.random.Generator
) -> Factors:
    """Draw contents independently of each other and of the lead.

    Args:
        channel: (leads, touches), codes into `CHANNELS`; -1 where no touch is planned.
        company_words: (leads,), words in the company's name.
        industry_words: (leads,), words in the industry's name; 0 where it is not known, and then
            no message mentions it.
        rng: source of every draw.
    """
    shape = channel.shape
    low = np.array([LENGTHS[name][0] for name in CHANNELS])[channel]
    high = np.array([LENGTHS[name][1] for name in CHANNELS])[channel]
    is_email = channel == CHANNELS.index("email")
    has_subject = is_email | (channel == CHANNELS.index("mail"))
    personal = rng.random((*shape, 5)) < np.array(PERSONALISATION_SHARES)
    personal[..., 4] &= industry_words[:, None] > 0
    pain = rng.integers(len(PAIN_POINTS), size=shape)
    angle = rng.integers(len(ANGLES), size=shape)
    cta = rng.integers(len(CTAS), size=shape)
    subject = np.where(has_subject, rng.integers(len(SUBJECTS), size=shape), -1)
    fillers = low + np.floor(rng.random(shape) * (high - low + 1)).astype(np.int64)
    template = rng.integers(TEMPLATES_PER_CHANNEL, size=shape)
    links = np.where(is_email, rng.integers(len(_LINKS), size=shape), 0)
    words = (
        _lengths([text for _, text in PAIN_POINTS])[pain]
        + _lengths([text for _, text in ANGLES])[angle]
        + _lengths([text for *_, text in CTAS])[cta]
        + np.concatenate([[0], np.cumsum(_lengths(_FILLERS))])[fillers]
        + _lengths(_OPENINGS)[template]
        + np.where(personal[..., 0], 2, 1)
        + np.where(personal[..., 1], 4 + company_words[:, None], 0)
        + np.where(personal[..., 2], _NEWS_WORDS, 0)
        + np.where(personal[..., 3], _MUTUAL_WORDS, 0)
        + np.where(personal[..., 4], 3 + industry_words[:, None], 0)
    )
    return Factors(
        pain=pain,
        angle=angle,
        cta=cta,
        subject=subject,
        fillers=fillers,
        template=template,
        links=links,
        model=rng.integers(len(AI_MODELS), size=shape),
        prompt=rng.integers(len(PROMPT_VERSIONS), size=shape),
        personal=personal,
        words=words,
    )


_NEWS = "Congratulations on the recent announcement."
_MUTUAL = "We share a mutual connection."
_NEWS_WORDS: Final = len(_NEWS.split())
_MUTUAL_WORDS: Final = len(_MUTUAL.split())


def write_messages(
    factors: Factors, channel: Codes, leads: pl.DataFrame, client_id: str
) -> pl.DataFrame:
    """Texts and snapshots of messages.

    Args:
        factors: flat, one entry a message.
        channel: (messages,), codes into `CHANNELS`.
        leads: one row a message, with ``first_name``, ``company_name``, ``industry``.
        client_id: in front of the template ids.

    Returns:
        One row a message: ``subject`` (null where there is none), ``body``, ``template_id``,
        ``ai_model``, ``prompt_version``, ``links`` (list of URLs), ``content_snapshot`` (JSON).
    """
    first, company = leads["first_name"], leads["company_name"]
    industry = leads["industry"].fill_null("")
    personal = [pl.Series(factors.personal[:, k]) for k in range(5)]
    greeting = _choose(personal[0], "Hi " + first + ",\n", "Hello,\n")
    mention = _choose(personal[1], " I have been following " + company + ".", "")
    news = _choose(personal[2], pl.Series([" " + _NEWS]), "")
    mutual = _choose(personal[3], pl.Series([" " + _MUTUAL]), "")
    field = _choose(personal[4], " We know " + industry + " well.", "")
    filler = ["", *(" " + " ".join(_FILLERS[:count]) for count in range(1, len(_FILLERS) + 1))]
    text = _joined(
        greeting,
        _take(_OPENINGS, factors.template),
        mention,
        news,
        mutual,
        field,
        _take([" " + text for _, text in PAIN_POINTS], factors.pain),
        _take([" " + text for _, text in ANGLES], factors.angle),
        _take(filler, factors.fillers),
        _take([" " + text for *_, text in CTAS], factors.cta),
    )
    body = _joined(
        text,
        _take(_LINKS, factors.links),
        _take(["\n" + text for text in _CLOSINGS], factors.template),
    )
    subject = _take([*(text for _, text in SUBJECTS), None], factors.subject)
    template = _take(template_ids(client_id), channel * TEMPLATES_PER_CHANNEL + factors.template)
    frame = pl.DataFrame(
        {
            "subject": subject,
            "body": body,
            "template_id": template,
            "ai_model": _take(AI_MODELS, factors.model),
            "prompt_version": _take(PROMPT_VERSIONS, factors.prompt),
            "links": pl.Series([text.split() for text in _LINKS], dtype=pl.List(pl.String)).gather(
                factors.links
            ),
        }
    )
    return frame.with_columns(
        content_snapshot=_snapshots(factors, text, leads["industry"].is_not_null())
    )


def template_ids(client_id: str) -> list[str]:
    """Ids of a client's templates, channel by channel."""
    return [
        f"{client_id}-{name}-{number + 1}"
        for name in CHANNELS
        for number in range(TEMPLATES_PER_CHANNEL)
    ]


def template_rows(client_id: str) -> pl.DataFrame:
    """Templates as stored: ``template_id``, ``name``, ``channel``, ``subject``, ``body``."""
    channels = [name for name in CHANNELS for _ in range(TEMPLATES_PER_CHANNEL)]
    numbers = list(range(TEMPLATES_PER_CHANNEL)) * len(CHANNELS)
    return pl.DataFrame(
        {
            "template_id": template_ids(client_id),
            "name": [f"{name} {k + 1}" for name, k in zip(channels, numbers, strict=True)],
            "channel": channels,
            "subject": ["{subject}" if name in ("email", "mail") else None for name in channels],
            "body": [f"{{greeting}}\n{_OPENINGS[k]} {{text}}\n{_CLOSINGS[k]}" for k in numbers],
        }
    )


def _snapshots(factors: Factors, text: pl.Series, industry_known: pl.Series) -> pl.Series:
    """JSON text of the snapshot, keys and values as `capture.content_features` gives them.

    Without any message text, and without what the activity says in columns of its own.

    Args:
        factors: flat, one entry a message.
        text: what was written, without closing and links.
        industry_known: where the lead's industry is known, so that naming it can be told.
    """
    codes = factors.personal @ (1 << np.arange(5)) + 32 * industry_known.to_numpy()
    personal = [_personal_json(code) for code in range(64)]
    asks = [
        f', "cta_used": "{name}", "cta_type": "{kind}", "has_question": {_truth("?" in text)}, '
        f'"question_count": {text.count("?")}'
        for name, kind, text in CTAS
    ]
    subjects = [
        f', "subject_patterns": ["{name}", "{_length_class(text)}"], '
        f'"subject_word_count": {len(text.split())}'
        for name, text in SUBJECTS
    ]
    return _joined(
        '{"word_count": ' + pl.Series(factors.words).cast(pl.String),
        ', "char_count": ' + text.str.len_chars().cast(pl.String),
        _take([f', "pain_points_used": ["{name}"]' for name, _ in PAIN_POINTS], factors.pain),
        _take([f', "angles": ["{name}"]' for name, _ in ANGLES], factors.angle),
        _take(asks, factors.cta),
        _take([*subjects, ""], factors.subject),
        _take([f', "link_count": {count}' for count in range(len(_LINKS))], factors.links),
        _take(personal, codes),
    )


def _length_class(subject: str) -> str:
    words = len(subject.split())
    return SUBJECT_LENGTHS[(words > 3) + (words > 6)]


def _personal_json(code: int) -> str:
    on = [_truth(bool(code >> k & 1)) for k in range(5)]
    if not code >> 5:
        on[PERSONALISATION.index("industry_specific")] = "null"
    flags = ", ".join(
        f'"has_{name}": {flag}' for name, flag in zip(PERSONALISATION, on, strict=True)
    )
    return f", {flags}}}"


def _truth(flag: bool) -> str:
    return "true" if flag else "false"


def _lengths(texts: Sequence[str]) -> Codes:
    return np.array([len(text.split()) for text in texts], dtype=np.int64)


def _take(words: Sequence[str | None], codes: Codes) -> pl.Series:
    """Words by code; -1 is the last one."""
    return pl.Series(list(words), dtype=pl.String).gather(codes % len(words))


def _joined(*parts: pl.Series) -> pl.Series:
    """The parts of each row in one text; one pass instead of one a plus sign."""
    return pl.select(pl.concat_str(list(parts))).to_series()


def _choose(flag: pl.Series, yes: pl.Series, no: str) -> pl.Series:
    return pl.select(pl.when(flag).then(yes).otherwise(pl.lit(no))).to_series()
