"""Code as users write it, for type checkers: `mypy --strict` accepts this file as it stands.

What must be refused bears a `type: ignore` with the error's code: one that refuses nothing is
itself an error (`warn_unused_ignores`). `tests/typing/test_typing.py` runs mypy; nothing runs
this file.
"""

from collections.abc import Mapping, Sequence
from typing import Any, assert_type

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import CachePolicy, GraphOutput, StateSnapshot

from moa_graph import (
    RETRY,
    Agent,
    ChatMoA,
    MoAConfig,
    MoAState,
    Proposal,
    RunSummary,
    create_moa,
)
from moa_graph.graph.builder import CompiledMoAGraph, MoAGraph

WRITER = "offline:consensus"
LAYERS = [["offline:lead", "offline:bm25"]]


def options_of_create_moa(function: RunnableLambda[Any, AIMessage], agent: Agent) -> None:
    """All options, by position and by name; models as strings, agents and runnables."""
    assert_type(create_moa(LAYERS, WRITER), MoAGraph)
    create_moa(layers=[{"a": "offline:lead", "b": agent}, [function, WRITER]], aggregator=function)
    create_moa(({"a": WRITER},), agent, quorum=(1,), grace=[None], deadline=[1.5])
    create_moa(
        LAYERS,
        WRITER,
        fallbacks=[agent, WRITER],
        aggregation="select",
        quorum=2,
        grace=1,
        deadline=None,
        prompt="Judge them.",
        references_in="user",
        max_reference_tokens=None,
        stream_proposals=True,
        cache_policy=CachePolicy(ttl=60),
        lazy=True,
    )


def mistakes_with_create_moa() -> None:
    """Names that are none, values of another type, and what is left out."""
    create_moa(LAYERS, WRITER, qourum=3)  # type: ignore[call-arg]
    create_moa(LAYERS, WRITER, quorum="two")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, grace=[1, "2"])  # type: ignore[list-item]
    create_moa(LAYERS, WRITER, aggregation="vote")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, references_in="tool")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, max_reference_tokens=1.5)  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, cache_policy=60)  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, lazy="yes")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, final="select")  # type: ignore[call-arg]
    create_moa(LAYERS, WRITER, "select")  # type: ignore[call-arg]
    create_moa(LAYERS)  # type: ignore[call-arg]
    create_moa([[1]], WRITER)  # type: ignore[list-item]
    create_moa(LAYERS, 1)  # type: ignore[arg-type]


def options_of_chat_moa(function: RunnableLambda[Any, AIMessage]) -> None:
    """Options of `create_moa`, and of any chat model."""
    model = ChatMoA(LAYERS, function)
    assert_type(model.quorum, int | float | Sequence[int | float])
    assert_type(model.references_in == "user", bool)
    assert_type(model.invoke("Why?"), AIMessage)
    ChatMoA(
        layers=LAYERS,
        aggregator=WRITER,
        fallbacks=[WRITER],
        aggregation="synthesize",
        quorum=[0.5],
        grace=1,
        deadline=2,
        prompt="Judge them.",
        references_in="user",
        max_reference_tokens=100,
        lazy=True,
        consult="every_call",
        proposal_cache=InMemoryCache(),
        model_name="mine",
        stop=["END"],
        streaming=True,
        tags=["a"],
        cache=True,
    )


def mistakes_with_chat_moa() -> None:
    """As with `create_moa`; what a chat model has no use for is none of its options."""
    ChatMoA(LAYERS, WRITER, qourum=3)  # type: ignore[call-arg]
    ChatMoA(LAYERS, WRITER, quorum="two")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, aggregation="vote")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, model_name=1)  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, consult="always")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, proposal_cache="a.sqlite")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, stream_proposals=True)  # type: ignore[call-arg]
    ChatMoA(LAYERS, WRITER, cache_policy=None)  # type: ignore[call-arg]
    ChatMoA(LAYERS, WRITER, final="select")  # type: ignore[call-arg]
    ChatMoA(LAYERS)  # type: ignore[call-arg]
    ChatMoA(LAYERS, 1)  # type: ignore[arg-type]


def results_of_a_graph(builder: MoAGraph) -> AnyMessage:
    """`version="v2"` types what `invoke` gives; by default LangGraph gives a plain `dict`."""
    graph = builder.compile(InMemorySaver(), cache=InMemoryCache(), name="moa")
    assert_type(graph, CompiledMoAGraph)
    output = graph.invoke({"messages": "Why?"}, version="v2")
    assert_type(output, GraphOutput[MoAState])
    assert_type(output.value["messages"], list[AnyMessage])
    assert_type(output.value["proposals"], dict[str, Proposal])
    output.value["proposal"]  # type: ignore[typeddict-item]
    assert_type(graph.get_state({"configurable": {"thread_id": "1"}}), StateSnapshot)
    return output.value["messages"][-1]


async def results_of_an_async_call(builder: MoAGraph) -> None:
    """Likewise."""
    output = await builder.compile().ainvoke({"messages": "Why?"}, version="v2")
    assert_type(output.value["proposals"], dict[str, Proposal])


def mistakes_with_compile(builder: MoAGraph) -> None:
    """Arguments of `compile` are those of LangGraph's."""
    builder.compile(chekpointer=InMemorySaver())  # type: ignore[call-arg]
    builder.compile(name=1)  # type: ignore[arg-type]


def use_as_a_subgraph(graph: CompiledMoAGraph) -> None:
    """A host takes it as a node."""
    StateGraph(MessagesState).add_node("moa", graph)


def read_proposals(state: MoAState) -> Mapping[str, str]:
    """Take apart what the proposers answered."""
    proposals = state["proposals"].values()
    total = sum(proposal["seconds"] for proposal in proposals)
    assert_type(total + 0.0, float)
    return {p["agent"]: p["error"] or p["content"] for p in proposals if p["error"] != RETRY}


def read_summary(message: AIMessage) -> Sequence[str]:
    """Take apart how an answer came about."""
    summary: RunSummary = message.response_metadata["moa"]
    assert_type(summary["answered"], int)
    summary["recieved"]  # type: ignore[typeddict-item]
    return [*summary["failed"], *summary.get("cached", [])]


def configure() -> None:
    """A configuration gives the graph and the chat model."""
    mixture = MoAConfig.load("offline")
    assert_type(mixture.quorum, int | float | Sequence[int | float])
    assert_type(mixture.graph(), MoAGraph)
    assert_type(mixture.chat_model(), ChatMoA)
