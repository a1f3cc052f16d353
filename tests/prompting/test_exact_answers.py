"""Answers that can be compared exactly: what is the same, and what is not."""

import pytest

from moa_graph.prompting.exact_answers import read_exact_answers

LONG = "Six groups of seven are to be counted, so that six is multiplied by seven, carefully. " * 3

SAME = [
    ["42", "It is 42.", "The answer is 42.", "**42**", "42.0", "$42$", r"\(42\)", "x = 42"],
    ["42", f"{LONG}\nThe answer is 42.", f"{LONG}\n\n**Answer: 42**", rf"{LONG} So \boxed{{42}}."],
    ["42", f"{LONG}\n#### 42", f"{LONG} Therefore, the final answer is: 42"],
    ["1000", "1,000", "It's 1,000.00", "\uff11\uff10\uff10\uff10", "\u0661\u0660\u0660\u0660"],
    ["-3", "\u22123", "It is -3."],
    ["B", "(B)", "b.", "**B**", "The correct answer is B.", "Option B", "B) Paris", "(b) Paris"],
    ["B", "B. Paris", "The answer is B."],
    ["Yes", "yes.", "Yes, it is."],
    ["No", "No, it does not."],
    ["Paris", "paris.", '"Paris"', "It is Paris.", "The answer is Paris", r"\boxed{\text{Paris}}"],
    ["the Eiffel Tower", "Eiffel Tower", "It's the Eiffel Tower."],
    ["1/2", r"\boxed{\frac{1}{2}}", r"$\frac{1}{2}$"],
    ["5 km", "5km", "It is 5 km."],
    ["\u5df4\u9ece", "\u7b54\u6848\u662f\u5df4\u9ece\u3002", "\u7b54\u6848\uff1a\u5df4\u9ece"],
    [
        "\u0628\u0627\u0631\u064a\u0633",
        "\u0627\u0644\u062c\u0648\u0627\u0628: \u0628\u0627\u0631\u064a\u0633",
    ],
    [
        "\u0e1b\u0e32\u0e23\u0e35\u0e2a",
        "\u0e04\u0e33\u0e15\u0e2d\u0e1a\u0e04\u0e37\u0e2d \u0e1b\u0e32\u0e23\u0e35\u0e2a",
    ],
]
DIFFERENT = [
    ["42", "It is not 42.", "-42", "42%", "$42", "42 km", "42.5", "4.2", "420", "2/42", "about 42"],
    ["B", "A", "not B", "A or B"],
    ["A. Smith", "A. Jones"],
    ["Yes", "No", "Yes, but only on Sundays", "Not yes"],
    ["Paris", "not Paris", "Paris?", "Paris, Texas"],
    ["2*3", "23", "2+3"],
    ["1,000", "1.000", "1,00"],
    ["\u5df4\u9ece", "\u4e0d\u662f\u5df4\u9ece"],
]
NONE = [
    "",
    " \n",
    LONG,
    f"The answer is 42.\n{LONG}",
    "The answer is 42. But it may be 43.",
    "It is hard to say whether this is so, for nobody has ever looked at it closely.",
    "One.\nTwo.",
    f"The answer is {LONG}",
]


def keys(texts):
    return [answer and answer.key for answer in read_exact_answers(texts)]


@pytest.mark.parametrize("texts", SAME, ids=lambda texts: texts[0])
def test_the_same_answer_is_the_same_however_it_is_put(texts):
    found = keys(texts)
    assert None not in found
    assert len(set(found)) == 1, found


@pytest.mark.parametrize("texts", DIFFERENT, ids=lambda texts: texts[0])
def test_different_answers_are_different(texts):
    found = keys(texts)
    assert len(set(found)) == len(texts), found


@pytest.mark.parametrize("text", NONE)
def test_what_names_no_answer_has_none(text):
    assert keys([text]) == [None]


def test_an_initial_is_a_choice_only_where_others_are():
    assert keys(["B. Paris", "B. Paris"])[0] != "b"
    assert keys(["B. Paris", "B"]) == ["b", "b"]


def test_an_answer_is_told_as_it_was_written():
    [answer] = read_exact_answers([f"{LONG}\nThe answer is **1,000 km**."])
    assert answer.text == "1,000 km."
