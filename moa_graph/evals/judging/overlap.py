"""A judge without a language model, for demonstrations: it counts words.

It knows nothing of what an answer says. Its judgements let everything be tried without a key or
a network, and say nothing of the quality of a system; whatever they go into says so.
"""

from collections.abc import Iterable

from moa_graph.models.offline import stem_words

OVERLAP_LABEL = "offline:overlap"


def overlap_share(instruction: str, answer: str, reference: str | None) -> float:
    """Rate an answer from 0 to 1.

    Against a reference answer the words in common are counted, else those of the instruction that
    the answer takes up.
    """
    return covered_share(instruction, answer) if reference is None else _word_f1(reference, answer)


def covered_share(instruction: str, answer: str) -> float:
    """Give the share of the words of the instruction that the answer takes up."""
    wanted = set(stem_words(instruction))
    return _share_of(wanted & set(stem_words(answer)), wanted)


def _word_f1(reference: str, answer: str) -> float:
    """Give F1 of the words."""
    both = set(stem_words(reference)) & set(stem_words(answer))
    return 2 * len(both) / (len(set(stem_words(reference))) + len(set(stem_words(answer))) or 1)


def _share_of(part: Iterable[str], whole: set[str]) -> float:
    return len(set(part)) / (len(whole) or 1)
