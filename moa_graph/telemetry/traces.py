"""`OpenTelemetryHandler`: a LangChain callback handler that creates traces."""

import os
from typing import TYPE_CHECKING

from moa_graph.telemetry.conventions import CAPTURE_CONTENT_VARIABLE, CAPTURING_VALUES
from moa_graph.telemetry.observed_runs import RunListener, RunObserver
from moa_graph.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_MISSING_MESSAGE = "opentelemetry-api is not installed; pip install 'moa_graph[otel]'"


class OpenTelemetryHandler(RunObserver):
    """Callback handler that traces mixtures by OpenTelemetry's conventions for generative AI.

    The span of a mixture is `invoke_workflow {name}`. Its children are `invoke_agent {name}` for
    each called agent, whose children are `chat {model}` for each call of a model. One handler
    serves any number of runs. Without a configured SDK, it records nothing.

    Args:
        tracer_provider: Provider of the tracer; by default the global one.
        capture_content: Whether spans contain the messages that models read and write. The default
            is the environment variable `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`
            (`true`, `SPAN_ONLY` or `SPAN_AND_EVENT`).

    Raises:
        ImportError: If the package opentelemetry-api is not installed.

    Example:
        ```python
        moa = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus").compile()
        moa.invoke({"messages": "Where is it?"}, {"callbacks": [OpenTelemetryHandler()]})
        ```
    """

    def __init__(
        self,
        tracer_provider: "TracerProvider | None" = None,
        *,
        capture_content: bool | None = None,
    ) -> None:
        super().__init__([create_span_listener(tracer_provider, capture_content=capture_content)])


def is_recording() -> bool:
    """Return whether an SDK of OpenTelemetry records spans.

    Raises:
        ImportError: If the package opentelemetry-api is not installed.
    """
    from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, get_tracer_provider

    return not isinstance(get_tracer_provider(), (NoOpTracerProvider, ProxyTracerProvider))


def create_span_listener(
    tracer_provider: "TracerProvider | None" = None, *, capture_content: bool | None = None
) -> RunListener:
    """Create the listener for spans; arguments as in `OpenTelemetryHandler`.

    Raises:
        ImportError: If the package opentelemetry-api is not installed.
    """
    try:
        from opentelemetry.trace import get_tracer
    except ImportError as error:
        raise ImportError(_MISSING_MESSAGE) from error
    from moa_graph.telemetry.spans import SpanListener

    if capture_content is None:
        capture_content = os.environ.get(CAPTURE_CONTENT_VARIABLE, "").lower() in CAPTURING_VALUES
    tracer = get_tracer("moa_graph", __version__, tracer_provider)
    return SpanListener(tracer, captures_content=capture_content)
