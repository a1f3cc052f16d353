"""Names of threads at the command line, and mistakes that need no database to be seen."""

import json

import pytest


@pytest.mark.parametrize("name", ["", "  ", " a", "a\nb", "\x1b[31mred", "a\u202eb", "tab\there"])
@pytest.mark.parametrize("command", [["ask", "q"], ["chat"]])
def test_new_thread_has_a_name_that_can_be_typed(command, name, moa, tmp_path, monkeypatch):
    monkeypatch.setenv("MOA_DB", str(tmp_path / "runs.sqlite"))
    done = moa(*command, "-p", "offline", "--thread", name, stdin="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "got " in done.stderr or f"--thread {name!r}: expected a name of " in done.stderr
    assert not (tmp_path / "runs.sqlite").exists()


@pytest.mark.parametrize("name", ["sky", "a b", "Größe", "天空", "../x", "uuid-1:2"])
def test_any_printable_name_is_taken(name, moa):
    assert moa("ask", "q", "-p", "offline", "-t", name).returncode == 0
    assert json.loads(moa("threads", "--json").stdout)[0]["thread"] == name
    assert moa("show", name).returncode == 0


@pytest.mark.parametrize("command", ["show", "resume", "report", "draw"])
def test_empty_name_is_not_the_last_thread(command, moa):
    assert moa("ask", "q", "-p", "offline").returncode == 0
    done = moa(command, "")
    assert (done.returncode, done.stderr) == (1, "moa: expected the name of a thread, got ''\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fork", "x", "--from", "layr_2"], "--from: no layer 'layr_2'; expected one of: "),
        (["fork", "x", "--from", "layer_2", "--model", "a"], "--model a: expected 'provider:mod"),
        (["report", "x", "--out", "/nowhere/x.html"], "--out /nowhere/x.html: there is no folder"),
        (["draw", "x", "--out", "/nowhere/x.svg"], "--out /nowhere/x.svg: there is no folder"),
        (["show", " "], "expected the name of a thread, got ' '"),
        (["threads", "--prune", "--older-than", "x"], "--older-than"),
    ],
)
def test_mistake_is_told_before_a_missing_database(words, message, moa, tmp_path):
    done = moa(*words, "--db", tmp_path / "none.sqlite")
    assert done.returncode == 1
    assert done.stderr.startswith(f"moa: {message}")
