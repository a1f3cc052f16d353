"""What became of a proposal: the words that the answer kept, left out and added."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import Literal

from rich.text import Text

ChangeKind = Literal["kept", "left out", "added"]

MAX_COMPARISONS = 20_000_000  # pairs of equal words that are gone through: two seconds at most
MIN_RUN_WORDS = (
    3  # words; a shorter run that two texts share is chance, and makes a diff unreadable
)
CHANGE_STYLES = {"kept": "", "left out": "red strike", "added": "green"}
CHANGE_MARKS = {"kept": ("", ""), "left out": ("[-", "-]"), "added": ("{+", "+}")}


class WordDiff:
    """Two texts as one."""

    def __init__(self, old: str, new: str) -> None:
        a, b = _split_words(old), _split_words(new)
        matcher = _BoundedMatcher([w.strip() for w in a], [w.strip() for w in b])
        self.changes = list(_merge_changes(a, b, matcher.get_matching_blocks()))
        """The parts of both texts, in order; white space behind a word belongs to it."""
        self.is_complete = matcher.remaining_steps >= 0
        """Whether the texts were compared to their ends."""
        self._new_word_count = len(new.split())

    @property
    def kept_share(self) -> float:
        """Which share of the words of `new` stands in `old`, in the order and runs of the diff."""
        kept_words = sum(len(words.split()) for kind, words in self.changes if kind == "kept")
        return kept_words / max(1, self._new_word_count)

    @property
    def text(self) -> Text:
        """Both texts: `[-words that are left out-]`, `{+words that are added+}`."""
        text = Text()
        for kind, words in self.changes:
            before, after = CHANGE_MARKS[kind]
            inner = words.strip() if kind != "kept" else words
            space = words[len(words.rstrip()) :] if kind != "kept" else ""
            text.append(f"{before}{inner}{after}", CHANGE_STYLES[kind]).append(space or "")
        text.rstrip()
        return text


class _BoundedMatcher(SequenceMatcher[str]):
    """Finds what two texts have in common, until that would take too long."""

    def __init__(self, a: list[str], b: list[str]) -> None:
        super().__init__(None, a, b, autojunk=False)
        word_counts, self._old_length = Counter(b), len(a)
        self._cumulative_steps = list(accumulate((1 + word_counts[word] for word in a), initial=0))
        self.remaining_steps = MAX_COMPARISONS

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Find the longest match of two parts; none if that would take too many steps."""
        end = self._old_length if ahi is None else ahi
        self.remaining_steps -= self._cumulative_steps[end] - self._cumulative_steps[alo]
        if self.remaining_steps < 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def _merge_changes(
    a: list[str], b: list[str], blocks: Iterable[Match]
) -> Iterator[tuple[ChangeKind, str]]:
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
        yield from _make_change("left out", a[i : block.a])
        yield from _make_change("added", b[j : block.b])
        i, j = block.a + block.size, block.b + block.size
        yield from _make_change("kept", b[block.b : j])


def _make_change(kind: ChangeKind, words: list[str]) -> Iterator[tuple[ChangeKind, str]]:
    if words:
        text = "".join(words)
        yield kind, text if text[-1].isspace() else f"{text} "


def _split_words(text: str) -> list[str]:
    """Split into words, each with the white space behind it; Han and kana are words alone."""
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]\s*|[^\s\u3040-\u30ff\u3400-\u9fff]+\s*", text)
