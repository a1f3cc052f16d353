"""Nodes of a vote: voters, and the node that returns the winner."""

from collections.abc import Callable, Sequence
from time import time
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig

from moa_graph.deprecated import with_old_keys
from moa_graph.graph import deadlines
from moa_graph.graph.proposer_attempt import ProposerAttempt, ProposerRequest
from moa_graph.graph.selection import MIN_FORM_TOKENS, FormRequest
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState
from moa_graph.graph.summary_builder import RunSummaryBuilder
from moa_graph.graph.voting import Vote, format_ballot
from moa_graph.prompting import parsing
from moa_graph.prompting.ballots import ballot_schema, parse_ballot
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow

_TOKENS_PER_NUMBER = 8  # tokens of structured output


class VoterAttempt(ProposerAttempt):
    """One attempt of a voter: its prompt and its ballot."""

    def __init__(
        self, agent_node: AgentNode, layer_spec: LayerSpec, state: LayerState, layout: PromptLayout
    ) -> None:
        super().__init__(agent_node, layer_spec, state, layout)
        self._nodes = agent_node.nodes_to_read(state)

    def ask(
        self, model: Runnable[Any, Any], deadline: deadlines.LayerDeadline, config: RunnableConfig
    ) -> Flow[Any]:
        """Call the model, unless there is only one proposal to rank."""
        if len(self._nodes) > 1:
            return (yield from super().ask(model, deadline, config))
        return AIMessage("1")

    def record_output(self, output: Any) -> None:
        """Record the output of the model; without a call, it cost nothing."""
        super().record_output(output)
        if len(self._nodes) == 1:
            self._count_usage({**parsing.ZERO_USAGE})

    def make_request(
        self, model: Runnable[Any, Any], deadline: deadlines.LayerDeadline
    ) -> ProposerRequest:
        """Create the request for a ballot."""
        request = BallotRequest(self._agent_node, model, self.draft, deadline)
        request.count = len(self._nodes)
        return request

    def read_content(self, message: AIMessage) -> str:
        """Parse the ballot.

        Raises:
            InvalidBallotError: If it does not rank each proposal once.
        """
        numbers = parse_ballot(message, len(self._nodes))
        return format_ballot([self._nodes[number - 1] for number in numbers])

    def read_reasoning(self, message: AIMessage) -> str:  # noqa: ARG002  # nobody reads a ballot as a reference
        """Return none: reasoning of voters is not stored."""
        return ""


class BallotRequest(ProposerRequest):
    """A request for a ballot, as structured output if the model supports it."""

    count = 0
    """Number of proposals to rank."""

    def call(self, model: Runnable[Any, Any], config: RunnableConfig) -> Flow[Any]:
        """Call a model."""
        form = FormRequest(self._agent_node, MIN_FORM_TOKENS + _TOKENS_PER_NUMBER * self.count)
        ask = super().call
        return form.fill(model, ballot_schema(self.count), lambda bound: ask(bound, config))

    def check_output(self, output: Any) -> None:
        """Reject an output that is not a ballot."""
        parse_ballot(parsing.to_message(output), self.count)


def make_pick(
    vote: Vote,
    layer_specs: Sequence[LayerSpec],
    helper_nodes: Sequence[str],
    describe: Callable[[LayerState], dict[str, Any]],
) -> Callable[[LayerState], dict[str, Any]]:
    """Create the function that returns the winner as the answer, without calling a model.

    Args:
        vote: The vote.
        layer_specs: The layers of proposers.
        helper_nodes: Nodes between the last layer and this one, whose calls count.
        describe: Returns further entries of the run summary.
    """

    def pick(state: LayerState) -> dict[str, Any]:
        node = vote.count(state)["ranking"][0]
        proposal = state["proposals"][node]
        builder = RunSummaryBuilder(
            layer_specs,
            state,
            helper_nodes=helper_nodes,
            planned_layers=layer_specs,
            describe=describe,
        )
        summary = builder.summarize(
            proposal["model"], {**parsing.ZERO_USAGE}, started=round(time(), 3), seconds=0.0
        )
        reason = {"finish_reason": r} if (r := proposal["finish_reason"]) else {}
        answer = AIMessage(
            proposal["content"],
            id=f"moa-{uuid4()}",
            usage_metadata={**parsing.ZERO_USAGE},
            response_metadata={**reason, "moa": with_old_keys({**summary, "selected": node})},
        )
        return {"messages": [answer]}

    return pick
