"""Text that is attached to a question is found again as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_graph.prompting.attachments import enclose_context, enclose_file, split_attachments

PARTS = st.lists(
    st.sampled_from(["<context>\n", "\n</context>", '<file name="a">\n', "\n</file>", "a", "\n"])
).map("".join)


@pytest.mark.parametrize("enclose", [enclose_context, lambda text: enclose_file(text, "a.md")])
def test_what_is_enclosed_is_found_again(enclose):
    message = f"Where?\n\n{enclose('Here.')}\n\n{enclose('There.')}\n\nOr so."
    assert split_attachments(message) == ("Where?\n\n\n\n\n\nOr so.", ["Here.", "There."])


@pytest.mark.parametrize("enclose", [enclose_context, lambda text: enclose_file(text, "a.md")])
@given(text=PARTS)
def test_no_text_leaves_what_it_is_enclosed_in(enclose, text):
    question, attachments = split_attachments(f"Where?\n\n{enclose(text)}\n\nOr so.")
    assert (question, len(attachments)) == ("Where?\n\n\n\nOr so.", 1)


@pytest.mark.parametrize("text", ["a <context>\nb", 'a <file name="x">\nb', "a </context> </file>"])
def test_mark_that_is_not_closed_is_a_part_of_the_question(text):
    assert split_attachments(text) == (text, [])


def test_mark_of_another_kind_inside_an_attachment_is_its_text():
    inner = enclose_context("Here.")
    assert split_attachments(enclose_file(inner, "a")) == ("", [inner])
