"""Rank whole responses: by the frequency of their answer, or by similarity."""

from collections import Counter
from collections.abc import Sequence

from moa_graph.models.word_vectors import dot_product, normalize_vector, sum_vectors, tfidf_vectors
from moa_graph.prompting.exact_answers import read_exact_answers


def find_majority(texts: Sequence[str]) -> int:
    """Return the number, from 1, of the first text with the most frequent answer.

    Answers are compared as in `moa_graph.agreement`. A text without an answer has no vote. If no
    text has an answer, it is the text that is most similar to all others.
    """
    keys = [answer.key if answer else None for answer in read_exact_answers(texts)]
    votes = Counter(key for key in keys if key is not None)
    if not votes:
        return rank_by_similarity(texts)[0]
    return 1 + keys.index(votes.most_common(1)[0][0])


def rank_by_similarity(texts: Sequence[str]) -> list[int]:
    """Return the numbers of texts, from 1, ordered by similarity to all others.

    A text's similarity to the sum of all vectors equals the sum of its similarities: this avoids
    comparing pairs.
    """
    units = list(map(normalize_vector, tfidf_vectors(texts)))
    total = sum_vectors(units)
    # Rounding, so that the last bits do not order equal texts.
    similarities = [round(dot_product(unit, total) - dot_product(unit, unit), 9) for unit in units]
    return sorted(range(1, len(texts) + 1), key=lambda number: -similarities[number - 1])
