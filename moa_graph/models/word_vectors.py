"""TF-IDF vectors of texts, and their similarity."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from moa_graph.models.sentences import stem_words

Vector = dict[str, float]


def tfidf_vectors(texts: Sequence[str]) -> list[dict[str, float]]:
    """Return the TF-IDF vector of each text."""
    documents = [stem_words(text) for text in texts]
    rarity = inverse_document_frequencies(documents)
    return [{w: n * rarity[w] for w, n in Counter(d).items()} for d in documents]


def inverse_document_frequencies(documents: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the inverse document frequency of each word."""
    frequency = Counter(word for document in documents for word in set(document))
    return {word: math.log(1 + len(documents) / count) for word, count in frequency.items()}


def cosine_similarities(vectors: Sequence[Vector], other: Vector) -> list[float]:
    """Return the cosine similarity of each pair."""
    size = _euclidean_norm(other)
    sizes = [_euclidean_norm(vector) * size for vector in vectors]
    return [
        dot_product(each, other) / n if n else 0.0 for each, n in zip(vectors, sizes, strict=True)
    ]


def dot_product(a: Vector, b: Vector) -> float:
    """Return the scalar product of two vectors."""
    return sum(weight * b[word] for word, weight in a.items() if word in b)


def normalize_vector(vector: Vector) -> Vector:
    """Return a vector of length 1."""
    norm = _euclidean_norm(vector)
    return {word: weight / norm for word, weight in vector.items()}


def _euclidean_norm(vector: Vector) -> float:
    return math.hypot(*vector.values())


def sum_vectors(vectors: Iterable[Vector]) -> Vector:
    """Return the sum of vectors."""
    total: Vector = defaultdict(float)
    for vector in vectors:
        for word, weight in vector.items():
            total[word] += weight
    return total
