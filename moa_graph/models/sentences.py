"""Split texts into sentences and words, in any script that marks the ends of sentences."""

import re
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock

MIN_CACHED_CHARS = 20_000  # length of a text whose sentences are cached for all agents
WORD = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+"  # or a single Chinese or Japanese character
STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can did do does for from had has have how i if in is it its me "
        "my of on or our so that the their them there these they this to was we were what when "
        "where which who why will with you your",
    )
)

_CACHE_LOCK = Lock()

CODE_FENCE = "```"
_CLOSING_MARKS = {CODE_FENCE: [CODE_FENCE], "<!--": ["-->"], "![": ["](", ")"]}


def split_sentences(text: str) -> list[str]:
    """Split plain text or Markdown into sentences, in any script that marks their ends.

    The result for a long text is cached, because all agents of a mixture read the same file.
    """
    if len(text) < MIN_CACHED_CHARS:
        return list(_iterate_sentences(text))
    with _CACHE_LOCK:
        return list(_split_long_text(text))


@lru_cache(maxsize=2)
def _split_long_text(text: str) -> tuple[str, ...]:
    return tuple(_iterate_sentences(text))


def _split_pieces(pattern: str, text: str) -> Iterator[str]:
    """Split as `re.split` does, but in pieces: one long call would block all other threads."""
    start = 0
    for separator in re.finditer(pattern, text):
        yield text[start : separator.start()]
        start = separator.end()
    yield text[start:]


def _iterate_sentences(text: str) -> Iterator[str]:
    text = _remove_code_and_media(text)
    # No pattern continues on the next line: many empty lines would take quadratic time.
    text = re.sub(r"^[^\S\n]*+#++\s.*$", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^[^\S\n]*+(?:[-*+>]|\d++[.)])\s+", "\n\n", text, flags=re.MULTILINE)
    table = r"^[^\S\n]*+(?:\|.*|[-=|: ]++(?<=[-=|: ]{3}))$"
    text = re.sub(table, "\n\n", text, flags=re.MULTILINE)
    end = (
        r"(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?\u061f])[\"')\]*]*+\s++(?=[^\sa-z])"
        r"|(?<=[\u3002\uff01\uff1f])"
    )
    blocks = _split_pieces(r"\n\s*\n", text)
    candidates = (each for block in blocks for each in _split_pieces(end, block))
    plain = (" ".join(_strip_link_markup(each).split()) for each in candidates)
    return (each for each in plain if re.search(WORD, each))


def _remove_code_and_media(text: str) -> str:
    """Remove code, comments and images; unclosed code extends to the end."""
    parts, position, unclosed = list[str](), 0, set[str]()
    for opening in re.finditer(rf"{CODE_FENCE}|<!--|!\[", text):
        kind = opening[0]
        if opening.start() < position or kind in unclosed:
            continue
        end = _find_end_of_marks(text, opening.end(), *_CLOSING_MARKS[kind])
        if end is None and kind != CODE_FENCE:
            unclosed.add(kind)  # no later one is closed either
            continue
        parts += [text[position : opening.start()], "\n\n"]
        position = len(text) if end is None else end
    return "".join([*parts, text[position:]])


def _find_end_of_marks(text: str, position: int, *marks: str) -> int | None:
    """Return the end of a sequence of marks; `None` if one is not closed."""
    for mark in marks:
        if (start := text.find(mark, position)) < 0:
            return None
        position = start + len(mark)
    return position


def _strip_link_markup(text: str) -> str:
    """Reduce links to their labels, and bold text to its words."""

    def visible_text(match: re.Match[str]) -> str:
        return match[1] or match[0].replace("**", "")

    closed, mark, rest = text.rpartition(")")  # no link starts after the last `)`
    linked = re.sub(r"\[([^]]++)\]\([^)]*+\)|\[[^]]*+|\*\*", visible_text, closed + mark)
    return linked + rest.replace("**", "")


@lru_cache(maxsize=50_000)
def stem_words(text: str) -> tuple[str, ...]:
    """Return words without inflection and without stop words; a CJK character is a word."""
    tokens = re.findall(WORD, text.lower())
    stems = (re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", w) for w in tokens if w not in STOPWORDS)
    return tuple(re.sub(r"y$", "i", stem) for stem in stems)
