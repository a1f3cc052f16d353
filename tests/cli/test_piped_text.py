"""Text that is piped into `moa ask`, and how much of it."""

import os
import shlex
import subprocess
from threading import Event, Thread

import pytest
from forked import run_forked
from forked_shell import moa_for_shells
from terminal import MOA, Terminal, write_mixture
from waiting import PATIENCE

from moa_graph.cli import choice, main

TEXT = "The gate is green. Ada built the gate in 1910.\nRoses grow."


@pytest.fixture
def config(tmp_path, server):
    return write_mixture(tmp_path / "m.toml", server, layers=1, names="a", w={"reply": "final"})


def content_of_first_call(server):
    return server.calls[0].messages[-1]["content"]


def test_piped_text_is_attached_to_the_question(moa, config, server):
    done = moa("ask", "Summarise", "--config", config, stdin=TEXT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "final\n", "")
    assert content_of_first_call(server) == (
        f'Summarise\n\n<file name="standard input">\n{TEXT}\n</file>'
    )


def test_piped_text_stands_behind_files(moa, config, server, tmp_path):
    (tmp_path / "n.txt").write_text("note")
    moa("ask", "Summarise", "--config", config, "--file", tmp_path / "n.txt", stdin=TEXT)
    assert content_of_first_call(server) == (
        'Summarise\n\n<file name="n.txt">\nnote\n</file>\n\n'
        f'<file name="standard input">\n{TEXT}\n</file>'
    )


def test_piped_text_alone_is_the_question(moa, config, server):
    assert moa("ask", "--config", config, stdin="Why?\n").stdout == "final\n"
    assert content_of_first_call(server) == "Why?"


def test_empty_pipe_adds_nothing(moa, config, server):
    moa("ask", "Why?", "--config", config, stdin=" \n")
    assert content_of_first_call(server) == "Why?"


@pytest.mark.process
def test_piped_bytes_that_are_no_text_are_told(config):
    done = run_forked([MOA, "ask", "Why?", "--config", config], text=os.fsdecode(b"\x89PNG\xff"))
    assert done.returncode == 1
    assert done.stderr == "moa: standard input: not UTF-8 text\n"


@pytest.mark.process
def test_loop_of_a_shell_keeps_its_other_lines(config, server, tmp_path):
    """`read` has read the first line of the file, and `moa ask` leaves the second to it."""
    (tmp_path / "questions").write_text("one?\ntwo?\n")
    ask = shlex.join(["moa", "ask", "--config", str(config)])
    loop = f'while read -r line; do {ask} "$line"; done < questions'
    with moa_for_shells() as folder:
        env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", loop], cwd=tmp_path, env=env, capture_output=True, text=True
        )
    assert (done.stdout, done.stderr) == ("final\nfinal\n", "")
    asked = [call.messages[-1]["content"] for call in server.calls_of("a")]
    assert asked == ["one?", "two?"]


def test_pipe_that_is_silent_is_told_to_be_waited_for(config, server, monkeypatch):
    monkeypatch.setattr(choice, "PIPE_NOTICE_SECONDS", 0.0)
    told, echo = Event(), choice.typer.echo

    def note(message="", **options):
        if message == choice.PIPE_NOTICE:
            told.set()
        echo(message, **options)

    monkeypatch.setattr(choice.typer, "echo", note)
    reading, writing = os.pipe()

    def write_when_told():
        with os.fdopen(writing, "w") as pipe:
            if told.wait(PATIENCE):
                pipe.write(TEXT)

    Thread(target=write_when_told).start()
    monkeypatch.setattr("sys.argv", ["moa", "ask", "Summarise", "--config", str(config)])
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code in {None, 0}
    assert TEXT in content_of_first_call(server)


@pytest.mark.parametrize("words", [[], ["--file", "-"]])
def test_more_text_than_a_model_reads_is_told(moa, config, server, words):
    done = moa("ask", "q", "--config", config, *words, stdin="x" * (choice.MAX_QUESTION_BYTES + 1))
    assert (done.returncode, done.stdout, server.calls) == (1, "", [])
    assert "10 MB or more; a question may have 10 MB with all its files" in done.stderr


def test_file_that_is_too_large_is_told_without_being_read(moa, config, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
    done = moa("ask", "q", "--config", config, "--file", path)
    assert f"--file {path}: 3,000 MB or more" in done.stderr


def test_files_that_are_too_large_together_are_told(moa, config, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("word " * 1_200_000)
    files = ["--file", tmp_path / "a", "--file", tmp_path / "b"]
    done = moa("ask", "q", "--config", config, *files)
    assert "the question with its files: 12 MB or more" in done.stderr


@pytest.mark.process
def test_answer_is_followed_by_a_blank_line_and_what_it_took(config, tmp_path):
    command = [MOA, "ask", "q", "--config", config]
    with Terminal(command, MOA_DB=tmp_path / "runs.sqlite") as terminal:
        lines = terminal.wait_for("exit 0").splitlines()
    *_, answer, blank, totals, _ = lines
    assert (answer, blank) == ("final", "")
    assert totals.startswith("thread ")
    facts = totals.split(" · ")
    assert facts[1].endswith(" tokens")
    assert facts[2] == "cost unknown"
    assert facts[3].endswith(" s")


@pytest.mark.parametrize("words", [["show"], ["report"], ["fork", "--from", "aggregator"]])
def test_commands_take_the_last_thread(moa, config, server, words):
    moa("ask", "first?", "--config", config, "--thread", "one")
    moa("ask", "second?", "--config", config, "--thread", "two")
    done = moa(*words)
    assert done.returncode == 0
    assert "second?" in done.stdout or "thread two is forked" in done.stderr


@pytest.mark.parametrize("words", [["show"], ["report"], ["fork", "--from", "aggregator"]])
def test_commands_say_that_there_is_no_thread(moa, words):
    moa("threads")
    open_database = moa("chat", "-p", "offline")
    assert open_database.returncode == 0
    done = moa(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "moa: there is no thread yet; `moa ask` creates one\n"


@pytest.mark.process
def test_report_prints_no_html_onto_a_terminal(moa, config, tmp_path):
    moa("ask", "q", "--config", config, "--thread", "sky")
    command = [MOA, "report", "sky"]
    with Terminal(command, MOA_DB=tmp_path / "runs.sqlite", width=200, COLUMNS="") as terminal:
        screen = terminal.wait_for("exit 1")
    assert "moa report sky --out sky.html" in screen
    assert "<" not in screen
