"""A run while it goes on: one reducer of its stream events, which terminal and page render."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, Literal, Self

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.policy import LayerPolicy
from moa_graph.models.pricing import Prices
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.tokens import tokens_of_weight, weigh_text
from moa_graph.redaction import redacted_message
from moa_graph.runs.record import AgentCall, RunRecord, read_run

SILENCE_S = 30.0
"""Seconds after which an agent that says nothing is told to be waited for still."""

AgentStatus = Literal["waiting", "running", "answered", "failed", "cut off", "dropped"]


@dataclass
class AgentProgress:
    """What one agent is doing, or has done."""

    node: str
    layer: int
    """From 1; the aggregator's is one more than the last."""
    agent: str
    """Name of the agent in its layer."""
    model: str
    status: AgentStatus = "waiting"
    error: str | None = None
    ending_note: str | None = None
    """What is to be told of an answer that is not whole."""
    started: float | None = None
    """When it was asked, on the clock of `perf_counter`; `None` where it is not running."""
    last_sign: float | None = None
    """When it was asked, or last wrote something, on the same clock."""
    seconds: float | None = None
    """How long it took; `None` until it is done, or where nobody knows."""
    read: int | None = None
    """Tokens that it read."""
    written: int | None = None
    """Tokens that it wrote; `None` where that is not known."""
    cost: float | None = None
    """US dollars, estimated; `None` if not known."""
    from_cache: bool = False
    hedged: bool = False
    """Whether a second request was sent beside its own."""
    is_shown_elsewhere: bool = False
    """Whether its answer is being read elsewhere."""
    critical: bool = False
    """Whether the run waited for it."""
    message_id: str | None = None
    """Id of the message that it is writing."""
    chunk_count: int = 0
    """Chunks of a streamed answer so far: about as many as tokens."""
    rewrites: int = 0
    """How often its text began anew."""
    _chunks: list[str] = field(default_factory=list, repr=False)
    _weight: int = 0

    @property
    def done(self) -> bool:
        """Whether it has answered or failed."""
        return self.status in {"answered", "failed", "cut off"}

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.done or self.status == "dropped"

    @property
    def has_started(self) -> bool:
        """Whether it was asked."""
        return self.status not in {"waiting", "dropped"}

    @property
    def new_tokens(self) -> int | None:
        """Tokens that it wrote in this run; `None` where they are not known or not new."""
        return None if self.from_cache else self.written

    @property
    def text(self) -> str:
        """What it has written, joined when somebody looks: it comes in many chunks."""
        if len(self._chunks) > 1:
            self._chunks = ["".join(self._chunks)]
        return self._chunks[0] if self._chunks else ""

    @property
    def estimated_tokens(self) -> int:
        """An estimate of the tokens that it has written."""
        return tokens_of_weight(self._weight)

    def recent_text(self, max_chars: int) -> str:
        """Give the end of its text without joining all of it."""
        recent, length = list[str](), 0
        for chunk in reversed(self._chunks):
            recent.append(chunk[-max_chars:])
            if (length := length + len(chunk)) >= max_chars:
                break
        return "".join(reversed(recent))[-max_chars:]

    def elapsed(self, now: float) -> float:
        """Give the seconds that it took, or has taken so far.

        Args:
            now: On the clock of `perf_counter`.
        """
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.started is None else now - self.started

    def is_silent(self, now: float) -> bool:
        """Whether it runs, and has said nothing for `SILENCE_S` seconds."""
        if self.status != "running" or self.last_sign is None:
            return False
        return now - self.last_sign >= SILENCE_S

    def reset(self, status: AgentStatus) -> None:
        """Forget what it has done; it may be asked again."""
        self.status, self.error, self.message_id = status, None, None
        self.ending_note = None
        self.critical = self.from_cache = self.is_shown_elsewhere = self.hedged = False
        self.started = self.last_sign = perf_counter() if status == "running" else None
        self.seconds = self.read = self.written = self.cost = None
        self.replace_text("")

    def replace_text(self, text: str) -> None:
        """Put another text in the place of its text."""
        self.chunk_count = 0
        if text != self.text:
            self._chunks, self._weight = [text], weigh_text(text)
            self.rewrites += 1

    def add_chunk(self, message: BaseMessage) -> None:
        """Take in a chunk of its answer; one of another message, a fallback's, begins anew."""
        if message.id != self.message_id:
            self.message_id = message.id
            self.replace_text("")
        self._chunks.append(chunk := replace_surrogates(message.text))
        self._weight += weigh_text(chunk)
        self.chunk_count += isinstance(message, AIMessageChunk)

    def apply_call(self, call: AgentCall) -> None:
        """Take in a call that is over."""
        self.status, self.error, self.model = call.status, call.error, call.model
        self.ending_note = call.ending_note
        self.started, self.cost = None, call.cost
        self.seconds = call.seconds if call.is_timed else None
        self.read = call.usage["input_tokens"] if call.usage else None
        self.written = call.usage["output_tokens"] if call.usage else None
        self.from_cache, self.hedged = call.cached is not None, call.hedged
        self.replace_text(call.text)

    def apply_error(self, error: BaseException) -> None:
        """Take in what ended its node without a call that could be stored."""
        seconds = self.elapsed(perf_counter())
        self.reset("failed")
        self.seconds, self.error = seconds, redacted_message(error)


@dataclass(frozen=True)
class RunProgress:
    """The agents of a run, in the order of the mixture; the aggregator is the last."""

    agents: Mapping[str, AgentProgress]
    """By node."""
    prices: Prices
    policies: Sequence[LayerPolicy] = ()
    """What each layer of proposers needs."""
    _stored_nodes: set[str] = field(default_factory=set)

    @classmethod
    def from_graph(
        cls, graph: CompiledMoAGraph, prices: Prices, policies: Sequence[LayerPolicy] = ()
    ) -> Self:
        """Begin with nothing done."""
        return cls({each.node: each for each in _read_agents(graph)}, prices, policies)

    @cached_property
    def layers(self) -> Sequence[Sequence[AgentProgress]]:
        """The agents of each layer, and last the aggregator alone."""
        numbers = dict.fromkeys(each.layer for each in self.agents.values())
        return [[each for each in self.agents.values() if each.layer == n] for n in numbers]

    def required_answers(self, layer: int) -> int:
        """How many agents of a layer must answer."""
        if layer > len(self.policies):
            return 1
        return self.policies[layer - 1].required_answers(len(self.layers[layer - 1]))

    def load_state(
        self,
        values: Mapping[str, Any],
        next_nodes: Collection[str],
        stored_nodes: Iterable[str] = (),
    ) -> RunRecord:
        """Take in a state.

        Args:
            values: As `current_turn_values` gives them.
            next_nodes: The nodes that come next.
            stored_nodes: Nodes whose results an earlier process has stored: LangGraph reports the
                start, but not the end, of their tasks.
        """
        self._stored_nodes.clear()
        self._stored_nodes.update(stored_nodes)
        run = read_run(values, prices=self.prices, order=self.agents)
        reached = max((call.layer for call in run.calls), default=1)
        calls = {call.node: call for call in run.calls}
        for node, agent in self.agents.items():
            if node in calls:
                agent.apply_call(calls[node])
                agent.critical = run.answer is not None and node in run.critical_path
            else:
                is_dropped = agent.layer <= reached and node not in next_nodes and bool(calls)
                agent.reset("dropped" if is_dropped and node != AGGREGATOR else "waiting")
        return run

    def update(self, event: Mapping[str, Any]) -> AgentProgress | None:
        """Take in an event of `stream_mode="tasks"`, and give the agent that it changed."""
        if not (agent := self.agents.get(event["name"])):
            return None
        if "input" not in event:
            self._apply_result(agent, event)
        elif agent.node in self._stored_nodes:
            self._stored_nodes.discard(agent.node)
            return None
        else:
            agent.reset("running")
        return agent

    def add_chunk(self, message: BaseMessage, metadata: Mapping[str, Any]) -> AgentProgress | None:
        """Take in an event of `stream_mode="messages"`, and give the agent that it is of."""
        agent = self.agents.get(metadata["langgraph_node"])
        if agent and agent.status == "running" and message.text:
            agent.last_sign = perf_counter()
            agent.add_chunk(message)
        return agent

    def silent_agents(self, now: float) -> list[AgentProgress]:
        """Give the agents that have long said nothing, and are still waited for.

        Args:
            now: On the clock of `perf_counter`.
        """
        return [each for each in self.agents.values() if each.is_silent(now)]

    def mark_stopped(self) -> None:
        """Note that nobody is asked any more."""
        for agent in self.agents.values():
            if agent.status == "running":
                agent.reset("waiting")

    def _apply_result(self, agent: AgentProgress, event: Mapping[str, Any]) -> None:
        result = event["result"] or {}
        if proposal := result.get("proposals", {}).get(agent.node):
            question = HumanMessage("", id=proposal["turn_id"])
            result = {"messages": [question], "proposals": {agent.node: proposal}}
        if result.get("messages"):
            agent.apply_call(read_run(result, prices=self.prices).calls[-1])
        elif event["error"]:
            agent.apply_error(event["error"])


def _read_agents(graph: CompiledMoAGraph) -> list[AgentProgress]:
    agents, last_layer = list[AgentProgress](), 0
    for node, spec in graph.builder.nodes.items():
        model = (spec.metadata or {}).get("model")
        if model and (name := parse_node_name(node)):
            last_layer = name.layer
            agents.append(AgentProgress(node, name.layer, name.agent, model))
        elif node == AGGREGATOR:
            agents.append(AgentProgress(node, last_layer + 1, AGGREGATOR, model or ""))
    return agents
