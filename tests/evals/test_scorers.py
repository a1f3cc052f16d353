"""The exact scorers: what counts as right, and that hostile answers cost no more than others."""

import json
from fractions import Fraction
from time import thread_time

import pytest
from proportion import MOST, growth

from moa_graph.evals.scorers.ifeval import CHECKS
from moa_graph.evals.scorers.math import are_equal, canonical_form
from moa_graph.evals.scorers.numbers import find_number
from moa_graph.evals.scorers.table import SCORERS, find_scorer
from moa_graph.evals.scorers.text import find_choice


def points(scorer, answer, expected=None, **row):
    row = row if expected is None else {"expected": expected, **row}
    SCORERS[scorer].check_row(row)
    return SCORERS[scorer].score(answer, row).points


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris", "paris"),
        ("**Paris**.", "Paris"),
        ("I think of France.\n\nThe answer is: “Paris”.", "Paris"),
        ("Answer: Ｐａｒｉｓ", "Paris"),
        ("北京。\nAnswer: 北京", "北京"),
        ("Straße", ["street", "STRASSE"]),
        ("#### new   york", "New York"),
        (r"So \boxed{\text{Paris}}.", "Paris"),
        ("北京很大。答案：北京", "北京"),
        ("La réponse est : Paris.", "Paris"),
        ("Die Antwort lautet Paris.", "Paris"),
    ],
)
def test_the_same_words_are_the_same_answer(answer, expected):
    assert points("exact", answer, expected) == 1


@pytest.mark.parametrize("answer", ["", "Paris or London", "The answer is London, not Paris"])
def test_other_words_are_another_answer(answer):
    assert points("exact", answer, "Paris") == 0


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("42", 42),
        ("It is 42.", 42),
        ("The answer is **1,234.50** dollars, of 7.", Fraction("1234.5")),
        ("3 + 4 = 7", 7),
        ("He has 5-3 apples", 3),
        ("It fell to −12 °C", -12),
        ("$18", 18),
        (r"so \boxed{\$ 1,000} after 3 years", 1000),
        ("#### 72", 72),
        ("Answer: 3/4", Fraction(3, 4)),
        ("about 1.5e3", 1500),
        ("the answer is seven, for 3 and 4 make 7", 3),
        (".5", Fraction(1, 2)),
        (r"\boxed{1{,}000}", 1000),
        (r"10,\!000", 10_000),
        (r"\boxed{-\dfrac{1}{2}}", Fraction(-1, 2)),
        ("1/0", None),
        ("none", None),
        ("", None),
        ("9" * 5_000, None),
    ],
)
def test_the_number_of_an_answer_is_read(answer, number):
    assert find_number(answer) == number


def test_a_number_may_differ_by_the_tolerance_of_its_row():
    assert points("number", "3.14", "3.1416", tolerance="0.01") == 1
    assert points("number", "3.1", "3.1416", tolerance="0.01") == 0


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("**B.** Because of that", "B"),
        ("A is wrong, and so is C).\nAnswer: D", "D"),
        ("The answer is (C) seven.", "C"),
        (r"\boxed{B}", "B"),
        (r"\boxed{\text{(B)}}", "B"),
        (r"The answer is \textbf{B}.", "B"),
        ("The correct option is B", "B"),
        ("(A) is too small.\n\n**B**", "B"),
        ("b", "B"),
        ("答案：B", "B"),
        ("I think that a cat is larger. The answer is option C", "C"),
        ("First (A), then I would take (B).", "B"),
        ("Answer: seven", "C"),
        ("seven", "C"),
        ("A dog is no option", None),
        ("I do not know", None),
        ("Answer: Z", None),
        ("", None),
    ],
)
def test_the_chosen_option_is_read(answer, letter):
    assert find_choice(answer, ["five", "six", "seven", "eight"]) == letter


def test_an_option_may_be_expected_by_its_text():
    assert points("choice", "(B)", "six", options=["five", "six"]) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r"\frac{1}{2}", "1/2"),
        (r"\dfrac12", "0.5"),
        (r"x = 5", "5"),
        (r"10,000", "10000"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        (r"2\sqrt{3}", r"\sqrt{12}"),
        (r"\{1, 2, 3\}", r"\{3,2,1\}"),
        (r"1, -2", "-2,1"),
        (r"(x+1)^2", "x^2 + 2x + 1"),
        (r"90^\circ", "90"),
        (r"5\text{ cm}", "5"),
        (r"\text{Evelyn}", "evelyn"),
        (r"50\%", "50"),
        (r"[0,\infty)", r"[0, \infty)"),
        (r"3 + 4i", "4i+3"),
        (r"1\frac{1}{2}", "3/2"),
        (r"-\sqrt[3]{8}", "-2"),
        (r"\frac{3}{4}", ".75"),
        (r"11\sqrt2", r"11\sqrt{2}"),
        (r"\$32,348", "32348"),
        (r"x \in [-2,7]", "[-2,7]"),
        (r"6 - 5i", "6-5i"),
        (r"(-\infty,2) \cup (3,\infty)", r"(3,\infty)\cup(-\infty,2)"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ],
)
def test_equal_formulas_are_equal(first, second):
    assert are_equal(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("(1, 2)", "(2, 1)"),
        ("[0, 1)", "[0, 1]"),
        (r"\frac{1}{3}", "0.33"),
        ("x+1", "x-1"),
        ("12", "21"),
        (r"\text{odd}", r"\text{even}"),
        ("", "0"),
        (r"\sqrt{x", "x"),
        ("9^{9^{9^9}}", "1"),
        ("1/0", "2/0"),
        ("(" * 500, ")" * 500),
    ],
)
def test_other_formulas_are_not_equal(first, second):
    assert not are_equal(first, second)


def test_equal_values_have_one_form_for_a_vote():
    assert canonical_form(r"\frac{1}{2}") == canonical_form("0.5") == "0.5"


def test_the_last_box_is_the_answer():
    assert points("math", r"First \boxed{3}, then \boxed{\frac{1}{\sqrt{2}}}.", r"\sqrt{2}/2") == 1


def test_an_expression_is_searched_for():
    assert points("regex", "order 66 it is", r"\border \d+") == 1
    assert points("regex", "order", r"\border \d+") == 0


def test_an_expression_that_would_take_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr("moa_graph.evals.scorers.text.PATTERN_SECONDS", 0.05)
    score = SCORERS["regex"].score("a" * 5_000, {"expected": "(?:a+)+[bc]"})
    assert score.points == 0
    assert "took more than" in score.note


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "Ada", "born": 1815, "more": null}',
        'Here:\n```json\n{"name": "Ada", "born": 1815.0}\n```\nDone.',
        'It is {"name": "Ada", "born": 1815}, I think.',
    ],
)
def test_the_fields_of_an_object_are_compared(answer):
    assert points("json", answer, {"name": "Ada", "born": 1815}) == 1


def test_each_field_that_is_wrong_is_told():
    expected = {"name": "Ada", "born": 1815, "ok": 1}
    score = SCORERS["json"].score(
        '{"name": "Bob", "born": 1815, "ok": true}', {"expected": expected}
    )
    assert score.points == 0
    assert score.parts == {"name": 0, "born": 1, "ok": 0}


INSTRUCTIONS = [
    ("keywords:existence", {"keywords": ["Moon", "sun"]}, "moon and SUN", "moon"),
    (
        "keywords:frequency",
        {"keyword": "a b", "frequency": 2, "relation": "at least"},
        "a b A B",
        "a",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "category", "the Cat"),
    (
        "keywords:letter_frequency",
        {"letter": "q", "let_frequency": 2, "let_relation": "less than"},
        "Q",
        "qQ",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "a b", "a b c"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        'First.\n\n"then, so"',
        "First.\n\nSo",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a] [[b"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Yes.\n p. s. no", "PS no"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b", "* a\n** b"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a* **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\nx\nSection 2\ny",
        "Section one",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<Joy>>\nx", "<< >>"),
    ("combination:two_responses", {}, "a******b", "a******a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It.", "It."),
    ("startend:end_checker", {"end_phrase": "Bye."}, 'So.\n"bye."', "Bye. So"),
    ("startend:quotation", {}, ' "a" ', '"'),
    ("change_case:english_capital", {}, "ALL 1", "All"),
    ("change_case:english_lowercase", {}, "all 1", "All"),
    ("punctuation:no_comma", {}, "a; b", "a, b"),
]


@pytest.mark.parametrize(("name", "options", "follows", "breaks"), INSTRUCTIONS)
def test_an_instruction_is_followed_or_not(name, options, follows, breaks):
    row = {"instruction_id_list": [name], "kwargs": [options]}
    assert points("ifeval", follows, **row) == 1
    assert points("ifeval", breaks, **row) == 0


def test_every_instruction_is_tried():
    assert {each[0] for each in INSTRUCTIONS} == set(CHECKS)


def test_an_instruction_that_is_not_followed_is_named():
    row = {"instruction_id_list": ["punctuation:no_comma"] * 2, "kwargs": [{}, {}]}
    score = SCORERS["ifeval"].score("a, b", row)
    assert score.parts == {"1 punctuation:no_comma": 0, "2 punctuation:no_comma": 0}
    assert score.note == "punctuation:no_comma, punctuation:no_comma"


@pytest.mark.parametrize(
    ("scorer", "row", "cause"),
    [
        ("number", {"answer": 1}, "missing: expected; got the keys answer"),
        ("number", {"expected": "many"}, "`expected`='many': expected a number"),
        ("number", {"expected": "1", "tolerance": "x"}, "`tolerance`='x'"),
        ("choice", {"expected": "E", "options": ["a", "b"]}, "expected a letter from A on"),
        ("regex", {"expected": "("}, "missing \\)"),
        ("json", {"expected": "x"}, "expected an object with fields"),
        (
            "ifeval",
            {"instruction_id_list": ["language:response_language"], "kwargs": [{}]},
            "cannot check language:response_language; it checks keywords:existence",
        ),
    ],
)
def test_a_row_that_cannot_be_scored_is_refused(scorer, row, cause):
    with pytest.raises(ValueError, match=rf"scorer {scorer}: .*{cause}"):
        SCORERS[scorer].check_row(row)


def test_a_function_of_a_module_is_a_scorer(tmp_path, monkeypatch):
    (tmp_path / "length_scorer.py").write_text(
        "def short(answer, row):\n    return len(answer) <= row['most']\n"
        "def half(answer, row):\n    return 0.5\n"
        "def wrong(answer, row):\n    return 'yes'\n"
        "number = 1\n"
    )
    monkeypatch.chdir(tmp_path)
    assert find_scorer("length_scorer:short").score("abc", {"most": 3}).points == 1
    assert find_scorer("length_scorer:half").score("", {}).points == 0.5
    with pytest.raises(ValueError, match="returned 'yes'; expected True, False or points"):
        find_scorer("length_scorer:wrong").score("", {})
    with pytest.raises(ValueError, match="scorer length_scorer:short: KeyError: 'most'"):
        find_scorer("length_scorer:short").score("", {})
    with pytest.raises(ValueError, match="expected a function, got 1"):
        find_scorer("length_scorer:number")
    with pytest.raises(ValueError, match="ModuleNotFoundError"):
        find_scorer("no_such_module:f")


def test_an_unknown_scorer_names_those_that_there_are():
    with pytest.raises(ValueError, match="scorer 'numbr': expected one of exact, number, choice"):
        find_scorer("numbr")


HOSTILE = [
    "[" * 200_000,
    "<" * 200_000,
    "*" * 200_000,
    "{" * 200_000,
    '{"a":' * 40_000,
    "\n" * 200_000,
    "\\boxed{" * 30_000,
    "answer is " * 20_000,
    "```" * 60_000,
    "1," * 100_000,
    "1." * 100_000,
    "(A" * 60_000,
    "A" * 200_000,
    "\\frac" * 40_000,
    " " * 200_000 + "x",
    "\x00\ud800" * 1_000,
]


def score_by_all(text):
    instructions = [(name, options) for name, options, _, _ in INSTRUCTIONS]
    rows = {
        "exact": {"expected": "x"},
        "number": {"expected": "1"},
        "choice": {"expected": "A", "options": ["x", "y"]},
        "json": {"expected": {"a": 1}},
        "math": {"expected": "1"},
        "ifeval": {
            "instruction_id_list": [name for name, _ in instructions],
            "kwargs": [options for _, options in instructions],
        },
    }
    for name, row in rows.items():
        json.dumps(SCORERS[name].score(text, row).answer)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_answer_breaks_a_scorer(text):
    score_by_all(text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_time_is_in_proportion_to_the_answer(text):
    def seconds(size):
        began = thread_time()
        score_by_all(text[:size])
        return thread_time() - began

    times, _ = growth(seconds, 10_000, 100_000, 0.002)
    assert times < MOST


def test_long_answer_without_a_result_counts_as_not_read():
    prose = "Sorting a list takes time in proportion to its length times its logarithm. " * 2
    assert find_scorer("math").score(prose, {"expected": "3"}).answer is None
    assert find_scorer("math").score("4", {"expected": "3"}).answer == "4"
