"""A mixture as a tool that agents call."""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from operator import itemgetter

import pytest
from fakes import FakeModel
from forked import run_forked
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, ToolException
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from pydantic import BaseModel
from waiting import wait_until

from moa_graph import AggregatorError, MoAConfig, QuorumError, create_moa, moa_tool

OFFLINE = MoAConfig.load("offline")
QUESTION = "Where is it? It is under the tree."
BETA = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


class Caller(FakeModel):
    """The model of an agent, which says the tool calls it is given to say."""

    def bind_tools(self, *_, **__):
        return self

    def _stream(self, messages, *_, **__):
        message = self._generate(messages).generations[0].message
        chunks = [tool_call_chunk(**_as_chunk(each)) for each in message.tool_calls]
        for word in message.text.split(" "):
            chunk = AIMessageChunk(f"{word} ".lstrip(), tool_call_chunks=chunks)
            yield ChatGenerationChunk(message=chunk)


def _as_chunk(tool_call):
    args = json.dumps(tool_call["args"])
    return {"name": tool_call["name"], "args": args, "id": tool_call["id"], "index": 0}


def call(question, id_="1", name="ask_panel"):
    return {"name": name, "args": {"question": question}, "id": id_, "type": "tool_call"}


def agent_that_asks(tool, *questions, saver=None):
    calls = [call(question, str(n)) for n, question in enumerate(questions)]
    model = Caller(answers=[AIMessage("", tool_calls=calls), "the agent's answer"])
    return create_agent(model, [tool], checkpointer=saver)


def panel(proposers, aggregator, **options):
    return create_moa([proposers], aggregator, **options)


def read_by(model):
    """The questions that a model was asked."""
    return sorted(messages[-1].content for messages in model.asked)


@pytest.fixture
def thread():
    return {"configurable": {"thread_id": "1"}}


def test_it_gives_the_answer_alone_and_the_summary_beside_it(invoke, model):
    tool = moa_tool(panel({"a": model(), "b": model(answers=["two"])}, model(answers=["final"])))
    message = invoke(tool, call(QUESTION))
    assert message == ToolMessage(
        "final", name="ask_panel", tool_call_id="1", artifact=message.artifact
    )
    assert message.artifact["summary"]["answered"] == 2
    contents = {node: each["content"] for node, each in message.artifact["proposals"].items()}
    assert contents == {"layer_1_a": "an answer", "layer_1_b": "two"}


def test_called_with_text_it_answers_in_text(invoke):
    assert invoke(moa_tool(OFFLINE), QUESTION) == "It is under the tree."


@BETA
def test_as_tool_of_a_graph_takes_text_too(invoke):
    tool = OFFLINE.graph().compile(name="mine").as_tool()
    assert (tool.name, invoke(tool, QUESTION)) == ("mine", "It is under the tree.")


@BETA
def test_as_tool_with_a_schema_is_langchain_s_own(invoke):
    class State(BaseModel):
        messages: str

    tool = OFFLINE.graph().compile().as_tool(State, name="state", description="Gives the state.")
    assert invoke(tool, {"messages": QUESTION})["messages"][-1].text == "It is under the tree."


def test_context_stands_behind_the_question_and_cannot_leave_its_tags(invoke, model):
    proposer = model()
    tool = moa_tool(panel([proposer], model()))
    invoke(tool, {"question": "Where?", "context": "here </context> or there"})
    (text,) = read_by(proposer)
    assert text == "Where?\n\n<context>\nhere <\\/context> or there\n</context>"


def test_context_may_be_null(invoke, model):
    proposer = model()
    invoke(moa_tool(panel([proposer], model())), {"question": "Where?", "context": None})
    assert read_by(proposer) == ["Where?"]


def test_offline_models_quote_the_context_and_not_its_tags(invoke):
    context = "The key is under the tree. The cook has a spoon. Roses grow."
    answer = invoke(moa_tool(OFFLINE), {"question": "Where is the key?", "context": context})
    assert answer == "The key is under the tree."


@pytest.mark.parametrize(
    "mixture", [OFFLINE, OFFLINE.graph(), OFFLINE.graph().compile(checkpointer=InMemorySaver())]
)
def test_configurations_builders_and_compiled_graphs_are_mixtures(mixture):
    tool = moa_tool(mixture, name="panel", description="Knows where things are.")
    assert isinstance(tool, BaseTool)
    assert (tool.name, tool.description) == ("panel", "Knows where things are.")
    assert list(tool.args) == ["question", "context"]
    assert tool.invoke(QUESTION) == "It is under the tree."


@pytest.mark.parametrize("mixture", ["moa-lite", None, FakeModel()])
def test_what_is_no_mixture_is_refused_by_name(mixture):
    with pytest.raises(ValueError, match=r"`mixture`=.*expected a compiled graph, a builder"):
        moa_tool(mixture)


@pytest.mark.parametrize("name", ["", "ask the panel", "a" * 65, "ask\n"])
def test_name_that_no_model_can_call_is_refused(name):
    with pytest.raises(ValueError, match=r"`name`=.*expected 1 to 64 letters"):
        moa_tool(OFFLINE, name=name)


def test_empty_question_is_refused_before_anybody_is_asked(invoke, model):
    proposer = model()
    with pytest.raises(ValueError, match="at least 1 character"):
        invoke(moa_tool(panel([proposer], model())), {"question": ""})
    assert not proposer.asked


def test_agent_reads_the_answer_alone(invoke, model):
    tool = moa_tool(panel([model(answers=["proposal"])], model(answers=["final"])))
    messages = invoke(agent_that_asks(tool, "Where?"), {"messages": "q"})["messages"]
    assert [each.content for each in messages] == ["q", "", "final", "the agent's answer"]


@pytest.mark.parametrize("subgraphs", [False, True])
def test_host_s_stream_shows_no_tokens_of_the_mixture(stream, model, subgraphs):
    proposer, aggregator = model(answers=["a proposal"]), model(answers=["the final answer"])
    agent = agent_that_asks(moa_tool(panel([proposer], aggregator)), "Where?")
    parts = stream(agent, {"messages": "q"}, stream_mode="messages", subgraphs=subgraphs)
    tokens = [part[-1] if subgraphs else part for part in parts]
    spoken = [token.content for token, _ in tokens if token.type == "AIMessageChunk"]
    assert "".join(spoken).split() == ["the", "agent's", "answer"]


def test_host_that_streams_subgraphs_sees_the_layers(stream):
    agent = agent_that_asks(moa_tool(OFFLINE), QUESTION)
    parts = stream(agent, {"messages": "q"}, stream_mode="updates", subgraphs=True)
    nodes = {node for namespace, update in parts if namespace for node in update}
    assert {"layer_1_lead", "layer_2_aggregator", "aggregator"} <= nodes


class Runs(BaseCallbackHandler):
    """Hears which runs there are, and whose children they are."""

    run_inline = True

    def __init__(self):
        self.names, self.parents = {}, {}

    def on_chain_start(self, *_, run_id, parent_run_id, name=None, **__):
        self.names[run_id], self.parents[run_id] = name, parent_run_id

    def on_tool_start(self, serialized, *_, run_id, parent_run_id, **__):
        self.names[run_id], self.parents[run_id] = serialized["name"], parent_run_id

    def path_to(self, name):
        run = next(each for each, named in self.names.items() if named == name)
        while run:
            yield self.names[run]
            run = self.parents[run]


def test_its_run_is_inside_the_trace_of_the_caller(invoke):
    runs = Runs()
    agent = agent_that_asks(moa_tool(OFFLINE.graph().compile(name="mixture")), QUESTION)
    invoke(agent, {"messages": "q"}, {"callbacks": [runs]})
    path = list(runs.path_to("layer_1_lead"))
    assert path == ["layer_1_lead", "mixture", "ask_panel", "tools", "LangGraph"]


async def test_cancelling_the_call_cancels_the_calls_of_models():
    started, cancelled = [], []

    async def wait(_):
        started.append(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    never = RunnableLambda(lambda _: "", afunc=wait)
    tool = moa_tool(panel({"a": never, "b": never}, "offline:lead"))
    task = asyncio.create_task(tool.ainvoke(QUESTION))
    await wait_until(lambda: len(started) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(cancelled) == 2


@pytest.mark.parametrize(
    ("proposals", "answers", "kind"),
    [
        ([RuntimeError("down")], ["final"], QuorumError),
        (["fine"], [RuntimeError("down")], AggregatorError),
    ],
)
def test_mixture_without_an_answer_is_a_tool_exception_with_its_cause(
    invoke, model, proposals, answers, kind
):
    tool = moa_tool(panel([model(answers=proposals)], model(answers=answers)))
    with pytest.raises(ToolException, match="down") as raised:
        invoke(tool, call(QUESTION))
    assert isinstance(raised.value.__cause__, kind)
    tool.handle_tool_error = True
    message = invoke(tool, call(QUESTION))
    assert (message.status, "down" in message.content) == ("error", True)


def test_missing_key_is_no_failure_that_a_model_reads(invoke):
    tool = moa_tool(panel(["openai:gpt-6.1-sol"], "offline:lead", lazy=True))
    tool.handle_tool_error = True
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        invoke(tool, call(QUESTION))


def test_agent_that_goes_on_asks_only_who_failed(invoke, model, thread):
    steady, flaky = model(answers=["one"]), model(answers=[RuntimeError("down"), "two"])
    writer = model(answers=["final"])
    tool = moa_tool(panel({"steady": steady, "flaky": flaky}, writer, quorum=2))
    agent = agent_that_asks(tool, "Where?", saver=InMemorySaver())
    with pytest.raises(ToolException):
        invoke(agent, {"messages": "q"}, thread)
    messages = invoke(agent, None, thread)["messages"]
    assert [each.content for each in messages][2:] == ["final", "the agent's answer"]
    assert [len(each.asked) for each in (steady, flaky, writer)] == [1, 2, 1]


def test_calls_of_one_step_each_go_on_where_they_were(invoke, model, thread):
    proposer = model(answers=["a proposal"])
    down = {"Where?", "When?"}

    def write(messages):
        question = messages[-1].content
        if question in down:
            down.discard(question)
            raise RuntimeError(question)
        return AIMessage(f"answer to {question}")

    tool = moa_tool(panel([proposer], RunnableLambda(write)))
    agent = agent_that_asks(tool, "Where?", "When?", "Why?", saver=InMemorySaver())
    while down:
        with suppress(ToolException):
            invoke(agent, None if proposer.asked else {"messages": "q"}, thread)
    messages = invoke(agent, None, thread)["messages"]
    answers = [each.content for each in messages if each.type == "tool"]
    assert answers == ["answer to Where?", "answer to When?", "answer to Why?"]
    assert read_by(proposer) == ["When?", "Where?", "Why?"]


async def test_calls_in_one_task_never_take_each_other_s_proposals(model, thread):
    proposer, down, order = model(answers=["a proposal"]), {"Where?", "When?"}, ["Where?", "When?"]
    ended = []

    def write(messages):
        question = messages[-1].content
        if question in down:
            down.discard(question)
            raise RuntimeError(question)
        return AIMessage(f"answer to {question}")

    async def begin_in_order(request, execute):
        question = request.tool_call["args"]["question"]
        await wait_until(lambda: order[0] == question)
        running = asyncio.ensure_future(execute(request))
        await asyncio.sleep(0)
        order.append(order.pop(0))
        try:
            return await running
        finally:
            ended.append(question)

    tool = moa_tool(panel([proposer], RunnableLambda(write)))
    tool.handle_tool_error = False
    tools = ToolNode([tool], awrap_tool_call=begin_in_order, handle_tool_errors=False)
    host = StateGraph(MessagesState).add_node("tools", tools).add_edge(START, "tools")
    graph = host.compile(checkpointer=InMemorySaver())
    ask = AIMessage("", tool_calls=[call("Where?", "1"), call("When?", "2")])
    with pytest.raises(ToolException):
        await graph.ainvoke({"messages": [ask]}, thread)
    await wait_until(lambda: len(ended) == 2)  # the other call goes on when one has failed
    down.clear()
    order[:] = ["When?", "Where?"]
    messages = (await graph.ainvoke(None, thread))["messages"]
    answers = {each.tool_call_id: each.content for each in messages if each.type == "tool"}
    assert answers == {"1": "answer to Where?", "2": "answer to When?"}


ASKING = """
import os, signal, sqlite3, sys
from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.sqlite import SqliteSaver
from moa_graph import create_moa, moa_tool

database, log, dies = sys.argv[1], sys.argv[2], sys.argv[3] == "dies"

class Caller(FakeModel):
    def bind_tools(self, *_, **__):
        return self

def propose(name):
    def note(_):
        with open(log, "a") as file:
            file.write(name)
        return AIMessage(f"proposal of {name}")
    return RunnableLambda(note)

def write(_):
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return AIMessage("final")

tool = moa_tool(create_moa([{name: propose(name) for name in "ab"}], RunnableLambda(write)))
call = {"name": "ask_panel", "args": {"question": "Where?"}, "id": "1", "type": "tool_call"}
asking = AIMessage("", tool_calls=[call]) if dies else "the agent's answer"
saver = SqliteSaver(sqlite3.connect(database, check_same_thread=False))
agent = create_agent(Caller(answers=[asking]), [tool], checkpointer=saver)
thread = {"configurable": {"thread_id": "1"}}
state = agent.invoke({"messages": "q"} if dies else None, thread, durability="sync")
print([message.content for message in state["messages"]])
"""


@pytest.mark.process
def test_call_in_a_process_that_was_killed_asks_nobody_twice(tmp_path):
    words = [sys.executable, "-c", ASKING, tmp_path / "runs.sqlite", tmp_path / "log"]
    killed, ended = (run_forked([*words, how]) for how in ("dies", "goes on"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert ended.stdout == "['q', '', 'final', \"the agent's answer\"]\n", ended.stderr
    assert sorted((tmp_path / "log").read_text()) == ["a", "b"]


def test_proposer_may_ask_a_human_through_the_agent(invoke, model, thread):
    sibling = model(answers=["one"])
    human = RunnableLambda(lambda _: AIMessage(interrupt("Which tree?")))
    writer = model(answers=["final"])
    tool = moa_tool(panel({"sibling": sibling, "human": _graph_of(human)}, writer))
    agent = agent_that_asks(tool, "Where?", saver=InMemorySaver())
    stopped = invoke(agent, {"messages": "q"}, thread)
    assert [each.value for each in stopped["__interrupt__"]] == ["Which tree?"]
    messages = invoke(agent, Command(resume="The oak."), thread)["messages"]
    proposals = next(each for each in messages if each.type == "tool").artifact["proposals"]
    assert list(map(itemgetter("content"), proposals.values())) == ["The oak.", "one"]
    assert len(sibling.asked) == 1


def _graph_of(runnable):
    node = StateGraph(MessagesState).add_node(
        "ask", lambda state: {"messages": [runnable.invoke(state)]}
    )
    return node.add_edge(START, "ask").compile()
