"""One attempt of a proposer: its prompt, its call, and the proposal."""

import logging
from collections.abc import Sequence
from copy import copy
from time import perf_counter, time
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig

from moa_graph.graph import deadlines, quorum
from moa_graph.graph.answer_cache import CachedAnswer
from moa_graph.graph.depth import find_newest_turn_id
from moa_graph.graph.failed_calls import classify_failure, describe_failure, may_be_billed
from moa_graph.graph.hedging import Hedge, Request
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
from moa_graph.prompting import parsing
from moa_graph.prompting.choices import JOINT_SAMPLES
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.reasoning import read_reasoning, reasoning_room
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.tokens import truncate_answer
from moa_graph.prompting.usage import clean_usage, sum_usages
from moa_graph.redaction import find_keys, without_keys
from moa_graph.sync_async import Flow

_logger = logging.getLogger("moa_graph")


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
        """Copy the request for a client that does not retry; the timeout of the call continues."""
        repeated = copy(self)
        repeated.draft, repeated.model = copy(self.draft), self._agent_node.hedge_model
        return repeated

    def ask(self, config: RunnableConfig) -> Flow[Any]:
        """Call the model."""
        return self.call(self.model, config)

    def call(self, model: Runnable[Any, Any], config: RunnableConfig) -> Flow[Any]:
        """Call a model."""
        start_call = self._deadline.call_starter(
            model, self._agent_node.agent.call_timeout, config, started=self._started
        )
        return (yield from call_model(self._agent_node, self.draft, start_call))

    def check_output(self, output: Any) -> None:
        """Reject an output that is not a proposal."""
        message = parsing.to_message(output)
        parsing.check_answer(message, strip_thoughts(message.text))


class ProposerAttempt:
    """One attempt of an agent: its prompt, its call and its proposal."""

    def __init__(
        self, agent_node: AgentNode, layer_spec: LayerSpec, state: LayerState, layout: PromptLayout
    ) -> None:
        self.draft = PromptDraft(agent_node, state, layout)
        self._agent_node, self._max_tokens = agent_node, layout.max_reference_tokens
        self._keeps_reasoning = layout.include_reasoning
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
        if draw := agent_node.draw_references(state):
            self.proposal |= draw.to_record()  # type: ignore[typeddict-item]

    def ask(
        self, model: Runnable[Any, Any], deadline: deadlines.LayerDeadline, config: RunnableConfig
    ) -> Flow[Any]:
        """Call the model, and call it again if it returns nothing within the agent's `hedge`.

        Raises:
            Exception: Any error of the model.
        """
        request = self.make_request(model, deadline)
        hedge = Hedge(request, request.repeat, self._agent_node.agent.hedge)
        yield from hedge.run(config)
        self.draft = hedge.winner.draft
        for other in hedge.others:
            self._record_overtaken(other)
        if error := hedge.winner.error:
            raise error
        return hedge.winner.output

    def to_update(self) -> dict[str, Any]:
        """Return the state update."""
        return {"proposals": {self._agent_node.node: self.proposal}}

    def make_request(
        self, model: Runnable[Any, Any], deadline: deadlines.LayerDeadline
    ) -> ProposerRequest:
        """Create the request for an answer."""
        return ProposerRequest(self._agent_node, model, self.draft, deadline)

    def _record_overtaken(self, request: Request) -> None:
        """Record a request whose answer is not used."""
        self.proposal["hedged"] = True
        self._hedge_usages.append(request.usage)
        if request.may_be_billed:
            self.proposal["may_be_billed"] = True

    def record_output(self, output: Any) -> None:
        """Record the output of the model.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it has the wrong type.
        """
        message = parsing.to_message(output)
        self._record_prompt()
        self.proposal["seconds"] = round(perf_counter() - self._started, 3)
        usage = parsing.read_usage(output)
        self._count_usage(usage.usage)
        if usage.is_cached:
            self.proposal["cached"] = OriginalCallStats(usage=usage.saved_usage, seconds=None)
        self.proposal["finish_reason"] = parsing.read_finish_reason(message)
        if name := parsing.read_served_model(message):
            self.proposal["served_model"] = name
        if count := message.response_metadata.get(JOINT_SAMPLES):
            self.proposal["joint_samples"] = count
        try:
            content = self.read_content(message)
        except parsing.FailedAnswerError:
            partial_content = strip_thoughts(message.text)
            self.proposal["partial_content"] = truncate_answer(partial_content, self._max_tokens)[0]
            raise
        self.proposal["content"], self.proposal["truncated_chars"] = truncate_answer(
            content, self._max_tokens
        )
        if self._keeps_reasoning and (reasoning := self.read_reasoning(message)):
            room = reasoning_room(self.proposal["content"], self._max_tokens)
            if room != 0:
                self.proposal["reasoning"] = truncate_answer(reasoning, room)[0]

    def read_content(self, message: AIMessage) -> str:
        """Return the text of an answer to be stored.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
        """
        content = strip_thoughts(message.text)
        parsing.check_answer(message, content)
        return content

    def read_reasoning(self, message: AIMessage) -> str:
        """Return the reasoning of the model."""
        return read_reasoning(message)

    def record_cached_answer(self, cached_answer: CachedAnswer) -> None:
        """Record a cached answer."""
        self.record_output(cached_answer["answer"])
        self._count_usage({**parsing.ZERO_USAGE})
        self.proposal["cached"] = cached_answer["took"]

    def record_failure(self, config: RunnableConfig, error: Exception) -> None:
        """Record why there is no answer."""
        self._record_prompt()
        self.proposal["seconds"] = round(perf_counter() - self._started, 3)
        keys = [*self._agent_node.api_keys, *find_keys(config.get("configurable", {}))]
        self.proposal["error"] = describe_failure(error, *keys)
        failure = without_keys(original_failure(error), *keys)
        self.proposal["error_type"] = classify_failure(failure)
        quorum.record_unreported_failure(self.proposal["attempt_id"], failure)
        self._record_cost(error)
        _logger.warning("%s failed: %s", self._agent_node.node, self.proposal["error"])

    def _record_cost(self, error: Exception) -> None:
        """Record the partial answer of a failed call, and its possible cost."""
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
        """Record the tokens of the call and of the failed attempt before it."""
        previous = self._failed_attempt
        usages = [previous and previous["usage"], *self._hedge_usages, usage]
        self.proposal["usage"] = sum_usages(filter(None, usages))
        if previous and previous.get("may_be_billed"):
            self.proposal["may_be_billed"] = True

    def _record_prompt(self) -> None:
        """Record the amounts that were left out of the prompt."""
        self.proposal["dropped_reference_chars"] = self.draft.prompt.dropped_reference_chars
        if dropped := self.draft.prompt.dropped_messages:
            self.proposal["dropped_messages"] = dropped
        if refused := self.draft.refused_prompt:
            self.proposal["refused_prompt"] = refused


def _failed_attempt(previous: Proposal | None, turn_id: str) -> Proposal | None:
    """Return the failed attempt before in the same turn, whose cost counts."""
    is_failed = previous and previous["error"] and not previous["content"]
    return previous if previous and is_failed and previous["turn_id"] == turn_id else None


def find_turn_id(layer_spec: LayerSpec, state: LayerState) -> str:
    """Return the id of the message that a layer answers.

    A message that joins the conversation between two layers starts no turn: a layer belongs to
    the turn of the proposals that it reads, and a retry to that of its first attempt.
    """
    proposals = state.get("proposals", {})
    read_proposals = [
        p for node in layer_spec.agent_nodes[0].reference_nodes if (p := proposals.get(node))
    ]
    turn_proposals = read_proposals or proposals_before_retry(layer_spec, state)
    return (
        turn_proposals[0]["turn_id"] if turn_proposals else find_newest_turn_id(state["messages"])
    )


def proposals_before_retry(layer_spec: LayerSpec, state: LayerState) -> Sequence[Proposal]:
    """Return the proposals of a layer if some of its proposers are called again; otherwise none.

    Marks alone are not enough, because a killed turn leaves them in the state.
    """
    layer_proposals = list(layer_spec.proposals_in(state).values())
    open_ids = {message.id for message in unanswered_messages(state["messages"])}
    marked = any(awaits_retry(p) and p["turn_id"] in open_ids for p in layer_proposals)
    return layer_proposals if state.get("is_retry") or marked else []
