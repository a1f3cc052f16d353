"""The graph: who is asked what, and what comes out."""

import asyncio
import pickle
import threading
import time

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import END, START, MessagesState, StateGraph
from waiting import PATIENCE

from moa_graph import (
    Agent,
    AggregatorError,
    MoAState,
    QuorumError,
    create_moa,
)
from moa_graph.stored_names import translate_summary


def test_answer_joins_the_conversation(invoke, model):
    graph = create_moa([{"a": model(answers=["one"])}], model(answers=["final"])).compile()
    result = invoke(graph, {"messages": "question"})
    assert [message.content for message in result["messages"]] == ["question", "final"]
    assert set(result) == {"messages", "proposals"}


@pytest.mark.parametrize(
    "messages",
    [
        "question",
        ("user", "question"),
        [("user", "question")],
        {"role": "user", "content": "question"},
        [{"role": "user", "content": "question"}],
        HumanMessage("question"),
        [HumanMessage("question")],
    ],
)
def test_messages_are_taken_in_every_form(messages, invoke, model):
    graph = create_moa([[model()]], model(answers=["final"])).compile()
    assert invoke(graph, {"messages": messages})["messages"][-1].content == "final"


def test_proposals_are_keyed_by_node_and_hold_plain_values(invoke, model):
    layers = [{"a": model(answers=[" one\n"]), "b": model(name="bee")}] * 2
    proposals = invoke(create_moa(layers, model()).compile(), {"messages": "q"})["proposals"]
    assert set(proposals) == {"layer_1_a", "layer_1_b", "layer_2_a", "layer_2_b"}
    first = proposals["layer_1_a"]
    assert first["content"] == "one"
    assert (first["layer"], first["agent"], first["model"]) == (1, "a", "fake")
    assert (first["error"], first["usage"], first["finish_reason"]) == (None, None, None)
    assert first["seconds"] >= 0
    assert proposals["layer_2_b"]["model"] == "bee"


def test_layers_may_differ(invoke, model):
    graph = create_moa([[model()] * 3, {"only": model()}], model())
    assert set(graph.nodes) == {
        "layer_1_fake",
        "layer_1_fake_2",
        "layer_1_fake_3",
        "layer_1_aggregator",
        "layer_2_only",
        "layer_2_aggregator",
        "aggregator",
    }
    assert invoke(graph.compile(), {"messages": "q"})["messages"][-1].content == "an answer"


@pytest.mark.parametrize("width", [6, 12, 24])
@pytest.mark.parametrize("kind", ["native", "sync only"])
def test_proposers_of_a_layer_run_at_the_same_time(width, kind, invoke, model):
    all_here, all_here_async = threading.Barrier(width), asyncio.Barrier(width)

    def wait(_):
        all_here.wait(PATIENCE)
        return AIMessage("done")

    async def await_(_):
        async with asyncio.timeout(PATIENCE):
            await all_here_async.wait()
        return AIMessage("done")

    proposer = RunnableLambda(wait, await_) if kind == "native" else RunnableLambda(wait)
    state = invoke(create_moa([[proposer] * width], model()).compile(), {"messages": "q"})
    assert [p["error"] for p in state["proposals"].values()] == [None] * width


def test_max_concurrency_of_a_call_is_obeyed(invoke, model):
    running, most = [], []
    pair = threading.Barrier(2)

    def answer(_):
        running.append("a call")
        pair.wait(PATIENCE)
        most.append(len(running))
        pair.wait(PATIENCE)
        running.pop()
        return "done"

    graph = create_moa([[RunnableLambda(answer)] * 6], model()).compile()
    result = invoke(graph, {"messages": "q"}, {"max_concurrency": 2})
    assert not any(p["error"] for p in result["proposals"].values())
    assert most == [2] * 6


def test_stream_and_batch_give_what_invoke_gives(model):
    graph = create_moa([[model()]], model(answers=["final"])).compile()
    *_, last = graph.stream({"messages": "q"}, stream_mode="values")
    assert last["messages"][-1].content == "final"
    results = graph.batch([{"messages": "q"}, {"messages": "r"}])
    assert [each["messages"][-1].content for each in results] == ["final", "final"]


async def test_astream_and_abatch_give_what_ainvoke_gives(model):
    graph = create_moa([[model()]], model(answers=["final"])).compile()
    values = [each async for each in graph.astream({"messages": "q"}, stream_mode="values")]
    assert values[-1]["messages"][-1].content == "final"
    results = await graph.abatch([{"messages": "q"}, {"messages": "r"}])
    assert [each["messages"][-1].content for each in results] == ["final", "final"]


def test_updates_come_under_the_names_of_nodes(model):
    graph = create_moa([{"a": model()}, {"b": model()}], model()).compile()
    names = [name for update in graph.stream({"messages": "q"}) for name in update]
    assert names == [
        "layer_1_a",
        "layer_1_aggregator",
        "layer_2_b",
        "layer_2_aggregator",
        "aggregator",
    ]


def test_second_turn_sees_final_answers_only(invoke, model):
    proposer, writer = model(answers=["p1", "p2", "p3", "p4"]), model(answers=["f1", "f2"])
    graph = create_moa([{"a": proposer}] * 2, writer).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    invoke(graph, {"messages": "first"}, config)
    result = invoke(graph, {"messages": "second"}, config)
    assert [message.content for message in proposer.asked[2]] == ["first", "f1", "second"]
    prompt = proposer.asked[3][0].content
    assert prompt.endswith("\n1. p3")
    assert "p1" not in prompt
    assert writer.asked[1][0].content.endswith("\n1. p4")
    assert [p["content"] for p in result["proposals"].values()] == ["p3", "p4"]


def test_second_turn_starts_without_old_proposals(invoke, model):
    graph = create_moa([{"a": model()}] * 2, model()).compile(
        checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"]
    )
    config = {"configurable": {"thread_id": "1"}}
    invoke(graph, {"messages": "first"}, config)
    invoke(graph, None, config)
    assert set(graph.get_state(config).values["proposals"]) == {"layer_1_a", "layer_2_a"}
    invoke(graph, {"messages": "second"}, config)
    assert set(graph.get_state(config).values["proposals"]) == {"layer_1_a"}


def test_another_graph_on_the_same_thread_sees_none_of_the_old_proposals(invoke, model):
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    invoke(create_moa([{"a": model()}], model()).compile(saver), {"messages": "q"}, config)
    second = create_moa([{"b": model()}], model()).compile(saver)
    assert set(invoke(second, {"messages": "r"}, config)["proposals"]) == {"layer_1_b"}


def test_graph_embeds_in_a_host(invoke, model):
    moa = create_moa([{"a": model()}], model(answers=["final"])).compile()
    parent = StateGraph(MessagesState)
    parent.add_node("moa", moa)
    parent.add_edge(START, "moa")
    parent.add_edge("moa", END)
    graph = parent.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    result = invoke(graph, {"messages": "q"}, config)
    assert [message.content for message in result["messages"]] == ["q", "final"]
    assert set(result) == {"messages"}
    result = invoke(graph, {"messages": "r"}, config)
    assert [message.content for message in result["messages"]] == ["q", "final", "r", "final"]


def test_graph_is_a_proposer_of_another(invoke, model):
    writer = model(answers=["final"])
    inner = create_moa([{"a": model()}], model(answers=["inner"]))
    graph = create_moa([{"built": inner, "compiled": inner.compile()}], writer).compile()
    result = invoke(graph, {"messages": "q"})
    assert writer.asked[0][0].content.endswith("\n1. inner\n2. inner")
    assert result["proposals"]["layer_1_built"]["content"] == "inner"
    assert any("layer_1_a" in name for name in graph.get_graph(xray=True).nodes)


def test_chains_and_texts_are_proposals_too(invoke, model):
    writer = model()
    chain = model(answers=["chained"]) | RunnableLambda(lambda message: message.content.upper())
    invoke(create_moa([{"a": chain}], writer).compile(), {"messages": "q"})
    assert writer.asked[0][0].content.endswith("\n1. CHAINED")


def test_failed_proposer_is_left_out(invoke, model):
    writer, broken = model(answers=["final"]), model(answers=[ConnectionError("no route")])
    slow = model(answers=["slow but sure"], until=lambda: broken.asked)
    graph = create_moa([{"a": broken, "b": slow}], writer).compile()
    result = invoke(graph, {"messages": "q"})
    assert result["proposals"]["layer_1_a"]["error"] == "ConnectionError: no route"
    assert result["proposals"]["layer_1_a"]["content"] == ""
    assert writer.asked[0][0].content.endswith("models:\n1. slow but sure")
    assert result["messages"][-1].response_metadata["moa"]["failed"] == ["layer_1_a"]


def test_state_has_json_schemas(model):
    graph = create_moa([[model()]], model()).compile()
    assert set(graph.get_output_jsonschema()["properties"]) == {"analysis", "messages", "proposals"}
    assert set(graph.get_input_jsonschema()["properties"]) == {"messages"}


def test_aggregator_is_asked_once(model):
    with pytest.raises(ValueError, match="`aggregator`: `samples`=4: an aggregator is called once"):
        create_moa([[model()]], Agent(model=model(), samples=4))


REASONING = {"type": "reasoning", "reasoning": "hm"}


@pytest.mark.parametrize(
    "answer", ["", " \n", "<think>hm</think>", [REASONING], [{"type": "text", "text": ""}]]
)
def test_blank_final_answer_is_an_error(answer, invoke, model):
    graph = create_moa([[model()]], model(answers=[AIMessage(answer)])).compile()
    with pytest.raises(AggregatorError, match="aggregator: empty answer"):
        invoke(graph, {"messages": "q"})


def test_thoughts_in_blocks_stay_out_of_the_conversation(invoke, model):
    text = {"type": "text", "text": "final"}
    graph = create_moa([[model()]], model(answers=[AIMessage([REASONING, text])])).compile()
    assert invoke(graph, {"messages": "q"})["messages"][-1].content == [text]


def test_errors_survive_being_pickled(invoke, model):
    broken = model(answers=[OSError("down")])
    for layers, writer in (([[broken]], model()), ([[model()]], broken)):
        with pytest.raises((QuorumError, AggregatorError)) as error:
            invoke(create_moa(layers, writer).compile(), {"messages": "q"})
        copy = pickle.loads(pickle.dumps(error.value))
        assert str(copy) == str(error.value)
        assert copy.failures == error.value.failures


@pytest.mark.parametrize("answer", ["", "  \n", "<think>hm</think>\n", "<think>cut off", []])
def test_empty_answer_is_a_failure(answer, invoke, model):
    empty = AIMessage(answer, response_metadata={"finish_reason": "length"})
    graph = create_moa([{"a": model(answers=[empty]), "b": model()}], model()).compile()
    proposal = invoke(graph, {"messages": "q"})["proposals"]["layer_1_a"]
    assert proposal["error"] == "empty answer (finish reason: length)"


def test_answer_that_is_no_message_is_a_failure(invoke, model):
    odd = RunnableLambda(lambda _: 42)
    graph = create_moa([{"a": odd, "b": model()}], model()).compile()
    error = invoke(graph, {"messages": "q"})["proposals"]["layer_1_a"]["error"]
    assert error == "TypeError: expected the model to return an AIMessage, got int"


def test_layer_without_an_answer_raises_an_error_that_names_each_cause(invoke, model):
    layers = [{"a": model(answers=[ValueError("bad")]), "b": model(answers=[OSError("worse")])}]
    with pytest.raises(QuorumError) as error:
        invoke(create_moa(layers, model()).compile(), {"messages": "q"})
    assert error.value.layer == 1
    assert error.value.failures == {"layer_1_a": "ValueError: bad", "layer_1_b": "OSError: worse"}
    assert "layer_1_a: ValueError: bad; layer_1_b: OSError: worse" in str(error.value)


def test_resume_asks_again_only_those_that_failed(invoke, model):
    first = model(answers=["fine"])
    flaky = model(answers=[OSError("down"), OSError("down"), "back"])
    graph = create_moa([{"a": first}, {"b": flaky}], model(answers=["final"])).compile(
        checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}
    for inputs in ({"messages": "q"}, None):
        with pytest.raises(QuorumError):
            invoke(graph, inputs, config)
    assert invoke(graph, None, config)["messages"][-1].content == "final"
    assert (len(first.asked), len(flaky.asked)) == (1, 3)


def test_failing_aggregator_alone_is_asked_again(invoke, model):
    proposer, writer = model(), model(answers=[OSError("down"), "final"])
    graph = create_moa([{"a": proposer}], writer).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(AggregatorError, match="no final answer: aggregator: OSError: down"):
        invoke(graph, {"messages": "q"}, config)
    assert invoke(graph, None, config)["messages"][-1].content == "final"
    assert (len(proposer.asked), len(writer.asked)) == (1, 2)


def test_empty_conversation_is_an_error(invoke, model):
    graph = create_moa([[model()]], model()).compile()
    with pytest.raises(ValueError, match="`messages` is empty"):
        invoke(graph, {"messages": []})


def test_final_message_says_how_it_came_about(invoke, model):
    def counted(text, tokens):
        usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
        return AIMessage(text, usage_metadata=usage)

    layers = [{"a": model(answers=[counted("x", 10)]), "b": model(answers=[counted("", 5)])}]
    graph = create_moa(layers, model(answers=[counted("final", 100)])).compile()
    before = round(time.time(), 3)
    message = invoke(graph, {"messages": "q"})["messages"][-1]
    assert message.usage_metadata["total_tokens"] == 101
    account = translate_summary(message.response_metadata["moa"])
    assert before <= account.pop("started") <= round(time.time(), 3)
    assert account.pop("seconds") >= 0
    assert account == {
        "layers": 1,
        "proposers": ["layer_1_a", "layer_1_b"],
        "asked": 2,
        "answered": 1,
        "failed": ["layer_1_b"],
        "errors": {"layer_1_b": "empty answer (finish reason: None)"},
        "aggregator": "fake",
        "aggregator_usage": {"input_tokens": 100, "output_tokens": 1, "total_tokens": 101},
        "dropped_reference_chars": 0,
        "usage": {"input_tokens": 115, "output_tokens": 3, "total_tokens": 118},
        "usage_unknown": [],
        "degraded": True,
        "served_models": {},
    }


def test_unknown_usage_is_not_counted_as_nothing(invoke, model):
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    layers = [{"a": model(answers=[AIMessage("x", usage_metadata=usage)]), "b": model()}]
    result = invoke(create_moa(layers, model()).compile(), {"messages": "q"})
    account = result["messages"][-1].response_metadata["moa"]
    assert account["usage"]["total_tokens"] == 2
    assert account["usage_unknown"] == ["layer_1_b", "aggregator"]


def test_thoughts_of_the_aggregator_stay_out_of_the_conversation(invoke, model):
    graph = create_moa([[model()]], model(answers=["<think>hm</think>\nfinal"])).compile()
    assert invoke(graph, {"messages": "q"})["messages"][-1].content == "final"


def test_system_prompt_of_an_agent_stands_before_the_conversation(invoke, model):
    coder, plain = model(), model()
    layers = [{"coder": Agent(model=coder, system="You write code."), "plain": plain}]
    graph = create_moa(layers, Agent(model=model(), system="Be brief.")).compile()
    invoke(graph, {"messages": [("system", "Answer in French."), ("user", "q")]})
    assert coder.asked[0][0].content == "You write code.\n\nAnswer in French."
    assert plain.asked[0][0].content == "Answer in French."


def test_samples_ask_the_same_model_several_times(invoke, model):
    proposer = model()
    graph = create_moa([{"a": Agent(model=proposer, samples=3)}], model())
    assert [name for name in graph.nodes if name[-1] == "a" or "a_" in name][:3] == [
        "layer_1_a",
        "layer_1_a_2",
        "layer_1_a_3",
    ]
    invoke(graph.compile(), {"messages": "q"})
    assert len(proposer.asked) == 3


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "`layers`: expected a list of layers"),
        ({"a": "offline:lead"}, "`layers`: expected a list of layers"),
        (["offline:lead"], r"`layers\[0\]`: expected names mapped to models, or a list"),
        ([["offline:lead"], []], r"`layers\[1\]`: expected names"),
        ([{"a:b": "offline:lead"}], "without ':', '|' and line breaks, got 'a:b'"),
        ([{"": "offline:lead"}], "got ''"),
        ([{"aggregator": "offline:lead"}], "'aggregator' is the name of the layer aggregator"),
        ([["gpt-4o"]], r"`layers\[0\]`\[0\]: expected 'provider:model'.*, got 'gpt-4o'"),
        ([{"a": 3}], r"`layers\[0\]`\['a'\]: expected 'provider:model' or a runnable, got 3"),
        ([["offline:nonsense"]], "expected 'offline:' and one of lead, .*got 'offline:nonsense'"),
        ([[AIMessage]], "expected 'provider:model' or a runnable, got <class"),
    ],
)
def test_senseless_layers_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        create_moa(layers, "offline:consensus")


def two_mixtures(refine_models, **options):
    """A host that has one mixture answer, and another one go on from its answer."""
    draft = create_moa([{"a": FakeModel(), "b": FakeModel()}], FakeModel(answers=["a draft"]))
    refine = create_moa([refine_models], FakeModel(answers=["refined"]), quorum=1.0)
    host = StateGraph(MoAState)
    host.add_node("draft", draft.compile()).add_node("refine", refine.compile())
    return host.add_edge(START, "draft").add_edge("draft", "refine").compile(**options)


def test_a_host_has_the_proposals_of_two_mixtures_that_follow_one_another(invoke):
    host = two_mixtures({"c": FakeModel(), "d": FakeModel()}, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    for _ in range(2):
        result = invoke(host, {"messages": "q"}, config)
        assert sorted(result["proposals"]) == [f"layer_1_{name}" for name in "abcd"]
        last_question = result["messages"][-3]
        assert {p["turn_id"] for p in result["proposals"].values()} == {last_question.id}


def side_by_side(schema, first_names, second_names):
    """A host that has two mixtures answer at the same time."""
    host = StateGraph(schema)
    for name, names in (("first", first_names), ("second", second_names)):
        mixture = create_moa([{each: FakeModel() for each in names}], FakeModel())
        host.add_node(name, mixture.compile()).add_edge(START, name)
    return host.compile()


def test_two_mixtures_side_by_side_never_overwrite_each_other_in_silence(invoke):
    with pytest.raises(InvalidUpdateError, match=r"both wrote 'layer_1_a'; give their agents diff"):
        invoke(side_by_side(MoAState, "ab", "ac"), {"messages": "q"})
    result = invoke(side_by_side(MoAState, "ab", "cd"), {"messages": "q"})
    assert sorted(result["proposals"]) == [f"layer_1_{name}" for name in "abcd"]
    result = invoke(side_by_side(MessagesState, "ab", "ab"), {"messages": "q"})
    assert len(result["messages"]) == 3


def test_the_second_of_two_mixtures_is_resumed_by_itself(invoke):
    good, flaky = FakeModel(), FakeModel(answers=[ValueError("down"), "up"])
    host = two_mixtures({"c": good, "d": flaky}, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(QuorumError):
        invoke(host, {"messages": "q"}, config)
    result = invoke(host, None, config)
    assert [message.text for message in result["messages"]] == ["q", "a draft", "refined"]
    assert sorted(result["proposals"]) == [f"layer_1_{name}" for name in "abcd"]
    assert (len(good.asked), len(flaky.asked)) == (1, 2)
