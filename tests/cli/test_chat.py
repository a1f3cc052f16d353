"""`moa chat`: typed by a person, read from a pipe, interrupted."""

import asyncio
import json
import os
import re
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest
from forked import run_forked
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from stored import proposals_stored
from terminal import MOA, Terminal, write_mixture
from waiting import wait_for

from moa_graph import MoAConfig
from moa_graph.cli.actions.chat import run_chat
from moa_graph.cli.actions.run import CliRun, OutputOptions
from moa_graph.cli.terminal.input import create_history_file
from moa_graph.graph.turns import Turn


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mixture(tmp_path, server):
    def write(**models):
        models = {"w": {"reply": "final"}} | models
        return write_mixture(tmp_path / "mixture.toml", server, **models)

    return write


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type keys into a chat, and give what stands on standard output and error."""

    def run(keys, config, thread="mine"):
        monkeypatch.setattr("sys.stdin", Person())
        chosen = MoAConfig.load(config) if config else None
        with (
            create_pipe_input() as pipe,
            create_app_session(input=pipe, output=DummyOutput()),
        ):
            pipe.send_text(f"{keys}/quit\r")
            run_chat(chosen, thread, os.environ["MOA_DB"], OutputOptions())
        return capsys.readouterr()

    return run


class Person:
    """Standard input that is a terminal."""

    def isatty(self):
        return True

    def fileno(self):
        return 0


def piped(text, *words, **environment):
    return run_forked([MOA, "chat", *words], text=text, env=os.environ | environment)


def said(server, model):
    return [[message["content"] for message in call.messages] for call in server.calls_of(model)]


def test_every_question_sees_what_was_said_before(typed, mixture, server):
    seen = typed("first\rsecond\r", mixture())
    assert seen.out == "final\n\nfinal\n"
    assert said(server, "a")[2] == ["first", "final", "second"]


def test_chat_goes_on_with_a_thread_and_its_mixture(typed, mixture, server):
    typed("first\r", mixture())
    seen = typed("second\r", None)
    assert "1 question so far" in seen.err
    assert said(server, "a")[2] == ["first", "final", "second"]


def test_lines_are_joined_by_alt_enter_and_by_a_backslash(typed, mixture, server):
    typed("one\x1b\rtwo\\\rthree\r", mixture())
    assert said(server, "a")[0] == ["one\ntwo\nthree"]


def test_control_c_at_the_prompt_clears_the_line(typed, mixture, server):
    typed("never sent\x03sent\r", mixture())
    assert said(server, "a")[0] == ["sent"]


def test_control_d_ends_the_chat(typed, mixture):
    assert "continue with: moa chat --thread mine" in typed("\x04", mixture()).err


def test_history_is_kept_for_nobody_else(typed, mixture):
    typed("a secret question\r", mixture())
    path = create_history_file()
    assert "a secret question" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unknown_commands_say_what_there_is(typed, mixture):
    err = typed("/nope\r/redo a b c\r/show 'x\r", mixture()).err
    assert "no command /nope; expected one of: /help, /model, /show, /redo" in err
    assert "/redo a b c: see /help" in err
    assert "No closing quotation" in err


def test_question_that_begins_with_a_slash_has_two(typed, mixture, server):
    assert "a question that begins with a slash has two" in typed("/etc/hosts\r", mixture()).err
    typed("//etc/hosts: what is it?\r", mixture())
    assert server.calls_of("a")[0].messages[-1]["content"] == "/etc/hosts: what is it?"


def test_commands_before_the_first_question_are_no_mistake(typed, mixture):
    err = typed("/redo\r/fork\r/show\r/save x.md\r", mixture()).err
    assert err.count("there is no question yet") == 4


def test_failing_proposer_is_told_and_the_chat_goes_on(typed, mixture):
    seen = typed("q\rr\r", mixture(b={"always": 400}))
    assert seen.out == "final\n\nfinal\n"
    assert seen.err.count("moa: 2 of 4 proposals failed: layer_1_b: ") == 2


def test_lost_quorum_can_be_redone_and_asks_only_who_failed(typed, mixture, server):
    seen = typed("q\r/redo\r", mixture(a={"faults": [400]}, b={"faults": [400, None]}))
    assert seen.out == "final\n"
    assert "/redo repeats only failed calls" in seen.err
    assert [len(server.calls_of(name)) for name in "abw"] == [3, 3, 1]


def test_failing_aggregator_can_be_redone_and_asks_no_proposer(typed, mixture, server):
    seen = typed("q\r/redo\r", mixture(w={"faults": [400], "reply": "final"}))
    assert seen.out == "final\n"
    assert [len(server.calls_of(name)) for name in "abw"] == [2, 2, 2]


def test_another_question_replaces_one_that_failed(typed, mixture, server):
    seen = typed("one\rfailed\ranother\r/save talk.json\r", mixture(w={"faults": [None, 500]}))
    assert "another question replaces this one" in seen.err
    asked = [m["content"] for m in json.loads(Path("talk.json").read_text())["messages"]]
    assert [text for text in asked if text in {"one", "failed", "another"}] == ["one", "another"]
    roles = [message["role"] for message in server.calls_of("a")[-1].messages]
    assert roles[-3:] == ["user", "assistant", "user"]


DYING = """
import os, signal
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from moa_graph.cli import main

put, put_writes, last = AsyncSqliteSaver.aput, AsyncSqliteSaver.aput_writes, os.environ["LAST"]

def die_after(stored):
    if last in stored:
        os.kill(os.getpid(), signal.SIGKILL)

async def aput(saver, config, checkpoint, metadata, versions):
    result = await put(saver, config, checkpoint, metadata, versions)
    die_after(metadata["source"])
    return result

async def aput_writes(saver, config, writes, *others):
    await put_writes(saver, config, writes, *others)
    die_after(str(dict(writes).get("messages")))

AsyncSqliteSaver.aput, AsyncSqliteSaver.aput_writes = aput, aput_writes
main()
"""


@pytest.fixture
def killed(mixture):
    """Ask on a thread, and die when what is named was the last to be stored."""

    def ask(last):
        words = ["ask", "killed", "--config", str(mixture()), "--thread", "mine"]
        environment = os.environ | {"LAST": last}
        done = run_forked([sys.executable, "-c", DYING, *words], env=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr

    return ask


def saved_texts():
    return [message["content"] for message in json.loads(Path("talk.json").read_text())["messages"]]


@pytest.mark.process
@pytest.mark.parametrize("last", ["input", "HumanMessage", "AIMessage"])
@pytest.mark.parametrize("command", ["", "/undo\r", "/fork\r"])
def test_a_thread_that_was_killed_goes_on(command, last, typed, mixture, killed, server):
    """Killed before the question was taken in, while it was, and while the answer was."""
    killed(last)
    seen = typed(f"{command}another\r/save talk.json\r", mixture())
    assert "Error" not in seen.err
    answered = last == "AIMessage"
    kept = ["killed", "final"] if answered and command != "/undo\r" else []
    assert saved_texts() == [*kept, "another", "final"]
    assert len(server.calls) == (10 if answered else 5)


@pytest.mark.process
def test_undo_takes_back_a_question_that_was_not_taken_in(typed, mixture, killed, moa):
    typed("one\r", mixture())
    killed("input")
    assert json.loads(moa("threads", "--json").stdout)[0]["question"] == "killed"
    assert "no proposals" in typed("/redo aggregator\r", mixture()).err
    seen = typed("/undo\r/save talk.json\r", mixture())
    assert "removed: killed" in seen.err
    assert saved_texts() == ["one", "final"]


def test_undo_takes_back_an_answered_question(typed, mixture, server):
    seen = typed("one\rtwo\r/undo\rthree\r/save talk.json\r", mixture())
    assert "removed: two" in seen.err
    asked = [m["content"] for m in json.loads(Path("talk.json").read_text())["messages"]]
    assert asked == ["one", "final", "three", "final"]


def test_undo_takes_back_a_question_that_failed(typed, mixture, moa):
    seen = typed("one\rfailed\r/undo\r/show\r", mixture(w={"faults": [None, 500]}))
    assert "removed: failed" in seen.err
    assert json.loads(moa("threads", "--json").stdout)[0]["state"] == "answered"


def test_undo_of_the_only_question_leaves_an_empty_thread(typed, mixture, moa, server):
    seen = typed("one\r/undo\r/undo\r/redo\r", mixture())
    assert "removed: one" in seen.err
    assert seen.err.count("there is no question yet") == 2
    assert json.loads(moa("threads", "--json").stdout)[0]["state"] == "empty"
    for words in (["resume", "mine"], ["show", "mine"], ["report", "mine"], ["draw", "mine"]):
        done = moa(*words)
        assert "Traceback" not in done.stderr
        assert done.returncode == 1
        assert "has no question" in done.stderr
    assert moa("ask", "anew", "--thread", "mine").returncode == 0


def test_fork_leaves_a_question_that_failed_behind(typed, mixture, server):
    faults = mixture(w={"faults": [None, 500]})
    seen = typed("one\rfailed\r/fork\r/save talk.json\ranother\r", faults)
    assert "the last question has no answer and is not copied" in seen.err
    asked = [m["content"] for m in json.loads(Path("talk.json").read_text())["messages"]]
    assert len(asked) == 2
    assert "failed" not in str(server.calls_of("w")[-1].messages)


def test_model_of_what_failed_can_be_changed_before_it_is_redone(
    typed, mixture, server, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    config = mixture(w={"always": 400}, v={"reply": "from v"})
    seen = typed("q\r/model aggregator=openai:v\r/redo\r", config)
    assert seen.out.endswith("from v\n")
    assert [len(server.calls_of(name)) for name in "abwv"] == [2, 2, 1, 1]


def test_answered_question_is_answered_anew(typed, mixture, server):
    typed("q\r/redo\rnext\r", mixture())
    assert [len(server.calls_of(name)) for name in "abw"] == [6, 6, 3]
    assert said(server, "a")[2:5:2] == [["q"], ["q", "final", "next"]]


def test_redo_from_a_layer_on_keeps_what_is_before(typed, mixture, server):
    typed("q\r/redo layer_2\r/redo aggregator\r", mixture())
    assert [len(server.calls_of(name)) for name in "abw"] == [3, 3, 3]


def test_redo_of_no_layer_says_which_there_are(typed, mixture):
    err = typed("q\r/redo layer_9\r", mixture()).err
    assert "/redo: no layer 'layer_9'; expected one of: layer_1, layer_2, aggregator" in err


def test_other_preset_answers_the_question_that_had_no_answer(typed, mixture):
    config = mixture(a={"always": 400}, b={"always": 400})
    seen = typed("Who built it? Ada built it.\r/model offline\r/redo\r", config)
    assert "Ada built it." in seen.out


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nope", "/model: no preset 'nope'; expected NAME=provider:model or one of: economical,"),
        ("x=p:q", "/model: no proposer 'x'; expected one of: a, b"),
        ("a=nonsense", "/model a: expected 'provider:model'"),
        ("aggregator=openai:gpt-4o", "set OPENAI_API_KEY"),
        ("a=nobody:x", "nobody"),
    ],
)
def test_model_that_cannot_be_had_changes_nothing(word, message, typed, mixture):
    seen = typed(f"/model {word}\rq\r", mixture())
    assert message in seen.err
    assert seen.out == "final\n"


def test_show_tells_the_calls_and_one_proposal_beside_the_answer(typed, mixture):
    config = mixture(a={"reply": "one two three four five"}, w={"reply": "one two three 4 five"})
    out = typed("q\r/show\r/show a\r/show layer_9_x\r", config)
    assert "layer_1_a" in out.out
    assert "4 of 4 proposals answered" in out.out
    assert "one two three [-four-] {+4+} five" in out.out
    assert "no proposal 'layer_9_x'; expected one of: layer_1_a" in out.err


def test_fork_leaves_the_thread_as_it_is(typed, mixture, server):
    seen = typed("first\r/fork\rsecond\r/show\r", mixture())
    fork = seen.err.partition("this is thread ")[2].split()[0]
    assert said(server, "a")[2] == ["first", "final", "second"]
    assert "1 question so far" in typed("", None, "mine").err
    assert "2 questions so far" in typed("", None, fork).err


def test_conversation_is_saved_and_nothing_is_overwritten(typed, mixture, tmp_path):
    keys = "q\r/save talk.md\r/save talk.json\rr\r/save talk.md\r/save no/where.md\r/save\r"
    err = typed(keys, mixture()).err
    text = (tmp_path / "talk.md").read_text()
    assert text == "# Thread mine\n\n## Question\n\nq\n\n## Answer\n\nfinal\n"
    whole = json.loads((tmp_path / "talk.json").read_text())
    assert whole["messages"] == [
        {"role": "human", "content": "q"},
        {"role": "ai", "content": "final"},
    ]
    assert "talk.md already exists" in err
    assert "no/where.md: No such file" in err
    assert "/save: expected the name of one file" in err
    typed("/save talk.md --force\r", None)
    assert (tmp_path / "talk.md").read_text().count("## Question") == 2


def test_control_c_stops_an_answer_and_redo_pays_for_nothing_twice(typed, mixture, server):
    config = mixture(b={"always": "hang"})

    def interrupt():
        wait_for(lambda: server.calls_of("b"))
        wait_for(lambda: proposals_stored() == 1)
        server.model("b")
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    seen = typed("q\r/redo\r", config)
    helper.join()
    assert "stopped; /redo continues it" in seen.err
    assert seen.out == "final\n"
    assert [len(server.calls_of(name)) for name in "abw"] == [2, 3, 1]


def test_question_stopped_before_it_was_stored_is_asked_by_redo(typed, mixture, monkeypatch):
    """A second question, too, whose thread has another one to be answered anew."""
    config, whole = mixture(), CliRun.run_to_end
    stopped = []

    async def stop(run, choose, **options):
        question = choose(Turn("none", (), (), is_runnable=False))["messages"][0].content
        if question in {"first", "second"} and question not in stopped:
            stopped.append(question)
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        return await whole(run, choose, **options)

    monkeypatch.setattr(CliRun, "run_to_end", stop)
    seen = typed("first\r/redo\rsecond\r/fork\r/redo\r/save talk.json\r", config)
    assert seen.err.count("stopped; /redo continues it") == 2
    assert "there is no question yet" not in seen.err
    assert "the last question has no answer" in seen.err
    asked = [m["content"] for m in json.loads(Path("talk.json").read_text())["messages"]]
    assert asked == ["first", "final", "second", "final"]


def test_event_loop_is_free_while_a_mixture_is_built(typed, mixture, monkeypatch):
    """Else Ctrl-C would be heard seconds later."""
    built = []
    whole = MoAConfig.graph

    def graph(config, **options):
        built.append(threading.current_thread() is threading.main_thread())
        return whole(config, **options)

    monkeypatch.setattr(MoAConfig, "graph", graph)
    typed("q\r", mixture())
    assert built[0] is False


@pytest.mark.process
def test_terminal_completes_commands_and_leaves_the_thread_free(typed, mixture, server):
    typed("q\r", mixture())
    with Terminal([MOA, "chat", "--thread", "mine"]) as terminal:
        terminal.wait_for("/help")
        terminal.type("/mo", "Tab")
        terminal.wait_for("> /model")
        terminal.type("Enter")
        terminal.wait_for("openai:w")
        done = run_forked([MOA, "ask", "r", "-t", "mine"])
        assert done.stdout == "final\n"
        terminal.type("s", "Enter")
        terminal.wait_for("→ aggregator")
        terminal.type("/quit", "Enter")
        screen = terminal.wait_for("exit 0")
    assert "final" in screen
    assert said(server, "a")[-2] == ["q", "final", "r", "final", "s"]


@pytest.mark.process
def test_lines_of_a_pipe_are_questions(mixture, server):
    done = piped("one\\\nline\n\nsecond\n/model\n", "--config", mixture())
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith("final\n\nfinal\n")
    assert "openai:w" in done.stdout
    assert said(server, "a")[2] == ["one\nline", "final", "second"]


@pytest.mark.process
def test_bytes_that_are_no_text_do_not_stop_a_pipe(mixture, server):
    done = piped(os.fsdecode(b"\xff\xfe?\nsecond\n"), "--config", mixture())
    assert done.stdout == "final\n\nfinal\n"
    assert said(server, "a")[0] == ["\ufffd\ufffd?"]


@pytest.mark.process
def test_pipe_whose_line_fails_goes_on_and_says_so_with_its_exit_code(mixture):
    config = mixture(w={"faults": [400], "reply": "final"})
    done = piped("one\ntwo\n", "--config", config)
    assert done.stdout == "final\n"
    assert done.returncode == 1
    assert "no final answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_offline_chat_explains_itself(typed):
    seen = typed("Who built the gate?\r", None, None)
    assert "using preset 'offline'" in seen.err
    assert seen.out.startswith("No language model is configured.")


def test_long_chat_leaves_old_turns_out_and_says_so(typed, mixture, server):
    small = {"reply": "short", "context": 500}
    config = mixture(a=small, b=small, w={"reply": "final", "context": 900})
    questions = [f"{word} {'again ' * 200}" for word in ("first", "second", "third", "fourth")]
    seen = typed("".join(f"{question}\r" for question in questions), config)
    assert seen.out.count("final") == 4
    notice = r"the conversation no longer fits the models: \d earlier messages were left out"
    assert re.search(notice, seen.err)
    assert "failed" not in seen.err
    said = [message["content"].split()[0] for message in server.calls_of("a")[-1].messages]
    assert said[-1] == "fourth"
    assert "first" not in said
