"""Whether a whole answer begins with a thought whose start is in the prompt."""

import pytest

from moa_graph.prompting.thoughts import ThoughtFilter, has_unopened_thought


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("Four.", False),
        ("Is 3 < 4? See [1].", False),
        ("2 + 2 is 4.</think>Four.", True),
        ("</think>Four.", False),
        ("<think>2 + 2 is 4.</think>Four.", False),
        ("2 + 2 is 4.[/THINK]Four.", True),
        ("A tag is `</think>`.", False),
        ("analysisIt is 4.assistantfinalFour.", False),
    ],
)
def test_whole_answer_is_read_as_its_stream(text, expected):
    stream = ThoughtFilter()
    stream.feed(text)
    stream.finish()
    assert has_unopened_thought(text) == stream.was_opened_in_prompt == expected
