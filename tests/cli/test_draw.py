"""`moa draw`."""

import pytest
from typer.testing import CliRunner

from moa_graph.cli.app import app


def moa(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def thread():
    assert (
        moa("ask", "Where is it? It is under the tree.", "-p", "offline", "-t", "mine").exit_code
        == 0
    )
    return "mine"


def test_mixture_is_drawn_as_mermaid_text():
    assert moa("draw", "-p", "moa-lite").output.startswith("flowchart TD\n")


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<svg "), ("png", b"\x89PNG"), ("mmd", b"flowchart TD")]
)
def test_file_is_what_its_name_says(thread, tmp_path, suffix, start):
    for words in (("-p", "moa-lite"), (thread,)):
        path = tmp_path / f"picture.{suffix}"
        done = moa("draw", *words, "--out", path)
        assert (done.exit_code, done.output) == (0, "")
        assert path.read_bytes().startswith(start)


def test_ending_of_a_file_may_be_written_large(tmp_path):
    assert moa("draw", "-p", "moa-lite", "--out", tmp_path / "x.PNG").exit_code == 0
    assert (tmp_path / "x.PNG").read_bytes().startswith(b"\x89PNG")


def test_run_of_a_thread_is_drawn(thread):
    drawn = moa("draw", thread).output
    assert drawn.count(" s · ") == 13
    assert "critical" in drawn


def test_thread_that_is_not_there_is_told(thread):
    assert "no thread 'nope'" in str(moa("draw", "nope").exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("-p", "moa", "--out", "a.gif"),
            "--out a.gif: expected a name that ends in .svg, .png, .mmd",
        ),
        (
            ("-p", "moa", "--out", "/nowhere/a.svg"),
            "--out /nowhere/a.svg: there is no folder /nowhere",
        ),
        (("mine", "-p", "moa"), "give a thread, or --preset or --config, not both"),
    ],
)
def test_mistakes_are_told(words, message):
    done = moa("draw", *words) if "-p" in words else moa("draw", "-p", "moa", *words)
    assert message in str(done.exception)
