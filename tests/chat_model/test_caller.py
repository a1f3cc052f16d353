"""What the caller of a `ChatMoA` gives beside messages reaches the models, as in the graph."""

import asyncio
import threading
from dataclasses import dataclass

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain.agents.middleware import dynamic_prompt
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import get_runtime
from langgraph.store.memory import InMemoryStore
from waiting import wait_for, wait_until

from moa_graph import ChatMoA, create_moa


@dataclass
class User:
    name: str


def test_agents_in_it_find_the_context_and_the_store_of_the_agent_around_it(invoke):
    seen = []

    @dynamic_prompt
    def prompt(request):
        seen.append((request.runtime.context, request.runtime.store))
        return "Be kind."

    expert = create_agent(FakeModel(), [], middleware=[prompt], context_schema=User)
    store = InMemoryStore()
    graph = create_moa([{"a": expert}], FakeModel()).compile(store=store)
    model = ChatMoA([{"a": expert}], FakeModel())
    outer = create_agent(model, [], context_schema=User, store=store)
    for runnable in (graph, outer):
        invoke(runnable, {"messages": "q"}, context=User("ann"))
        assert seen.pop() == (User("ann"), store)
        assert not seen


def test_functions_in_it_find_both_where_a_node_calls_or_streams_it(stream):
    store = InMemoryStore()

    def remember(_):
        get_store().put(("seen",), get_runtime(User).context.name, {})
        return AIMessage("seen")

    model = ChatMoA([{"a": RunnableLambda(remember)}], RunnableLambda(remember))
    host = StateGraph(MessagesState, context_schema=User)
    host.add_node("ask", lambda state: {"messages": model.invoke(state["messages"])})
    host.add_node("tell", lambda state: {"messages": list(model.stream(state["messages"]))[-1]})
    graph = host.add_edge(START, "ask").add_edge("ask", "tell").compile(store=store)
    stream(graph, {"messages": "q"}, context=User("bob"))
    assert [item.key for item in store.search(("seen",))] == ["bob"]


@pytest.mark.parametrize("how", ["invoke", "stream", "batch"])
@pytest.mark.parametrize("bound", [True, False])
async def test_values_of_a_config_reach_proposers_and_aggregator(how, bound):
    seen = []

    def keep(_, config):
        seen.append(config["configurable"])
        return AIMessage("kept")

    agent = RunnableLambda(keep)
    model = ChatMoA([{"a": agent}], agent)
    values = {"user_id": "ann", "thread_id": "7"}
    config = {"configurable": {**values, "checkpoint_ns": "of the host", "checkpoint_id": "1"}}
    if bound:
        model, config = model.with_config(config), None
    if how == "batch":
        model.batch(["q"], config)
        await model.abatch(["q"], config)
    elif how == "invoke":
        model.invoke("q", config)
        await model.ainvoke("q", config)
    else:
        list(model.stream("q", config))
        [_ async for _ in model.astream("q", config)]
    assert len(seen) == 4
    for each in seen:
        assert values.items() <= each.items()
        assert each.get("checkpoint_ns") != "of the host"
        assert each.get("checkpoint_id") != "1"


class Crowd:
    """Agents that count how many of them run at a time."""

    def __init__(self) -> None:
        self.lock, self.now, self.most, self.limit = threading.Lock(), 0, 0, 2

    def enter(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self):
        with self.lock:
            self.now -= 1
        return AIMessage("x")

    def ask(self, _):
        self.enter()
        wait_for(lambda: self.most >= self.limit)
        return self.leave()

    async def aask(self, _):
        self.enter()
        await wait_until(lambda: self.most >= self.limit)
        await asyncio.sleep(0)
        return self.leave()

    def layer(self):
        return {f"a{i}": RunnableLambda(self.ask, self.aask) for i in range(6)}


def test_max_concurrency_holds_in_it(invoke):
    crowd = Crowd()
    model = ChatMoA([crowd.layer()], FakeModel())
    invoke(model, "q", {"max_concurrency": 2})
    assert crowd.most == 2


def test_max_concurrency_of_the_graph_around_it_holds_in_it(invoke):
    crowd = Crowd()
    agent = create_agent(ChatMoA([crowd.layer()], FakeModel()), [])
    invoke(agent, {"messages": "q"}, {"max_concurrency": 2})
    assert crowd.most == 2


def test_without_any_all_proposers_run_at_a_time(invoke):
    crowd = Crowd()
    crowd.limit = 6
    invoke(ChatMoA([crowd.layer()], FakeModel()), "q")
    assert crowd.most == 6


def test_thread_of_the_graph_around_it_is_not_written_to(invoke):
    saver = InMemorySaver()
    agent = create_agent(ChatMoA([[FakeModel()]], FakeModel()), [], checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}
    for _ in range(2):
        result = invoke(agent, {"messages": "q"}, config)
    assert [message.type for message in result["messages"]] == ["human", "ai"] * 2
    namespaces = {each.config["configurable"]["checkpoint_ns"] for each in saver.list(config)}
    assert namespaces == {""}
