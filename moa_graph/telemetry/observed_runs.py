"""Observe runs of mixtures, agents and model calls through LangChain's callbacks.

A graph is recognized as a mixture by the first node of an agent. Cancelled calls end with the run
around them, because LangChain does not report their end.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from time import perf_counter, time_ns
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp

from moa_graph.graph.failed_calls import classify_failure
from moa_graph.graph.node_names import (
    AGGREGATOR,
    DECIDER,
    ROUTER,
    parse_helper_role,
    parse_node_name,
)
from moa_graph.graph.proposer import AGENT_METADATA_KEY
from moa_graph.graph.run_summary import RunSummary, read_run_summary
from moa_graph.graph.writer_failures import AggregatorError
from moa_graph.telemetry import agent_outcomes
from moa_graph.telemetry.agent_outcomes import AgentOutcome

RunKind = Literal["mixture", "agent", "call"]
MixtureStatus = Literal["answered", "degraded", "failed", "cancelled", "interrupted"]

_NODE_TAG = "graph:step:"  # LangGraph's metadata key of a node
_CHAT_MOA = "moa"  # type of a `ChatMoA` in LangChain's invocation parameters


class ObservedRun:
    """An observed run; listeners do not receive runs with the `kind` `None`."""

    def __init__(
        self, run_id: UUID, name: str, parent: "ObservedRun | None", metadata: Mapping[str, Any]
    ) -> None:
        self.id, self.name, self.parent, self.metadata = run_id, name, parent, metadata
        self.kind: RunKind | None = None
        self.started_ns = time_ns()
        """Start in nanoseconds since 1970."""
        self.error: BaseException | None = None
        """Error that ended the run."""
        self.outcomes: list[AgentOutcome] = []
        """Mixture or agent: outcomes of the called agents."""
        self.summary: RunSummary | None = None
        """Mixture: its run summary."""
        self.first_token_seconds: float | None = None
        """Streamed call or mixture: time of the first token of the answer."""
        self.messages: Sequence[BaseMessage] = ()
        """Call: its prompt."""
        self.parameters: Mapping[str, Any] = {}
        """Call: its parameters."""
        self.response: LLMResult | None = None
        """Call: its output."""
        self.previous: Mapping[str, Any] | None = None
        """Proposer: its earlier proposal."""
        self.open_children: set[ObservedRun] = set()
        self.is_interrupted = False
        """Mixture: whether one of its agents was interrupted."""
        self.is_chat_model = False
        """Mixture: whether it is a `ChatMoA`; the run of its graph is a child."""
        self.started_at = perf_counter()
        """Start on the clock of `perf_counter`."""

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.started_at

    @property
    def message(self) -> AIMessage | None:
        """Call or `ChatMoA`: its message."""
        generations = self.response.generations if self.response else []
        first = generations[0][0] if generations and generations[0] else None
        message = getattr(first, "message", None)
        return message if isinstance(message, AIMessage) else None

    @property
    def agent_node(self) -> str | None:
        """Call: the node of its agent."""
        return self.metadata.get(AGENT_METADATA_KEY)

    @property
    def decider(self) -> str | None:
        """Router or layer aggregator: its decision model, if there is one."""
        name = parse_node_name(self.name)
        decides = self.name == ROUTER or (name is not None and name.is_layer_aggregator)
        return self.metadata.get(DECIDER) if decides else None

    @property
    def is_nested(self) -> bool:
        """Mixture: whether it is an agent of another one, whose tokens include its own."""
        return self.find_around("mixture") is not None

    @property
    def status(self) -> MixtureStatus:
        """Completed mixture: its status."""
        if self.is_interrupted or isinstance(self.error, GraphBubbleUp):
            return "interrupted"
        if self.error is None:
            is_degraded = self.summary["errors"] if self.summary else self.failures
            return "degraded" if is_degraded else "answered"
        return "failed" if isinstance(self.error, Exception) else "cancelled"

    @property
    def failures(self) -> dict[str, AgentOutcome]:
        """Mixture: outcomes of failed agents, by node."""
        return {each.node: each for each in self.outcomes if each.cause}

    def find_around(self, *kinds: RunKind) -> "ObservedRun | None":
        """Return the nearest parent run of one of these kinds."""
        run = self.parent
        while run is not None and run.kind not in kinds:
            run = run.parent
        return run


class RunListener:
    """Receives mixtures, agents and calls; methods do nothing by default."""

    def run_started(self, run: ObservedRun) -> None:
        """Process the start of a run; a mixture is recognized shortly after its start."""

    def run_ended(self, run: ObservedRun) -> None:
        """Process the end of a run."""


class RunObserver(BaseCallbackHandler):
    """Callback handler that reports runs of mixtures to listeners."""

    run_inline = True  # otherwise LangChain starts a thread for each event

    def __init__(self, listeners: Sequence[RunListener]) -> None:
        self._listeners = listeners
        self._runs: dict[UUID, ObservedRun] = {}
        self._lock = threading.RLock()  # a sync graph runs its nodes in threads

    @property
    def ignore_retry(self) -> bool:
        """Whether to ignore retries of a client."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Whether to ignore events of an application."""
        return True

    def close(self) -> None:
        """End all open runs."""
        for run in [each for each in self._runs.values() if each.parent is None]:
            self._end(run.id, asyncio.CancelledError())

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Process the start of a graph, a node, or another runnable."""
        run = self._open(run_id, parent_run_id, kwargs.get("name"), metadata)
        if not _is_agent(run, tags or ()):
            return
        if run.parent:
            self._recognize_mixture(run.parent)
        if isinstance(inputs, Mapping):
            run.previous = (inputs.get("proposals") or {}).get(run.name)
        self._announce_run(run, "agent")

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Process the output of a graph or a node."""
        if run := self._runs.get(run_id):
            if run.kind == "agent":
                _read_outputs(run, outputs)
            elif run.name == AGGREGATOR:
                _read_decision(run, outputs)
            self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Process the error of a graph or a node."""
        run = self._runs.get(run_id)
        if run and run.kind == "agent":
            _read_error(run, error)
        parent = run.parent if run else None
        self._end(run_id, error)
        if parent and parent.is_chat_model and isinstance(error, asyncio.CancelledError):
            self._end(parent.id, error)  # its end is not reported

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Process the start of a call, or of a mixture that is a chat model."""
        parameters = kwargs.get("invocation_params") or {}
        is_mixture = parameters.get("_type") == _CHAT_MOA
        name = parameters.get("model_name") if is_mixture else kwargs.get("name")
        run = self._open(run_id, parent_run_id, name, metadata)
        run.messages, run.parameters = messages[0] if messages else (), parameters
        run.is_chat_model = is_mixture
        self._announce_run(run, "mixture" if is_mixture else "call")

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:
        """Record the time of the first token."""
        run = self._runs.get(run_id)
        if run is None or run.first_token_seconds is not None:
            return
        if not token and not getattr(getattr(chunk, "message", None), "tool_call_chunks", None):
            return
        run.first_token_seconds = run.seconds
        mixture = run.find_around("mixture")
        node = run.agent_node or ""
        is_answer = parse_node_name(node) is None and parse_helper_role(node) is None
        if mixture and mixture.first_token_seconds is None and is_answer:
            mixture.first_token_seconds = mixture.seconds

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """Process the output of a call."""
        if run := self._runs.get(run_id):
            run.response = response
            if run.is_chat_model:
                run.summary = read_run_summary(run.message) or run.summary
            self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Process the error of a call."""
        self._end(run_id, error)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Process the start of a text completion model, which is not reported."""
        self._open(run_id, parent_run_id, kwargs.get("name"), metadata)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Process the start of a tool, whose calls belong to its agent."""
        self._open(run_id, parent_run_id, kwargs.get("name"), metadata)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """Process the end of a tool."""
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Process the error of a tool."""
        self._end(run_id, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Process the start of a retriever, whose calls belong to its agent."""
        self._open(run_id, parent_run_id, kwargs.get("name"), metadata)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        """Process the end of a retriever."""
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Process the error of a retriever."""
        self._end(run_id, error)

    def _open(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> ObservedRun:
        parent = self._runs.get(parent_run_id) if parent_run_id else None
        run = ObservedRun(run_id, name or "", parent, metadata or {})
        with self._lock:
            self._runs[run_id] = run
            if parent:
                parent.open_children.add(run)
        return run

    def _recognize_mixture(self, graph: ObservedRun) -> None:
        """Mark a graph as a mixture, unless it is the graph of a `ChatMoA`."""
        with self._lock:
            is_new = graph.kind is None and not (graph.parent and graph.parent.is_chat_model)
            if is_new:
                self._announce_run(graph, "mixture")

    def _announce_run(self, run: ObservedRun, kind: RunKind) -> None:
        run.kind = kind
        for listener in self._listeners:
            listener.run_started(run)

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is None:
                return
            children = [*run.open_children]
            if run.parent:
                run.parent.open_children.discard(run)
        for child in children:  # cancelled calls
            unfinished = error or asyncio.CancelledError()
            if child.kind == "agent":
                _read_error(child, unfinished)
            self._end(child.id, unfinished)
        run.error = error
        if run.kind == "agent" and (mixture := run.find_around("mixture")):
            mixture.outcomes += run.outcomes
        if run.kind:
            for listener in self._listeners:
                listener.run_ended(run)


def _is_agent(run: ObservedRun, tags: Sequence[str]) -> bool:
    """Return whether a run is the node of an agent or of a decision model."""
    node = run.metadata.get("langgraph_node")
    if node != run.name or not any(tag.startswith(_NODE_TAG) for tag in tags):
        return False
    name = parse_node_name(run.name)
    if run.decider:
        return True
    is_proposer = name is not None and not name.is_layer_aggregator
    is_other = node == AGGREGATOR or parse_helper_role(run.name) is not None
    return (is_proposer or is_other) and "model" in run.metadata


def _read_outputs(run: ObservedRun, outputs: Any) -> None:
    """Record the output of an agent's node."""
    if run.decider:
        decision = agent_outcomes.read_decision(run.name, outputs, run.decider, run.seconds)
        run.outcomes += [decision] if decision else []
    elif run.name != AGGREGATOR:
        outcome = agent_outcomes.read_proposer(run.name, outputs, run.previous)
        run.outcomes += [outcome] if outcome else []
    elif summary := agent_outcomes.read_summary(outputs):
        run.outcomes += agent_outcomes.read_writers(summary, run.started_ns / 1e9)
        if mixture := run.find_around("mixture"):
            mixture.summary = summary


def _read_decision(run: ObservedRun, outputs: Any) -> None:
    """Record an answer without a call: the winner of a vote."""
    if mixture := run.find_around("mixture"):
        mixture.summary = agent_outcomes.read_summary(outputs) or mixture.summary


def _read_error(run: ObservedRun, error: BaseException) -> None:
    """Record the error of an agent's node, unless it is an interrupt."""
    if isinstance(error, GraphBubbleUp):
        if mixture := run.find_around("mixture"):
            mixture.is_interrupted = True
        return
    if isinstance(error, AggregatorError) and error.failed_calls:
        calls = error.failed_calls
        run.outcomes += agent_outcomes.read_failed_writers(calls, run.started_ns / 1e9)
        return
    run.outcomes.append(
        agent_outcomes.unfinished_outcome(
            run.name,
            run.decider or str(run.metadata.get("model", "")),
            "failed" if isinstance(error, Exception) else "cancelled",
            run.seconds,
            classify_failure(error),
        )
    )
