"""The proposals whose wording each part of an answer shares."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

MIN_SHARED_WORDS = 3
"""Minimum words of a run that counts, or all of a shorter answer; two are common by chance."""

# A word, or a character of a script without spaces between words.
_WORD_PATTERN = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
)


@dataclass(frozen=True)
class AnswerSpan:
    """A part of the answer."""

    text: str
    sources: Sequence[str]
    """Proposals with the longest run of the same words; may be empty."""

    @property
    def words(self) -> str:
        """The text without trailing space."""
        return self.text.rstrip()

    @property
    def space(self) -> str:
        """The trailing space."""
        return self.text[len(self.words) :]


@dataclass(frozen=True)
class Influence:
    """Shares of an answer's wording that proposals have too."""

    shares: Mapping[str, float]
    """Share of the answer's words, from 0 to 1, by proposal. Words that several proposals have are
    divided among them, so that all shares and `new` sum to 1."""
    new: float
    """Share of the answer's words that no proposal has in such a run."""
    spans: Sequence[AnswerSpan]
    """Parts of the answer."""


def measure_influence(answer: str, proposals: Mapping[str, str]) -> Influence:
    """Find runs of words that an answer shares with proposals.

    A word of the answer counts for the proposals with the longest run of words around it in the
    same order: at least three words, or all of a shorter answer. Case and punctuation are ignored.
    This measures wording and not cause: paraphrases are not found, and a common phrase counts for
    all proposals that contain it.

    Args:
        answer: The answer.
        proposals: The proposals, by name.
    """
    words = find_words(answer)
    answer_words = [word[0].casefold() for word in words]
    run_lengths = {name: measure_runs(answer_words, text) for name, text in proposals.items()}
    bound = min(MIN_SHARED_WORDS, len(answer_words))
    sources = [
        _longest_sources({name: runs[i] for name, runs in run_lengths.items()}, bound)
        for i in range(len(answer_words))
    ]
    shares = dict.fromkeys(proposals, 0.0)
    for names in sources:
        for name in names:
            shares[name] += 1 / len(names) / len(answer_words)
    new = sum(not names for names in sources) / max(1, len(answer_words))
    return Influence(shares, new, list(_split_spans(answer, words, sources)))


def find_words(text: str) -> list[re.Match[str]]:
    """Return the words of a text, normalized for comparison."""
    return list(_WORD_PATTERN.finditer(text))


def measure_runs(words: Sequence[str], text: str) -> list[int]:
    """Return, for each word, the length of the longest run around it that a text contains.

    Args:
        words: Words of another text, in lower case (`str.casefold`).
        text: The text.
    """
    return _widen_runs(
        _SuffixAutomaton([word[0].casefold() for word in find_words(text)]).longest_runs_at(words)
    )


def round_percentages(shares: Sequence[float]) -> list[int]:
    """Round shares with sum 1 to percentages with sum 100, by largest remainders."""
    exact = [100 * share for share in shares]
    rounded = [int(each) for each in exact]
    missing = round(sum(exact)) - sum(rounded)
    for index in sorted(range(len(exact)), key=lambda i: rounded[i] - exact[i])[:missing]:
        rounded[index] += 1
    return rounded


def _longest_sources(runs: Mapping[str, int], bound: int) -> tuple[str, ...]:
    longest = max(runs.values(), default=0)
    return tuple(n for n, length in runs.items() if length == longest) if longest >= bound else ()


def _split_spans(
    answer: str, words: Sequence[re.Match[str]], sources: Sequence[tuple[str, ...]]
) -> Iterator[AnswerSpan]:
    """Split the answer where sources change; text between words belongs to the word before."""
    parts = [list(group) for _, group in groupby(range(len(words)), key=sources.__getitem__)]
    starts = [0, *(words[part[0]].start() for part in parts[1:]), len(answer)]
    for part, start, end in zip(parts, starts, starts[1:], strict=False):
        yield AnswerSpan(answer[start:end], sources[part[0]])
    if not parts and answer:
        yield AnswerSpan(answer, ())


def _widen_runs(lengths: Sequence[int]) -> list[int]:
    """Return, for each word, the length of the longest run that contains it.

    Runs that end later also start later, so the runs around a word are adjacent.

    Args:
        lengths: Length of the longest run that ends at each word.
    """
    cover, run_ends, end = list[int](), deque[int](), 0  # ends of runs, longest first
    for index in range(len(lengths)):
        while end < len(lengths) and end - lengths[end] < index:
            while run_ends and lengths[run_ends[-1]] <= lengths[end]:
                run_ends.pop()
            run_ends.append(end)
            end += 1
        while run_ends and run_ends[0] < index:
            run_ends.popleft()
        cover.append(lengths[run_ends[0]] if run_ends else 0)
    return cover


class _SuffixAutomaton:
    """A suffix automaton of the words of a text, which finds runs in linear time."""

    def __init__(self, words: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._link, self._length = [-1], [0]
        last = 0
        for word in words:
            last = self._append_word(last, word)

    def longest_runs_at(self, words: Sequence[str]) -> list[int]:
        """Return the length of the longest run of the text that ends at each of these words."""
        state, length, lengths = 0, 0, list[int]()
        for word in words:
            while state and word not in self._next[state]:
                state = self._link[state]
                length = self._length[state]
            if word in self._next[state]:
                state, length = self._next[state][word], length + 1
            lengths.append(length)
        return lengths

    def _append_word(self, last: int, word: str) -> int:
        new = self._add_state({}, -1, self._length[last] + 1)
        state = last
        while state != -1 and word not in self._next[state]:
            self._next[state][word] = new
            state = self._link[state]
        self._link[new] = 0 if state == -1 else self._split_state(state, word)
        return new

    def _split_state(self, state: int, word: str) -> int:
        """Return the state of a run that occurs elsewhere, split from longer ones."""
        target = self._next[state][word]
        if self._length[target] == self._length[state] + 1:
            return target
        clone = self._add_state(
            dict(self._next[target]), self._link[target], self._length[state] + 1
        )
        self._link[target] = clone
        while state != -1 and self._next[state].get(word) == target:
            self._next[state][word] = clone
            state = self._link[state]
        return clone

    def _add_state(self, following: dict[str, int], link: int, length: int) -> int:
        self._next.append(following)
        self._link.append(link)
        self._length.append(length)
        return len(self._next) - 1
