"""The nodes that bring proposals together: layer aggregators and the aggregator."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import RunnableConfig
from langgraph.types import CachePolicy

from moa_graph.deprecated import with_old_keys
from moa_graph.errors import MoAError
from moa_graph.graph import quorum
from moa_graph.graph.answer_cache import AnswerCache, CacheBackend
from moa_graph.graph.deadlines import DeadlineExceededError, LayerDeadline
from moa_graph.graph.error_causes import error_with_causes, reduce_error
from moa_graph.graph.failed_calls import (
    EARLIER_CALLS_KEY,
    FailedCall,
    describe_failure,
    may_be_billed,
    note_writer_error,
)
from moa_graph.graph.hedging import Hedge
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.options import Aggregation
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.prompts import PromptDraft, current_limits, original_failure
from moa_graph.graph.proposer import (
    NodeRunnable,
    StateNode,
    capture_errors,
)
from moa_graph.graph.references import references_update, without_references
from moa_graph.graph.run_summary import RunSummary
from moa_graph.graph.selection import ModelCall, NumberRequest
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import (
    LayerState,
    MoAState,
    OriginalCallStats,
    Proposal,
    retry_mark_update,
)
from moa_graph.graph.writer import Writer, WriterRequest
from moa_graph.models.partial_answers import PartialAnswer, find_partial_answer
from moa_graph.models.served_context import ask_servers
from moa_graph.prompting import parsing
from moa_graph.prompting.history import has_media
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.tokens import truncate_answer
from moa_graph.prompting.usage import clean_usage, sum_usages
from moa_graph.redaction import find_keys, without_keys
from moa_graph.sync_async import Flow


class AggregatorError(MoAError):
    """No aggregator wrote an answer.

    Where the failures of the aggregator and all its fallbacks share a type, such as LangChain's
    `ContextOverflowError`, the error has it too. Its `__cause__` is the aggregator's failure.

    `invoke(None, config)` on the same thread asks the aggregators again, and no proposer.
    """

    failures: dict[str, str]
    """Cause of each failure: of the `aggregator`, and of each of its fallbacks."""
    failed_calls: Sequence[FailedCall] = ()
    """What each of these calls took, and those that failed before a run of `moa` was resumed."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        self.failures = dict(failures)
        causes = "; ".join(f"{name}: {cause}" for name, cause in self.failures.items())
        Exception.__init__(self, f"no final answer: {causes}")  # no other type's

    def __repr__(self) -> str:
        """Say what the calls took, too: LangGraph stores an error by this text, and no more."""
        brief = [
            {k: v for k, v in each.items() if k != "partial_content"} for each in self.failed_calls
        ]
        return f"{type(self).__name__}({', '.join(map(repr, [str(self), *filter(None, [brief])]))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(self, AggregatorError, self.failures)


def layer_aggregator_node(
    layer_spec: LayerSpec, layout: PromptLayout, readers: Sequence[AgentNode]
) -> NodeRunnable:
    """Make the node that templates the proposals of a layer for those who read them next.

    It also notes how long their prompts may be, so that a checkpoint holds it.

    Where the layer lacks its quorum, the node marks the proposals to be asked for again.
    """

    def gather(
        state: MoAState, _config: RunnableConfig, _cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        proposals = layer_spec.proposals_in(state)
        if retry_nodes := quorum.nodes_to_retry(layer_spec.number, proposals, layer_spec.policy):
            marks = {node: retry_mark_update(proposals[node]) for node in retry_nodes}
            return {"proposals": marks, "is_retry": True}
        return (yield from brief_readers(list(proposals), state, layout, readers))

    return NodeRunnable(gather)


def brief_readers(
    nodes: Sequence[str],
    state: LayerState | MoAState,
    layout: PromptLayout,
    readers: Sequence[AgentNode],
) -> Flow[dict[str, Any]]:
    """Template the proposals of these nodes, and note how long the prompts of readers may be."""
    if asking := ask_servers([each.agent for each in readers]):
        yield asking
    limits = {each.node: current_limits(each) for each in readers}
    known = {node: each for node, each in limits.items() if each["context_tokens"]}
    update: dict[str, Any] = references_update(nodes, state, layout)
    return update | ({"model_limits": known} if known or state.get("model_limits") else {})


def layer_router(
    layer_aggregator: str, layer_spec: LayerSpec, readers: Sequence[AgentNode]
) -> NodeRunnable:
    """Make the conditional edges behind a layer aggregator.

    They read the marks that the layer aggregator, or a human through `update_state`, left in the
    state. After an update as the layer aggregator that leaves the layer without its quorum, the
    node itself decides.
    """
    next_nodes = [agent_node.node for agent_node in readers]

    def route(state: MoAState) -> Sequence[str]:
        proposals = layer_spec.proposals_in(state)
        if marked := quorum.nodes_marked_for_retry(proposals):
            return marked
        return next_nodes if quorum.has_quorum(proposals, layer_spec.policy) else [layer_aggregator]

    return StateNode(route)


def aggregator_node(
    aggregators: Sequence[AgentNode],
    layer_specs: Sequence[LayerSpec],
    layout: PromptLayout,
    aggregation: Aggregation = "synthesize",
    cache_policy: CachePolicy[Any] | None = None,
) -> NodeRunnable:
    """Make the node that gives the final answer: the first of the writers that can does.

    Args:
        aggregators: The aggregator, and its fallbacks.
        layer_specs: The layers of proposers.
        layout: What a writer of an answer reads, and where.
        aggregation: Whether they write the answer, or pick it among the last layer's proposals.
        cache_policy: Whether what they wrote before is taken from the cache.
    """
    deadline = LayerDeadline(LayerPolicy(quorum=1), unfinished=1, required_answers=1)
    summary_builder_class = (
        SelectionSummaryBuilder if aggregation == "select" else RunSummaryBuilder
    )
    layout = layout.for_selection() if aggregation == "select" else layout
    writers = [
        Writer(each, AnswerCache(each, (), layout, cache_policy), NumberRequest(each), deadline)
        for each in aggregators
    ]

    def aggregate(
        state: LayerState, config: RunnableConfig, cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        summary = summary_builder_class(layer_specs, state)
        summary.failed_calls += (config.get("configurable") or {}).get(EARLIER_CALLS_KEY, ())
        start = partial(summary.start_request, state=state, layout=layout, cache=cache)
        waiting = list(writers)
        while waiting:
            hedge = start(waiting[0]).hedged(waiting[1:], start)
            yield from hedge.run(config)
            del waiting[: len({each.node for each in hedge.requests})]
            summary.record_hedge(hedge, config)
            with capture_errors(partial(summary.record_failure, hedge.winner, config)):
                if error := hedge.winner.error:
                    raise error
                answer = summary.to_final_message(hedge.winner)
                yield from hedge.winner.store()
                return {"messages": [answer]}
        raise summary.build_error([each.node for each in aggregators])

    return NodeRunnable(aggregate, aggregators[0])


def _may_call_tools(agent_node: AgentNode, messages: Sequence[AnyMessage]) -> bool:
    """Whether a writer may have been given tools, or read of any.

    A model that has a name alone was given none.
    """
    from moa_graph.models.adapt import (  # noqa: PLC0415  # loaded with the model
        is_chat_model_without_tools,
    )

    is_named = isinstance(agent_node.agent.model, str)
    has_tools = not (is_named and is_chat_model_without_tools(agent_node.model))
    return has_tools or any(each.type == "tool" for each in messages)


class RunSummaryBuilder:
    """How an answer came about."""

    def __init__(self, layer_specs: Sequence[LayerSpec], state: LayerState) -> None:
        nodes = [
            agent_node.node for layer_spec in layer_specs for agent_node in layer_spec.agent_nodes
        ]
        self.layers, self.proposers = len(layer_specs), nodes
        self.proposals = {node: p for node in nodes if (p := state["proposals"].get(node))}
        self.failures: dict[str, str] = {}
        self.failed_calls: list[FailedCall] = []
        self._causes: dict[str, Exception] = {}
        self._hedged: list[str] = []

    def start_request(
        self, writer: Writer, *, state: LayerState, layout: PromptLayout, cache: CacheBackend | None
    ) -> WriterRequest:
        """Assemble what a writer reads, and note when it is asked."""
        draft = PromptDraft(writer.agent_node, state, layout)
        return WriterRequest(writer, draft, cache, self.ask, self.check_output)

    def ask(self, request: NumberRequest, model: Any, call: ModelCall) -> Flow[Any]:  # noqa: ARG002  # who selects needs it
        """Ask a model for an answer."""
        return call(model)

    def check_output(self, request: WriterRequest, output: Any) -> None:
        """Refuse an output that is no answer.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it is no answer at all.
        """
        message = parsing.to_message(output)
        may_call_tools = bool(message.tool_calls) and _may_call_tools(
            request.agent_node, request.draft.prompt.messages
        )
        has_answer = may_call_tools or has_media(message)
        parsing.check_answer(message, "no text" if has_answer else strip_thoughts(message.text))

    def record_hedge(self, hedge: Hedge[WriterRequest], config: RunnableConfig) -> None:
        """Take in the request whose answer is not used, if there is one beside the other."""
        for other in hedge.others:
            self._hedged.append(hedge.requests[0].node)
            if other.writer is hedge.winner.writer:
                hedge.winner.overtaken = other
            else:
                error = _failure_of(other)
                if error is None:
                    error = DeadlineExceededError(f"cut off: {hedge.winner.node} answered first")
                    error.__cause__ = other.error
                self.record_failure(other, config, error)

    def record_failure(
        self, request: WriterRequest, config: RunnableConfig, error: Exception
    ) -> None:
        """Take in why a writer gave no answer."""
        node = request.node
        keys = [*request.agent_node.api_keys, *find_keys(config.get("configurable", {}))]
        self.failures[node] = describe_failure(error, *keys)
        self._causes[node] = without_keys(original_failure(error), *keys)
        note_writer_error(node, self._causes[node])
        self.failed_calls.append(self._read_failed_call(request, error))

    def build_error(self, nodes: Sequence[str]) -> AggregatorError:
        """Say why no writer gave an answer, in the order of their nodes."""
        causes = [self._causes[node] for node in nodes]
        failures = {node: self.failures[node] for node in nodes}
        error = error_with_causes(causes, AggregatorError, failures)
        error.failed_calls = sorted(self.failed_calls, key=lambda each: nodes.index(each["node"]))
        return error

    def _read_failed_call(self, request: WriterRequest, error: Exception) -> FailedCall:
        partial = find_partial_answer(error) or _partial_of_output(request.output)
        usage = request.with_overtaken_usage(clean_usage(partial.usage))
        return FailedCall(
            node=request.node,
            model=request.agent_node.agent.label,
            error=self.failures[request.node],
            partial_content=truncate_answer(strip_thoughts(partial.text))[0],
            finish_reason=partial.finish_reason,
            usage=usage,
            may_be_billed=(usage is None and may_be_billed(error)) or request.is_overtaken_billed,
            started=request.started,
            seconds=request.seconds,
        )

    def to_final_message(self, request: WriterRequest) -> AIMessage:
        """Turn an aggregator's output into the message that joins the conversation.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it is no answer at all.
        """
        self.check_output(request, request.output)
        message = self._read_message(request)
        answer = message.model_copy(update={"content": parsing.content_without_reasoning(message)})
        metadata = {**message.response_metadata, "moa": with_old_keys(self._build_summary(request))}
        if "finish_reason" in metadata:
            metadata["finish_reason"] = parsing.read_finish_reason(message)
        answer.response_metadata = metadata
        answer.usage_metadata = cast("UsageMetadata | None", clean_usage(message.usage_metadata))
        return answer

    def _read_message(self, request: WriterRequest) -> AIMessage:
        """Find the message in an output, and note whether LangChain's cache gave it."""
        message, usage = parsing.to_message(request.output), parsing.read_usage(request.output)
        if not usage.is_cached:
            return message
        request.cached = OriginalCallStats(usage=usage.saved_usage, seconds=None)
        return message.model_copy(update={"usage_metadata": {**parsing.ZERO_USAGE}})

    def _build_summary(self, request: WriterRequest) -> RunSummary:
        failed = {node: error for node, p in self.proposals.items() if (error := p["error"])}
        calls = {node: p["usage"] for node, p in self.proposals.items() if node not in failed}
        usage = {**parsing.ZERO_USAGE} if request.cached else parsing.sum_usage(request.output)
        usage = request.with_overtaken_usage(usage)
        paid = [each["usage"] for each in (*self.proposals.values(), *self.failed_calls)]
        summary: RunSummary = {
            "layers": self.layers,
            "proposers": self.proposers,
            "asked": len(self.proposers),
            "answered": len(calls),
            "failed": list(failed),
            "errors": failed | self.failures,
            "aggregator": request.agent_node.agent.label,
            "aggregator_usage": usage,
            "started": request.started,
            "seconds": request.seconds,
            "dropped_reference_chars": request.draft.prompt.dropped_reference_chars,
            "usage": sum_usages(filter(None, [*paid, usage])),
            "usage_unknown": self._find_unknown({**calls, AGGREGATOR: usage}, request),
        }
        if dropped := request.draft.prompt.dropped_messages:
            summary["dropped_messages"] = dropped
        if self.failed_calls:
            summary["failed_calls"] = self.failed_calls
        if refused := request.draft.refused_prompt:
            summary["refused_prompt"] = refused
        if hedged := [n for n, p in self.proposals.items() if p.get("hedged")] + self._hedged:
            summary["hedged"] = hedged
        if cached_stats := self._find_cached(request):
            summary["cached"] = list(cached_stats)
            saved = [cached["usage"] for cached in cached_stats.values()]
            summary["saved_usage"] = sum_usages(filter(None, saved))
            summary["aggregator_cached"] = request.cached
        return summary

    def _find_cached(self, request: WriterRequest) -> dict[str, OriginalCallStats]:
        """Give what the answers took that came from a cache, by node."""
        stats = {node: c for node, p in self.proposals.items() if (c := p.get("cached"))}
        return stats | ({AGGREGATOR: request.cached} if request.cached else {})

    def _find_unknown(self, usages: Mapping[str, Any], request: WriterRequest) -> list[str]:
        """Name those whose tokens are not known, and who may be billed."""
        unknown = [node for node, usage in usages.items() if not usage]
        unknown += [node for node, p in self.proposals.items() if p.get("may_be_billed")]
        unknown += [each["node"] for each in self.failed_calls if each["may_be_billed"]]
        unknown += [AGGREGATOR] if request.is_overtaken_billed else []
        return list(dict.fromkeys(unknown))


class SelectionSummaryBuilder(RunSummaryBuilder):
    """How an answer came about that is one of the proposals.

    The references are templated here once more, not by the layer aggregator alone: a thread can
    go on with a mixture that writes where it began with one that selects, and the other way round.
    """

    def __init__(self, layer_specs: Sequence[LayerSpec], state: LayerState) -> None:
        super().__init__(layer_specs, state)
        last = {agent_node.node for agent_node in layer_specs[-1].agent_nodes}
        self._candidates = [
            (node, p) for node, p in self.proposals.items() if node in last and not p["error"]
        ]

    def start_request(
        self, writer: Writer, *, state: LayerState, layout: PromptLayout, cache: CacheBackend | None
    ) -> WriterRequest:
        """Assemble what a judge reads, and note when it is asked."""
        own = without_references(state)  # a prompt of its own
        return super().start_request(writer, state=own, layout=layout, cache=cache)

    def ask(self, request: NumberRequest, model: Any, call: ModelCall) -> Flow[Any]:
        """Ask a judge for a number."""
        return request.ask(model, len(self._candidates), call)

    def check_output(self, request: WriterRequest, output: Any) -> None:  # noqa: ARG002  # who writes reads it
        """Refuse an output that picks no proposal.

        Raises:
            InvalidSelectionError: If it picks none.
            TypeError: If it is no answer at all.
        """
        self._find_pick(output)

    def _find_pick(self, output: Any) -> tuple[str, Proposal]:
        """Find the proposal that an output picks, with its node."""
        texts = [proposal["content"] for _, proposal in self._candidates]
        number = parsing.parse_selected_number(parsing.to_message(output), len(texts), texts)
        return self._candidates[number - 1]

    def to_final_message(self, request: WriterRequest) -> AIMessage:
        """Make the proposal that a judge picked the message that joins the conversation.

        Raises:
            InvalidSelectionError: If it picked none.
            TypeError: If it gave no answer at all.
        """
        node, proposal = self._find_pick(request.output)
        selection = self._read_message(request)
        reason = {"finish_reason": r} if (r := proposal["finish_reason"]) else {}
        summary = {**self._build_summary(request), "selected": node}
        return AIMessage(
            proposal["content"],
            id=selection.id,
            usage_metadata=selection.usage_metadata,
            response_metadata={**reason, "moa": with_old_keys(summary)},
        )


def _failure_of(request: WriterRequest) -> Exception | None:
    """Give why a request that was made has no answer; `None` if it was cut off, or has one."""
    if request.error is None and request.is_done:
        try:
            request.check_output(request.output)
        except Exception as error:  # noqa: BLE001  # whatever it is
            return error
    return request.error if isinstance(request.error, Exception) else None


def _partial_of_output(output: Any) -> PartialAnswer:
    """Give what there is of an output that was refused."""
    try:
        message = parsing.to_message(output)
    except TypeError:
        return PartialAnswer("", None)
    reason = parsing.read_finish_reason(message)
    return PartialAnswer(message.text, parsing.sum_usage(output), reason)
