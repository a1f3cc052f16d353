"""Wording that texts share, as marks."""

from moa_graph.markdown import MarkdownDocument
from moa_graph.run_report.headings import lower_headings
from moa_graph.run_report.highlights import mark_shared_words

TEXT = "The sky is blue because of scattering. In the evening the way through the air is longer."


def marked(text, min_words=1, **others):
    document = MarkdownDocument(text)
    return [
        (document.text[each.start : each.end], each.who, each.note)
        for each in mark_shared_words(document, others, min_words)
    ]


def test_a_run_of_words_is_marked_with_its_punctuation():
    others = {"1": "I think the sky is blue because of scattering!"}
    assert marked(TEXT, **others) == [("The sky is blue because of scattering.", "1", "1")]


def test_a_short_run_is_not_marked():
    assert marked(TEXT, **{"1": "In the evening it rains."}) == []


def test_a_short_text_is_marked_as_a_whole():
    assert marked("42", **{"1": "42", "2": "41"}) == [("42", "1", "1")]


def test_what_does_not_count_in_the_shares_is_not_marked():
    assert marked("No, there is no such thing.", min_words=3, **{"1": "No"}) == []


def test_code_and_tables_are_not_marked():
    table = "| a word | another |\n| --- | --- |\n| a third | the fourth and last |"
    text = f"{TEXT}\n\n```\nfor each in the whole list: print(each)\n```\n\n{table}"
    marks = marked(text, **{"1": text})
    assert "".join(words for words, _, _ in marks) == TEXT


def test_all_that_share_a_run_are_named_and_noted_is_the_longest():
    others = {"1": TEXT, "2": "In the evening the way through glass"}
    assert marked(TEXT, **others) == [
        ("The sky is blue because of scattering. ", "1", ""),
        ("In the evening the way through ", "1 2", ""),
        ("the air is longer.", "1", "1"),
    ]


def test_a_word_or_two_of_another_sentence_are_not_marked():
    other = "So. The sky is blue because of scattering. In winter it snows."
    text = f"Well, so. {TEXT}"
    assert marked(text, **{"1": other})[0][0] == "The sky is blue because of scattering."


def test_marks_stand_inside_the_markup_of_a_text():
    document = MarkdownDocument("The **sky is blue because** of scattering, they `say`.")
    marks = mark_shared_words(document, {"1": "The sky is blue because of scattering."}, 3)
    (block,) = document.render(marks)
    assert block == (
        '<p dir="auto"><mark data-who="1">The </mark><strong><mark data-who="1">sky is blue because'
        '</mark></strong><mark data-who="1" data-note="1"> of scattering,</mark> they '
        "<code>say</code>.</p>"
    )


def test_headings_begin_below_those_of_the_page_and_leave_no_level_out():
    html = "<h5>a</h5><p>b</p><h3>c</h3><h6>d</h6>"
    assert lower_headings(html) == "<h4>a</h4><p>b</p><h4>c</h4><h5>d</h5>"
