"""State of a running mixture, reduced from its stream events for terminal and page."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter, time
from typing import Any, Literal, Self

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR, VOTE, parse_helper_role, parse_node_name
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.state import is_retry_mark, read_retry_cause
from moa_graph.models.pricing import Prices
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.tokens import tokens_of_weight, weigh_text
from moa_graph.redaction import redacted_message
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord, read_run

SILENCE_S = 30.0
"""Seconds without output after which an agent counts as silent."""

AgentStatus = Literal["waiting", "running", "answered", "failed", "cut off", "dropped", "skipped"]


@dataclass
class AgentProgress:
    """State of one agent in a run."""

    node: str
    layer: int
    """Number of the layer, from 1; for the aggregator, one more than that of the last layer."""
    agent: str
    """Name of the agent in its layer."""
    model: str
    status: AgentStatus = "waiting"
    error: str | None = None
    ending_note: str | None = None
    """Note about an incomplete answer."""
    asked: float | None = None
    """Start of the call in seconds since 1970; `None` if it has not started, or is unknown."""
    started: float | None = None
    """Start of the call on the clock of `perf_counter`; `None` if it is not running."""
    last_sign: float | None = None
    """Start of the call, or time of its last output, on the same clock."""
    seconds: float | None = None
    """Seconds of the call; `None` until it is done, or if unknown."""
    read: int | None = None
    """Prompt tokens."""
    written: int | None = None
    """Completion tokens; `None` if unknown."""
    cost: float | None = None
    """Estimated cost in US dollars; `None` if unknown."""
    from_cache: bool = False
    hedged: bool = False
    """Whether the request was sent a second time because of `hedge`."""
    is_edited: bool = False
    """Whether a person has replaced its text."""
    is_reused: bool = False
    """Whether the answer was stored before this run."""
    served_model: str | None = None
    """Model that answered, as the provider reports it."""
    fallback: str | None = None
    """Fallback model that answered instead."""
    attempts: int | None = None
    """Number of requests, if one was refused."""
    is_retrying: bool = False
    """Whether it is called again after a failure."""
    is_stopped: bool = False
    """Whether a person stopped it; its text, if there is one, is partial."""
    is_shown_elsewhere: bool = False
    """Whether another agent is reading its answer."""
    critical: bool = False
    """Whether the call is on the critical path."""
    message_id: str | None = None
    """Id of the message that is being written."""
    chunk_count: int = 0
    """Number of chunks so far, which approximates the number of tokens."""
    rewrites: int = 0
    """Number of times the text was restarted."""
    own_model: str = ""
    """The configured model; `model` is the one that answered."""
    _chunks: list[str] = field(default_factory=list, repr=False)
    _weight: int = 0

    def __post_init__(self) -> None:
        self.own_model = self.own_model or self.model

    @property
    def done(self) -> bool:
        """Whether the agent has answered or failed."""
        return self.status in {"answered", "failed", "cut off"}

    @property
    def is_over(self) -> bool:
        """Whether no further event is expected."""
        return self.done or self.status in {"dropped", "skipped"}

    @property
    def has_started(self) -> bool:
        """Whether the agent was called."""
        return self.status not in {"waiting", "dropped", "skipped"}

    @property
    def new_tokens(self) -> int | None:
        """Completion tokens of this run; `None` if they are unknown or not new."""
        return None if self.from_cache else self.written

    @property
    def text(self) -> str:
        """Text so far; joined on access, because it arrives in many chunks."""
        if len(self._chunks) > 1:
            self._chunks = ["".join(self._chunks)]
        return self._chunks[0] if self._chunks else ""

    @property
    def estimated_tokens(self) -> int:
        """Estimated number of tokens in the text so far."""
        return tokens_of_weight(self._weight)

    def recent_text(self, max_chars: int) -> str:
        """Return the end of the text without joining all of it."""
        recent, length = list[str](), 0
        for chunk in reversed(self._chunks):
            recent.append(chunk[-max_chars:])
            if (length := length + len(chunk)) >= max_chars:
                break
        return "".join(reversed(recent))[-max_chars:]

    def elapsed(self, now: float) -> float:
        """Return the seconds of the call so far.

        Args:
            now: Time on the clock of `perf_counter`.
        """
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.started is None else now - self.started

    def is_silent(self, now: float) -> bool:
        """Whether the agent is running and has had no output for `SILENCE_S` seconds."""
        if self.status != "running" or self.last_sign is None:
            return False
        return now - self.last_sign >= SILENCE_S

    def reset(self, status: AgentStatus) -> None:
        """Reset the state, because the agent may be called again."""
        self.status, self.error, self.message_id = status, None, None
        self.ending_note = None
        self.critical = self.from_cache = self.is_shown_elsewhere = self.hedged = False
        self.is_edited = self.is_reused = self.is_retrying = self.is_stopped = False
        self.served_model = self.fallback = self.attempts = None
        self.asked = time() if status == "running" else None
        self.started = self.last_sign = perf_counter() if status == "running" else None
        self.seconds = self.read = self.written = self.cost = None
        self.replace_text("")

    def mark_stopped(self) -> None:
        """Record that it was stopped; its partial text stays."""
        text, asked, seconds = self.text, self.asked, self.elapsed(perf_counter())
        self.reset("waiting")
        self.is_stopped = True
        if text:
            self.take_stopped(text, asked, seconds)

    def take_stopped(self, text: str, asked: float | None, seconds: float | None) -> None:
        """Set the partial text of a stopped run."""
        self.is_stopped, self.asked, self.seconds = True, asked, seconds
        self.replace_text(text)

    def replace_text(self, text: str) -> None:
        """Replace the text."""
        self.chunk_count = 0
        if text != self.text:
            self._chunks, self._weight = [text], weigh_text(text)
            self.rewrites += 1

    def add_chunk(self, message: BaseMessage) -> None:
        """Add a chunk of the answer; a chunk of another message, as of a fallback, restarts it."""
        if message.id != self.message_id:
            self.message_id = message.id
            self.replace_text("")
        self._chunks.append(chunk := replace_surrogates(message.text))
        self._weight += weigh_text(chunk)
        self.chunk_count += isinstance(message, AIMessageChunk)

    def apply_call(self, call: AgentCall, run: RunRecord) -> None:
        """Apply a completed call of a run."""
        self.fallback = call.model if _is_by_fallback(self, call, run) else None
        self.status, self.error, self.model = call.status, call.error, call.model
        self.ending_note = call.ending_note
        self.asked, self.started, self.cost = call.started, None, call.cost
        self.seconds = call.seconds if call.is_timed else None
        self.read = call.usage["input_tokens"] if call.usage else None
        self.written = call.usage["output_tokens"] if call.usage else None
        self.from_cache, self.hedged = call.cached is not None, call.hedged
        self.is_edited, self.served_model = call.is_edited, call.served_model
        self.attempts = 2 if call.refused_prompt else None
        self.is_retrying = False
        self.replace_text(call.text or call.partial_text)

    def apply_error(self, error: BaseException) -> None:
        """Apply the error of a node without a stored call."""
        seconds, text = self.elapsed(perf_counter()), self.text
        self.reset("failed")
        self.seconds, self.error = seconds, redacted_message(error)
        self.replace_text(text)


@dataclass(frozen=True)
class RunProgress:
    """State of the agents of a run, in the order of the mixture; the aggregator is the last."""

    agents: Mapping[str, AgentProgress]
    """Agents, keyed by node."""
    prices: Prices
    policies: Sequence[LayerPolicy] = ()
    """Policies of the layers."""
    _stored_nodes: set[str] = field(default_factory=set)

    @classmethod
    def from_graph(
        cls, graph: CompiledMoAGraph, prices: Prices, policies: Sequence[LayerPolicy] = ()
    ) -> Self:
        """Create the state before the run."""
        return cls({each.node: each for each in _read_agents(graph)}, prices, policies)

    @cached_property
    def layers(self) -> Sequence[Sequence[AgentProgress]]:
        """The agents of each layer; the last entry is the aggregator."""
        numbers = dict.fromkeys(each.layer for each in self.agents.values())
        return [[each for each in self.agents.values() if each.layer == n] for n in numbers]

    def required_answers(self, layer: int) -> int:
        """Number of required answers of a layer."""
        if layer > len(self.policies):
            return 1
        return self.policies[layer - 1].required_answers(len(self.layers[layer - 1]))

    def load_state(
        self,
        values: Mapping[str, Any],
        next_nodes: Collection[str],
        stored_nodes: Iterable[str] = (),
    ) -> RunRecord:
        """Load a stored state.

        Args:
            values: Result of `current_turn_values`.
            next_nodes: The nodes that run next.
            stored_nodes: Nodes with stored results of an earlier process: LangGraph reports the
                start of their tasks but not the end.
        """
        self._stored_nodes.clear()
        self._stored_nodes.update(stored_nodes)
        run = read_run(values, prices=self.prices, order=self.agents)
        reached = max((call.layer for call in run.calls), default=1)
        calls = {call.node: call for call in run.calls}
        for node, agent in self.agents.items():
            if node in calls:
                agent.apply_call(calls[node], run)
                agent.critical = run.answer is not None and node in run.critical_path
            elif run.depth and run.depth["layers"] < agent.layer:
                agent.reset("skipped")
            else:
                is_dropped = agent.layer <= reached and node not in next_nodes and bool(calls)
                agent.reset("dropped" if is_dropped and node != AGGREGATOR else "waiting")
        return run

    def update(self, event: Mapping[str, Any]) -> AgentProgress | None:
        """Apply an event of `stream_mode="tasks"`, and return the changed agent."""
        if not (agent := self.agents.get(event["name"])):
            return None
        if "input" not in event:
            self._apply_result(agent, event)
        elif agent.node in self._stored_nodes:
            self._stored_nodes.discard(agent.node)
            return None
        else:
            is_retrying = _has_failed(agent)
            agent.reset("running")
            agent.is_retrying = is_retrying
        return agent

    def add_chunk(self, message: BaseMessage, metadata: Mapping[str, Any]) -> AgentProgress | None:
        """Apply an event of `stream_mode="messages"`, and return its agent."""
        agent = self.agents.get(metadata["langgraph_node"])
        if agent and agent.status == "running" and message.text:
            agent.last_sign = perf_counter()
            agent.add_chunk(message)
        return agent

    def silent_agents(self, now: float) -> list[AgentProgress]:
        """Return the running agents without recent output.

        Args:
            now: Time on the clock of `perf_counter`.
        """
        return [each for each in self.agents.values() if each.is_silent(now)]

    def mark_reused(self) -> None:
        """Mark existing answers as stored before this run."""
        for agent in self.agents.values():
            agent.is_reused = agent.is_over

    def mark_stopped(self) -> None:
        """Record that no further agent is called."""
        for agent in self.agents.values():
            if agent.status == "running":
                agent.mark_stopped()

    def mark_interrupted(self, nodes: Iterable[str]) -> None:
        """Record that agents were running when an earlier run was interrupted."""
        for node in nodes:
            if (agent := self.agents.get(node)) and agent.status == "waiting":
                agent.is_stopped = True

    def _apply_result(self, agent: AgentProgress, event: Mapping[str, Any]) -> None:
        result = event["result"] or {}
        if proposal := result.get("proposals", {}).get(agent.node):
            question = HumanMessage("", id=proposal["turn_id"])
            result = {"messages": [question], "proposals": {agent.node: proposal}}
        if result.get("messages"):
            run = read_run(result, prices=self.prices)
            agent.apply_call(run.calls[-1], run)
        elif event["error"]:
            agent.apply_error(event["error"])


def _has_failed(agent: AgentProgress) -> bool:
    """Return whether the last call failed, unless a person marked it for a retry."""
    error = agent.error
    return error is not None and not (is_retry_mark(error) and read_retry_cause(error) is None)


def _is_by_fallback(agent: AgentProgress, call: AgentCall, run: RunRecord) -> bool:
    """Return whether another model than the configured one wrote the answer."""
    is_answer = call.node == AGGREGATOR and call.error is None and not run.is_routed_past_layers
    return is_answer and bool(agent.own_model) and call.model != agent.own_model


def _read_agents(graph: CompiledMoAGraph) -> list[AgentProgress]:
    agents, last_layer = list[AgentProgress](), 0
    for node, spec in graph.builder.nodes.items():
        model = (spec.metadata or {}).get("model")
        if model and (name := parse_node_name(node)):
            last_layer = name.layer
            agents.append(AgentProgress(node, name.layer, name.agent, model))
        elif model and parse_helper_role(node):
            is_first = not (agents and parse_helper_role(agents[-1].node) == VOTE)
            last_layer += is_first or parse_helper_role(node) != VOTE
            agents.append(AgentProgress(node, last_layer, node, model))
        elif node == AGGREGATOR:
            agents.append(AgentProgress(node, last_layer + 1, AGGREGATOR, model or ""))
    return agents
