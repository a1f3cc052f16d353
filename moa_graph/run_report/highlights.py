"""Mark the wording that two texts share."""

import re
from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, zip_longest

from moa_graph.markdown import Mark, MarkdownDocument
from moa_graph.run_report.influence import find_words, measure_runs

MIN_MARKED_WORDS = 5
"""Minimum number of words in a marked run, or all of a shorter text. Shorter runs count in the
shares, but many short marks are unreadable."""

MAX_TRIMMED_WORDS = 2
"""Maximum number of words at the ends of a run that are not marked if in another sentence."""

_SENTENCE_ENDS = (".", "!", "?", ":", "\n", "\u3002", "\uff01", "\uff1f", "\u061f")
_CLOSING_PUNCTUATION = ".,;:!?)]\"'\u2026\u00bb\u201d\u2019\u3002\uff0c\u3001\uff01\uff1f"


@dataclass(frozen=True)
class _Word:
    """A word of the text, and the texts that share it."""

    start: int
    end: int
    sources: tuple[str, ...]
    """Texts that share a run around it."""
    closest: tuple[str, ...]
    """Those of them with the longest run."""


def mark_shared_words(
    document: MarkdownDocument, others: Mapping[str, str], min_words: int
) -> list[Mark]:
    """Mark runs of words in a text that other texts share.

    Code and tables are not marked, because their words recur, and marks would make them unreadable.

    Args:
        document: The text.
        others: Other texts, by the label of their marks: a word without spaces, such as a number.
        min_words: Minimum number of words in a run that counts in the shares.

    Returns:
        Marks whose `who` names all texts that share a run, and whose `note`, at the end of the run,
        names those with the longest one.
    """
    text = document.text
    words = list(_find_shared_words(document, others, min_words))
    groups = [list(group) for _, group in groupby(words, lambda word: (word.sources, word.closest))]
    return [
        Mark(
            group[0].start,
            _find_end(text, group, behind),
            who=" ".join(group[0].sources),
            note=" ".join(_noted(group, behind)),
        )
        for group, behind in zip_longest(groups, groups[1:])
        if group[0].sources
    ]


def _find_shared_words(
    document: MarkdownDocument, others: Mapping[str, str], min_words: int
) -> Iterator[_Word]:
    text, matches = document.text, find_words(document.text)
    words = [match[0].casefold() for match in matches]
    runs = {label: measure_runs(words, other) for label, other in others.items()}
    bounds = {
        label: max(min_words, min(MIN_MARKED_WORDS, len(words), len(find_words(other))))
        for label, other in others.items()
    }
    in_prose = _find_prose(matches, document.prose)
    shared = {
        label: set(_find_shared(text, matches, runs[label], bounds[label], in_prose))
        for label in runs
    }
    for index, match in enumerate(matches):
        sources = tuple(label for label in others if index in shared[label])
        longest = max((runs[label][index] for label in sources), default=0)
        closest = tuple(label for label in sources if runs[label][index] == longest)
        yield _Word(match.start(), match.end(), sources, closest)


def _find_prose(
    matches: Sequence[re.Match[str]], prose: Sequence[tuple[int, int]]
) -> Container[int]:
    """Return the words in sentences."""
    starts = [start for start, _ in prose]
    places = [bisect_right(starts, match.start()) - 1 for match in matches]
    return {
        index
        for index, (match, place) in enumerate(zip(matches, places, strict=True))
        if place >= 0 and match.start() < prose[place][1]
    }


def _find_shared(
    text: str,
    matches: Sequence[re.Match[str]],
    runs: Sequence[int],
    bound: int,
    in_prose: Container[int],
) -> Iterator[int]:
    """Return the words to mark, of those in runs of another text."""

    def is_shared(index: int) -> bool:
        return runs[index] >= bound and index in in_prose

    for is_run, group in groupby(range(len(runs)), is_shared):
        indices = list(group)
        if is_run and len(indices) >= bound:
            gaps = [text[matches[i].end() : matches[j].start()] for i, j in pairwise(indices)]
            first, last = _trim_to_sentences(gaps)
            yield from indices[first : len(indices) - last]


def _trim_to_sentences(gaps: Sequence[str]) -> tuple[int, int]:
    """Return the number of words at the start and the end of a run that belong to other sentences.

    Args:
        gaps: The texts between the words.
    """
    ends = [any(sign in gap for sign in _SENTENCE_ENDS) for gap in gaps]
    most = min(MAX_TRIMMED_WORDS, len(gaps) - MIN_MARKED_WORDS)
    first = max((n for n in range(1, most + 1) if ends[n - 1]), default=0)
    last = max((n for n in range(1, most + 1) if ends[-n]), default=0)
    return first, last


def _find_end(text: str, group: list[_Word], behind: list[_Word] | None) -> int:
    """Return the end of a mark: after its punctuation, or where another one begins in the line."""
    end = group[-1].end
    is_noted = bool(_noted(group, behind))  # the note follows its word without a space
    if behind and behind[0].sources and not is_noted and "\n" not in text[end : behind[0].start]:
        return behind[0].start
    while end < len(text) and text[end] in _CLOSING_PUNCTUATION:
        end += 1
    return end


def _noted(group: list[_Word], behind: list[_Word] | None) -> tuple[str, ...]:
    """Return the texts with the longest run at its end."""
    closest = group[-1].closest
    return () if behind and behind[0].closest == closest else closest
