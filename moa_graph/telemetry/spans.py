"""OpenTelemetry spans of mixtures, agents and calls."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from moa_graph.graph.failed_calls import classify_failure
from moa_graph.graph.node_names import parse_node_name
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.prompting.usage import clean_usage
from moa_graph.telemetry import conventions as names
from moa_graph.telemetry.message_parts import format_answer, format_messages
from moa_graph.telemetry.observed_runs import ObservedRun, RunListener

Attributes = Iterator[tuple[str, AttributeValue]]

_REQUEST_ATTRIBUTES = {
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
}


class SpanListener(RunListener):
    """Creates a span for each mixture, agent and call.

    Parents are found through the runs and not the current context: calls run in tasks and threads.
    """

    def __init__(self, tracer: Tracer, *, captures_content: bool) -> None:
        self._tracer, self._captures_content = tracer, captures_content
        self._spans: dict[UUID, Span] = {}

    def run_started(self, run: ObservedRun) -> None:
        """Start a span."""
        operation, subject = _name_span(run)
        is_call = run.kind == "call"
        self._spans[run.id] = self._tracer.start_span(
            f"{operation} {subject}".strip(),
            context=self._find_parent(run),
            kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
            attributes={names.OPERATION_NAME: operation} | dict(_read_start(run, subject)),
            start_time=run.started_ns,
        )

    def run_ended(self, run: ObservedRun) -> None:
        """End the span of a run."""
        span = self._spans.pop(run.id, None)
        if span is None or not span.is_recording():
            return
        span.set_attributes(dict(_read_end(run)))
        if self._captures_content and run.kind == "call":
            span.set_attributes(dict(_read_contents(run)))
        if error_type := _find_error_type(run):
            span.set_attribute(names.ERROR_TYPE, error_type)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _find_parent(self, run: ObservedRun) -> Context | None:
        """Return the context of the parent span; `None` for the current one, as of a request."""
        parent = run.find_around("mixture", "agent", "call")
        span = self._spans.get(parent.id) if parent else None
        return set_span_in_context(span) if span else None


def _name_span(run: ObservedRun) -> tuple[str, str]:
    """Return the operation of a span and its subject."""
    if run.kind == "mixture":
        return names.INVOKE_WORKFLOW, run.name
    if run.kind == "agent":
        name = parse_node_name(run.name)
        return names.INVOKE_AGENT, name.agent if name and not run.decider else run.name
    return names.CHAT, _read_model(run)


def _read_model(run: ObservedRun) -> str:
    """Return the name of a model; that of a surrounding `ChatMoA` is in the metadata."""
    named = (run.parameters.get(key) for key in ("model", "model_name", "model_id"))
    model = next(filter(None, named), None) or run.metadata.get("ls_model_name")
    mixture = run.find_around("mixture")
    if not model or (mixture and mixture.is_chat_model and model == mixture.name):
        model = run.name or run.parameters.get("_type", "")
    return str(model)


def _read_start(run: ObservedRun, subject: str) -> Attributes:
    """Return the attributes at the start of a run."""
    if run.kind == "mixture":
        yield names.AGENT_NAME, subject
        return
    agent = run if run.kind == "agent" else run.find_around("agent")
    if agent:
        yield names.MOA_NODE, agent.name
        if name := parse_node_name(agent.name):
            yield names.MOA_LAYER, name.layer
    if run.kind == "agent":
        yield names.AGENT_NAME, subject
        yield names.MOA_MODEL, run.decider or str(run.metadata.get("model", ""))
        return
    yield names.REQUEST_MODEL, subject
    provider = str(run.metadata.get("ls_provider") or "unknown")
    yield names.PROVIDER_NAME, names.PROVIDER_NAMES.get(provider, provider)
    parameters = {**run.parameters, **(run.parameters.get("extra_body") or {})}
    for parameter, attribute in _REQUEST_ATTRIBUTES.items():
        if isinstance(value := parameters.get(parameter), (int, float)):
            yield attribute, value


def _read_end(run: ObservedRun) -> Attributes:
    """Return the attributes at the end of a run."""
    if run.kind == "mixture":
        yield names.MOA_STATUS, run.status
        if run.failures:
            yield names.MOA_FAILED, [*run.failures]
        if run.summary and run.summary.get("reused_proposals"):
            yield names.MOA_REUSED_PROPOSALS, True
    elif run.kind == "agent":
        if run.outcomes:
            yield names.MOA_STATUS, run.outcomes[-1].status
            yield names.MOA_MODEL, run.outcomes[-1].model
    elif message := run.message:
        yield from _read_response(run, message)


def _read_response(run: ObservedRun, message: AIMessage) -> Attributes:
    metadata = message.response_metadata
    if model := metadata.get("model_name") or metadata.get("model"):
        yield names.RESPONSE_MODEL, str(model)
    if response_id := metadata.get("id") or message.id:
        yield names.RESPONSE_ID, str(response_id)
    if reason := read_finish_reason(message):
        yield names.FINISH_REASONS, [reason]
    if run.first_token_seconds is not None:
        yield names.TIME_TO_FIRST_CHUNK, run.first_token_seconds
    yield from _read_usage(clean_usage(message.usage_metadata) or {})


def _read_usage(usage: Mapping[str, Any]) -> Attributes:
    input_details, output_details = (
        usage.get("input_token_details", {}),
        usage.get("output_token_details", {}),
    )
    counts = {
        names.INPUT_TOKENS: usage.get("input_tokens"),
        names.OUTPUT_TOKENS: usage.get("output_tokens"),
        names.CACHE_READ_TOKENS: input_details.get("cache_read"),
        names.CACHE_CREATION_TOKENS: input_details.get("cache_creation"),
        names.REASONING_TOKENS: output_details.get("reasoning"),
    }
    yield from ((name, count) for name, count in counts.items() if count is not None)


def _read_contents(run: ObservedRun) -> Attributes:
    yield names.INPUT_MESSAGES, format_messages(run.messages)
    if message := run.message:
        yield names.OUTPUT_MESSAGES, format_answer(message)


def _find_error_type(run: ObservedRun) -> str | None:
    """Return the class of the error of a run or an agent."""
    if run.kind == "agent":
        return run.outcomes[-1].error_type if run.outcomes else None
    is_failure = run.error is not None and not (
        run.kind == "mixture" and run.status == "interrupted"
    )
    return classify_failure(run.error) if run.error and is_failure else None
