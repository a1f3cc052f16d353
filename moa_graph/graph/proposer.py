"""What one proposer does: read, ask, time, count, and keep the answer or the failure."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from functools import partial
from time import perf_counter, time
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import CachePolicy, Command

from moa_graph.errors import MoAError
from moa_graph.fair_scheduling import wait_for_turn
from moa_graph.graph import deadlines, quorum
from moa_graph.graph.answer_cache import AnswerCache, CacheBackend, CachedAnswer
from moa_graph.graph.failed_calls import describe_failure, may_be_billed
from moa_graph.graph.hedging import Hedge, Request
from moa_graph.graph.joint_samples import group_samples
from moa_graph.graph.model_call import call_model
from moa_graph.graph.prompts import PromptDraft, original_failure
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import (
    RETRY,
    LayerState,
    OriginalCallStats,
    Proposal,
    awaits_retry,
)
from moa_graph.graph.turns import unanswered_messages
from moa_graph.models.partial_answers import find_partial_answer
from moa_graph.models.served_context import ask_servers
from moa_graph.prompting import parsing
from moa_graph.prompting.choices import JOINT_SAMPLES
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.tokens import truncate_answer
from moa_graph.prompting.usage import clean_usage, sum_usages
from moa_graph.redaction import find_keys, without_keys
from moa_graph.sync_async import Flow, run_async, run_sync

_logger = logging.getLogger("moa_graph")

AGENT_METADATA_KEY = "moa_agent"
"""In the metadata of a call: whose it is."""


class HandoffError(MoAError):
    """An agent left its graph for a node of another one instead of giving an answer."""

    def __init__(self, command: Command[Any]) -> None:
        super().__init__(
            f"it handed over to {command.goto!r} of a graph around it (`Command(graph=…)`); "
            "expected an answer, which a mixture needs of each of its agents"
        )


class NodeRunnable(RunnableLambda[Any, Any]):
    """A node with a sync and an async side, called without a trace run beside LangGraph's own.

    Its function is called with the input, the config and the cache, and makes the flow to run.

    LangGraph finds the graph inside a node by its `deps`, which only a `RunnableLambda` has.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        agent_node: AgentNode | None = None,
        cache: CacheBackend | None = None,
    ) -> None:
        super().__init__(func)
        self._make_flow, self._agent_node, self._cache = func, agent_node, cache

    def with_cache(self, cache: CacheBackend) -> "NodeRunnable":
        """Copy it for a graph that is compiled with a cache."""
        return type(self)(self._make_flow, self._agent_node, cache)

    @property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graph that the agent of this node is, if it is one, so that LangGraph draws it."""
        graph = self._agent_node and self._agent_node.agent.model
        return [graph] if isinstance(graph, PregelProtocol) else []

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the sync side."""
        return run_sync(self._make_flow(input, config or {}, self._cache))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the async side."""
        await wait_for_turn()
        return await run_async(self._make_flow(input, config or {}, self._cache))

    # LangGraph streams a node where `astream_events` or `astream_log` listens. A RunnableLambda
    # would call the function itself then, without the cache; a plain runnable asks these two.
    stream, astream = Runnable.stream, Runnable.astream
    transform, atransform = Runnable.transform, Runnable.atransform


class StateNode(NodeRunnable):
    """A node that only reads the state: its function returns the result, and no thread is taken."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002, ARG002
        """Call the function."""
        return self._make_flow(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Call the function."""
        return self.invoke(input, config)


def proposer_node(
    agent_node: AgentNode,
    layer_spec: LayerSpec,
    layout: PromptLayout,
    cache_policy: CachePolicy[Any] | None = None,
) -> NodeRunnable:
    """Make the node that asks one proposer. It writes a proposal, whatever happens."""
    peers = layer_spec.agent_nodes[: layer_spec.agent_nodes.index(agent_node)]
    answer_cache = AnswerCache(agent_node, peers, layout, cache_policy)
    enter_layer = _layer_deadline_factory(layer_spec)
    join_samples = group_samples(
        agent_node, layer_spec.agent_nodes, partial(_asked_with, agent_node.node, layer_spec)
    )

    def propose(
        state: LayerState, config: RunnableConfig, cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        if agent_node.trim_history and (asking := ask_servers([agent_node.agent])):
            yield asking
        agent_node.build_models()  # a missing key is no failure of one proposer
        attempt = ProposerAttempt(agent_node, layer_spec, state, layout)
        record_failure = partial(attempt.record_failure, config)
        call_config = with_agent_metadata(agent_node, config)
        with (
            enter_layer(state) as deadline,
            join_samples(agent_node.model, state, config) as model_or_sampler,
            capture_errors(record_failure),
        ):
            entry = answer_cache.find_entry(
                attempt.draft.prompt.messages, cache, bypass_cache=attempt.bypass_cache
            )
            if cached_answer := (yield from entry.get()):
                attempt.record_cached_answer(cached_answer)
                deadline.count_answer()
            else:
                output = yield from attempt.ask(model_or_sampler, deadline, call_config)
                attempt.record_output(output)
                deadline.count_answer()
                yield from entry.store(output, attempt.proposal["seconds"])
        return {"proposals": {agent_node.node: attempt.proposal}}

    return NodeRunnable(propose, agent_node)


@contextmanager
def capture_errors(fail: Callable[[Exception], None]) -> Iterator[None]:
    """Hand over whatever goes wrong inside; raised, it would cancel the siblings' calls."""
    try:
        yield
    except ParentCommand as error:
        fail(HandoffError(error.args[0]))
    except GraphBubbleUp:  # LangGraph's own: a graph inside stops for a human
        raise
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        fail(RuntimeError(f"the call cancelled itself: {error!r}"))
    except Exception as error:  # noqa: BLE001  # whatever it is
        fail(error)


def _is_being_cancelled() -> bool:
    """Tell whether somebody cancels the task that runs; a sync run has none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return bool(task and task.cancelling())


class ProposerRequest(Request):
    """One request of a proposer."""

    def __init__(
        self,
        agent_node: AgentNode,
        model: Runnable[Any, Any],
        draft: PromptDraft,
        deadline: deadlines.LayerDeadline,
    ) -> None:
        self.draft, self._agent_node, self._deadline = draft, agent_node, deadline
        self.model, self._started = model, deadline.now()

    def repeat(self) -> "ProposerRequest":
        """Make it once more, for a client that does not retry; the timeout of the call goes on."""
        repeated = copy(self)
        repeated.draft, repeated.model = copy(self.draft), self._agent_node.hedge_model
        return repeated

    def ask(self, config: RunnableConfig) -> Flow[Any]:
        """Ask the model."""
        start_call = self._deadline.call_starter(
            self.model, self._agent_node.agent.call_timeout, config, started=self._started
        )
        return (yield from call_model(self._agent_node, self.draft, start_call))

    def check_output(self, output: Any) -> None:
        """Refuse an output that is no proposal."""
        message = parsing.to_message(output)
        parsing.check_answer(message, strip_thoughts(message.text))


class ProposerAttempt:
    """One attempt of an agent: what it reads, and the proposal that comes of it."""

    def __init__(
        self, agent_node: AgentNode, layer_spec: LayerSpec, state: LayerState, layout: PromptLayout
    ) -> None:
        self.draft = PromptDraft(agent_node, state, layout)
        self._agent_node, self._max_tokens = agent_node, layout.max_reference_tokens
        previous = state.get("proposals", {}).get(agent_node.node)
        self.bypass_cache = bool(previous and previous.get("error") == RETRY)
        turn_id = find_turn_id(layer_spec, state)
        self._failed_attempt = _failed_attempt(previous, turn_id)
        self._started, started = perf_counter(), time()
        self._hedge_usages = list[dict[str, Any] | None]()
        self.proposal = Proposal(
            layer=agent_node.layer,
            agent=agent_node.name,
            model=agent_node.agent.label,
            content="",
            error=None,
            truncated_chars=0,
            dropped_reference_chars=0,
            usage=None,
            cached=None,
            started=round(started, 3),
            seconds=0.0,
            finish_reason=None,
            turn_id=turn_id,
            attempt_id=uuid4().hex,
        )

    def ask(
        self, model: Runnable[Any, Any], deadline: deadlines.LayerDeadline, config: RunnableConfig
    ) -> Flow[Any]:
        """Ask the model, and once more where it gives nothing for the agent's `hedge`.

        Raises:
            Exception: Whatever the model raised.
        """
        request = ProposerRequest(self._agent_node, model, self.draft, deadline)
        hedge = Hedge(request, request.repeat, self._agent_node.agent.hedge)
        yield from hedge.run(config)
        self.draft = hedge.winner.draft
        for other in hedge.others:
            self._record_overtaken(other)
        if error := hedge.winner.error:
            raise error
        return hedge.winner.output

    def _record_overtaken(self, request: Request) -> None:
        """Take in a request whose answer is not used."""
        self.proposal["hedged"] = True
        self._hedge_usages.append(request.usage)
        if request.may_be_billed:
            self.proposal["may_be_billed"] = True

    def record_output(self, output: Any) -> None:
        """Take in what the model gave.

        Raises:
            EmptyAnswerError: If that is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it is no answer at all.
        """
        message = parsing.to_message(output)
        self._record_prompt()
        self.proposal["seconds"] = round(perf_counter() - self._started, 3)
        usage = parsing.read_usage(output)
        self._count_usage(usage.usage)
        if usage.is_cached:
            self.proposal["cached"] = OriginalCallStats(usage=usage.saved_usage, seconds=None)
        self.proposal["finish_reason"] = parsing.read_finish_reason(message)
        if count := message.response_metadata.get(JOINT_SAMPLES):
            self.proposal["joint_samples"] = count
        content = strip_thoughts(message.text)
        try:
            parsing.check_answer(message, content)
        except parsing.FailedAnswerError:
            self.proposal["partial_content"] = truncate_answer(content, self._max_tokens)[0]
            raise
        self.proposal["content"], self.proposal["truncated_chars"] = truncate_answer(
            content, self._max_tokens
        )

    def record_cached_answer(self, cached_answer: CachedAnswer) -> None:
        """Take in what the model gave before."""
        self.record_output(cached_answer["answer"])
        self._count_usage({**parsing.ZERO_USAGE})
        self.proposal["cached"] = cached_answer["took"]

    def record_failure(self, config: RunnableConfig, error: Exception) -> None:
        """Take in why there is no answer."""
        self._record_prompt()
        self.proposal["seconds"] = round(perf_counter() - self._started, 3)
        keys = [*self._agent_node.api_keys, *find_keys(config.get("configurable", {}))]
        self.proposal["error"] = describe_failure(error, *keys)
        failure = without_keys(original_failure(error), *keys)
        quorum.record_unreported_failure(self.proposal["attempt_id"], failure)
        self._record_cost(error)
        _logger.warning("%s failed: %s", self._agent_node.node, self.proposal["error"])

    def _record_cost(self, error: Exception) -> None:
        """Note what came before a call failed, and what it may cost."""
        if partial := find_partial_answer(error):
            content = strip_thoughts(partial.text)
            self.proposal["finish_reason"] = partial.finish_reason
            self.proposal["partial_content"] = truncate_answer(content, self._max_tokens)[0]
            self._count_usage(clean_usage(partial.usage))
        elif self.proposal["usage"] is None:
            self._count_usage(None)
        if not self.proposal["usage"] and may_be_billed(error):
            self.proposal["may_be_billed"] = True

    def _count_usage(self, usage: dict[str, Any] | None) -> None:
        """Note the tokens of the call, and of the attempt before it."""
        previous = self._failed_attempt
        known = [previous and previous["usage"], *self._hedge_usages, usage]
        self.proposal["usage"] = sum_usages(filter(None, known))
        if previous and previous.get("may_be_billed"):
            self.proposal["may_be_billed"] = True

    def _record_prompt(self) -> None:
        """Note what the agent was not shown."""
        self.proposal["dropped_reference_chars"] = self.draft.prompt.dropped_reference_chars
        if dropped := self.draft.prompt.dropped_messages:
            self.proposal["dropped_messages"] = dropped
        if refused := self.draft.refused_prompt:
            self.proposal["refused_prompt"] = refused


def _failed_attempt(previous: Proposal | None, turn_id: str) -> Proposal | None:
    """Give the attempt that failed before in the same turn, which was paid for, too."""
    is_failed = previous and previous["error"] and not previous["content"]
    return previous if previous and is_failed and previous["turn_id"] == turn_id else None


def find_turn_id(layer_spec: LayerSpec, state: LayerState) -> str:
    """Give the id of the message that a layer answers.

    A message that joins the conversation between two layers does not begin a turn: a layer
    belongs to the turn of the proposals that it reads, a retry to that of its first attempt.
    """
    proposals = state.get("proposals", {})
    read_proposals = [
        p for node in layer_spec.agent_nodes[0].reference_nodes if (p := proposals.get(node))
    ]
    turn_proposals = read_proposals or _proposals_before_retry(layer_spec, state)
    return turn_proposals[0]["turn_id"] if turn_proposals else _newest_turn_id(state["messages"])


def _newest_turn_id(messages: Sequence[AnyMessage]) -> str:
    """Give the id of the message that is answered.

    Behind an answer it is the user's message before: another mixture in the same host has just
    answered it, and this one goes on from there.
    """
    last = messages[-1]
    if isinstance(last, AIMessage) and not last.tool_calls:
        last = next((m for m in reversed(messages) if isinstance(m, HumanMessage)), last)
    return last.id or ""


def _proposals_before_retry(layer_spec: LayerSpec, state: LayerState) -> Sequence[Proposal]:
    """Give a layer's proposals where some of its proposers are asked again; else nothing.

    Marks alone do not tell: a turn that was killed leaves them behind.
    """
    layer_proposals = list(layer_spec.proposals_in(state).values())
    open_ids = {message.id for message in unanswered_messages(state["messages"])}
    marked = any(awaits_retry(p) and p["turn_id"] in open_ids for p in layer_proposals)
    return layer_proposals if state.get("is_retry") or marked else []


def _asked_with(node: str, layer_spec: LayerSpec, state: LayerState) -> Sequence[str]:
    """Name the proposers of a layer that are asked beside one, as far as the state tells it."""
    marked = quorum.nodes_marked_for_retry(layer_spec.proposals_in(state))
    return marked if node in marked else [each.node for each in layer_spec.agent_nodes]


def _layer_deadline_factory(
    layer_spec: LayerSpec,
) -> Callable[[LayerState], AbstractContextManager[deadlines.LayerDeadline]]:
    """Give what a proposer enters while it runs: where nobody is cut off, it has no siblings."""
    if layer_spec.policy.has_no_cutoff:
        alone = deadlines.LayerDeadline(layer_spec.policy, unfinished=1, required_answers=1)
        return lambda _: nullcontext(alone)
    return partial(_enter_layer_deadline, layer_spec)


def _enter_layer_deadline(
    layer_spec: LayerSpec, state: LayerState
) -> AbstractContextManager[deadlines.LayerDeadline]:
    previous = _proposals_before_retry(layer_spec, state)
    answered = sum(not p["error"] for p in previous)
    asked = len(previous) or len(layer_spec.agent_nodes)  # what a human dropped is not asked again
    return deadlines.enter_layer(
        layer_spec.number, layer_spec.policy, proposer_count=asked, answered=answered
    )


def with_agent_metadata(agent_node: AgentNode, config: RunnableConfig) -> RunnableConfig:
    """Say whose call it is, and have `stream_mode="messages"` leave its tokens out if hidden."""
    metadata = {**(config.get("metadata") or {}), AGENT_METADATA_KEY: agent_node.node}
    tags = [*(config.get("tags") or ()), *([TAG_NOSTREAM] if agent_node.hide_tokens else [])]
    return {**config, "metadata": metadata, "tags": tags}
