"""Build a Mixture-of-Agents graph: layers, each with its layer aggregator, and an aggregator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import chain
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import CachePolicy

from moa_graph.deprecated import accept_old_options
from moa_graph.graph.aggregator import (
    aggregator_node,
    layer_aggregator_node,
    layer_router,
)
from moa_graph.graph.answer_cache import check_policy
from moa_graph.graph.compiled import ExclusiveThreadGraph
from moa_graph.graph.node_names import AGGREGATOR, layer_aggregator_name
from moa_graph.graph.options import Aggregation, GraphOptions, accept_fields
from moa_graph.graph.policy import policies_for_layers
from moa_graph.graph.proposer import NodeRunnable, proposer_node
from moa_graph.graph.spec import AgentNode, LayerSpec, resolve_agents
from moa_graph.graph.state import LayerState, MoAState
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, PromptLayout
from moa_graph.prompting.tokens import check_token_limit

MoAStateGraph = StateGraph[MoAState, Any, Any, MoAState]  # the context is the caller's
CompiledMoAGraph = CompiledStateGraph[MoAState, Any, Any, MoAState]

MIN_CONCURRENCY = 128
"""Threads that wait in a sync call; LangGraph starts each when it is needed."""


P = ParamSpec("P")
T = TypeVar("T")


def _with_parameters_of(
    method: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Give a method the parameters of the one that it overrides, for type checkers and `help`."""

    def decorate(override: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        override.__signature__ = signature(method)  # type: ignore[attr-defined]  # of any callable
        return override

    return decorate


@dataclass(frozen=True)
class GraphSpec:
    """A resolved graph: the agents and policy of each layer, the aggregators, the prompt layout."""

    layers: Sequence[LayerSpec]
    aggregators: Sequence[AgentNode]
    """The aggregator, and its fallbacks."""
    layout: PromptLayout
    aggregation: Aggregation = "synthesize"
    cache_policy: CachePolicy[Any] | None = None

    def __deepcopy__(self, _: Any) -> "GraphSpec":
        """Share it with a copy of the graph: it never changes."""
        return self

    def find_agent_node(self, node: str) -> AgentNode | None:
        """Find the agent of a node."""
        agent_nodes = chain(
            *(layer_spec.agent_nodes for layer_spec in self.layers), self.aggregators
        )
        return next((agent_node for agent_node in agent_nodes if agent_node.node == node), None)


class MoAGraph(MoAStateGraph):
    """A `StateGraph` that, once compiled, runs as many nodes at a time as a layer has."""

    def __init__(self, spec: GraphSpec) -> None:
        super().__init__(MoAState, input_schema=MessagesState)
        self.spec = spec
        layer_specs, aggregators = spec.layers, spec.aggregators
        for layer_spec, readers in zip(
            layer_specs, [*(r.agent_nodes for r in layer_specs[1:]), aggregators], strict=True
        ):
            _add_layer(self, layer_spec, readers, spec)
        for agent_node in layer_specs[0].agent_nodes:
            self.add_edge(START, agent_node.node)
        aggregator = aggregator_node(
            aggregators, layer_specs, spec.layout, spec.aggregation, spec.cache_policy
        )
        add_agent(self, aggregators[0], aggregator, aggregation=spec.aggregation)
        self.add_edge(AGGREGATOR, END)

    @_with_parameters_of(MoAStateGraph.compile)
    def compile(self, *args: Any, **kwargs: Any) -> CompiledMoAGraph:
        """Compile as `StateGraph.compile` does, with threads enough for a layer.

        LangGraph's own default is four more than the machine has processors. A
        `max_concurrency` in the config of a call takes precedence.
        """
        workers = max(MIN_CONCURRENCY, len(self.nodes))
        compiled = ExclusiveThreadGraph.of(super().compile(*args, **kwargs))
        if compiled.cache:
            for node in compiled.nodes.values():
                if isinstance(node.bound, NodeRunnable):
                    node.bound = node.bound.with_cache(compiled.cache)
        return compiled.with_config(max_concurrency=workers)


@accept_old_options
@accept_fields(GraphOptions)
def create_moa(options: GraphOptions) -> MoAGraph:  # noqa: D417  # the fields are its arguments
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
        fallbacks: Models that are asked for the final answer, in this order, when the
            aggregator fails.
        aggregation: Whether the aggregator is to `"synthesize"` an answer of its own, or to
            `"select"` one of the last layer's proposals (the paper's LLM ranker), which then is
            the answer, word for word, and not streamed. It is asked for a number, in a form
            that its provider holds it to where it can; a reply that points to no number, or
            to several, is a failure. Which one it picked stands in
            `response_metadata["moa"]["selected"]`.
        quorum: How many proposers of a layer must answer for it to go on: a number (`int`), or
            a share of the layer (`float`), rounded up. One value for all layers, or one each.
        grace: Seconds that the other proposers of a layer still get when its quorum is in; then
            they are cut off. `None` waits for all. One value, or one each. An async call is
            cancelled, with its HTTP request. A sync call cannot be: the layer goes on without
            it, and its thread ends when the provider's client does (so does the wait after
            Ctrl-C in a sync run). In a process that resumes a killed run, what was answered
            before the kill does not count for the grace; a `deadline` holds in any case.
        deadline: Seconds after which the proposers of a layer that have not answered are cut
            off, quorum or not. One value, or one each; async and sync as with `grace`, and
            with the `timeout` of an `Agent`.
        prompt: What readers of references are told to do with them; `None` for the paper's,
            `AGGREGATE_AND_SYNTHESIZE`. An aggregator that selects has a prompt of its own.
        references_in: Where references stand: at the end of the `"system"` message, as in the
            paper, or at the end of the last `"user"` message, each between tags that its text
            cannot forge and with a word that it is data.
        max_reference_tokens: Tokens (estimated) beyond which a proposal is cut; all references
            together are cut at four times as many. `None` for no bound. Where the size of a
            reader's context is known, they are cut to fit it in any case.
        max_tool_result_tokens: Tokens (estimated) beyond which agents are shown the beginning of a
            tool's result, and a word that it was cut; the state keeps it whole. `None` for no
            bound.
        trim_history: Whether an agent is not shown the oldest turns of a conversation that does
            not fit the context of its model, as far as that is known; the state keeps them. The
            last turn and system messages stay. References may take half of the room.
        mark_truncated: Whether readers are told of a proposal that its model did not end by itself
            (it came to its `max_tokens`, or a filter cut it) where it breaks off. By default they
            are not, as in the paper.
        lazy: Build the models of `"provider:model"` strings at the first call, not now. A graph
            can then be drawn and deployed where its keys are not set.
        stream_proposals: Whether `stream_mode="messages"` shows the proposers' tokens beside
            the aggregator's.
        cache_policy: Reuse answers: an agent called again with an identical request returns its
            cached answer, from the `cache` that the graph is compiled with; as in
            `StateGraph.add_node`, but a failure is never kept. Only `ttl` may be set: the key is
            made of model, parameters, endpoint and all that is read. Kept are the answers of
            `"provider:model"` strings, and of chat models that LangChain can describe.

    Returns:
        The graph's builder: compile it with a checkpointer, store, cache and name of your own.

    Raises:
        ValueError: If a layer is empty, a name is not one that LangGraph takes, a model's name
            or an option makes no sense, or a key is missing.
        ImportError: If a provider's package is not installed.

    Example:
        ```python
        moa = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus").compile()
        moa.invoke({"messages": "Where is it? It is under the tree."})["messages"][-1].text
        ```
    """
    if options.aggregation not in get_args(Aggregation):
        raise ValueError(
            f"`aggregation`={options.aggregation!r}: expected 'synthesize' or 'select'"
        )
    check_policy(options.cache_policy)
    check_token_limit("max_tool_result_tokens", options.max_tool_result_tokens)
    prompt = AGGREGATE_AND_SYNTHESIZE if options.prompt is None else options.prompt
    layout = PromptLayout(
        prompt,
        options.references_in,
        options.max_reference_tokens,
        mark_truncated=options.mark_truncated,
    )
    agent_nodes, aggregators = resolve_agents(
        options.layers,
        [options.aggregator, *options.fallbacks],
        hide_proposer_tokens=not options.stream_proposals,
        hide_aggregator_tokens=options.aggregation == "select",
        trim_history=options.trim_history,
        max_tool_result_tokens=options.max_tool_result_tokens,
    )
    policies = policies_for_layers(
        [len(row) for row in agent_nodes], options.quorum, options.grace, options.deadline
    )
    layer_specs = [
        LayerSpec(number, *row)
        for number, row in enumerate(zip(agent_nodes, policies, strict=True), 1)
    ]
    if not options.lazy:
        aggregators[0].build_models()
    return MoAGraph(
        GraphSpec(layer_specs, aggregators, layout, options.aggregation, options.cache_policy)
    )


def _add_layer(
    builder: MoAStateGraph, layer_spec: LayerSpec, readers: Sequence[AgentNode], spec: GraphSpec
) -> None:
    layer_aggregator = layer_aggregator_name(layer_spec.number)
    for agent_node in layer_spec.agent_nodes:
        add_agent(
            builder,
            agent_node,
            proposer_node(agent_node, layer_spec, spec.layout, spec.cache_policy),
        )
        builder.add_edge(agent_node.node, layer_aggregator)
    # `destinations` are what is drawn; without a `path_map`, edges of a retry stay undrawn.
    next_agents = [each for each in readers if each not in spec.aggregators[1:]]
    builder.add_node(
        layer_aggregator,
        layer_aggregator_node(layer_spec, spec.layout, readers),
        destinations=tuple(each.node for each in next_agents),
    )
    builder.add_conditional_edges(
        layer_aggregator, layer_router(layer_aggregator, layer_spec, next_agents)
    )


def add_agent(builder: MoAStateGraph, agent_node: AgentNode, node: Any, **metadata: str) -> None:
    """Add the node of an agent to a graph."""
    builder.add_node(
        agent_node.node,
        node,
        input_schema=LayerState,
        metadata={"model": agent_node.agent.label, **metadata},
    )
