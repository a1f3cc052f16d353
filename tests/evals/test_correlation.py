"""What the aggregator takes."""

import pytest
from scipy.stats import spearmanr

from moa_graph.evals.correlation import (
    MEASURES,
    Correlation,
    PreferenceSample,
    correlate,
    rank_correlation,
    similarity_by_bleu,
    similarity_by_levenshtein,
    similarity_by_tf_idf,
)

ANSWER = "The sky is blue because air scatters blue light more than red light."
NEAR = "The sky is blue because air scatters blue light more."
FAR = "The sky is blue; why, nobody knows."
FOREIGN = "Bread rises when yeast makes gas."
PROPOSALS = (NEAR, FAR, FOREIGN)


def sample(*preferences, answer=ANSWER, proposals=PROPOSALS):
    return PreferenceSample(answer, proposals, preferences)


@pytest.mark.parametrize("measure", MEASURES)
def test_an_answer_like_the_better_proposals_correlates(measure):
    assert rank_correlation(sample(1.9, 1.5, 1.1), measure) == pytest.approx(1)
    assert rank_correlation(sample(1.1, 1.5, 1.9), measure) == pytest.approx(-1)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_text_is_most_like_itself(measure):
    values = MEASURES[measure](ANSWER, [ANSWER, *PROPOSALS, ""])
    assert values[0] == max(values)
    assert values[0] == pytest.approx(100 if measure.startswith("BLEU") else 1)
    assert values[-1] == 0


def test_likeness_is_what_its_definition_says():
    assert similarity_by_levenshtein("kitten", ["sitting", ""]) == pytest.approx([1 - 3 / 7, 0])
    # Unigrams 3/4, bigrams 2/3, trigrams 1/2, no brevity penalty; 4-grams 0/1, smoothed to 1/2.
    bleu = 100 * (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3)
    assert similarity_by_bleu("a b c d", ["a b c"], 3) == pytest.approx([bleu])
    assert similarity_by_tf_idf("same words", ["words same", "other"]) == pytest.approx([1, 0])


def test_longer_runs_of_words_count_in_higher_orders():
    shuffled = "light red than more light blue scatters air because blue is sky The ."
    low, high = (similarity_by_bleu(ANSWER, [shuffled], order)[0] for order in (3, 5))
    assert high < low


@pytest.mark.parametrize(
    "texts", [("天空是蓝色的。", "面包。"), ("4", "5"), ("!?", "..."), ("a", "I")]
)
@pytest.mark.parametrize("measure", MEASURES)
def test_texts_in_any_script_and_of_one_character_are_compared(measure, texts):
    values = MEASURES[measure](texts[0], list(texts))
    assert values[0] > values[1]


def test_ties_have_the_mean_of_their_ranks():
    tied = sample(1.5, 1.5, 1.0)
    likeness = similarity_by_levenshtein(ANSWER, PROPOSALS)
    expected = spearmanr(likeness, [2.5, 2.5, 1]).statistic
    assert rank_correlation(tied, "Levenshtein") == pytest.approx(expected)
    assert 0 < expected < 1


@pytest.mark.parametrize(
    "undefined",
    [
        sample(1.5, 1.5, 1.5),
        sample(1.5, None, float("nan")),
        sample(None, None, None),
        sample(1.9, 1.1, proposals=(NEAR, NEAR)),
        sample(1.9, 1.1, proposals=("xyz", "uvw"), answer=""),
        sample(1.5, proposals=(NEAR,)),
        sample(proposals=()),
        sample(1.9, 1.1, proposals=("", ""), answer=""),
    ],
)
@pytest.mark.parametrize("measure", MEASURES)
def test_constant_columns_and_too_few_proposals_are_undefined(measure, undefined):
    assert rank_correlation(undefined, measure) is None


def test_the_undefined_are_left_out_and_counted():
    samples = [sample(1.9, 1.5, 1.1), sample(1.5, 1.5, 1.5), sample(1.1, 1.5, 1.9)]
    found = correlate(samples, ["TF-IDF"])["TF-IDF"]
    assert (found.instructions, found.undefined) == (2, 1)
    assert found.mean == pytest.approx(0)
    assert (found.low, found.high) == pytest.approx((-1, 1))


def test_a_proposal_without_a_preference_is_left_out():
    assert rank_correlation(sample(1.9, None, 1.1), "BLEU-4") == pytest.approx(1)


def test_the_interval_is_around_the_mean_and_the_same_each_time():
    samples = [sample(2, 1.5, 1)] * 8 + [sample(1, 1.5, 2)] * 2
    first, second = (correlate(samples, ["Levenshtein"])["Levenshtein"] for _ in range(2))
    assert first == second
    assert first.mean == pytest.approx(0.6)
    assert -0.3 < first.low < 0.6 < first.high <= 1
    narrow = correlate(samples, ["Levenshtein"], confidence=0.5)["Levenshtein"]
    assert first.low < narrow.low <= narrow.high < first.high


def test_without_instructions_there_is_no_figure():
    assert correlate([], ["TF-IDF"])["TF-IDF"] == Correlation(None, None, None, 0.95, 0, 0)
    one = correlate([sample(3, 2, 1)], ["TF-IDF"])["TF-IDF"]
    assert (one.mean, one.low, one.high) == (pytest.approx(1), None, None)
    same = correlate([sample(3, 2, 1)] * 3, ["TF-IDF"])["TF-IDF"]
    assert (same.low, same.high) == pytest.approx((1, 1))


def test_all_measures_are_given_unless_some_are_named():
    assert set(correlate([sample(3, 2, 1)])) == set(MEASURES)


def test_impossible_requests_say_what_is_expected():
    with pytest.raises(ValueError, match=r"expected one of BLEU-3, .*, got 'ROUGE'"):
        correlate([], ["ROUGE"])
    with pytest.raises(ValueError, match="`confidence`=95: expected a number between 0 and 1"):
        correlate([], confidence=95)
    with pytest.raises(ValueError, match="expected one for each of 3 proposals, got 2"):
        sample(1, 2)
