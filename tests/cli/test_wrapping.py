"""Lines on a terminal are broken between words."""

import io
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from rich.cells import cell_len

from moa_graph.cli.startup import show_startup_notice
from moa_graph.cli.terminal.answer import StreamedAnswer
from moa_graph.cli.terminal.plain_text import (
    fit_to_stream,
    print_notice,
    strip_control_characters,
)
from moa_graph.cli.terminal.text import print_failures
from moa_graph.cli.terminal.wrapping import LineWrapper, terminal_width, wrap_text


class FakeTerminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make standard output and error a terminal of 40 columns."""

    def make():
        monkeypatch.setenv("COLUMNS", "40")
        monkeypatch.setenv("TERM", "xterm")
        out, err = FakeTerminal(), FakeTerminal()
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        return out, err

    return make


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("blue light is scattered about", ["blue light", "is", "scattered", "about"]),
        ("0123456789 x", ["0123456789", "x"]),
        ("0123456789ab xyz", ["0123456789ab xyz"]),  # the terminal folds it
        ("one\n\n  two three", ["one", "", "  two", "three"]),
        ("天空是蓝色的。好", ["天空是蓝色", "的。好"]),
        ("天空是蓝色。好", ["天空是蓝", "色。好"]),
        ("a 天空是蓝色的", ["a 天空是蓝", "色的"]),
        ("```\na long line of code\n```\na long line", None),
        ("", [""]),
    ],
)
def test_lines_are_broken_between_words(text, lines):
    lines = lines or ["```", "a long line of code", "```", "a long", "line"]
    assert wrap_text(text, 10).split("\n") == lines


words = st.text(alphabet="ab 天。\n\t`é", max_size=200)


@given(words, st.integers(8, 60), st.lists(st.integers(0, 200)))
def test_only_breaks_are_added_however_the_pieces_fall(text, width, cuts):
    parts = []
    wrapper = LineWrapper(parts.append, lambda: width)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for start, end in pairwise(places):
        wrapper.write(text[start:end])
    wrapper.flush()
    assert "".join(parts) == wrap_text(text, width)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)
    if "```" not in text and "\t" not in text:
        tokens = re.split(r"[ \n]", text)
        if all(cell_len(token) <= width for token in tokens):
            kept = [line.strip() for line in "".join(parts).split("\n")]
            assert all(cell_len(line) <= width for line in kept)


def test_code_is_written_at_once_and_a_word_when_it_has_ended():
    parts = []
    wrapper = LineWrapper(parts.append, lambda: 80)
    wrapper.write("so blu")
    assert "".join(parts) == "so"
    wrapper.write("e\n```\nprint")
    assert "".join(parts) == "so blue\n```\nprint"


def test_streamed_answer_is_broken_between_words_and_wholly_written(terminal):
    out, _ = terminal()
    answer = StreamedAnswer()
    for piece in ("The blue light of the sun is scat", "tered about by the a", "ir."):
        answer.write(AIMessageChunk(piece, id="1"))
    answer.close()
    assert out.getvalue().split("\n") == [
        "The blue light of the sun is scattered",
        "about by the air.",
    ]


def test_broken_answer_is_written_to_its_last_word(terminal):
    out, _ = terminal()
    answer = StreamedAnswer()
    answer.write(AIMessageChunk("```\nhalf of", id="1"))
    answer.write(AIMessageChunk("whole answer", id="2"))
    answer.close()
    assert out.getvalue() == ("```\nhalf of\n(broken off; a fallback answers)\nwhole answer")


ERRORS = {
    "layer_1_a": {"error": "cut off: the quorum was reached, and the grace of 1 s over"},
    "layer_1_b": {"error": "OSError: gone"},
    "layer_1_c": {"error": None},
}


def test_failures_are_one_line_in_a_pipe_and_whole_words_on_a_terminal(terminal, monkeypatch):
    _, err = terminal()
    print_failures({"proposals": ERRORS})
    lines = err.getvalue().splitlines()
    assert lines[0] == "moa: 1 of 3 proposals failed, 1 cut off:"
    assert all(len(line) <= 40 for line in lines)
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    print_failures({"proposals": ERRORS})
    assert pipe.getvalue() == (
        "moa: 1 of 3 proposals failed, 1 cut off: layer_1_a: the quorum was reached, and the grace "
        "of 1 s over; layer_1_b: OSError: gone\n"
    )


def test_command_to_go_on_with_is_not_broken(terminal):
    out, _ = terminal()
    command = "moa resume a-thread-with-a-name --db /a/path/of/some/length.sqlite"
    print_notice(f"unfinished; if no process is running it, continue with: {command}")
    shown = out.getvalue().splitlines()
    assert shown == ["unfinished; if no process is running it,", "continue with:", f"  {command}"]


def test_text_for_a_pipe_stays_as_it_is():
    assert fit_to_stream("\x1b[31m " + "long " * 40, io.StringIO()) == "\x1b[31m " + "long " * 40


def test_what_reverses_a_line_is_dropped_and_what_scripts_need_stays():
    assert strip_control_characters("a\u202eb\u2066c\u200ed\u061ce\u2069") == "abcde"
    assert strip_control_characters("👩‍👩‍👧 می‌خواهم שלום") == "👩‍👩‍👧 می‌خواهم שלום"


def test_width_is_known_without_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width(io.StringIO()) == 80


def test_first_word_comes_at_once_and_is_taken_away(terminal):
    _, err = terminal()
    with show_startup_notice(show_progress=None):
        assert err.getvalue() == "starting…"
    assert err.getvalue() == "starting…\r\x1b[K"


@pytest.mark.parametrize("wanted", [True, None])
def test_pipe_and_dumb_terminal_are_not_told_of_the_start(wanted, terminal, monkeypatch):
    _, err = terminal()
    monkeypatch.setenv("TERM", "dumb")
    with show_startup_notice(show_progress=wanted):
        pass
    with show_startup_notice(show_progress=False):
        pass
    assert err.getvalue() == ""
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    monkeypatch.setenv("TERM", "xterm")
    with show_startup_notice(show_progress=wanted):
        pass
    assert pipe.getvalue() == ""
