"""Similarity of wording between texts in any script, in linear time. Pure functions.

Texts are compared by their words or, in scripts without spaces between words, by pairs of
characters. This measures wording and not meaning: contradictory texts with the same words are
similar, and equivalent texts with different words are not.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from moa_graph.prompting.exact_answers import normalize_digits, normalize_numbers

MAX_CHARS = 10_000
"""Number of characters at the start of a text that are compared."""

_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao; Burmese; Khmer
    r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Japanese, Chinese
)
# Vowel signs of Indic scripts and other marks do not match `\w`, and would split words.
_MARKS = r"\u0300-\u036f\u0591-\u05bd\u0900-\u0963\u0966-\u0df3"
_WORD = re.compile(rf"([{_UNSPACED}]+)|(?:[^\W{_UNSPACED}]|[{_MARKS}])+")
_ASCII_WORD = re.compile(r"\w+")
_UNSPOKEN = re.compile("[\u0640\u064b-\u065f\u0670]")  # Arabic: vowel signs and stretching
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_POINT = re.compile(r"^[ \t#>*_]*\d{1,3}[.)](?=[ \t])", re.MULTILINE)  # number of a list item


def measure_likeness(texts: Sequence[str]) -> float:
    """Return the similarity of wording: 1 for texts with the same words, 0 for disjoint ones.

    It is the share of common words over all pairs (Dice's coefficient), or the share of common
    numbers if that is lower, because texts that differ only in a number say different things. A
    text without numbers contradicts none: its pairs count with their words. Numbers of list items
    do not count.

    Args:
        texts: Two or more texts.
    """
    plain = [_normalize(text) for text in texts]
    words = _mean_overlap([Counter(_split_words(text)) for text in plain])
    numbers = [dict.fromkeys(_NUMBER.findall(_POINT.sub("", text)), 1) for text in plain]
    return min(words, _mean_agreement([each for each in numbers if each], len(texts)))


def _normalize(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()
    spoken = folded if folded.isascii() else _UNSPOKEN.sub("", folded)
    return normalize_numbers(normalize_digits(spoken))


def _split_words(text: str) -> Iterable[str]:
    return _ASCII_WORD.findall(text) if text.isascii() else _split_any_words(text)


def _split_any_words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        run = match[1]
        if run is None or len(run) == 1:
            yield match[0]
        else:
            yield from (run[start : start + 2] for start in range(len(run) - 1))


def _mean_agreement(numbers: Sequence[Mapping[str, int]], texts: int) -> float:
    """Return the mean share of common numbers over pairs; 1 for a text without numbers."""
    pairs = len(numbers) * (len(numbers) - 1) / (texts * (texts - 1))
    return 1.0 - pairs * (1.0 - _mean_overlap(numbers))


def _mean_overlap(bags: Sequence[Mapping[str, int]]) -> float:
    """Return the mean share of common items over all pairs of bags, without iterating over pairs.

    With the counts of a word in ascending order, each count is the minimum of its pairs with later
    ones.
    """
    counts = defaultdict[str, list[int]](list)
    for bag in bags:
        for word, count in bag.items():
            counts[word].append(count)
    total = sum(map(sum, counts.values())) * (len(bags) - 1)
    shared = sum(
        count * (len(ascending) - 1 - place)
        for ascending in map(sorted, counts.values())
        for place, count in enumerate(ascending)
    )
    return 2 * shared / total if total else 1.0
