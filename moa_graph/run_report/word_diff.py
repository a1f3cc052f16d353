"""Word diff of two texts."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import Literal, NamedTuple

ChangeKind = Literal["kept", "left out", "added"]

MAX_COMPARISONS = 20_000_000  # maximum pairs of equal words to compare, for at most two seconds
MIN_RUN_WORDS = (
    3  # minimum words of a common run; shorter ones are chance, and make a diff unreadable
)

# A word with trailing white space; each Han or kana character is a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]\s*|[^\s\u3040-\u30ff\u3400-\u9fff]+\s*")
_WORD_START = re.compile(r"\S")


class WordChange(NamedTuple):
    """A part of one of two texts."""

    kind: ChangeKind
    words: Sequence[str]
    """Words with trailing white space: of the old text if removed, otherwise of the new text."""


class WordChanges:
    """The word diff of two texts.

    Args:
        old: The old text.
        new: The new text.
        max_comparisons: Maximum pairs of equal words to compare.
        old_spans: Start and end of parts of the old text that count as one word, such as formulas.
        new_spans: Start and end of such parts of the new text.
    """

    def __init__(
        self,
        old: str,
        new: str,
        max_comparisons: int = MAX_COMPARISONS,
        *,
        old_spans: Iterable[tuple[int, int]] = (),
        new_spans: Iterable[tuple[int, int]] = (),
    ) -> None:
        a, b = _split_words(old, old_spans), _split_words(new, new_spans)
        matcher = _BoundedMatcher([w.strip() for w in a], [w.strip() for w in b], max_comparisons)
        self.parts = list(_merge_changes(a, b, matcher.get_matching_blocks()))
        """Parts of both texts, in order."""
        self.is_complete = matcher.remaining_steps >= 0
        """Whether the texts were compared completely."""


def _split_words(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    words, position = list[str](), 0
    for start, end in spans:
        words += _WORD.findall(text[position:start])
        behind = _WORD_START.search(text, end)
        position = behind.start() if behind else len(text)
        words.append(text[start:position])
    return words + _WORD.findall(text[position:])


class _BoundedMatcher(SequenceMatcher[str]):
    """A sequence matcher that stops when it would take too long."""

    def __init__(self, a: list[str], b: list[str], max_comparisons: int) -> None:
        super().__init__(None, a, b, autojunk=False)
        word_counts, self._old_length = Counter(b), len(a)
        self._cumulative_steps = list(accumulate((1 + word_counts[word] for word in a), initial=0))
        self.remaining_steps = max_comparisons

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Return the longest match of two parts; empty if it would take too many steps."""
        end = self._old_length if ahi is None else ahi
        self.remaining_steps -= self._cumulative_steps[end] - self._cumulative_steps[alo]
        if self.remaining_steps < 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def _merge_changes(a: list[str], b: list[str], blocks: Iterable[Match]) -> Iterator[WordChange]:
    i = j = 0
    for block in blocks:
        at_an_edge = (block.a, block.b) == (0, 0) or (
            block.a + block.size,
            block.b + block.size,
        ) == (
            len(a),
            len(b),
        )
        if 0 < block.size < MIN_RUN_WORDS and not at_an_edge:
            continue
        parts = (
            WordChange("left out", a[i : block.a]),
            WordChange("added", b[j : block.b]),
            WordChange("kept", b[block.b : block.b + block.size]),
        )
        yield from (each for each in parts if each.words)
        i, j = block.a + block.size, block.b + block.size
