"""What became of a proposal: the words that the answer kept, left out and added."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

from rich.text import Text

Kind = Literal["kept", "left out", "added"]

SHORTEST = 3  # words; a shorter run that two texts share is chance, and makes a diff unreadable
STYLES = {"kept": "", "left out": "red strike", "added": "green"}
MARKS = {"kept": ("", ""), "left out": ("[-", "-]"), "added": ("{+", "+}")}


def word_diff(old: str, new: str) -> Text:
    """Show two texts as one: `[-words that are left out-]`, `{+words that are added+}`."""
    text = Text()
    for kind, words in changes(old, new):
        before, after = MARKS[kind]
        inner = words.strip() if kind != "kept" else words
        space = words[len(words.rstrip()) :] if kind != "kept" else ""
        text.append(f"{before}{inner}{after}", STYLES[kind]).append(space or "")
    text.rstrip()
    return text


def kept_share(old: str, new: str) -> float:
    """Which share of the words of `new` stands in `old`, in the order and runs of the diff."""
    kept = sum(len(words.split()) for kind, words in changes(old, new) if kind == "kept")
    return kept / max(1, len(new.split()))


def changes(old: str, new: str) -> Iterator[tuple[Kind, str]]:
    """Give the parts of both texts, in order; white space behind a word belongs to it."""
    a, b = _words(old), _words(new)
    matcher = SequenceMatcher(None, [w.strip() for w in a], [w.strip() for w in b], autojunk=False)
    i = j = 0
    for block in matcher.get_matching_blocks():
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
