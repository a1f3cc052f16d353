"""Every way to run a mixture, everywhere that it may stand, over every kind of model."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add
from typing import Any
from uuid import uuid4

import pytest
from fakes import FakeModel
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from waiting import wait_until

from moa_graph import (
    Agent,
    AggregatorError,
    ChatMoA,
    QuorumError,
    create_moa,
)
from moa_graph.models.adapt import adapt_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:astream_events version='v1':DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:astream_log:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

QUESTION = "Where is the key? The key is under the mat. The sky is blue."
PROPOSERS = ["layer_1_a", "layer_1_b", "layer_2_a", "layer_2_b"]
LAYER_AGGREGATORS = ["layer_1_aggregator", "layer_2_aggregator"]
NODES = [*PROPOSERS, *LAYER_AGGREGATORS, "aggregator"]
ONCE = Counter([*PROPOSERS, "aggregator"])


@dataclass
class Panel:
    """The models of a mixture of two layers of two."""

    layers: Any
    aggregator: Any
    answer: str
    asked: Callable[[], Counter[str]] | None
    """How often each model was asked, where the models themselves can tell."""


def offline_models(_):
    """Models that know no async."""
    return Panel(
        layers=[{"a": "offline:lead", "b": "offline:bm25"}] * 2,
        aggregator="offline:consensus",
        answer="The key is under the mat.",
        asked=None,
    )


def fakes(_):
    """Chat models that are objects."""
    models = {name: FakeModel(name=name, answers=[f"{name} says so"]) for name in "abw"}
    return Panel(
        layers=[{name: models[name] for name in "ab"}] * 2,
        aggregator=models["w"],
        answer="w says so",
        asked=lambda: Counter({name: len(model.asked) for name, model in models.items()}),
    )


def models_of_a_server(request):
    """Chat models that are built from names, over HTTP."""
    server, monkeypatch = map(request.getfixturevalue, ("server", "monkeypatch"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    server.model("w", reply="w says so")
    return Panel(
        layers=[{"a": "openai:a", "b": "openai:b"}] * 2,
        aggregator="openai:w",
        answer="w says so",
        asked=lambda: Counter(call.model for call in server.calls),
    )


MODELS = [offline_models, fakes, models_of_a_server]


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def panel(request):
    return request.param(request)


def mixture(panel):
    return create_moa(panel.layers, panel.aggregator).compile(name="moa")


def threaded_mixture(panel):
    return create_moa(panel.layers, panel.aggregator).compile(InMemorySaver(), name="moa")


def nested_mixture(panel):
    inner = create_moa(panel.layers, panel.aggregator).compile(name="inner")
    return create_moa([{"inner": inner}], panel.aggregator).compile(name="moa")


def mixture_of_a_chat_model(panel):
    inner = ChatMoA(panel.layers, panel.aggregator)
    return create_moa([{"inner": inner}], panel.aggregator).compile(name="moa")


def subgraph_of_a_host(panel):
    return host_of(mixture(panel))


def subgraph_of_a_threaded_host(panel):
    return host_of(mixture(panel), InMemorySaver())


def chat_model(panel):
    return ChatMoA(panel.layers, panel.aggregator)


def chat_model_in_a_host(panel):
    return host_of(node_that_asks(chat_model(panel)))


def node_that_asks(model):
    def answer(state):
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswer(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    return RunnableLambda(answer, aanswer)


def chain_of_a_mixture(panel):
    begin = ChatPromptTemplate([("user", "{messages}")]) | (lambda p: {"messages": p.messages})
    return begin | mixture(panel) | text_of | StrOutputParser()


def chain_of_a_chat_model(panel):
    return ChatPromptTemplate([("user", "{messages}")]) | chat_model(panel) | StrOutputParser()


def text_of(output):
    """Read the answer: of a state, of the last node's update, of a message."""
    if isinstance(output, dict):
        return text_of(output.get("messages", [*output.values()])[-1])
    return output.text if isinstance(output, BaseMessage) else output


HOSTS = {
    mixture: ONCE,
    threaded_mixture: ONCE,
    nested_mixture: ONCE + Counter(["aggregator"]),
    mixture_of_a_chat_model: ONCE + Counter(["layer_1_inner", "aggregator"]),
    subgraph_of_a_host: ONCE,
    subgraph_of_a_threaded_host: ONCE,
    chat_model: ONCE,
    chat_model_in_a_host: ONCE,
    chain_of_a_mixture: ONCE,
    chain_of_a_chat_model: ONCE,
}
"""Where a mixture stands, and the agents that are asked for one answer."""
NESTED = {nested_mixture, mixture_of_a_chat_model}
CHAINS = {chain_of_a_mixture, chain_of_a_chat_model}


def host_of(node, checkpointer=None):
    builder = StateGraph(MessagesState).add_node("moa", node).add_edge(START, "moa")
    return builder.compile(checkpointer, name="host")


def asked_of(host):
    return QUESTION if host is chat_model else {"messages": QUESTION}


async def gather(stream):
    return [each async for each in stream]


def run(stream):
    return asyncio.run(gather(stream))


async def given(asked):
    yield asked


def whole(chunks):
    """What a stream comes to: the sum of the parts of a message, or the last state or update."""
    first, *rest = chunks
    return chunks[-1] if isinstance(first, dict) else reduce(add, rest, first)


def events(runnable, asked, config, version):
    return run(runnable.astream_events(asked, config, version=version))


def log(runnable, asked, config):
    return reduce(add, run(runnable.astream_log(asked, config))).state


async def protocol_output(runnable, asked, config):
    stream = await runnable.astream_events(asked, config, version="v3")
    return await (stream.output() if callable(stream.output) else stream.output)


# Each takes a runnable, what it is asked, and a maker of configs, and gives the outputs.
WAYS = {
    "invoke": lambda r, asked, new: [r.invoke(asked, new())],
    "ainvoke": lambda r, asked, new: [asyncio.run(r.ainvoke(asked, new()))],
    "stream": lambda r, asked, new: [whole([*r.stream(asked, new())])],
    "astream": lambda r, asked, new: [whole(run(r.astream(asked, new())))],
    "transform": lambda r, asked, new: [whole([*r.transform(iter([asked]), new())])],
    "atransform": lambda r, asked, new: [whole(run(r.atransform(given(asked), new())))],
    "batch": lambda r, asked, new: r.batch([asked] * 2, [new(), new()]),
    "abatch": lambda r, asked, new: asyncio.run(r.abatch([asked] * 2, [new(), new()])),
    "batch_as_completed": lambda r, asked, new: [
        output for _, output in r.batch_as_completed([asked] * 2, [new(), new()])
    ],
    "abatch_as_completed": lambda r, asked, new: [
        output for _, output in run(r.abatch_as_completed([asked] * 2, [new(), new()]))
    ],
    "astream_events v1": lambda r, asked, new: [
        events(r, asked, new(), "v1")[-1]["data"]["output"]
    ],
    "astream_events v2": lambda r, asked, new: [
        events(r, asked, new(), "v2")[-1]["data"]["output"]
    ],
    "astream_log": lambda r, asked, new: [log(r, asked, new())["final_output"]],
    "stream_events v3": lambda r, asked, new: [r.stream_events(asked, new(), version="v3").output],
    "astream_events v3": lambda r, asked, new: [asyncio.run(protocol_output(r, asked, new()))],
}
SINGLE = {name: way for name, way in WAYS.items() if "batch" not in name}
"""The ways that run once."""
PROTOCOL = [way for name, way in WAYS.items() if "v3" in name]


class Agents(BaseCallbackHandler):
    """Notes which agents ask their models."""

    def __init__(self):
        self.asked = []

    def on_chat_model_start(self, *_, metadata, **__):
        if agent := metadata.get("moa_agent"):
            self.asked.append(agent)

    def config(self):
        return {"configurable": {"thread_id": uuid4().hex}, "callbacks": [self]}


def by_name(values):
    return pytest.mark.parametrize("way", values.values(), ids=values.keys())


def over_models(names, *values, possible=lambda *_: True):
    """Parametrize a test by all combinations of values that are possible, each over one model.

    The kinds of models take turns, so that every value meets each kind.
    """
    combinations = product(*(enumerate(each.items()) for each in (*values, named(MODELS))))
    return pytest.mark.parametrize(
        (*names, "panel"),
        [
            pytest.param(*chosen, id="-".join(name for _, (name, _) in each))
            for each in combinations
            if possible(*(chosen := [value for _, (_, value) in each]))
            and sum(number for number, _ in each) % len(MODELS) == 0
        ],
        indirect=["panel"],
    )


def named(functions):
    return {each.__name__: each for each in functions}


def has_way(host, way, _):
    """LangChain has no protocol for a chain."""
    return host not in CHAINS or way not in PROTOCOL


@over_models(["host", "way"], named(HOSTS), WAYS, possible=has_way)
def test_every_way_gives_the_answer_and_asks_each_agent_once(host, way, panel):
    agents, runnable = Agents(), host(panel)
    outputs = way(runnable, asked_of(host), agents.config)
    assert {text_of(output).strip() for output in outputs} == {panel.answer}
    times = Counter({agent: n * len(outputs) for agent, n in HOSTS[host].items()})
    assert Counter(agents.asked) == times
    if panel.asked:
        pairs = 2 * len(outputs)  # each of these sits in two layers
        assert panel.asked() == Counter(a=pairs, b=pairs, w=times["aggregator"])


def names_of(told, kind):
    return Counter(event["name"] for event in told if event["event"] == kind)


def agents_of(told, kind):
    agents = (e["metadata"].get("moa_agent") for e in told if e["event"] == kind)
    return Counter(filter(None, agents))


@over_models(["host", "version"], named(HOSTS), {"v1": "v1", "v2": "v2"})
def test_events_tell_of_each_node_and_each_model(host, version, panel):
    told = events(host(panel), asked_of(host), Agents().config(), version)
    nodes = Counter(NODES)
    if host in NESTED:
        nodes += Counter(["layer_1_aggregator", "aggregator"])
    for kind in ("on_chain_start", "on_chain_stream", "on_chain_end"):
        names = names_of(told, kind)
        assert Counter({node: names[node] for node in nodes}) == nodes
    for kind in ("on_chat_model_start", "on_chat_model_end"):
        assert agents_of(told, kind) == HOSTS[host]
    assert set(agents_of(told, "on_chat_model_stream")) == {"aggregator"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_events_have_the_proposers_tokens_where_they_are_asked_for(version, panel):
    moa = create_moa(panel.layers, panel.aggregator, stream_proposals=True).compile()
    told = events(moa, {"messages": QUESTION}, Agents().config(), version)
    assert set(agents_of(told, "on_chat_model_stream")) == set(ONCE)


@over_models(["host"], named(HOSTS))
def test_no_run_stands_between_a_node_and_its_model(host, panel):
    told = events(host(panel), asked_of(host), Agents().config(), "v2")
    names = {event["run_id"]: event["name"] for event in told}
    begun = [event for event in told if event["event"] == "on_chat_model_start"]
    pairs = [
        (each["metadata"].get("moa_agent"), names[each["parent_ids"][-1]])
        for each in begun
        if each["parent_ids"]
    ]
    assert {node for agent, node in pairs if agent} == set(HOSTS[host])
    assert all(agent == node for agent, node in pairs if agent)
    roots = {each["parent_ids"][0] for each in begun if each["parent_ids"]}
    assert roots == {told[0]["run_id"]}


@over_models(["host"], named(HOSTS))
def test_log_has_each_node(host, panel):
    entries = log(host(panel), asked_of(host), Agents().config())["logs"].values()
    names = Counter(entry["name"] for entry in entries if entry["end_time"])
    assert set(NODES) <= set(names)


STREAMS = {
    "stream": lambda r, asked, config, **options: [*r.stream(asked, config, **options)],
    "astream": lambda r, asked, config, **options: run(r.astream(asked, config, **options)),
}


def tells_values(payloads, panel):
    assert text_of(payloads[-1]).strip() == panel.answer


def tells_updates(payloads, _):
    assert Counter(NODES) <= Counter(node for payload in payloads for node in payload)


def tells_messages(payloads, panel):
    assert "".join(message.text for message, _ in payloads).strip() == panel.answer
    assert {metadata["langgraph_node"] for _, metadata in payloads} == {"aggregator"}


def tells_tasks(payloads, _):
    ended = [each for each in payloads if "result" in each]
    assert Counter(NODES) <= Counter(each["name"] for each in ended)
    assert not any(each["error"] for each in ended)
    assert len(payloads) == 2 * len(ended)


def tells_checkpoints(payloads, panel):
    assert text_of(payloads[-1]["values"]).strip() == panel.answer
    assert not payloads[-1]["next"]


def tells_debugging(payloads, panel):
    kinds = {
        kind: [each["payload"] for each in payloads if each["type"] == kind]
        for kind in ("task", "task_result", "checkpoint")
    }
    tells_tasks([*kinds["task"], *kinds["task_result"]], panel)
    tells_checkpoints(kinds["checkpoint"], panel)


def tells_nothing(payloads, _):
    assert payloads == []


MODES = {
    "values": tells_values,
    "updates": tells_updates,
    "messages": tells_messages,
    "tasks": tells_tasks,
    "checkpoints": tells_checkpoints,
    "debug": tells_debugging,
    "custom": tells_nothing,
}


@over_models(
    ["modes", "host", "stream"],
    {" ".join(modes): modes for modes in (*([mode] for mode in MODES), [*MODES])},
    named([threaded_mixture, subgraph_of_a_threaded_host]),
    STREAMS,
)
def test_every_stream_mode_tells_of_the_run(modes, host, stream, panel):
    options = {"stream_mode": modes, "subgraphs": True}
    parts = stream(host(panel), asked_of(host), Agents().config(), **options)
    for mode in modes:
        MODES[mode]([payload for _, each, payload in parts if each == mode], panel)


def messages_of(runnable, asked, config):
    stream = runnable.stream_events(asked, config, version="v3")
    return [(message.node, "".join(message.text)) for message in stream.messages]


def amessages_of(runnable, asked, config):
    async def read():
        stream = await runnable.astream_events(asked, config, version="v3")
        return [
            (message.node, "".join(await gather(message.text))) async for message in stream.messages
        ]

    return asyncio.run(read())


@pytest.mark.parametrize("read", [messages_of, amessages_of])
def test_protocol_shows_the_aggregator_s_message_alone(read, panel):
    told = read(mixture(panel), asked_of(mixture), Agents().config())
    assert [(node, text.strip()) for node, text in told] == [("aggregator", panel.answer)]
    told = read(chat_model_in_a_host(panel), asked_of(chat_model_in_a_host), Agents().config())
    assert [(node, text.strip()) for node, text in told] == [("moa", panel.answer)]


@by_name(WAYS)
@pytest.mark.parametrize("host", [mixture, chat_model], ids=lambda host: host.__name__)
def test_a_failed_proposer_is_no_failure_of_the_run(host, way):
    models = fakes(None)
    models.layers[1] = {"a": FakeModel(answers=[RuntimeError("down")]), "b": FakeModel()}
    outputs = way(host(models), asked_of(host), Agents().config)
    assert {text_of(output).strip() for output in outputs} == {models.answer}


def breaking(server, make):
    """Make a mixture whose aggregator breaks off in its answer, with a fallback."""
    server.model("w", reply="one two three four", always="truncate")
    server.model("spare", reply="the end")
    writers = [
        Agent(model=f"openai:{w}", base_url=server.url, max_retries=0) for w in ("w", "spare")
    ]
    return make([["offline:lead"]], writers[0], fallbacks=writers[1:])


@by_name(SINGLE)
def test_a_fallback_answers_for_an_aggregator_that_broke_off(way, server):
    graph = breaking(server, create_moa).compile()
    [output] = way(graph, {"messages": QUESTION}, Agents().config)
    assert text_of(output) == "the end"


@by_name(SINGLE)
def test_a_fallback_answers_a_node_that_invokes_a_chat_model(way, server):
    host = host_of(node_that_asks(breaking(server, ChatMoA)))
    if way in PROTOCOL:  # under which LangChain has `invoke` stream
        with pytest.raises(AggregatorError, match="its stream broke off"):
            way(host, {"messages": QUESTION}, Agents().config)
    else:
        [output] = way(host, {"messages": QUESTION}, Agents().config)
        assert text_of(output) == "the end"


@by_name(SINGLE)
def test_a_lost_layer_is_told_once_and_then_only_who_failed_is_asked(way):
    down, up = FakeModel(answers=[RuntimeError("down"), "up again"]), FakeModel()
    moa = create_moa([{"down": down, "up": up}], FakeModel(answers=["the end"]), quorum=2)
    graph, config = moa.compile(InMemorySaver()), Agents().config()
    with pytest.raises(QuorumError, match=r"1 of 2 proposers answered.*layer_1_down"):
        way(graph, {"messages": QUESTION}, lambda: config)
    [output] = way(graph, None, lambda: config)
    assert text_of(output).strip() == "the end"
    assert (len(down.asked), len(up.asked)) == (2, 1)


@by_name(SINGLE)
def test_a_run_that_stopped_for_a_human_goes_on(way):
    def consult(_):
        return {"messages": [AIMessage(interrupt("Where is the key?"))]}

    human = StateGraph(MessagesState).add_node("consult", consult).add_edge(START, "consult")
    other = FakeModel()
    moa = create_moa([{"human": human, "other": other}], FakeModel(answers=["the end"]))
    graph, config = moa.compile(InMemorySaver()), Agents().config()
    way(graph, {"messages": QUESTION}, lambda: config)
    assert graph.get_state(config).next == ("layer_1_human",)
    [output] = way(graph, Command(resume="Under the mat."), lambda: config)
    assert text_of(output).strip() == "the end"
    proposals = graph.get_state(config).values["proposals"]
    assert proposals["layer_1_human"]["content"] == "Under the mat."
    assert len(other.asked) == 1


@by_name(WAYS)
def test_an_answer_is_the_same_in_every_way(way):
    writer = FakeModel(answers=["<think>where, oh where</think>Under half a \ud83d"])
    moa = create_moa([{"a": FakeModel()}], writer).compile(InMemorySaver())
    outputs = way(moa, {"messages": QUESTION}, Agents().config)
    assert {text_of(output).strip() for output in outputs} == {"Under half a ?"}


@pytest.mark.parametrize("version", ["v2", "v3"])  # LangChain waits for the run of v1
async def test_who_leaves_the_events_cancels_the_calls(version, server):
    layer = [Agent(model="openai:a", base_url=server.url)]
    server.model("a", always="hang")
    told = (
        create_moa([layer], "offline:lead")
        .compile()
        .astream_events({"messages": QUESTION}, version=version)
    )
    told = await told if version == "v3" else told
    reading = asyncio.create_task(gather(told))
    await wait_until(lambda: server.calls)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await wait_until(lambda: server.calls[0].ended)
    assert not server.calls[0].answered


@by_name({name: WAYS[name] for name in ("invoke", "ainvoke", "stream", "astream")})
def test_a_node_runs_by_itself(way):
    moa = create_moa([{"a": FakeModel(), "b": FakeModel()}], FakeModel(), grace=60)
    node = moa.compile().nodes["layer_1_a"]
    [output] = way(node, {"messages": [HumanMessage(QUESTION, id="1")]}, Agents().config)
    assert output["proposals"]["layer_1_a"]["content"] == "an answer"


ASYNC_WAYS = ["ainvoke", "astream", "atransform", "abatch", "abatch_as_completed"]


@by_name({name: WAYS[name] for name in ASYNC_WAYS})
def test_a_model_that_knows_no_async_waits_in_a_thread_of_its_own(way):
    def answer(_):
        return AIMessage(threading.current_thread().name)

    outputs = way(adapt_model(RunnableLambda(answer), hidden=True), QUESTION, dict)
    assert {output.text for output in outputs} == {"moa"}
