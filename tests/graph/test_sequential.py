"""Sequential aggregation: the proposals are read in windows, one after the other."""

import asyncio
import re

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import Agent, AggregatorError, ChatMoA, MoAConfig, create_moa, draw_mermaid
from moa_graph.drawing.diagram import read_diagram
from moa_graph.evals.ablations import Ablations
from moa_graph.graph.options import LATER_OPTIONS
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, ANSWER_SO_FAR
from moa_graph.run_report.prompts import read_prompts
from moa_graph.runs.record import read_run

THREAD = {"configurable": {"thread_id": "1"}}
QUESTION = {"messages": [HumanMessage("Why?", id="q")]}
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def proposers(*texts):
    return {name: FakeModel(answers=[text]) for name, text in zip("abcdefgh", texts, strict=False)}


def writer(*answers):
    return FakeModel(answers=list(answers))


def sequential(layer, aggregator, size=2, **options):
    options = {"aggregation": "sequential", "references_per_window": size} | options
    return create_moa([layer], aggregator, **options)


def read(messages):
    return re.findall(r"^\d+\. (.*)$", messages[0].text, re.MULTILINE)


def test_each_window_reads_its_share_and_the_answer_so_far(invoke):
    last = writer("A", "B", "C")
    result = invoke(sequential(proposers(*"12345"), last).compile(), QUESTION)
    assert [read(asked) for asked in last.asked] == [["1", "2"], ["A", "3", "4"], ["B", "5"]]
    assert result["messages"][-1].text == "C"
    windows = {n: p["content"] for n, p in result["proposals"].items() if n.startswith("window")}
    assert windows == {"window_1": "A", "window_2": "B"}


def test_only_who_reads_an_answer_so_far_is_told_of_it(invoke):
    last = writer("A", "B")
    invoke(sequential(proposers(*"123"), last).compile(), QUESTION)
    first, second = (asked[0].text for asked in last.asked)
    assert first.startswith(f"{AGGREGATE_AND_SYNTHESIZE}\n\nResponses from models:")
    assert second.startswith(f"{AGGREGATE_AND_SYNTHESIZE} {ANSWER_SO_FAR}\n\nResponses")


def test_where_one_window_holds_all_it_is_the_plain_mixture(invoke):
    plain, windowed = writer("A"), writer("A")
    invoke(create_moa([proposers(*"12")], plain).compile(), QUESTION)
    result = invoke(sequential(proposers(*"12"), windowed).compile(), QUESTION)
    assert windowed.asked == plain.asked
    assert "window_1" not in result["proposals"]


def test_dozens_of_samples_are_read(invoke):
    last = writer(*map(str, range(10)))
    layer = {"x": Agent(model=FakeModel(), samples=30)}
    invoke(sequential(layer, last, 3).compile(), QUESTION)
    assert [len(read(asked)) for asked in last.asked] == [3, *[4] * 9]


def test_a_window_without_an_answer_is_skipped(invoke):
    last = writer("A", "B")
    layer = proposers("1", "2", "", "", "5")
    result = invoke(sequential(layer, last, quorum=1).compile(), QUESTION)
    assert [read(asked) for asked in last.asked] == [["1", "2"], ["A", "5"]]
    assert "window_2" not in result["proposals"]


def test_the_first_answer_so_far_is_that_of_the_first_window_that_has_one(invoke):
    last = writer("A", "B")
    result = invoke(
        sequential(proposers("", "", "3", "4", "5"), last, quorum=1).compile(), QUESTION
    )
    assert [read(asked) for asked in last.asked] == [["3", "4"], ["A", "5"]]
    assert ANSWER_SO_FAR not in last.asked[0][0].text
    assert result["messages"][-1].text == "B"


def test_a_kill_between_windows_asks_only_the_one_under_way(invoke):
    layer, last = proposers(*"12345"), writer("A", "B", "C")
    moa = sequential(layer, last)
    saver = InMemorySaver()
    stopping = moa.compile(checkpointer=saver, interrupt_before=["window_2"])
    invoke(stopping, QUESTION, THREAD)
    assert len(last.asked) == 1
    result = invoke(moa.compile(checkpointer=saver), None, THREAD)
    assert result["messages"][-1].text == "C"
    assert len(last.asked) == 3
    assert all(len(model.asked) == 1 for model in layer.values())


def test_a_window_that_fails_is_asked_again_and_no_window_before_it(invoke):
    layer, last = proposers(*"12345"), writer("A", OSError("down"), "B", "C")
    graph = sequential(layer, last).compile(checkpointer=InMemorySaver())
    with pytest.raises(AggregatorError, match="no final answer: window_2: OSError: down"):
        invoke(graph, QUESTION, THREAD)
    result = invoke(graph, None, THREAD)
    assert result["messages"][-1].text == "C"
    assert [read(asked) for asked in last.asked[1:]] == [["A", "3", "4"]] * 2 + [["B", "5"]]


def test_a_fallback_reads_a_window_where_the_aggregator_fails(invoke):
    last, fallback = writer(OSError("down"), "B"), writer("A")
    moa = sequential(proposers(*"123"), last, fallbacks=[fallback])
    result = invoke(moa.compile(), QUESTION)
    assert result["proposals"]["window_1"]["content"] == "A"
    assert read(last.asked[1]) == ["A", "3"]


def test_a_window_must_give_text(invoke):
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    with pytest.raises(AggregatorError, match="empty answer"):
        invoke(sequential(proposers(*"123"), writer(call)).compile(), QUESTION)


def test_tokens_of_all_windows_count(invoke):
    answers = [AIMessage(text, usage_metadata=USAGE) for text in "ABC"]
    layer = {n: writer(AIMessage(n, usage_metadata=USAGE)) for n in "abcde"}
    result = invoke(sequential(layer, writer(*answers)).compile(), QUESTION)
    summary = result["messages"][-1].response_metadata["moa"]
    assert summary["usage"]["total_tokens"] == 16
    assert summary["usage_unknown"] == []
    assert (summary["asked"], summary["answered"]) == (5, 5)
    run = read_run(result)
    assert run.tokens == 16
    assert len(run.proposals) == 5


def test_only_the_last_window_streams_as_the_answer(server):
    for name, reply in {"a": "one", "b": "two", "last": "x y"}.items():
        server.model(name, reply=reply)
    agents = {n: Agent(model=f"openai:{n}", base_url=server.url) for n in ("a", "b", "last")}
    aggregator = agents.pop("last")
    graph = sequential(agents, aggregator, 1).compile()
    shown = {
        metadata["langgraph_node"]
        for message, metadata in graph.stream(QUESTION, stream_mode="messages")
        if message.text
    }
    assert shown == {"aggregator"}
    assert [call.streamed for call in server.calls_of("last")] == [False, True]


def test_an_order_is_shuffled_across_all_windows(invoke):
    last = writer(*"ABC")
    result = invoke(sequential(proposers(*"123456"), last, order="shuffled").compile(), QUESTION)
    shown = [text for asked in last.asked for text in read(asked) if text.isdigit()]
    assert sorted(shown) == list("123456") != shown
    assert result["proposals"]["window_2"]["references_read"][0] == "window_1"


def test_a_human_corrects_an_answer_so_far(invoke):
    last = writer("A", "B")
    graph = sequential(proposers(*"123"), last).compile(
        checkpointer=InMemorySaver(), interrupt_before=["aggregator"]
    )
    invoke(graph, QUESTION, THREAD)
    graph.update_state(THREAD, {"proposals": {"window_1": {"content": "Z"}}}, as_node="window_1")
    invoke(graph, None, THREAD)
    assert read(last.asked[-1]) == ["Z", "3"]


def test_a_second_turn_reads_no_answer_of_the_first(invoke):
    last = writer("A", "B", "C", "D")
    graph = sequential(proposers(*"123"), last).compile(checkpointer=InMemorySaver())
    invoke(graph, QUESTION, THREAD)
    invoke(graph, {"messages": "How?"}, THREAD)
    assert [read(asked) for asked in last.asked[2:]] == [["1", "2"], ["C", "3"]]


def test_windows_are_drawn_and_so_is_a_run_of_them(invoke):
    moa = sequential(proposers(*"12345"), writer(*"ABC"))
    drawn = draw_mermaid(moa)
    assert "window 1<br/>" in drawn
    assert "window 2<br/>" in drawn
    result = invoke(moa.compile(), QUESTION)
    assert "window 2" in draw_mermaid(moa, result)
    edges = read_diagram(moa, read_run(result)).edges
    assert ("layer_1_aggregator", "window_1") in edges
    assert ("window_1", "window_2") in edges
    assert ("window_2", "aggregator") in edges


def test_a_report_shows_what_each_window_read(invoke):
    last = writer(*"ABC")
    moa = sequential(proposers(*"12345"), last)
    graph = moa.compile(checkpointer=InMemorySaver())
    state = invoke(graph, QUESTION, THREAD)
    prompts = read_prompts(read_run(state), state, moa.spec, graph.get_state_history(THREAD))
    shown = [[m.text for m in layer[0].messages] for layer in prompts[1:]]
    assert shown == [[m.text for m in asked] for asked in last.asked]


def test_a_chat_model_reads_windows_once_for_a_turn(invoke):
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    last = ToolWriter(answers=["A", call, "B"])
    layer = proposers(*"123")
    options = {"aggregation": "sequential", "references_per_window": 2}
    model = ChatMoA(layers=[layer], aggregator=last, **options)
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    bound = model.bind_tools([tool])
    messages = [HumanMessage("q")]
    messages += [invoke(bound, messages)]
    messages += [{"role": "tool", "content": "42", "tool_call_id": "1"}]
    assert invoke(bound, messages).text == "B"
    assert len(last.asked) == 3
    assert all(len(each.asked) == 1 for each in layer.values())


class ToolWriter(FakeModel):
    def bind_tools(self, *_, **__):
        return self.model_copy()


def test_a_chat_model_streams_the_last_window_alone():
    options = {"aggregation": "sequential", "references_per_window": 2}
    model = ChatMoA(layers=[proposers(*"123")], aggregator=writer("A", "B C"), **options)
    assert "".join(chunk.text for chunk in model.stream("q")).strip() == "B C"

    async def astreamed():
        return "".join([chunk.text async for chunk in model.astream("q")]).strip()

    assert asyncio.run(astreamed()) == "B C"


def test_a_file_says_so_and_the_command_shows_the_windows(moa, tmp_path):
    path = tmp_path / "windows.toml"
    path.write_text(
        'layers = [["offline:lead", "offline:bm25", "offline:ngram"]]\n'
        'aggregator = "offline:consensus"\n'
        'aggregation = "sequential"\nreferences_per_window = 2\n'
    )
    assert MoAConfig.load(path).references_per_window == 2
    done = moa("ask", "Where? It is here.", "--config", path, "--thread", "t", "--show")
    assert done.returncode == 0
    assert "window_1" in done.stdout
    assert "3 of 3 proposals answered" in done.stdout


@pytest.mark.parametrize("size", [0, -1, True, 1.5, None])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=f"`references_per_window`={size}: expected a whole"):
        sequential(["offline:lead"], "offline:lead", size)


def test_the_size_tells_mixtures_apart_only_where_it_is_set():
    assert "references_per_window" in LATER_OPTIONS


def test_a_variant_reads_in_windows():
    variants = {each.x: each for each in Ablations(MoAConfig.load("moa")).decision()}
    assert variants["sequential"].config.aggregation == "sequential"
    assert variants["sequential"].against == variants["synthesize"].name
