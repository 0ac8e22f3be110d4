"""The one title parser: what a job title says about power, level, function and suitability.

Title table and corrections of the scoring sheet §2, canonical titles of the pattern sheet §8.1.
Whole words and phrases only: "director" is not "cto", "international" is not "intern",
"headhunter" is no head and "leadership" no lead. Longer phrases are read first and use up their
words, so that "vice president" is no president and "product owner" no owner; of what remains the
strongest rank counts.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

OTHER_POINTS: Final = 5
"""Authority points of a title that names no rank."""


@dataclass(frozen=True, slots=True)
class ParsedTitle:
    """What a title says."""

    points: int
    """Authority 0..25; 0 without a title."""
    level: str | None
    """``founder``, ``ceo``, ``c_level``, ``vp``, ``director``, ``head``, ``manager`` or ``staff``;
    None without a title."""
    function: str | None
    """``general``, ``marketing``, ``sales``, ``finance``, ``technology``, ``operations``,
    ``product``, ``people``, ``legal``, ``customer`` or ``other``; None without a title."""
    canonical: str
    """One spelling for all its variants, e.g. ``ceo``, ``marketing director``, ``head of sales``;
    a title without a rule in title case; empty without a title."""
    unsuitable: bool
    """Whether it names an assistant, intern, student, coordinator or receptionist."""
    ranked: bool
    """Whether a rule decided (a rank, or an exclusion such as product owner), rather than the
    5 points of any other title."""


NO_TITLE: Final = ParsedTitle(0, None, None, "", False, False)


def parse_title(title: str | None) -> ParsedTitle:
    """Read a title.

    Args:
        title: as written; None, blank or punctuation only means no title.
    """
    if title is None:
        return NO_TITLE
    # Longer than any title: not worth a place in the cache.
    return _parse(title) if len(title) <= 200 else _parse.__wrapped__(title[:200])


def title_words(title: str) -> tuple[str, ...]:
    """Lower-case words of a title: accents and punctuation gone, "C.E.O." and "C E O" joined."""
    letters = unicodedata.normalize("NFKD", title.translate(_LETTERS)).casefold()
    letters = "".join(char for char in letters if not unicodedata.combining(char))
    letters = _INNER_MARKS.sub("", letters)
    words: list[str] = []
    run = ""
    for word in _SEPARATORS.sub(" ", letters).split():
        if len(word) == 1 and word.isalpha():
            run += word
            continue
        if run:
            words.append(run)
            run = ""
        words.append(word)
    return tuple([*words, run] if run else words)


_LETTERS = str.maketrans({"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i"})
_INNER_MARKS = re.compile(r"[.'’`´]")
_SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class _Rank:
    """What a phrase stands for."""

    points: int
    level: str
    canonical: str | None = None
    function: str | None = None


def _phrases(rank: _Rank, *names: str) -> dict[tuple[str, ...], _Rank]:
    return {tuple(name.split()): rank for name in names}


_CHIEF = 22
# Points: scoring sheet §2. Chief officers beyond the five abbreviations named there follow
# "chief" = 22, because the spelled-out form of the same title gets it.
_RANKS: Final[dict[tuple[str, ...], _Rank]] = {
    **_phrases(
        _Rank(25, "founder", "owner", "general"),
        "founder",
        "co founder",
        "cofounder",
        "founding partner",
        "owner",
        "co owner",
        "coowner",
        "business owner",
    ),
    **_phrases(
        _Rank(25, "ceo", "ceo", "general"),
        "ceo",
        "chief executive",
        "chief executive officer",
        "chief exec",
        "chief exec officer",
    ),
    **_phrases(_Rank(25, "ceo", "managing director", "general"), "managing director"),
    **_phrases(
        _Rank(_CHIEF, "c_level", "cmo", "marketing"),
        "cmo",
        "chief marketing",
        "chief marketing officer",
        "chief mktg",
        "chief mktg officer",
    ),
    **_phrases(
        _Rank(_CHIEF, "c_level", "cfo", "finance"),
        "cfo",
        "chief financial",
        "chief financial officer",
        "chief finance",
        "chief finance officer",
    ),
    **_phrases(
        _Rank(_CHIEF, "c_level", "coo", "operations"),
        "coo",
        "chief operating",
        "chief operating officer",
        "chief operations",
        "chief operations officer",
        "chief ops",
        "chief ops officer",
    ),
    **_phrases(
        _Rank(_CHIEF, "c_level", "cto", "technology"),
        "cto",
        "chief technology",
        "chief technology officer",
        "chief technical",
        "chief technical officer",
        "chief tech",
        "chief tech officer",
    ),
    **_phrases(
        _Rank(_CHIEF, "c_level", "cio", "technology"),
        "cio",
        "chief information",
        "chief information officer",
    ),
    **_phrases(
        _Rank(_CHIEF, "c_level", "ciso", "technology"),
        "ciso",
        "chief information security officer",
    ),
    **_phrases(_Rank(_CHIEF, "c_level", "cdo", "technology"), "cdo", "chief data officer"),
    **_phrases(_Rank(_CHIEF, "c_level", "cro", "sales"), "cro", "chief revenue officer"),
    **_phrases(_Rank(_CHIEF, "c_level", "cco", "sales"), "cco", "chief commercial officer"),
    **_phrases(_Rank(_CHIEF, "c_level", "cpo", "product"), "cpo", "chief product officer"),
    **_phrases(
        _Rank(_CHIEF, "c_level", "chro", "people"),
        "chro",
        "chief people officer",
        "chief human resources officer",
    ),
    **_phrases(
        _Rank(_CHIEF, "c_level", "clo", "legal"), "clo", "chief legal officer", "chief legal"
    ),
    **_phrases(_Rank(_CHIEF, "c_level"), "chief", "c suite", "csuite", "c level", "clevel"),
    **_phrases(
        _Rank(18, "vp"),
        "vice president",
        "vicepresident",
        "senior vice president",
        "executive vice president",
        "assistant vice president",
        "vp",
        "svp",
        "evp",
        "avp",
        "senior vp",
        "executive vp",
    ),
    **_phrases(_Rank(22, "ceo", "president", "general"), "president"),
    **_phrases(_Rank(10, "manager"), "senior manager", "sr manager", "snr manager"),
    **_phrases(_Rank(15, "director"), "director"),
    **_phrases(_Rank(15, "head"), "head"),
    **_phrases(_Rank(7, "manager"), "manager", "lead"),
}

_EXCLUDED: Final = _Rank(OTHER_POINTS, "staff")
# Phrases that contain a rank's word without the rank.
_EXCLUSIONS: Final = _phrases(
    _EXCLUDED,
    "product owner",
    "process owner",
    "data owner",
    "service owner",
    "system owner",
    "solution owner",
    "lead generation",
    "lead gen",
    "head hunter",
    "head hunting",
    "executive assistant",
    "personal assistant",
    "virtual assistant",
    "administrative assistant",
    "admin assistant",
)

# Whoever assists or reports to somebody does not hold the title named after it.
_SUPPORT: Final = frozenset(
    {"assistant", "secretary", "aide", "advisor", "adviser", "ea", "pa", "reporting", "reports"}
)
_ASSISTANTS: Final = frozenset({"executive", "personal", "virtual", "administrative", "admin"})
_NO_LONGER: Final = frozenset({"former", "formerly", "ex", "aspiring"})

_UNSUITABLE: Final = frozenset(
    {
        "assistant",
        "assistants",
        "intern",
        "interns",
        "internship",
        "student",
        "students",
        "coordinator",
        "ordinator",  # of "co-ordinator"
        "receptionist",
    }
)

_FUNCTIONS: Final[dict[tuple[str, ...], str]] = {
    tuple(phrase.split()): function
    for function, phrases in {
        "marketing": "marketing,mktg,growth,brand,demand generation,demand gen,seo,content,"
        "communications,advertising,public relations,pr,social media,lead generation,lead gen",
        "sales": "sales,revenue,business development,biz dev,bd,account executive,commercial,"
        "account management,account manager,accounts executive,sdr,bdr,partnerships",
        "finance": "finance,financial,accounting,accountant,controller,treasurer,treasury,tax,"
        "audit,bookkeeper,bookkeeping,payroll",
        "technology": "technology,technical,tech,it,information technology,engineering,engineer,"
        "software,developer,development,devops,data,security,cyber,systems,infrastructure,"
        "programmer,architect,data science,research and development,rd",
        "operations": "operations,operating,ops,logistics,supply chain,procurement,production,"
        "manufacturing,facilities,warehouse,project,projects,programme,program,plant",
        "product": "product,product management,product manager,product owner,ux,design",
        "people": "people,human resources,hr,talent,recruitment,recruiting,recruiter,culture,"
        "learning,training,head hunter,headhunter",
        "legal": "legal,counsel,lawyer,attorney,compliance,solicitor,paralegal,general counsel",
        "customer": "customer,customer success,customer service,customer support,support,client,"
        "client services,customer experience,cx",
        "general": "general manager,general management,general,team,office,administration,admin,"
        "executive assistant,personal assistant,strategy,chief of staff,principal",
    }.items()
    for phrase in phrases.split(",")
}

_RANKED: Final = {**_RANKS, **_EXCLUSIONS}
_LONGEST: Final = max(len(phrase) for phrase in (*_RANKED, *_FUNCTIONS))


@lru_cache(maxsize=16384)
def _parse(title: str) -> ParsedTitle:
    words = title_words(title)
    if not words:
        return NO_TITLE
    held = words[: _end_of_own_title(words)]
    ranks, excluded = _ranks_in(held)
    unsuitable = not _UNSUITABLE.isdisjoint(words)
    function = _function_in(held)
    if words == ("md",):
        ranks = [_RANKS["managing", "director"]]
    if not ranks:
        if words == ("principal",):
            return ParsedTitle(OTHER_POINTS, "staff", "general", "owner", unsuitable, False)
        return ParsedTitle(
            OTHER_POINTS,
            "staff",
            function or "other",
            _title_case(title),
            unsuitable,
            excluded or len(held) < len(words),
        )
    best = max(ranks, key=lambda rank: rank.points)  # the first of equals
    return ParsedTitle(
        best.points,
        best.level,
        best.function or function or "other",
        best.canonical or _canonical(best, function, title),
        unsuitable,
        True,
    )


def _end_of_own_title(words: tuple[str, ...]) -> int:
    """How many words speak of the person: what follows "assistant to" is somebody else's title."""
    for i, word in enumerate(words):
        if word in _SUPPORT and words[i + 1 : i + 2] == ("to",):
            return i + 1
        # "Executive Assistant, CEO Office" names the one assisted as well.
        if word == "assistant" and i and words[i - 1] in _ASSISTANTS:
            return i + 1
    return len(words)


def _ranks_in(words: tuple[str, ...]) -> tuple[list[_Rank], bool]:
    """Ranks in reading order, longest phrase first at every place, and whether one was excluded."""
    found: list[_Rank] = []
    excluded = False
    for start, length in _matches(words, _RANKED):
        rank = _RANKS.get(words[start : start + length])
        if rank is None or (start and words[start - 1] in _NO_LONGER):
            excluded = True
        else:
            found.append(rank)
    return found, excluded


def _function_in(words: tuple[str, ...]) -> str | None:
    """The function named first, longest phrase first; "general" yields to any other."""
    found = [_FUNCTIONS[words[i : i + n]] for i, n in _matches(words, _FUNCTIONS)]
    special = [function for function in found if function != "general"]
    return next(iter(special or found), None)


def _matches(
    words: tuple[str, ...], phrases: dict[tuple[str, ...], _Rank] | dict[tuple[str, ...], str]
) -> list[tuple[int, int]]:
    """(start, length) of phrases, the longest taken first and its words used up."""
    free = [True] * len(words)
    found: list[tuple[int, int]] = []
    for length in range(min(_LONGEST, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            if all(free[start : start + length]) and words[start : start + length] in phrases:
                found.append((start, length))
                free[start : start + length] = [False] * length
    return sorted(found)


def _canonical(rank: _Rank, function: str | None, title: str) -> str:
    """Canonical title of a rank that comes with a function: "sales director", "head of sales"."""
    if function is None or function == "general" or rank.points == _CHIEF:
        return _title_case(title)
    if rank.level == "director":
        return f"{function} director"
    if rank.level == "head":
        return f"head of {function}"
    if rank.level == "vp":
        return f"vp {function}"
    return _title_case(title)


_OUTER_MARKS = re.compile(r"^\W+|\W+$")
_UPPER: Final = frozenset({"it", "hr", "pr", "qa", "seo", "ux", "ui", "sdr", "bdr", "rd"})


def _title_case(title: str) -> str:
    """The title with single spaces and every word capitalised, whatever case it was written in."""
    return " ".join(
        word.upper() if word.casefold() in _UPPER else word[:1].upper() + word[1:].lower()
        for word in _OUTER_MARKS.sub("", title).split()
    )
