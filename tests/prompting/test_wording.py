"""How alike texts are worded, in several scripts."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_graph.prompting.wording import measure_likeness

ENGLISH = "The sky is blue because air scatters short waves of light more than long ones."
OTHER = {
    "English": (ENGLISH, "Photosynthesis turns carbon dioxide and water into sugar."),
    "Chinese": (
        (
            "\u5929\u7a7a\u662f\u84dd\u8272\u7684\uff0c\u56e0\u4e3a\u7a7a\u6c14\u66f4\u591a\u5730"
            "\u6563\u5c04\u77ed\u6ce2\u957f\u7684\u5149\u3002"
        ),
        (
            "\u690d\u7269\u7528\u4e8c\u6c27\u5316\u78b3\u548c\u6c34\u5236\u9020\u7cd6\u5206\uff0c"
            "\u91ca\u653e\u51fa\u6c27\u6c14\u3002"
        ),
    ),
    "Arabic": (
        (
            "\u0627\u0644\u0633\u0645\u0627\u0621 \u0632\u0631\u0642\u0627\u0621 \u0644\u0623"
            "\u0646 \u0627\u0644\u0647\u0648\u0627\u0621 \u064a\u0634\u062a\u062a \u0627\u0644"
            "\u0636\u0648\u0621 \u0627\u0644\u0642\u0635\u064a\u0631"
        ),
        (
            "\u062a\u0635\u0646\u0639 \u0627\u0644\u0646\u0628\u0627\u062a\u0627\u062a \u0627"
            "\u0644\u0633\u0643\u0631 \u0645\u0646 \u0627\u0644\u0645\u0627\u0621 \u0648\u063a"
            "\u0627\u0632 \u0627\u0644\u0643\u0631\u0628\u0648\u0646"
        ),
    ),
    "Thai": (
        (
            "\u0e17\u0e49\u0e2d\u0e07\u0e1f\u0e49\u0e32\u0e40\u0e1b\u0e47\u0e19\u0e2a\u0e35\u0e1f"
            "\u0e49\u0e32\u0e40\u0e1e\u0e23\u0e32\u0e30\u0e2d\u0e32\u0e01\u0e32\u0e28\u0e01\u0e23"
            "\u0e30\u0e40\u0e08\u0e34\u0e07\u0e41\u0e2a\u0e07"
        ),
        (
            "\u0e1e\u0e37\u0e0a\u0e2a\u0e23\u0e49\u0e32\u0e07\u0e19\u0e49\u0e33\u0e15\u0e32\u0e25"
            "\u0e08\u0e32\u0e01\u0e19\u0e49\u0e33\u0e41\u0e25\u0e30\u0e04\u0e32\u0e23\u0e4c\u0e1a"
            "\u0e2d\u0e19\u0e44\u0e14\u0e2d\u0e2d\u0e01\u0e44\u0e0b\u0e14\u0e4c"
        ),
    ),
}


@pytest.mark.parametrize("script", OTHER)
def test_in_any_script_the_same_text_is_alike_and_another_one_is_not(script):
    text, other = OTHER[script]
    assert measure_likeness([text, text]) == 1
    assert measure_likeness([text, other]) < 0.3
    middle = len(text) // 2
    assert 0.3 < measure_likeness([text, text[:middle] + other[middle:]]) < 0.8


def test_case_punctuation_width_and_vowel_signs_do_not_matter():
    assert measure_likeness([ENGLISH, ENGLISH.upper().replace(" ", ", ")]) == 1
    assert measure_likeness(["blue 42", "\uff42\uff4c\uff55\uff45 \uff14\uff12"]) == 1
    assert measure_likeness(["\u0643\u062a\u0628", "\u0643\u064e\u062a\u064e\u0628"]) == 1


def test_texts_that_differ_in_a_number_alone_are_not_alike():
    text = f"{ENGLISH * 5} It was 1871 when this was found, by 3 people."
    assert measure_likeness([text, text.replace("1871", "1872")]) == 0.5
    assert measure_likeness([text, text.replace("1871", "1,871.0")]) == 1


@pytest.mark.parametrize("figure", ["", " It was found in 1871."])
def test_of_texts_of_which_one_differs_the_others_count(figure):
    text = f"{ENGLISH * 5}{figure}"
    assert measure_likeness([*[text] * 5, f"{ENGLISH * 5} It was found in 1872."]) > 0.66
    assert measure_likeness([*[text] * 5, OTHER["English"][1]]) > 0.66


def test_a_text_without_numbers_contradicts_none():
    with_number = f"{ENGLISH * 5} It was found in 1871."
    assert 0.9 < measure_likeness([ENGLISH * 5, with_number]) < 1
    other_number = with_number.replace("1871", "1872")
    assert measure_likeness([ENGLISH * 5, with_number, other_number]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("point", ["1.", "2)", "## 3.", "**4."])
def test_the_number_of_a_point_of_a_list_is_no_number_of_the_text(point):
    listed = f"{point} {ENGLISH}\nIt was found in 1871."
    assert measure_likeness([listed, f"- {ENGLISH}\nIt was found in 1871."]) > 0.9
    assert measure_likeness([listed, listed.replace("1871", "1872")]) == 0


def test_texts_without_a_word_are_alike():
    assert measure_likeness(["", ""]) == measure_likeness(["...", "!"]) == 1
    assert measure_likeness(["", "a"]) == 0


@given(st.lists(st.text("ab ", max_size=12), min_size=2, max_size=6))
def test_it_is_the_mean_over_all_pairs(texts):
    bags = [Counter(text.split()) for text in texts]
    pairs = [(sum((a & b).values()), sum((a + b).values())) for a, b in combinations(bags, 2)]
    total = sum(size for _, size in pairs)
    expected = 2 * sum(shared for shared, _ in pairs) / total if total else 1
    assert measure_likeness(texts) == pytest.approx(expected)
