"""Which proposal an answer is worded like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_graph.run_report.influence import MIN_SHARED_WORDS, measure_influence, round_percentages

WORDS = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)


def test_parts_are_traced_to_their_proposals():
    measured = measure_influence(
        "The cat sat on the mat. It then slept all day. Nobody knows why.",
        {"a": "Well, the cat sat on the mat!", "b": "We saw that it THEN slept all day, I think."},
    )
    assert [(span.text, span.sources) for span in measured.spans] == [
        ("The cat sat on the mat. ", ("a",)),
        ("It then slept all day. ", ("b",)),
        ("Nobody knows why.", ()),
    ]
    assert measured.shares == pytest.approx({"a": 6 / 14, "b": 5 / 14})
    assert measured.new == pytest.approx(3 / 14)


def test_what_several_say_alike_is_divided():
    measured = measure_influence("one two three", {"a": "one two three", "b": "one two three"})
    assert measured.shares == pytest.approx({"a": 0.5, "b": 0.5})
    assert measured.spans[0].sources == ("a", "b")


def test_longest_run_counts():
    texts = {"short": "one two three", "long": "zero one two three four"}
    measured = measure_influence("one two three four", texts)
    assert measured.shares == pytest.approx({"short": 0, "long": 1})


def test_two_words_in_a_row_are_said_by_anybody():
    assert measure_influence("one two three", {"a": "one two four"}).new == 1


def test_scripts_without_spaces_have_words_too():
    assert measure_influence("天空是蓝色的", {"a": "天空是蓝色的。"}).shares["a"] == pytest.approx(
        1
    )


def test_empty_answer_came_from_nobody():
    measured = measure_influence("", {"a": "x"})
    assert (measured.shares, measured.spans) == ({"a": 0}, [])


@given(WORDS, st.lists(WORDS, max_size=3))
def test_every_word_is_counted_once_for_the_longest_run_around_it(answer, texts):
    proposals = {str(number): text for number, text in enumerate(texts)}
    measured = measure_influence(answer, proposals)
    assert "".join(span.text for span in measured.spans) == answer
    if answer:
        assert sum(measured.shares.values()) + measured.new == pytest.approx(1)
    words = answer.split()
    found = [s.sources for s in measured.spans for _ in re.findall(r"\w", s.text)]
    for place, sources in enumerate(found):
        longest = {name: around(words, place, text) for name, text in proposals.items()}
        most = max(longest.values(), default=0)
        bound = min(MIN_SHARED_WORDS, len(words))
        assert set(sources) == {name for name, length in longest.items() if length == most >= bound}


def test_a_short_answer_counts_as_a_whole():
    assert measure_influence("42", {"a": "It is 42.", "b": "41"}).shares == {"a": 1, "b": 0}


def around(words, place, text):
    """Search for the longest run by trying all."""
    runs = [words[i:j] for i in range(place + 1) for j in range(place + 1, len(words) + 1)]
    return max((len(run) for run in runs if f" {' '.join(run)} " in f" {text} "), default=0)


def test_percentages_make_a_hundred():
    assert round_percentages([1 / 3, 1 / 3, 1 / 3]) == [34, 33, 33]
    assert round_percentages([0.505, 0.21, 0.215, 0.07]) == [51, 21, 21, 7]


def test_long_repetitive_texts_take_no_time():
    text = "a " * 20_000
    assert measure_influence(text, {"a": text}).shares["a"] == pytest.approx(1)
