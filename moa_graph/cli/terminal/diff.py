"""What became of a proposal: the words that the answer kept, left out and added."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import Literal

from rich.text import Text

Kind = Literal["kept", "left out", "added"]

STEPS = 20_000_000  # pairs of equal words that are gone through: two seconds at most
SHORTEST = 3  # words; a shorter run that two texts share is chance, and makes a diff unreadable
STYLES = {"kept": "", "left out": "red strike", "added": "green"}
MARKS = {"kept": ("", ""), "left out": ("[-", "-]"), "added": ("{+", "+}")}


class Diff:
    """Two texts as one."""

    def __init__(self, old: str, new: str) -> None:
        a, b = _words(old), _words(new)
        matcher = _Matcher([w.strip() for w in a], [w.strip() for w in b])
        self.changes = list(_changes(a, b, matcher.get_matching_blocks()))
        """The parts of both texts, in order; white space behind a word belongs to it."""
        self.complete = matcher.left >= 0
        """Whether the texts were compared to their ends."""
        self._count = len(new.split())

    @property
    def kept_share(self) -> float:
        """Which share of the words of `new` stands in `old`, in the order and runs of the diff."""
        kept = sum(len(words.split()) for kind, words in self.changes if kind == "kept")
        return kept / max(1, self._count)

    @property
    def text(self) -> Text:
        """Both texts: `[-words that are left out-]`, `{+words that are added+}`."""
        text = Text()
        for kind, words in self.changes:
            before, after = MARKS[kind]
            inner = words.strip() if kind != "kept" else words
            space = words[len(words.rstrip()) :] if kind != "kept" else ""
            text.append(f"{before}{inner}{after}", STYLES[kind]).append(space or "")
        text.rstrip()
        return text


class _Matcher(SequenceMatcher[str]):
    """Finds what two texts have in common, until that would take too long."""

    def __init__(self, a: list[str], b: list[str]) -> None:
        super().__init__(None, a, b, autojunk=False)
        often, self._end = Counter(b), len(a)
        self._steps = list(accumulate((1 + often[word] for word in a), initial=0))
        self.left = STEPS

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Find the longest match of two parts; none if that would take too many steps."""
        end = self._end if ahi is None else ahi
        self.left -= self._steps[end] - self._steps[alo]
        if self.left < 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def _changes(a: list[str], b: list[str], blocks: Iterable[Match]) -> Iterator[tuple[Kind, str]]:
    i = j = 0
    for block in blocks:
        at_an_edge = (block.a, block.b) == (0, 0) or (
            block.a + block.size,
            block.b + block.size,
        ) == (
            len(a),
            len(b),
        )
        if 0 < block.size < SHORTEST and not at_an_edge:
            continue
        yield from _part("left out", a[i : block.a])
        yield from _part("added", b[j : block.b])
        i, j = block.a + block.size, block.b + block.size
        yield from _part("kept", b[block.b : j])


def _part(kind: Kind, words: list[str]) -> Iterator[tuple[Kind, str]]:
    if words:
        text = "".join(words)
        yield kind, text if text[-1].isspace() else f"{text} "


def _words(text: str) -> list[str]:
    """Split into words, each with the white space behind it; Han and kana are words alone."""
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]\s*|[^\s\u3040-\u30ff\u3400-\u9fff]+\s*", text)
