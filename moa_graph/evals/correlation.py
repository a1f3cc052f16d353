"""Correlation between the quality of proposals and their influence on the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isnan
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from scipy.stats import bootstrap, spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

_WORD_PATTERN = r"\w+|[^\w\s]"  # includes single characters, which may be answers
MAX_EDIT_CHARS = 50_000  # maximum characters for the edit distance, which takes quadratic time
MIN_VALUES = 2  # minimum number of proposals or instructions


@dataclass(frozen=True)
class PreferenceSample:
    """An instruction: the final answer, the proposals, and the judge's preferences for them."""

    answer: str
    proposals: Sequence[str]
    """The proposals that the aggregator read."""
    preferences: Sequence[float | None]
    """One for each proposal, higher is better; `None` or NaN if missing."""

    def __post_init__(self) -> None:
        if len(self.proposals) != len(self.preferences):
            raise ValueError(
                f"`preferences`: expected one for each of {len(self.proposals)} proposals, got "
                f"{len(self.preferences)}"
            )


@dataclass(frozen=True)
class Correlation:
    """Mean Spearman correlation of similarity and preference over instructions."""

    mean: float | None
    """From -1 to 1; `None` if undefined for all instructions."""
    low: float | None
    """Lower end of the interval of the mean; `None` for fewer than two instructions."""
    high: float | None
    confidence: float
    """Confidence of the interval; 0.95 is 95 %."""
    instructions: int
    """Number of instructions in the mean."""
    undefined: int
    """Number of instructions left out because the correlation is undefined: equal similarities or
    preferences, or fewer than two preferences."""


def similarity_by_bleu(answer: str, proposals: Sequence[str], longest: int = 4) -> list[float]:
    """Return the sentence BLEU of the answer against each proposal, from 0 to 100.

    It measures how much of the answer's wording a proposal contains.

    Args:
        answer: The final answer.
        proposals: The proposals.
        longest: Maximum n-gram length in words; the paper shows 3, 4 and 5.
    """
    return [_bleu_scorer(longest).sentence_score(answer, [each]).score for each in proposals]


@cache
def _bleu_scorer(longest: int) -> BLEU:
    return BLEU(max_ngram_order=longest, effective_order=True)


def similarity_by_tf_idf(answer: str, proposals: Sequence[str]) -> list[float]:
    """Return the cosine similarity of TF-IDF vectors of the answer and each proposal, from 0 to 1.

    Document frequencies are those in the texts of this instruction.
    """
    if not any(text.strip() for text in (answer, *proposals)):
        return [0.0] * len(proposals)
    words = TfidfVectorizer(token_pattern=_WORD_PATTERN)
    vectors = words.fit_transform([answer, *proposals])
    return [float(each) for each in (vectors[1:] @ vectors[0].T).toarray().ravel()]


def similarity_by_levenshtein(answer: str, proposals: Sequence[str]) -> list[float]:
    """Return 1 minus the relative edit distance between the answer and each proposal.

    Only the first 50,000 characters of each text are compared.
    """
    begin = answer[:MAX_EDIT_CHARS]
    return [Levenshtein.normalized_similarity(begin, each[:MAX_EDIT_CHARS]) for each in proposals]


MEASURES: Mapping[str, Callable[[str, Sequence[str]], list[float]]] = {
    "BLEU-3": lambda answer, proposals: similarity_by_bleu(answer, proposals, 3),
    "BLEU-4": similarity_by_bleu,
    "BLEU-5": lambda answer, proposals: similarity_by_bleu(answer, proposals, 5),
    "TF-IDF": similarity_by_tf_idf,
    "Levenshtein": similarity_by_levenshtein,
}
"""The paper's similarity measures: Figure 4b, and Figure 6 in its appendix."""


def rank_correlation(sample: PreferenceSample, measure: str) -> float | None:
    """Return Spearman's rank correlation over the proposals of one instruction.

    Args:
        sample: The instruction. Proposals without a preference are left out.
        measure: A key of `MEASURES`.

    Returns:
        From -1 to 1, with mean ranks for ties; `None` if undefined.
    """
    pairs = zip(sample.proposals, sample.preferences, strict=True)
    judged = [
        (text, preference)
        for text, preference in pairs
        if preference is not None and not isnan(preference)
    ]
    preferences = [liked for _, liked in judged]
    if len(set(preferences)) < MIN_VALUES:
        return None
    # Rounding, because similarities of equal texts may differ in the last bit.
    similarities = np.round(MEASURES[measure](sample.answer, [text for text, _ in judged]), 9)
    if len(set(similarities.tolist())) < MIN_VALUES:
        return None
    return float(spearmanr(similarities, preferences).statistic)


def correlate(
    samples: Sequence[PreferenceSample],
    measures: Sequence[str] = tuple(MEASURES),
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> dict[str, Correlation]:
    """Correlate similarity to the final answer with the judge's preference.

    Args:
        samples: The instructions.
        measures: Keys of `MEASURES`.
        confidence: Confidence of the interval, a percentile bootstrap over instructions.
        resamples: Number of resamples.
        seed: Seed of the bootstrap; it determines the interval.

    Returns:
        A correlation for each measure.

    Raises:
        ValueError: If there is no such measure, or the confidence is invalid.
    """
    if unknown := [measure for measure in measures if measure not in MEASURES]:
        raise ValueError(f"`measures`: expected one of {', '.join(MEASURES)}, got {unknown[0]!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence`={confidence!r}: expected a number between 0 and 1")

    def mean(measure: str) -> Correlation:
        coefficients = [rank_correlation(sample, measure) for sample in samples]
        values = [value for value in coefficients if value is not None]
        low, high = _bootstrap_interval(values, confidence, resamples, seed)
        return Correlation(
            mean=float(np.mean(values)) if values else None,
            low=low,
            high=high,
            confidence=confidence,
            instructions=len(values),
            undefined=len(coefficients) - len(values),
        )

    return {measure: mean(measure) for measure in measures}


def _bootstrap_interval(
    values: Sequence[float], confidence: float, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    if len(values) < MIN_VALUES:
        return None, None
    options: dict[str, Any] = {"confidence_level": confidence, "n_resamples": resamples}
    rng = np.random.default_rng(seed)
    result = bootstrap((values,), np.mean, method="percentile", rng=rng, batch=500, **options)
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
