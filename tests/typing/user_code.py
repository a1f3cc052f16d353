"""Code as users write it, for type checkers: `mypy --strict` accepts this file as it stands.

What must be refused bears a `type: ignore` with the error's code: one that refuses nothing is
itself an error (`warn_unused_ignores`). `tests/typing/test_typing.py` runs mypy; nothing runs
this file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_type

from langchain.agents import create_agent
from langchain.agents.middleware import PIIMiddleware
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import CachePolicy, GraphOutput, StateSnapshot

from moa_graph import (
    RETRY,
    Agent,
    ChatMoA,
    MoAConfig,
    MoAMiddleware,
    MoAState,
    OpenTelemetryHandler,
    Proposal,
    Router,
    RunSummary,
    Turn,
    agreement,
    create_moa,
    deployable,
    draw_mermaid,
    draw_png,
    draw_svg,
    moa_tool,
    read_turn,
    report,
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
    create_moa(LAYERS, WRITER, aggregation="poll")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, references_in="tool")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, max_reference_tokens=1.5)  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, cache_policy=60)  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, lazy="yes")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, final="select")  # type: ignore[call-arg]
    create_moa(LAYERS, WRITER, "select")  # type: ignore[call-arg]
    create_moa(LAYERS)  # type: ignore[call-arg]
    create_moa([[1]], WRITER)  # type: ignore[list-item]
    create_moa(LAYERS, 1)  # type: ignore[arg-type]


def is_hard(messages: Sequence[BaseMessage]) -> bool:
    """Choose by the length of the question."""
    return len(messages[-1].text) > 200


async def is_settled(proposals: Sequence[Proposal]) -> tuple[bool, str]:
    """Stop where all say the same."""
    return len({each["content"] for each in proposals}) == 1, "word for word"


def options_of_readers_and_depth(model: RunnableLambda[Any, AIMessage], agent: Agent) -> None:
    """A router, an early stop, a budget; who reads what, and how the answer comes of it."""
    create_moa(LAYERS, WRITER, router=Router(is_hard, easy="offline:lead"))
    create_moa(LAYERS, WRITER, router=Router("openai:gpt-6-luna", easy={"a": agent, "b": model}))
    create_moa(LAYERS, WRITER, early_stop=agreement(0.9), shadow=True)
    create_moa(LAYERS, WRITER, early_stop=0.9, max_cost=0.1, prices={WRITER: (1, 2.5)})
    create_moa(LAYERS, WRITER, early_stop=is_settled)
    create_moa(LAYERS, WRITER, aggregation="sequential", references_per_window=4)
    create_moa(LAYERS, WRITER, aggregation="vote", voters={"a": agent}, finalists=2)
    create_moa(LAYERS, WRITER, analysis=agent, analysis_only=True)
    create_moa(LAYERS, WRITER, references_per_reader=2, order="shuffled", include_reasoning=True)
    ChatMoA(LAYERS, WRITER, router=Router(is_hard, easy=agent), early_stop=agreement())
    stops, why = agreement(0.8)([])
    assert_type(stops, bool)
    assert_type(why, str)


def mistakes_with_readers_and_depth() -> None:
    """As with the other options."""
    create_moa(LAYERS, WRITER, router=is_hard)  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, early_stop="often")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, order="random")  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, references_per_reader=0.5)  # type: ignore[arg-type]
    create_moa(LAYERS, WRITER, prices={WRITER: 1})  # type: ignore[dict-item]
    Router(is_hard)  # type: ignore[call-arg]
    Router(is_hard, "offline:lead")  # type: ignore[call-arg]
    Router(is_hard, easy=1)  # type: ignore[arg-type]
    agreement("high")  # type: ignore[arg-type]


def tools(builder: MoAGraph, graph: CompiledMoAGraph) -> list[BaseTool]:
    """A mixture as a tool, of whatever it is."""
    moa_tool(graph, "panel")  # type: ignore[call-arg]
    moa_tool("offline")  # type: ignore[arg-type]
    return [moa_tool(builder), moa_tool(MoAConfig.load("offline"), name="a", description="b")]


def look_at_a_run(graph: CompiledMoAGraph, snapshot: StateSnapshot) -> Turn:
    """Drawings, a report, a trace, and the newest turn."""
    state = graph.invoke({"messages": "Why?"}, {"callbacks": [OpenTelemetryHandler()]})
    prices = {WRITER: (1.0, 2.0)}
    assert_type(draw_mermaid(graph), str)
    assert_type(draw_svg(graph, state, prices=prices), str)
    assert_type(draw_png(graph, state), bytes)
    assert_type(report(state, graph, history=[snapshot], prices=prices), str)
    draw_png(graph, "state")  # type: ignore[arg-type]
    report()  # type: ignore[call-arg]
    OpenTelemetryHandler(capture="all")  # type: ignore[call-arg]
    return read_turn(snapshot, [snapshot])


def deploy() -> Callable[..., CompiledMoAGraph]:
    """A graph for `langgraph.json`."""
    deployable("offline", answer_only="yes")  # type: ignore[call-overload]
    return deployable("offline")


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
    ChatMoA(LAYERS, WRITER, aggregation="poll")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, model_name=1)  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, consult="always")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, proposal_cache="a.sqlite")  # type: ignore[arg-type]
    ChatMoA(LAYERS, WRITER, stream_proposals=True)  # type: ignore[call-arg]
    ChatMoA(LAYERS, WRITER, cache_policy=None)  # type: ignore[call-arg]
    ChatMoA(LAYERS, WRITER, final="select")  # type: ignore[call-arg]
    ChatMoA(LAYERS)  # type: ignore[call-arg]
    ChatMoA(LAYERS, 1)  # type: ignore[arg-type]


def options_of_the_middleware(function: RunnableLambda[Any, AIMessage], look: BaseTool) -> None:
    """Those of the layers, and its own; beside other middleware of an agent."""
    panel = MoAMiddleware(
        layers=[{"a": "offline:lead", "b": Agent(model=WRITER)}, [function]],
        quorum=[1, 1],
        grace=1,
        deadline=None,
        prompt="Judge them.",
        references_in="system",
        max_reference_tokens=None,
        early_stop=agreement(0.9),
        max_cost=0.5,
        prices={"openai:gpt-6-luna": (0.1, 0.5)},
        shadow=True,
        consult=3,
        on_failure="continue",
        system_prompt="You help.",
        tools=[look],
        max_history_tokens=None,
        lazy=True,
        stream_proposals=True,
        name="panel",
    )
    assert_type(panel.name, str)
    create_agent("openai:gpt-6-luna", [look], middleware=[PIIMiddleware("email"), panel])
    create_agent("openai:gpt-6-luna", middleware=[MoAMiddleware(LAYERS)])
    MoAMiddleware(LAYERS, early_stop=lambda proposals: len(proposals) > 1)


def mistakes_with_the_middleware() -> None:
    """As with `create_moa`; the agent's own model is its aggregator."""
    MoAMiddleware()  # type: ignore[call-arg]
    MoAMiddleware(LAYERS, quorum="two")  # type: ignore[arg-type]
    MoAMiddleware(LAYERS, aggregator=WRITER)  # type: ignore[call-arg]
    MoAMiddleware(LAYERS, consult="always")  # type: ignore[arg-type]
    MoAMiddleware(LAYERS, on_failure="stop")  # type: ignore[arg-type]
    MoAMiddleware(LAYERS, early_stop="agreed")  # type: ignore[arg-type]
    MoAMiddleware(LAYERS, max_cost="a dollar")  # type: ignore[arg-type]
    MoAMiddleware(LAYERS, router=None)  # type: ignore[call-arg]
    MoAMiddleware([[1]])  # type: ignore[list-item]


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
