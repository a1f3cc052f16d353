"""Build a Mixture-of-Agents graph: layers of proposers, a hub behind each, and an aggregator."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from moa_graph.agents import aggregator_node, hub_node, proposer_node
from moa_graph.calling import WORKERS
from moa_graph.models import Agent, Model
from moa_graph.naming import AGGREGATOR
from moa_graph.prompts import AGGREGATE_AND_SYNTHESIZE
from moa_graph.seats import Layer, Seat, assign_seats
from moa_graph.state import LayerState, MoAState

Builder = StateGraph[MoAState, None, Any, MoAState]


class MoAGraph(Builder):
    """A `StateGraph` that, once compiled, runs as many nodes at a time as a layer has."""

    def compile(
        self, *args: Any, **kwargs: Any
    ) -> CompiledStateGraph[MoAState, None, Any, MoAState]:
        """Compile as `StateGraph.compile` does, with threads enough for a layer.

        LangGraph's own default is four more than the machine has processors. A
        `max_concurrency` in the config of a call takes precedence.
        """
        workers = max(WORKERS, len(self.nodes))
        return super().compile(*args, **kwargs).with_config(max_concurrency=workers)


def create_moa(
    layers: Sequence[Layer],
    aggregator: Model | Agent,
    *,
    prompt: str = AGGREGATE_AND_SYNTHESIZE,
    stream_proposals: bool = False,
    lazy: bool = False,
) -> Builder:
    """Create a Mixture-of-Agents graph (Wang et al. 2024, arXiv 2406.04692, section 2.2).

    The proposers of the first layer answer the conversation side by side; those of each further
    layer also read the answers of the layer before; the aggregator reads the last layer's and
    writes the final answer, which is the one message that joins `messages`.

    Args:
        layers: The layers of proposers, first to last. The paper counts the aggregator as one
            more: its 3-layer mixture has two layers here. A layer maps names to models, or
            lists models, which are then named after themselves. A model is a
            `"provider:model"` string, an `Agent` with options, or any runnable from messages
            to an `AIMessage`: a chat model, a chain, an agent, another mixture.
        aggregator: The model that writes the final answer.
        prompt: What readers of references are told to do with them; the paper's by default.
        stream_proposals: Whether `stream_mode="messages"` shows the proposers' tokens beside
            the aggregator's.
        lazy: Build the models of `"provider:model"` strings at the first call, not now. A graph
            can then be drawn and deployed where its keys are not set.

    Returns:
        The graph's builder: compile it with a checkpointer, store, cache and name of your own.

    Raises:
        ValueError: If a layer is empty, a name is not one that LangGraph takes, a model's name
            or option makes no sense, or a key is missing.
        ImportError: If a provider's package is not installed.

    Example:
        ```python
        moa = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus").compile()
        moa.invoke({"messages": "Where is it? It is under the tree."})["messages"][-1].text
        ```
    """
    team, rows, writer = assign_seats(layers, aggregator, hidden=not stream_proposals)
    builder = MoAGraph(MoAState, input_schema=MessagesState)
    for row, readers in pairwise([*rows, [writer]]):
        _add_layer(builder, row, readers, prompt)
    for seat in rows[0]:
        builder.add_edge(START, seat.node)
    proposers = [seat for row in rows for seat in row]
    _add_agent(builder, writer, aggregator_node(writer, proposers))
    builder.add_edge(AGGREGATOR, END)
    if not lazy:
        team.build()
    return builder


def _add_layer(builder: Builder, row: Sequence[Seat], readers: Sequence[Seat], prompt: str) -> None:
    hub = f"layer_{row[0].layer}_{AGGREGATOR}"
    for seat in row:
        _add_agent(builder, seat, proposer_node(seat))
        builder.add_edge(seat.node, hub)
    builder.add_node(
        hub,
        hub_node(row, readers, prompt),
        destinations=tuple(seat.node for seat in readers),
    )


def _add_agent(builder: Builder, seat: Seat, node: Any) -> None:
    builder.add_node(
        seat.node,
        node,
        input_schema=LayerState if seat.layer > 1 else MoAState,
        metadata={"model": seat.agent.label},
    )
