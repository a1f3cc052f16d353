"""One attempt at an answer: its prompt, its checks, and the final message."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import RunnableConfig

from moa_graph.deprecated import with_old_keys
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.prompts import PromptDraft
from moa_graph.graph.run_summary import RunSummary
from moa_graph.graph.selection import ModelCall, NumberRequest
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState, OriginalCallStats
from moa_graph.graph.summary_builder import RunSummaryBuilder
from moa_graph.graph.writer import Writer, WriterRequest
from moa_graph.prompting import parsing
from moa_graph.prompting.history import has_media
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.usage import clean_usage
from moa_graph.sync_async import Flow


class AnswerAttempt:
    """One attempt of an aggregator and its fallbacks to answer; the first that succeeds does."""

    first_writer = AGGREGATOR
    """Node of the writer that is called first."""

    def __init__(self, summary_builder: RunSummaryBuilder) -> None:
        """Read the results of the proposers and their summary from the state."""
        self._summary_builder, self._state = summary_builder, summary_builder.state
        self.proposals, self.failures = summary_builder.proposals, summary_builder.failures

    def has_work(self, agent_node: AgentNode) -> bool:
        """Return whether a model is to be called."""
        return True

    def skipped_update(self) -> dict[str, Any]:
        """Return the state update if no model is called."""
        return {}

    def take_earlier_calls(self, config: RunnableConfig) -> None:
        """Record the calls that failed before a run was resumed."""
        self.failures.take_earlier_calls(config)

    def start_request(
        self, writer: Writer, *, state: LayerState, layout: PromptLayout, cache: CacheBackend | None
    ) -> WriterRequest:
        """Build the prompt of a writer, and start its timer."""
        draft = PromptDraft(writer.agent_node, state, layout)
        return WriterRequest(writer, draft, cache, self.ask, self.check_output)

    def ask(self, request: NumberRequest, model: Any, call: ModelCall) -> Flow[Any]:
        """Call a model for an answer."""
        return call(model)

    def check_output(self, request: WriterRequest, output: Any) -> None:
        """Reject an output that is not an answer.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it has the wrong type.
        """
        message = parsing.to_message(output)
        may_call_tools = bool(message.tool_calls) and _may_call_tools(
            request.agent_node, request.draft.prompt.messages
        )
        has_answer = may_call_tools or has_media(message)
        parsing.check_answer(message, "no text" if has_answer else strip_thoughts(message.text))

    def to_update(self, request: WriterRequest) -> dict[str, Any]:
        """Return the state update of an answer.

        Raises:
            Exception: If the output is not an answer.
        """
        return {"messages": [self.to_final_message(request)]}

    def to_final_message(self, request: WriterRequest) -> AIMessage:
        """Convert an aggregator's output to the message that joins the conversation.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it has the wrong type.
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
        """Return the message of an output, and whether it comes from LangChain's cache."""
        message, usage = parsing.to_message(request.output), parsing.read_usage(request.output)
        if not usage.is_cached:
            return message
        request.cached = OriginalCallStats(usage=usage.saved_usage, seconds=None)
        return message.model_copy(update={"usage_metadata": {**parsing.ZERO_USAGE}})

    def _build_summary(self, request: WriterRequest) -> RunSummary:
        usage = {**parsing.ZERO_USAGE} if request.cached else parsing.sum_usage(request.output)
        summary = self._summary_builder.summarize(
            request.agent_node.agent.label,
            request.with_overtaken_usage(usage),
            started=request.started,
            seconds=request.seconds,
            dropped_reference_chars=request.draft.prompt.dropped_reference_chars,
        )
        summary["degraded"] = summary["degraded"] or request.node != self.first_writer
        if served := parsing.read_served_model(parsing.to_message(request.output)):
            summary["served_models"][AGGREGATOR] = served
        if request.is_overtaken_billed and AGGREGATOR not in summary["usage_unknown"]:
            summary["usage_unknown"].append(AGGREGATOR)
        if dropped := request.draft.prompt.dropped_messages:
            summary["dropped_messages"] = dropped
        if refused := request.draft.refused_prompt:
            summary["refused_prompt"] = refused
        if draw := request.agent_node.draw_references(self._state):
            summary |= draw.to_record()  # type: ignore[typeddict-item]
        if request.cached:
            self._summary_builder.record_cached(summary, request.cached)
        return summary


def _may_call_tools(agent_node: AgentNode, messages: Sequence[AnyMessage]) -> bool:
    """Return whether a writer may have tools of its own, or was told about tools.

    A model given by name alone has none.
    """
    from moa_graph.models.adapt import (
        is_chat_model_without_tools,
    )

    is_named = isinstance(agent_node.agent.model, str)
    has_tools = not (is_named and is_chat_model_without_tools(agent_node.model))
    return has_tools or any(each.type == "tool" for each in messages)
