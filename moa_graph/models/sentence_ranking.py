"""The methods by which offline agents rank sentences."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from moa_graph.models.offline_material import ParsedConversation
from moa_graph.models.sentences import stem_words
from moa_graph.models.word_vectors import (
    cosine_similarities,
    inverse_document_frequencies,
    sum_vectors,
    tfidf_vectors,
)

MAX_QUOTED_SENTENCES = 3  # sentences in an answer, and their minimum share of the material
FEEDBACK_SENTENCES = 5  # sentences of a centroid
MAX_CANDIDATES = 300  # sentences that the quadratic methods rank
MAX_VOTED_SENTENCES = 2000  # best sentences that are searched for in the references


def rank_lead(reading: ParsedConversation) -> list[int]:
    """Rank the first sentences highest."""
    return list(range(len(reading.sentences)))


def rank_bm25(reading: ParsedConversation) -> list[int]:
    """Rank by Okapi BM25 for the question."""
    return _rank_by_votes(_score_bm25(reading), reading)


def rank_centroid(reading: ParsedConversation) -> list[int]:
    """Rank by similarity to the TF-IDF centroid of the best BM25 sentences (relevance feedback)."""
    vectors = tfidf_vectors(reading.sentences)
    best = rank_bm25(reading)[:FEEDBACK_SENTENCES]
    return _rank_by_votes(
        cosine_similarities(vectors, sum_vectors(vectors[index] for index in best)), reading
    )


def rank_textrank(reading: ParsedConversation) -> list[int]:
    """Rank by TextRank: PageRank over sentence similarity, restarting at the question."""
    candidates = sorted(rank_bm25(reading)[:MAX_CANDIDATES])
    vectors = tfidf_vectors([reading.sentences[index] for index in candidates])
    links = [cosine_similarities(vectors, vector) for vector in vectors]
    for position, row in enumerate(links):
        row[position] = 0.0
    question_scores = [score + 0.01 for score in _score_bm25(reading)]
    total = sum(question_scores[index] for index in candidates)
    scores = _page_rank(links, [question_scores[index] / total for index in candidates])
    full = [0.0] * len(reading.sentences)
    for index, score in zip(candidates, scores, strict=True):
        full[index] = score
    return _rank_by_votes(full, reading)


def _page_rank(links: Sequence[Sequence[float]], start: Sequence[float]) -> Sequence[float]:
    """Return PageRank after 20 steps over symmetric links; `start` is the restart distribution."""
    sums = [sum(row) or 1.0 for row in links]
    scores = start
    for _ in range(20):
        flow = [score / weight for score, weight in zip(scores, sums, strict=True)]
        scores = [
            0.15 * home + 0.85 * sum(f * row[j] for f, row in zip(flow, links, strict=True))
            for j, home in enumerate(start)
        ]
    return scores


def rank_mmr(reading: ParsedConversation) -> list[int]:
    """Rank by maximal marginal relevance: similar to the question, dissimilar to earlier quotes."""
    candidates = rank_bm25(reading)[:MAX_CANDIDATES]
    *vectors, question_vector = tfidf_vectors([*reading.sentences, reading.question])
    vectors = [vectors[index] for index in candidates]
    near, repeated = cosine_similarities(vectors, question_vector), [0.0] * len(candidates)
    remaining, ranking = list(range(len(candidates))), list[int]()
    while remaining and len(ranking) < MAX_QUOTED_SENTENCES:
        best = max(
            remaining, key=lambda candidate: 0.7 * near[candidate] - 0.3 * repeated[candidate]
        )
        remaining.remove(best)
        ranking.append(candidates[best])
        repeated = list(map(max, repeated, cosine_similarities(vectors, vectors[best])))
    return ranking


def rank_ngram(reading: ParsedConversation) -> list[int]:
    """Rank by the share of the question's character trigrams, in any script."""

    def trigrams(text: str) -> set[str]:
        text = f" {' '.join(stem_words(text)) or text.lower()} "
        return {text[i : i + 3] for i in range(len(text) - 2)}

    question_trigrams = trigrams(reading.question)
    sentence_trigrams = [trigrams(sentence) for sentence in reading.sentences]
    return _rank_by_votes(
        [len(question_trigrams & each) / math.sqrt(len(each) + 1) for each in sentence_trigrams],
        reading,
    )


def rank_consensus(reading: ParsedConversation) -> list[int]:
    """Rank by the number of references that quote a sentence, then by relevance to the question."""
    return rank_bm25(reading)


STYLES: dict[str, Callable[[ParsedConversation], list[int]]] = {
    "lead": rank_lead,
    "bm25": rank_bm25,
    "centroid": rank_centroid,
    "textrank": rank_textrank,
    "mmr": rank_mmr,
    "ngram": rank_ngram,
    "consensus": rank_consensus,
    "majority": rank_consensus,
}


def _rank_by_votes(scores: Sequence[float], reading: ParsedConversation) -> list[int]:
    """Return indices, best first; each reference that quotes a sentence is a vote for it."""
    top = max(scores, default=0.0) or 1.0
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    total = [score / top + 0.1 for score in scores]
    for index in order[:MAX_VOTED_SENTENCES]:
        total[index] *= 1 + sum(reading.sentences[index] in text for text in reading.references)
    return sorted(range(len(total)), key=lambda index: -total[index])


def _score_bm25(reading: ParsedConversation) -> list[float]:
    documents = [stem_words(sentence) for sentence in reading.sentences]
    average = sum(map(len, documents)) / len(documents) or 1.0
    rarity = inverse_document_frequencies(documents)
    question_words = set(stem_words(reading.question))

    def score(document: Sequence[str]) -> float:
        counts = Counter(document)
        length = 1.2 * (0.25 + 0.75 * len(document) / average)
        return sum(
            rarity[w] * counts[w] * 2.2 / (counts[w] + length)
            for w in question_words & counts.keys()
        )

    return [score(document) for document in documents]
