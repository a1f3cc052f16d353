"""What `moa show`, `moa threads` and `moa fork` print, and what the shell completes."""

import asyncio
import io
import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from stored import proposals_stored
from terminal import MOA, Terminal, write_mixture
from waiting import PATIENCE, after, wait_until

from moa_graph import MoAConfig
from moa_graph.cli import app
from moa_graph.cli.commands import eval as evaluation
from moa_graph.cli.terminal.diff import WordDiff
from moa_graph.cli.terminal.tables import (
    build_calls_table,
    format_age,
    print_calls,
)
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.formatting import format_cost
from moa_graph.runs.record import RunRecord
from moa_graph.runs.store import build_run_config, open_run_store
from moa_graph.runs.stored_threads import read_thread

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def mixture(tmp_path, server):
    def write(**options):
        return write_mixture(
            tmp_path / "mixture.toml", server, **{"w": {"reply": "final"}} | options
        )

    return write


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (59, "just now"),
        (61, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86_400, "1 day ago"),
        (3 * 86_400, "3 days ago"),
    ],
)
def test_times_are_told_as_a_person_would(seconds, text):
    assert format_age(NOW - timedelta(seconds=seconds), NOW) == text


def test_beyond_a_month_the_day_is_told():
    assert format_age(NOW - timedelta(days=40), NOW) == "2026-01-20"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(None, "?"), (0.0, "$0"), (0.000123, "~$0.00012"), (0.25, "~$0.25"), (1234.5, "~$1,234.50")],
)
def test_unknown_cost_is_never_nothing(dollars, text):
    assert format_cost(dollars) == text


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a b c d e", "a b c x e", "a b c [-d-] {+x+} e"),
        ("same text here", "same text here", "same text here"),
        ("", "all of it", "{+all of it+}"),
        ("all of it", "", "[-all of it-]"),
        ("天空是蓝色的", "天空是红色的", "天空是 [-蓝-] {+红+} 色的"),
    ],
)
def test_diff_marks_words(old, new, shown):
    assert re.sub(r"\s+", " ", WordDiff(old, new).text.plain) == shown


def test_single_words_in_common_do_not_tear_a_diff_apart():
    old, new = "red the green the blue", "one the two the three"
    assert [kind for kind, _ in WordDiff(old, new).changes] == ["left out", "added"]


@pytest.mark.parametrize(
    ("old", "new", "share"), [("a b c d", "a b c d", 1), ("", "a", 0), ("a b c x", "a b c y", 0.75)]
)
def test_share_of_the_answer_that_was_kept(old, new, share):
    assert WordDiff(old, new).kept_share == share


def test_diff_gives_both_texts_back():
    old = "The sky is blue, for short waves are scattered more than long ones."
    new = "The sky is blue because short waves are scattered far more than long ones."
    parts = WordDiff(old, new).changes
    assert "".join(t for kind, t in parts if kind != "added").split() == old.split()
    assert "".join(t for kind, t in parts if kind != "left out").split() == new.split()


def test_show_tells_seconds_tokens_cost_and_what_was_waited_for(moa, mixture, server):
    config = mixture(
        extra='[prices]\n"openai:a" = [1000000, 0]',
        layers=1,
        a={"until": after(lambda: proposals_stored() == 1)},
        b={"usage": False},
    )
    moa("ask", "q", "--config", config, "-t", "t")
    out = moa("show", "t").stdout
    assert re.search(r"call +model +seconds +read +written +cost", out)
    assert re.search(r"✓ +layer_1_a +openai:a +\d+\.\d +1 +3 +~\$1\.00 +← waited for", out)
    assert re.search(r"✓ +layer_1_b +openai:b +\d+\.\d +\? +\? +\?\s*$", out, re.MULTILINE)
    assert "tokens at least" in out
    assert "cost: at least ~$1.00" in out
    assert out.endswith("\nfinal\n")


def call(node, model, seconds=1.0, error=None):
    usage = None if error else {"input_tokens": 12_345, "output_tokens": 678, "total_tokens": 0}
    layer = 2 if node == "aggregator" else 1
    started = 1.0 * layer
    text = "" if error else "text"
    return AgentCall(node, layer, node, model, text, error, started, seconds, 0, usage, 0.0012)


def table(width, *calls):
    file = io.StringIO()
    console = Console(file=file, width=width)
    console.print(build_calls_table(RunRecord("q", None, calls), width))
    return file.getvalue()


LONG = [
    call("layer_1_mistral-small", "openai:mistral-small-2506", 2.0),
    call("layer_1_qwen", "together:" + "q" * 40, 1.0),
    call("aggregator", "openai:gpt-4o", 3.0),
]


@pytest.mark.parametrize("width", [60, 72, 80, 81, 100, 160])
def test_no_mark_and_no_name_is_cut_at_any_width(width):
    shown = table(width, *LONG)
    lines = shown.splitlines()
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)
    assert "layer_1_mistral-small" in lines[1]
    assert re.search(r"(← waited for|←) *$", lines[1])
    assert "←" not in lines[2]
    assert re.search(r"\bwritten +cost", lines[0])


def test_columns_are_given_up_where_there_is_no_room():
    headings = [table(width, *LONG).splitlines()[0].split() for width in (120, 80, 60)]
    assert headings == [
        ["call", "model", "seconds", "read", "written", "cost"],
        ["call", "seconds", "read", "written", "cost"],
        ["call", "sec", "written", "cost"],
    ]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("cut off: the quorum was reached", "✂ n cut off: the quorum was reached"),
        ("cut off by the layer's deadline", "✂ n cut off by the layer's deadline"),
        ("no answer within its timeout of 1 s", "✂ n cut off: no answer within its timeout of 1 s"),
        ("OSError: cut off", "✗ n failed: OSError: cut off"),
    ],
)
def test_how_a_call_ended_is_told_once(error, told, capsys):
    print_calls(RunRecord("q", None, [call("n", "m", error=error)]))
    _, row, line, *_ = capsys.readouterr().out.splitlines()
    assert f"{row[0]} {line}" == told


def test_show_compares_a_proposal_with_the_answer(moa, mixture):
    config = mixture(a={"reply": "one two three four five"}, w={"reply": "one two three 4 five"})
    moa("ask", "q", "--config", config, "-t", "t")
    assert "one two three [-four-] {+4+} five" in moa("show", "t", "a").stdout
    whole = json.loads(moa("show", "t", "layer_1_a", "--json").stdout)
    assert (whole["content"], whole["kept"]) == ("one two three four five", 0.8)
    failed = moa("show", "t", "nobody")
    assert failed.returncode == 1
    assert "no proposal 'nobody'; expected one of: layer_1_a, layer_1_b" in failed.stderr


def test_show_prints_all_proposals_where_asked(moa, mixture):
    moa("ask", "q", "--config", mixture(a={"reply": "from a"}), "-t", "t")
    assert "from a" not in moa("show", "t").stdout
    assert moa("show", "t", "--full").stdout.count("\nfrom a\n") == 2


def test_show_gives_programs_seconds_and_cost(moa, mixture):
    moa("ask", "q", "--config", mixture(), "-t", "t")
    whole = json.loads(moa("show", "t", "--json").stdout)
    assert whole["state"] == "answered"
    assert (whole["cost"], whole["cost_complete"]) == (None, False)
    assert whole["seconds"] > 0


def test_threads_tell_how_they_fared(moa, mixture):
    moa("ask", "full", "--config", mixture(), "-t", "one")
    moa("ask", "degraded", "--config", mixture(b={"always": 400}), "-t", "two")
    moa("ask", "lost", "--config", mixture(a={"always": 400}, b={"always": 400}), "-t", "three")
    rows = [line.split("  ") for line in moa("threads").stdout.splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert all(re.fullmatch("just now|[1-9] min ago", row.pop(1)) for row in cells)
    assert cells == [
        ["three", "test", "failed", "lost"],
        ["two", "test", "answered, 2 failed", "degraded"],
        ["one", "test", "answered", "full"],
    ]
    listed = json.loads(moa("threads", "--json").stdout)
    assert listed[1]["failed"] == ["layer_1_b", "layer_2_b"]
    assert datetime.fromisoformat(listed[0]["asked"]).tzinfo


def test_what_no_language_model_wrote_is_quoted(moa):
    moa("ask", "q", "-p", "offline", "-t", "t")
    assert json.loads(moa("threads", "--json").stdout)[0]["state"] == "quoted"


def test_time_of_a_failed_aggregator_is_not_known_and_all_layers_count(moa, mixture):
    moa("ask", "q", "--config", mixture(w={"always": 400}), "-t", "t")
    shown = moa("show", "t").stdout
    assert re.search(r"✗ +aggregator +openai:w +\?", shown)
    assert "4 of 4 proposals answered" in shown
    moa("ask", "q", "--config", mixture(a={"always": 400}, b={"always": 400}), "-t", "lost")
    assert "0 of 4 proposals answered" in moa("show", "lost").stdout


@pytest.mark.process
def test_narrow_terminal_breaks_no_word_of_what_stands_around_the_table(moa, tmp_path):
    question = "Why does nobody mention the lighthouse keepers of yesterday? They sleep."
    moa("ask", question, "-p", "offline", "-t", "one")
    environment = {"MOA_DB": tmp_path / "runs.sqlite", "COLUMNS": ""}
    for words in (("show", "one"), ("show", "one", "--full")):
        with Terminal([MOA, *words], width=34, height=90, **environment) as terminal:
            lines = terminal.wait_for("exit 0").splitlines()
        assert "Why does nobody mention the" in [line.rstrip() for line in lines]
        assert any(line.startswith("12 of 12 proposals answered;") for line in lines)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_tables_fit_the_width_and_cut_no_name(columns, moa, mixture, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "a-thread-whose-name-is-long-as-uuids-are"
    moa("ask", "why " * 50, "--config", mixture(layers=1), "-t", name)
    for words in (("threads",), ("show", name)):
        out = re.sub(r"\x1b\[[\d;]*m", "", moa(*words).stdout)
        table = [line for line in out.splitlines() if not line.startswith("why ")]
        assert all(len(line) <= columns for line in table if "proposals answered" not in line)
    joined = "".join(
        line[: max(10, columns // 4)].strip()
        for line in re.sub(r"\x1b\[[\d;]*m", "", moa("threads").stdout).splitlines()[1:]
    )
    assert name in joined


def test_in_a_pipe_a_table_has_one_line_for_each_row(moa, mixture):
    question = "why " * 100
    moa("ask", question, "--config", mixture(layers=1), "-t", "a-name-" * 20)
    heading, row = moa("threads").stdout.splitlines()
    assert heading.split() == ["thread", "asked", "mixture", "state", "question"]
    assert row.startswith("a-name-" * 20)
    assert row.endswith(question.strip())
    calls = moa("show", "a-name-" * 20).stdout.splitlines()
    assert not [line for line in calls if line.endswith(" ") and not line.startswith("why")]


@pytest.mark.parametrize("columns", [12, 20, 40])
def test_narrow_terminal_loses_no_word_of_a_table(columns, moa, mixture, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    wide = {name: moa(name, *words).stdout.split() for name, *words in _tables(moa, mixture)}
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": str(columns)}.items():
        monkeypatch.setenv(name, value)
    for name, *words in (("presets",), ("show", "t"), ("threads",)):
        shown = re.sub(r"\x1b\[[\d;]*m", "", moa(name, *words).stdout)
        lines = [line for line in shown.splitlines() if "proposals answered" not in line]
        assert all(len(line) <= columns for line in lines)
        shown_joined = "".join(shown.split())
        expected = {word for word in wide[name] if not word.isdigit()}
        lost = {word for word in expected if word not in shown_joined}
        assert lost <= _UNSHOWN_WHERE_NARROW


_UNSHOWN_WHERE_NARROW = {  # headings, and columns that only a wide table has
    *("call", "model", "seconds", "read", "thread", "mixture", "state", "asked", "preset"),
    *("answered", "question", "openai:a", "openai:b", "openai:w", "waited", "for", "test", "?"),
}


def _tables(moa, mixture):
    moa("ask", "why so", "--config", mixture(layers=1), "-t", "t")
    return (("presets",), ("show", "t"), ("threads",))


async def test_run_that_somebody_stopped_did_not_fail(mixture, server, tmp_path):
    chosen = MoAConfig.load(mixture(b={"always": "hang"}))
    async with open_run_store(str(tmp_path / "runs.sqlite")) as store:
        graph = chosen.graph().compile(checkpointer=store.checkpointer)
        config = build_run_config("t", chosen)
        running = asyncio.create_task(graph.ainvoke({"messages": "q"}, config, durability="sync"))
        await wait_until(lambda: server.calls_of("b"))
        async with asyncio.timeout(PATIENCE):
            while not (await read_thread(store.checkpointer, "t")).messages:
                await asyncio.sleep(0)
        assert (await read_thread(store.checkpointer, "t")).status_text == "unfinished"
        running.cancel()
        await asyncio.wait([running])
        thread = await read_thread(store.checkpointer, "t")
    assert (thread.status_text, thread.stop_cause) == ("interrupted", "interrupted")


def test_fork_says_what_it_takes_over_and_what_it_asks(moa, mixture):
    moa("ask", "q", "--config", mixture(), "-t", "old")
    plan = moa("fork", "old", "--from", "layer_2").stderr
    assert plan.endswith(
        ": 2 proposals are reused, 2 of layer 2 and the aggregator called again (3 calls)\n"
    )
    plan = moa("fork", "old", "--from", "aggregator", "--drop", "layer_2_b").stderr
    assert plan.endswith(": 3 proposals are reused, the aggregator called again (1 call)\n")
    plan = moa("fork", "old", "--from", "layer_1").stderr
    assert "nothing is reused, 2 of layer 1, 2 of layer 2 and the aggregator" in plan


def completed(words, **environment):
    """What the shell is offered at the end of a line."""
    environment = (
        os.environ
        | environment
        | {
            "_MOA_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
    )
    done = subprocess.run([MOA], env=environment, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("moa ask --preset o", ["offline", "ollama", "openai"]),
        ("moa show ", ["two", "one"]),
        ("moa fork one --from ", ["layer_1", "layer_2", "aggregator"]),
        ("moa show one layer_2", ["layer_2_a", "layer_2_b"]),
    ],
)
def test_shell_completes(words, offered, moa, mixture):
    for name in ("one", "two"):
        moa("ask", "q", "--config", mixture(), "-t", name)
    assert completed(words) == offered


@pytest.mark.process
def test_completion_without_a_database_offers_nothing_and_makes_none(tmp_path):
    path = tmp_path / "none.sqlite"
    assert completed("moa show ", MOA_DB=str(path)) == []
    assert not path.exists()


@pytest.mark.parametrize("command", ["ask", "chat", "fork", "show", "resume"])
def test_help_gives_examples(command, moa):
    assert f"\n    moa {command}" in moa(command, "--help").stdout.partition("Examples:")[2]


def test_help_is_filled_to_the_width(moa, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = [line.strip() for line in moa("draw", "--help").stdout.splitlines()]
    start = lines.index(next(line for line in lines if line.startswith("With a thread")))
    assert len(lines[start]) > 70
    assert lines[start + 1].endswith("the run waited for.")


COMMANDS = [*app.COMMANDS, *(f"eval {command}" for command in evaluation.COMMANDS)]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_options_has_room_on_80_columns(command, moa, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    text = moa(*command.split(), "--help").stdout
    options = text.partition("Options:\n")[2].partition("\n\n")[0].splitlines()
    assert max(map(len, options)) <= 80
    assert next(line for line in options if "--help" in line).index("Show") <= 32
    assert not [line for line in options if "<list" in line]


def test_commands_are_listed_under_headings_with_whole_sentences(moa):
    text = moa("--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == ["Options:", "Ask:", "Stored runs:", "Mixtures:"]
    assert "..." not in text.partition("\n")[2]


def test_question_that_is_missing_on_a_terminal_is_told_how_to_ask(moa):
    done = moa("ask", terminal=True)
    assert done.returncode == 2
    assert 'moa ask "Why is the sky blue?"' in done.stderr
