"""The live view: what it draws into which room, and what it leaves on a real terminal."""

import asyncio
import io
import re
import threading

import pytest
from clock import Clock
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from terminal import MOA, Terminal, write_mixture
from waiting import take_turns

from moa_graph import MoAConfig
from moa_graph.cli.terminal import progress_view
from moa_graph.cli.terminal.live import choose_view
from moa_graph.cli.terminal.live_view import LiveView
from moa_graph.cli.terminal.picture import draw_run, draw_summary, truncate_start
from moa_graph.cli.terminal.plain_text import to_single_line
from moa_graph.cli.terminal.progress_view import LineView, ProgressView, SilenceView
from moa_graph.cli.terminal.region import TerminalRegion
from moa_graph.graph.policy import policies_for_layers
from moa_graph.runs import live as live_runs
from moa_graph.runs.live import SILENCE_S, RunProgress

NASTY = "end \x1b[2J\x1b[31m \u202e gnol \r\n 天空是蓝色的 👩‍👩‍👧‍👦 ❤️ "


def progress_of(layers=2, names=("qwen", "llama", "gpt"), quorum=2):
    agents = dict.fromkeys(names, "offline:lead")
    mixture = MoAConfig(layers=[agents] * layers, aggregator="offline:consensus", quorum=quorum)
    rules = policies_for_layers([len(names)] * layers, quorum, None, None)
    return RunProgress.from_graph(mixture.graph().compile(), {}, rules)


def begin(progress, *nodes):
    for node in nodes:
        progress.update({"name": node, "input": {}})
        progress.agents[node].started = 0.0


def proposal_of(node, error=None, seconds=1.0, tokens=7):
    layer, agent = re.fullmatch(r"layer_(\d)_(.+)", node).groups()
    usage = tokens and {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    who = {"layer": int(layer), "agent": agent, "model": "offline:lead", "turn_id": "1"}
    return who | {"content": "", "error": error, "seconds": seconds, "usage": usage}


def end(progress, node, **call):
    result = {"proposals": {node: proposal_of(node, **call)}}
    return progress.update({"name": node, "result": result, "error": None})


def say(progress, node, text, message="1"):
    progress.add_chunk(AIMessageChunk(text, id=message), {"langgraph_node": node})


def drawn(progress, width=80, height=24, now=2.0):
    return [line.plain for line in draw_run(progress, width, height, now)]


@pytest.fixture
def half_way():
    progress = progress_of()
    begin(progress, "layer_1_qwen", "layer_1_llama", "layer_1_gpt")
    end(progress, "layer_1_qwen")
    say(progress, "layer_1_llama", "so far ")
    say(progress, "layer_1_llama", "so good")
    return progress


def test_layers_stand_below_each_other_at_80_columns_and_beside_each_other_at_200(half_way):
    narrow, wide = drawn(half_way), drawn(half_way, 200, 50)
    assert len(narrow) == 4 + 4 + 2
    assert [line for line in wide if "layer 1" in line and "layer 2" in line and "agg" in line]
    assert max(map(cell_len, wide)) <= 200


def test_silence_is_told_above_the_agents(half_way):
    head = drawn(half_way, now=half_way.agents["layer_1_llama"].last_sign + SILENCE_S)[0]
    assert head == "layer 1  1 of 3 answered, 2 needed; still waiting for llama, gpt"
    assert "still" not in drawn(half_way)[0]


def test_silent_aggregator_is_told():
    progress = progress_of(1)
    begin(progress, "aggregator")
    asked = progress.agents["aggregator"].last_sign
    assert "aggregator  still waiting for an answer" in drawn(progress, now=asked + SILENCE_S)
    say(progress, "aggregator", "a word")
    said = progress.agents["aggregator"].last_sign
    assert "aggregator" in drawn(progress, now=said + SILENCE_S - 1)


@pytest.mark.parametrize("view", [SilenceView, LineView])
def test_silence_is_a_line_where_there_is_no_picture(view, capsys, monkeypatch):
    clock = Clock(monkeypatch)
    for module in (live_runs, progress_view):
        monkeypatch.setattr(module, "perf_counter", clock)
    progress = progress_of(1)

    async def wait(seconds):
        clock.advance(seconds)
        for _ in range(3):  # the reminder wakes, and tells
            await asyncio.sleep(0)

    async def run():
        async with view(progress):
            await asyncio.sleep(0)  # it begins
            progress.update({"name": "layer_1_gpt", "input": {}})
            progress.update({"name": "layer_1_qwen", "input": {}})
            await wait(SILENCE_S)
            end(progress, "layer_1_qwen")
            await wait(SILENCE_S)
            say(progress, "layer_1_gpt", "a word")
            await wait(SILENCE_S - 1)

    asyncio.run(run())
    assert capsys.readouterr().err.splitlines() == [
        "still waiting for layer 1: qwen (30.0 s), layer 1: gpt (30.0 s)",
        "still waiting for layer 1: gpt (1 min 00 s)",
    ]


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("view", [SilenceView, LineView, LiveView])
async def test_interruption_is_not_lost_while_a_view_ends(view, turns):
    async def run():
        async with view(progress_of(1)) as shown:
            await asyncio.sleep(0)
            await shown.make_room_for_answer()
        await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await take_turns(turns)
    task.cancel()
    await take_turns()
    assert task.cancelled()


def test_it_is_said_what_is_waited_for_and_what_comes(half_way):
    head, qwen, llama, gpt, *_ = drawn(half_way)
    assert head == "layer 1  1 of 3 answered, 2 needed; waiting for llama, gpt"
    assert re.search(r"^✓ qwen +━━━━━─────    1\.0 s       7 tok  offline:lead", qwen)
    assert re.search(r"^. llama +━━━━━━━━━━    2\.0 s      ~2 tok  so far so good", llama)
    assert re.search(r"^. gpt +━━━━━━━━━━    2\.0 s  +offline:lead", gpt)


def test_quorum_that_is_in_is_no_longer_needed(half_way):
    end(half_way, "layer_1_llama")
    assert drawn(half_way)[0] == "layer 1  2 of 3 answered; waiting for gpt"


def test_failure_stands_where_the_text_was(half_way):
    end(half_way, "layer_1_llama", error="OSError: gone")
    assert re.search(r"^✗ llama .* OSError: gone$", drawn(half_way)[2])


def test_what_was_cut_off_is_told_once_and_is_no_failure(half_way, capsys):
    error = "cut off: the quorum was reached"
    end(half_way, "layer_1_llama", error=error)
    assert re.search(rf"^✂ llama .* {error}$", drawn(half_way)[2])
    lines = LineView(half_way)
    lines.show(end(half_way, "layer_1_gpt", error="cut off by the layer's deadline of 1 s"))
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "layer 1: gpt cut off after 1.0 s: by the layer's deadline of 1 s"


def test_agent_that_is_asked_again_begins_anew(half_way):
    end(half_way, "layer_1_llama", error="OSError: gone")
    begin(half_way, "layer_1_llama")
    assert "offline:lead" in drawn(half_way)[2]


def test_answer_of_a_fallback_replaces_the_broken_one():
    progress = progress_of()
    begin(progress, "aggregator")
    say(progress, "aggregator", "broken", message="1")
    say(progress, "aggregator", "whole", message="2")
    assert re.search(r"~1 tok  whole$", drawn(progress)[-1])


def test_what_comes_whole_is_not_counted(half_way):
    half_way.add_chunk(AIMessage("many words at once"), {"langgraph_node": "layer_1_gpt"})
    assert "tok" not in drawn(half_way)[3]


def test_stored_answers_are_shown_and_not_taken_for_running():
    progress = progress_of()
    proposals = {"layer_1_qwen": proposal_of("layer_1_qwen", seconds=3.0, tokens=None)}
    values = {"messages": [HumanMessage("q", id="1")], "proposals": proposals}
    progress.load_state(values, ["layer_1_llama", "layer_1_gpt"], ["layer_1_qwen"])
    progress.update({"name": "layer_1_qwen", "input": {}})
    assert progress.agents["layer_1_qwen"].status == "answered"


@pytest.fixture
def resumed():
    """A run that goes on where one proposal was dropped, and one failed."""
    progress = progress_of()
    proposals = {
        "layer_1_qwen": proposal_of("layer_1_qwen"),
        "layer_1_llama": proposal_of("layer_1_llama"),
        "layer_2_qwen": proposal_of("layer_2_qwen", error="OSError: gone"),
    }
    values = {"messages": [HumanMessage("q", id="1")], "proposals": proposals}
    progress.load_state(values, ["layer_2_llama", "layer_2_gpt"])
    return progress


def test_layer_with_a_dropped_proposal_is_over(resumed):
    assert drawn(resumed)[0] == "layer 1  2 of 3 answered"
    summary = draw_summary(resumed, 80, 2.0)[0].plain
    assert re.search(r"^! layer 1 +2 of 3 answered", summary)


def test_stored_proposals_are_those_that_answered(resumed, capsys):
    async def watch():
        async with LineView(resumed):
            pass

    asyncio.run(watch())
    assert capsys.readouterr().err == "2 proposals were stored\n"


@pytest.mark.parametrize("width", [4, 10, 20, 40, 60, 80, 120, 200, 400])
@pytest.mark.parametrize("height", [1, 2, 5, 9, 23, 60])
@pytest.mark.parametrize("layers", [1, 3])
def test_picture_fits_any_terminal(width, height, layers):
    progress = progress_of(layers, names=("a", "long name of 天空", "c", "d", "e", "f"))
    begin(progress, *(node for node in progress.agents if node.startswith("layer_1")))
    say(progress, "layer_1_a", NASTY * 40)
    end(progress, "layer_1_c", error=NASTY)
    for lines in (draw_run(progress, width, height, 2.0), draw_summary(progress, width, 2.0)):
        assert all(cell_len(line.plain) <= width for line in lines)
        assert not any(re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u200d]", line.plain) for line in lines)
    assert 1 <= len(draw_run(progress, width, height, 2.0)) <= height


def test_layers_that_are_over_shrink_first_in_a_low_terminal(half_way):
    for node in ("layer_1_llama", "layer_1_gpt"):
        end(half_way, node, seconds=2.0)
    begin(half_way, "layer_2_qwen")
    lines = drawn(half_way, 80, 8)
    assert re.search(r"^✓ layer 1 +3 of 3 answered  2\.0 s  21 tok$", lines[0])
    assert lines[2].split()[1] == "qwen"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "…cd"),
        ("天空是", 5, "…空是"),
        ("天空是", 4, "…是"),
        ("a", 0, ""),
    ],
)
def test_the_end_of_a_text_fits(text, width, shown):
    assert truncate_start(text, width) == shown


def test_nothing_in_a_text_steers_the_terminal():
    assert to_single_line("a\x1b[31mb\u202ec\nd\x9be\t❤️") == "a[31mbc de ❤"


def test_smaller_drawing_leaves_nothing_of_the_larger_one():
    file = io.StringIO()
    area = TerminalRegion(Console(file=file, width=10, force_terminal=True))
    area.draw([Text("one"), Text("two")])
    area.draw([Text("three")])
    assert file.getvalue().count("\x1b[2A") == 1
    assert re.search(r"three\x1b\[K\n\x1b\[J[^\n]*$", file.getvalue())


def test_lines_folded_by_a_narrower_window_are_drawn_over():
    file = io.StringIO()
    console = Console(file=file, width=20, force_terminal=True)
    area = TerminalRegion(console)
    area.draw([Text("x" * 15), Text("y")])
    console.width = 10
    area.draw([Text("z")])
    assert "\x1b[3A" in file.getvalue()


class FakeTerminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("terminal", "term", "wanted", "kind"),
    [
        (True, "xterm", None, LiveView),
        (True, "xterm", False, ProgressView),
        (True, "dumb", None, LineView),
        (False, "xterm", None, SilenceView),
        (False, "xterm", True, LineView),
    ],
)
def test_view_is_chosen_by_the_terminal_and_the_wish(terminal, term, wanted, kind, monkeypatch):
    monkeypatch.setattr("sys.stderr", FakeTerminal() if terminal else io.StringIO())
    monkeypatch.setenv("TERM", term)
    assert choose_view(show_progress=wanted) is kind


@pytest.mark.process
def test_lines_tell_each_event_without_control_codes(capsys):
    progress = progress_of()

    async def watch():
        async with LineView(progress) as view:
            view.show(progress.update({"name": "layer_1_qwen", "input": {}}))
            assert progress.update({"name": "layer_1_aggregator", "input": {}}) is None
            view.show(end(progress, "layer_1_qwen"))
            view.show(progress.update({"name": "layer_1_gpt", "input": {}}))
            view.show(end(progress, "layer_1_gpt", error=NASTY))

    asyncio.run(watch())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "layer 1: qwen is called (offline:lead)"
    assert lines[1] == "layer 1: qwen answered in 1.0 s, 7 tokens"
    assert lines[3].startswith("layer 1: gpt failed after 1.0 s: end")
    assert "\x1b" not in "".join(lines)


@pytest.fixture
def seen():
    """Whether the test has seen what it wants to see; `a` says no more than a word before."""
    return threading.Event()


@pytest.fixture
def ask(tmp_path, server, seen):
    """The command in a real terminal, asking a server that takes its time."""
    slow = {"chunk_delay": 0.15, "until_token": lambda position: position < 1 or seen.is_set()}
    config = write_mixture(
        tmp_path / "mixture.toml",
        server,
        names="abcd",
        a={"latency": 0.2, "reply": "many words " * 6, **slow},
        b={"latency": 0.2, "chunk_delay": 0.15, "reply": NASTY},
        c={"latency": 0.2, "always": 400},
        d={"latency": 0.4, "reply": "quick"},
        w={"latency": 1.0, "chunk_delay": 0.02, "reply": "the final answer is this"},
    )

    def run(width, height, *words, **environment):
        command = [MOA, "ask", "why?", "--config", config, *words]
        return Terminal(command, width=width, height=height, **environment)

    return run


@pytest.mark.process
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_terminal_shows_the_run_and_keeps_the_answer(ask, seen, width, height):
    with ask(width, height) as terminal:
        running = terminal.wait_for("waiting")
        assert "layer 1" in running
        seen.set()
        after = terminal.wait_for("exit 0")
    assert re.search(r"! layer 1 +3 of 4 answered", after)
    assert "the final answer is this" in after.replace("\n", "")
    assert after.count("layer 1") == 1
    assert len([line for line in after.splitlines() if "aggregator" in line]) == 1


@pytest.mark.process
def test_window_that_becomes_narrower_keeps_no_remains(ask, seen):
    with ask(120, 40) as terminal:
        terminal.wait_for("waiting for a")
        terminal.resize(70, 40)
        seen.set()
        after = terminal.wait_for("exit 0")
    assert after.count("layer 2") == 1


def test_terminal_without_colour_gets_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    area = TerminalRegion(Console(file=file, width=80, force_terminal=True))
    area.draw(draw_run(progress_of(), 80, 24, 2.0))
    assert not re.search(r"\x1b\[[\d;]*3\dm", file.getvalue())
