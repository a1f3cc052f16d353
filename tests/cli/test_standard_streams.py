"""The command where streams are closed, locales are old and terminals are simple."""

import os
import shlex
import subprocess

import pytest
from terminal import MOA, Terminal, write_mixture

from moa_graph.cli.standard_streams import decode_argument


@pytest.mark.process
@pytest.mark.parametrize("closed", [">&- 2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_mistake(closed, tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server)
    line = f"{shlex.join([str(MOA), 'ask', 'q', '--config', str(config)])} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.calls) == 5


@pytest.mark.process
def test_locale_that_knows_only_ascii_loses_no_character(tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server, w={"reply": "fünf ✓"})
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [MOA, "ask", "wie viele — ö?", "--config", config, "--thread", "größe"]
    done = subprocess.run(command, env=os.environ | old, capture_output=True)
    assert (done.returncode, done.stdout.decode()) == (0, "fünf ✓\n"), done.stderr
    assert server.calls[0].messages[-1]["content"] == "wie viele — ö?"


@pytest.mark.parametrize("command", [("ask",), ("ask", "q", "--thread"), ("show",)])
def test_argument_that_is_not_utf8_is_told(moa, command):
    done = moa(*command, os.fsdecode(b"caf\xe9?"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "moa: 'caf??' is not UTF-8 text\n"


def test_argument_of_another_locale_is_read_as_utf8():
    assert decode_argument("plain") == "plain"
    assert decode_argument("größe") == "größe"
    assert decode_argument("größe".encode().decode("ascii", "surrogateescape")) == "größe"


def test_toml_file_may_begin_with_a_byte_order_mark(moa, tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server, w={"reply": "final"})
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert moa("ask", "q", "--config", config).stdout == "final\n"


@pytest.mark.process
def test_terminal_without_cursor_movements_gives_the_answer_a_line_of_its_own(tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server, w={"reply": "the final answer"})
    command = [MOA, "ask", "q", "--config", config]
    with Terminal(command, TERM="dumb", MOA_DB=tmp_path / "runs.sqlite") as terminal:
        lines = terminal.wait_for("exit 0").splitlines()
    answer = lines.index("the final answer")
    assert lines[answer + 1].startswith("aggregator answered in ")
    assert lines[answer + 2] == ""
    assert lines[answer + 3].startswith("thread ")


@pytest.mark.process
def test_narrow_terminal_without_cursor_movements_breaks_what_it_tells_between_words(tmp_path):
    command = [MOA, "ask", "Who built it? Ada built it in 1910.", "--preset", "offline"]
    options = {"TERM": "dumb", "MOA_DB": tmp_path / "runs.sqlite", "COLUMNS": ""}
    with Terminal(command, width=38, height=60, **options) as terminal:
        lines = terminal.wait_for("exit 0").splitlines()
    told = lines.index("layer 1: centroid is called")
    assert lines[told + 1] == "(offline:centroid)"


@pytest.mark.process
def test_table_of_an_estimate_loses_nothing_on_a_narrow_terminal(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"instruction": "Why?"}')
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'judge = "offline:overlap"\n[systems]\na = "offline:lead"\n'
        '[[benchmarks]]\nname = "alpaca_eval"\ndata = "q.jsonl"\n'
    )
    command = [MOA, "eval", "estimate", plan]
    with Terminal(command, width=38, height=60, COLUMNS="") as terminal:
        screen = terminal.wait_for("exit 0")
    assert "  system or judge: a\n" in screen
    assert "  calls: 0\n" in screen
    assert "50 tokens a second\nafter 1 s" in screen


@pytest.mark.process
def test_terminal_breaks_messages_between_words(tmp_path):
    command = [MOA, "ask", "Who built it? Ada built it in 1910."]
    with Terminal(command, width=50, MOA_DB=tmp_path / "runs.sqlite", COLUMNS="") as terminal:
        lines = terminal.wait_for("exit 0").splitlines()
    assert "moa: neither TOGETHER_API_KEY nor" in lines[0]
    assert "Ada built it in 1910." in lines
    words = {"TOGETHER_API_KEY", "OPENAI_API_KEY", "language"}
    assert words <= {word for line in lines for word in line.strip(";,").split()}
