"""Build a Mixture-of-Agents graph: layers, each with its layer aggregator, and an aggregator."""

from collections.abc import Callable
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeVar

from langgraph.graph import MessagesState
from langgraph.graph.state import CompiledStateGraph

from moa_graph.deprecated import accept_old_options
from moa_graph.graph.compiled import ExclusiveThreadGraph
from moa_graph.graph.graph_nodes import MoAStateGraph, add_nodes
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_runnable import NodeRunnable
from moa_graph.graph.options import GraphOptions, accept_fields
from moa_graph.graph.resolution import resolve_options
from moa_graph.graph.state import MoAState

CompiledMoAGraph = CompiledStateGraph[MoAState, Any, Any, MoAState]

P = ParamSpec("P")
T = TypeVar("T")


def _with_parameters_of(
    method: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Give a method the signature of the method that it overrides, for type checkers and `help`."""

    def decorate(override: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        override.__signature__ = signature(method)  # type: ignore[attr-defined]  # of any callable
        return override

    return decorate


class MoAGraph(MoAStateGraph):
    """A `StateGraph` that runs all proposers of a layer in parallel once it is compiled."""

    def __init__(self, spec: GraphSpec) -> None:
        super().__init__(MoAState, input_schema=MessagesState)
        self.spec = spec
        add_nodes(self, spec)

    @_with_parameters_of(MoAStateGraph.compile)
    def compile(self, *args: Any, **kwargs: Any) -> CompiledMoAGraph:
        """Compile as `StateGraph.compile` does.

        A sync run has enough threads for the widest layer: LangGraph's default is the number of
        processors plus four. A `max_concurrency` in the config of a call takes precedence.
        """
        compiled = ExclusiveThreadGraph.of(super().compile(*args, **kwargs))
        if compiled.cache:
            for node in compiled.nodes.values():
                if isinstance(node.bound, NodeRunnable):
                    node.bound = node.bound.with_cache(compiled.cache)
        return compiled


@accept_old_options
@accept_fields(GraphOptions)
def create_moa(options: GraphOptions) -> MoAGraph:  # noqa: D417  # the fields are its arguments
    """Create a Mixture-of-Agents graph (Wang et al. 2024, arXiv 2406.04692, section 2.2).

    The proposers of the first layer answer the conversation in parallel. Those of each further
    layer also read the answers of the layer before. The aggregator reads the last layer and writes
    the final answer, which is the one message that joins `messages`.

    Args:
        layers: The layers of proposers, first to last. The paper counts the aggregator as one
            more: its 3-layer mixture has two layers here. A layer is a mapping from names to
            models, or a list of models, whose names are derived from the models. A model is a
            `"provider:model"` string, an `Agent` with options, or any runnable that takes messages
            and returns an `AIMessage`: a chat model, a chain, an agent, another mixture.
        aggregator: The model that writes the final answer.
        fallbacks: Models that replace the aggregator when it fails, in this order.
        voters: Agents that rank the proposals with `aggregation="vote"`; by default the proposers
            of the last layer, of which there must be at least three. `quorum`, `grace` and
            `deadline` of the last layer also apply to the ballots.
        analysis: Whether a model compares the proposals before the aggregator writes: `True` for
            the model of the aggregator, or another model, an `Agent` or any runnable that returns
            JSON. The node `analysis` writes to the state key `analysis` what the proposals agree
            on (`consensus`), their `contradictions` with the nodes behind each, what is `unique` to
            one, and their `blind_spots`. The aggregator reads it beside the proposals. An analysis
            that cannot be parsed is left out, and `response_metadata["moa"]` says so.
        aggregation: How the proposals of the last layer become the answer. `"synthesize"`: the
            aggregator reads all and writes an answer; `"select"`: it picks one of them (the LLM
            ranker of the paper), which becomes the answer, word for word, without streaming;
            `"sequential"`: it reads them window by window; `"vote"`: agents rank them, and the
            winner is the answer, word for word, or the best go to the aggregator. With `"select"`,
            the provider restricts the reply to a number if it can. A reply with no number or
            several is a failure. `response_metadata["moa"]["selected"]` names the chosen node. With
            `"sequential"`, each window is read with the answer so far (sequential Self-MoA, arXiv
            2502.00674), which suits a small context and dozens of `samples`. Each window except the
            last is a node; the last one writes the answer. With `"vote"`, no agent ranks its own
            proposal, and `response_metadata["moa"]["vote"]` holds points, ties and missing ballots.
        references_per_window: Number of proposals in a window with `aggregation="sequential"`.
        finalists: Number of best-ranked proposals that the aggregator reads with
            `aggregation="vote"`. With 1, the winner is the answer and the aggregator is not called.
        analysis_only: Whether the aggregator reads the analysis instead of the proposals. If the
            analysis was left out, it reads the proposals.
        quorum: How many proposers of a layer must answer: a number (`int`), or a share of the
            layer (`float`), rounded up. One value for all layers, or one for each.
        grace: Extra seconds that slow proposers get once the quorum has answered; then they are
            cut off. `None`: wait for all. One value, or one for each layer. An async call is
            cancelled together with its HTTP request. A sync call cannot be cancelled: the layer
            continues without it, and its thread ends when the client of the provider does;
            Ctrl-C in a sync run waits for that. In a process that resumes a killed run, answers
            from before the kill do not start the grace period; a `deadline` always applies.
        deadline: Seconds after which proposers of a layer without an answer are cut off, whether
            the quorum is reached or not. One value, or one for each layer. For async and sync
            calls it works as `grace` does.
        prompt: Instructions for agents that read references; `None` for the paper's,
            `AGGREGATE_AND_SYNTHESIZE`. An aggregator that selects has its own prompt.
        references_in: Place of the references: at the end of the `"system"` message, as in the
            paper, or at the end of the last `"user"` message, between tags that their text cannot
            forge, and marked as data.
        max_reference_tokens: Estimated tokens to which a proposal is truncated; all references
            together may have four times as many. `None` for no limit. If the context of a model is
            known, they are also truncated to fit it.
        max_tool_result_tokens: Estimated tokens to which a tool result is truncated for agents,
            with a note; the state keeps the whole result. `None` for no limit.
        trim_history: Whether the oldest turns of a conversation that does not fit the known context
            of a model are left out of its prompt; the state keeps them. The last turn and system
            messages stay. References may take half of the space.
        mark_truncated: Whether a note follows a proposal that its model did not complete (because
            of `max_tokens` or a filter). The paper has no such note.
        references_per_reader: Number of proposals that each proposer of a further layer reads,
            drawn for each (recursive self-aggregation, arXiv 2509.26626). `None` for all. The
            aggregator always reads all. The draw depends on the question and the reader's node;
            `references_read` and `references_seed` of a proposal record it.
        order: Order in which agents read proposals: `"configured"`, or `"shuffled"` for each
            reader, so that no proposal always comes first. The shuffle is reproducible.
        include_reasoning: Whether agents also read the reasoning that precedes an answer (arXiv
            2605.29116), after its proposal and within `max_reference_tokens`. The reasoning comes
            from tags, from blocks of the message, or from the field `reasoning_content` of a
            server's answer. The state keeps it with the proposal.
        early_stop: Decides after each layer except the last whether the aggregator writes now:
            `agreement(0.9)` (or `0.9`); a function of the layer's proposals, sync or async, that
            returns `True`, a reason to stop or `(True, "why")`; or a decision model of LangChain.
            If the decision fails, the run continues, and the summary says so.
            `response_metadata["moa"]["depth"]` holds the decision. With
            `aggregation="sequential"`, the aggregator then reads the proposals of the layer at
            once; with `"vote"`, it writes without a vote, and with `analysis` there is none.
        max_cost: Budget of a run in US dollars: a further layer runs only if the rest of the budget
            pays for it, as estimated from the run so far. The first layer and the aggregator
            always run, so the cost can exceed the budget by the layer under way and the aggregator.
            A model without a known price is an error.
        prices: US dollars for a million tokens read and a million written, by `provider:model`, for
            `max_cost`; other prices come from the package `genai-prices`.
        shadow: Whether `early_stop` and `router` only record their decisions: all layers run, and
            `depth` holds what would have been saved.
        router: A `Router`: a node before the first layer sends easy questions to one model and hard
            ones to the layers. If it fails, the question goes to the layers.
        lazy: Whether the models of `"provider:model"` strings are built at the first call. A graph
            can then be drawn and deployed without keys.
        stream_proposals: Whether `stream_mode="messages"` also shows the tokens of proposers.
        cache_policy: Reuse answers: an agent called again with an identical request returns its
            cached answer, from the `cache` that the graph is compiled with, as in
            `StateGraph.add_node`; failures are not cached. Only `ttl` may be set: the key consists
            of model, parameters, endpoint and everything that is read. Answers of
            `"provider:model"` strings, and of chat models that LangChain can serialize, are cached.

    Returns:
        The builder of the graph. Compile it with your own checkpointer, store, cache and name.

    Raises:
        ValueError: If a layer is empty, LangGraph does not accept a name, the name of a model or an
            option is invalid, or a key is missing.
        ImportError: If the package of a provider is not installed.

    Example:
        ```python
        moa = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus").compile()
        moa.invoke({"messages": "Where is it? It is under the tree."})["messages"][-1].text
        ```
    """
    return MoAGraph(resolve_options(options))
