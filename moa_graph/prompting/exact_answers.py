r"""Extract answers that can be compared exactly. Pure functions, in bounded time.

Such an answer is a number, a choice, a label or a short phrase. It is a whole short text (`42`,
`It is 42.`), or the end of a longer one names it (`The answer is 42.`, `\boxed{42}`, `#### 42`).
The comparison ignores introductions, case and markup, but no other word.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

MAX_ANSWER_CHARS = 80
"""Maximum number of characters of such an answer."""

_MAX_WORDS = 8
_TAIL_CHARS = 400  # characters at the end of a text that may name its answer

_MARKUP = re.compile(
    r"(?<!\w)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)"  # but not in 2*3
    r"|[`\"\u201c\u201d\u00ab\u00bb\u300c\u300d\u300e\u300f]|\\[()\[\],;!]"
)
_PUNCTUATION = " \t.,;:!\u3002\u3001\u060c\u06d4"
_SENTENCE_END = re.compile(  # but not "B. Paris" nor "Mt. Everest"
    r"(?<!\b[a-z])(?<!\b[a-z]{2})[.!?;]\s|[\u3002\uff01\uff1f\u061f\n]"
)

_NAMED_BY = {
    "English": (
        r"(?:(?:the|my|our) )?(?:(?:final|correct|right|best) )?(?:answer|result|choice)"
        r"(?:(?: is| would be)?:| is| would be| =)"
    ),
    "Chinese, Japanese": (
        r"(?:\u6700\u7ec8|\u6b63\u786e|\u6700\u7d42)?(?:\u7b54\u6848|\u7b54\u3048|\u7ed3\u679c)"
        r"(?:\u662f|\u4e3a|\u70ba|\u306f)?:?"
    ),
    "Korean": r"(?:\uc815\ub2f5|\ub2f5)(?:\uc740|\uc740:|:)",
    "Arabic": (
        r"(?:\u0627\u0644\u0625\u062c\u0627\u0628\u0629|\u0627\u0644\u062c\u0648\u0627\u0628)"
        r"(?: \u0627\u0644\u0646\u0647\u0627\u0626\u064a\u0629)?(?: \u0647\u064a| \u0647\u0648)?:?"
    ),
    "Thai": r"\u0e04\u0e4d\u0e32\u0e15\u0e2d\u0e1a(?:\u0e04\u0e37\u0e2d)?:?",
    "Spanish": r"(?:la )?respuesta(?: final)?(?: es:?|:)",
    "French": r"(?:la )?r\u00e9ponse(?: finale)?(?: est:?| ?:)",
    "German": r"(?:die )?antwort(?: ist:?| lautet:?|:)",
    "Russian": r"\u043e\u0442\u0432\u0435\u0442(?::| [-\u2014])",
}
"""Patterns of phrases that name an answer, by language."""
_NAMED_AT_END = re.compile(
    rf"(?:^|[.!?:;,\u3002\uff0c] ?)(?:(?:so|thus|therefore|hence|then|and|\u6240\u4ee5),? ?)?"
    rf"(?:{'|'.join(_NAMED_BY.values())}) ?(?P<answer>.{{1,{MAX_ANSWER_CHARS}}})$",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"(?:(?:i think|i believe|i'd say|i would say|so|thus|therefore|well)(?:,| that|:)? ){0,2}"
    r"(?:(?:it|that|this|there)(?: is|'s| was| are| were)(?! not\b)"
    r"|c'est|es ist|das ist|\u5b83\u662f|\u8fd9\u662f|\u662f|\u0e04\u0e37\u0e2d) ?(?=\S)"
)
_CHOICE_WORD = re.compile(r"(?:option|choice|answer|letter) (?=\(?[a-j]\b)")
_ARTICLE = re.compile(r"(?:the|an?) (?=\S)")
_LEADING_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_VARIABLE = re.compile(r"[a-z] ?= ?(?=\S)")
_CHOICE = re.compile(r"[(\[]?([a-j])[)\].:]{0,2}")
_CHOICE_WITH_TEXT = re.compile(r"(?:[(\[]([a-j])[)\]][.:]?|([a-j])(?:\)|:)) ?\S")
_MAYBE_CHOICE = re.compile(r"([a-j])\. \S")  # or an initial
_YES_NO = re.compile(
    r"(yes|no)(?:,? (?:it|they|he|she|that|this|there) (?:is|are|was|were|does|do|did|has|have|can"
    r"|will|would|should)(?:n't| not)?)?"
)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,40})\}\{([^{}]{1,40})\}")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf)\{([^{}]{1,80})\}")
_NUMERIC = re.compile(r"\d(?:[\d.,]{0,200}\d)?")
_GROUPED_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3}){1,9}(?![\d,])")
_NUMBER = re.compile(r"(?<![\d.,])(\d{1,40})(?:\.(\d{1,40}))?(?![\d,]|\.\d)")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")


@dataclass(frozen=True)
class ExactAnswer:
    """An answer that can be compared exactly."""

    key: str
    """Key for comparison: answers with equal keys are the same."""
    text: str
    """The answer in its original form."""
    maybe_choice: str | None = None
    """Leading letter, which makes it a choice if other answers are choices: `B. Paris`."""


def read_exact_answers(texts: Sequence[str]) -> list[ExactAnswer | None]:
    """Return the answers of several texts to one question; `None` for a text without one.

    `B. Paris` is the choice B if another text is only `B`, and a phrase otherwise.
    """
    answers = [_read_exact_answer(text) for text in texts]
    choices = {answer.key for answer in answers if answer and len(answer.key) == 1}
    return [
        replace(answer, key=answer.maybe_choice)
        if answer and answer.maybe_choice and choices
        else answer
        for answer in answers
    ]


def normalize_digits(text: str) -> str:
    """Replace the digits of every script by 0 to 9."""
    if text.isascii():
        return text
    return _OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)


def normalize_numbers(text: str) -> str:
    """Normalize each number: `1,000` to `1000`, `42.0` to `42`."""
    return _NUMERIC.sub(_normalize_numeric, text)


def _read_exact_answer(text: str) -> ExactAnswer | None:
    short = text.strip()
    if not short:
        return None
    written = _find_named_answer(short[-_TAIL_CHARS:])
    if written is None and len(short) <= MAX_ANSWER_CHARS:
        written = short
    return _to_exact_answer(written) if written else None


def _find_named_answer(tail: str) -> str | None:
    """Return the answer that the end of a text names."""
    if boxed := _find_boxed(tail):
        return boxed
    last = _MARKUP.sub("", tail.splitlines()[-1]).strip()
    if last.startswith("#### "):
        return last[5:]
    match = _NAMED_AT_END.search(unicodedata.normalize("NFKC", last))
    return match["answer"] if match else None


def _find_boxed(tail: str) -> str | None:
    r"""Return the content of the last `\boxed{…}`."""
    _, found, rest = tail.rpartition("\\boxed{")
    depth = 1 if found else 0
    for index, char in enumerate(rest if found else ""):
        depth += (char == "{") - (char == "}")
        if not depth:
            return rest[:index]
    return None


def _to_exact_answer(written: str) -> ExactAnswer | None:
    """Return the answer in a text, unless it is too long."""
    phrase = _normalize_phrase(written)
    is_short = len(phrase) <= MAX_ANSWER_CHARS and len(phrase.split()) <= _MAX_WORDS
    if not phrase or not is_short or _SENTENCE_END.search(phrase):
        return None
    return ExactAnswer(_make_key(phrase), written.strip(), _first_group(_MAYBE_CHOICE, phrase))


def _normalize_phrase(written: str) -> str:
    """Remove markup, case and introductory words from an answer."""
    text = unicodedata.normalize("NFKC", written).replace("\u2019", "'").replace("\u2212", "-")
    text = _TEXT_COMMAND.sub(r"\1", _FRACTION.sub(r"\1/\2", _MARKUP.sub("", text)))
    text = _LEADING_POINT.sub("0.", text).strip(_PUNCTUATION)
    while len(text) > 2 and text[0] == text[-1] == "$":  # noqa: PLR2004  # both, and a text
        text = text[1:-1].strip()
    text = " ".join(normalize_digits(text).casefold().strip(_PUNCTUATION).split(" "))
    for pattern in (_LEAD_IN, _CHOICE_WORD, _ARTICLE, _VARIABLE):
        if match := pattern.match(text):
            text = text[match.end() :]
    return text.strip(_PUNCTUATION)


def _make_key(phrase: str) -> str:
    """Return the key for comparison."""
    if choice := _CHOICE.fullmatch(phrase):
        return choice[1]
    if choice := _CHOICE_WITH_TEXT.match(phrase):
        return choice[1] or choice[2]
    if verdict := _YES_NO.fullmatch(phrase):
        return verdict[1]
    return "".join(normalize_numbers(phrase).split())


def _first_group(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.match(text)
    return match[1] if match else None


def _normalize_numeric(match: re.Match[str]) -> str:
    """Normalize a text that begins with a digit, if it is a number."""
    grouped = _GROUPED_NUMBER.sub(lambda each: each[0].replace(",", ""), match[0])
    return _NUMBER.sub(_normalize_number, grouped)


def _normalize_number(match: re.Match[str]) -> str:
    whole, decimals = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole
