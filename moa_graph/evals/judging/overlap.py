"""A judge for demonstrations that counts words, without a language model.

It does not understand answers. It allows trials without a key or a network. Its judgements say
nothing about quality, and everything made of them is labelled accordingly.
"""

from collections.abc import Iterable

from moa_graph.models.sentences import stem_words

OVERLAP_LABEL = "offline:overlap"


def overlap_share(instruction: str, answer: str, reference: str | None) -> float:
    """Rate an answer from 0 to 1.

    It counts the words shared with a reference answer, or otherwise the words of the instruction
    that the answer contains.
    """
    return covered_share(instruction, answer) if reference is None else _word_f1(reference, answer)


def covered_share(instruction: str, answer: str) -> float:
    """Return the share of the instruction's words that the answer contains."""
    instruction_words = set(stem_words(instruction))
    return _share_of(instruction_words & set(stem_words(answer)), instruction_words)


def _word_f1(reference: str, answer: str) -> float:
    """Return the F1 score of the words."""
    both = set(stem_words(reference)) & set(stem_words(answer))
    return 2 * len(both) / (len(set(stem_words(reference))) + len(set(stem_words(answer))) or 1)


def _share_of(part: Iterable[str], whole: set[str]) -> float:
    return len(set(part)) / (len(whole) or 1)
