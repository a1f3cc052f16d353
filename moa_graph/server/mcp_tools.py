"""Mixtures as tools of the Model Context Protocol, and reports as resources."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage, HumanMessage
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.config.model import MoAConfig
from moa_graph.graph.run_summary import RunSummary, read_run_summary
from moa_graph.graph.tool import TOOL_DESCRIPTION, OptionalText, ToolInput, format_question
from moa_graph.redaction import redacted_message
from moa_graph.server.errors import ApiError, server_stopping_error
from moa_graph.server.kept_runs import MAX_KEPT_RUNS, KeptRun, KeptRuns
from moa_graph.server.layer_progress import LayerProgress, ProgressNote
from moa_graph.server.request_record import note_model
from moa_graph.server.service import MixtureService
from moa_graph.version import __version__

logger = logging.getLogger("moa_graph.server")

MAX_TOOL_NAME_CHARS = 64  # valid tool names in the APIs of models
MAX_NAMED_MODELS = 8  # models in the description of a tool
REPORT_URI = "moa://runs/{run}/report"
_INSTRUCTIONS = (
    "Each tool asks another panel of language models, and gives the answer that one of them writes "
    "from what all said. A question has to be complete in itself."
)
_INPUT = ToolInput.model_fields
Question = Annotated[str, Field(min_length=1, description=_INPUT["question"].description)]
ContextText = Annotated[OptionalText, Field(description=_INPUT["context"].description)]
RunEvents = asyncio.Queue[ProgressNote | None]


class MixtureAnswer(TypedDict):
    """Structured result of a tool; some hosts show it to models instead of the text."""

    answer: str
    """The answer, equal to the text."""
    summary: RunSummary | None
    """Run summary of the answer."""
    report: str
    """URI of the run's report, an HTML page."""


def create_mcp_server(service: MixtureService, *, timeout: float) -> MCPServer[Any]:
    """Create a server with a tool for each mixture of a service.

    Args:
        service: The mixtures, and the limit of parallel runs.
        timeout: Seconds after which a run is cancelled.

    Raises:
        ValueError: If the tools of two mixtures would have the same name.
    """
    server = MCPServer[Any](
        "moa_graph",
        title="Mixture-of-Agents",
        instructions=_INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
    )
    runs = KeptRuns()
    for name, mixture in name_tools(service.mixtures.values()).items():
        server.add_tool(
            MixtureTool(service, mixture, runs, timeout).ask,
            name=name,
            description=_describe_tool(mixture),
            annotations=ToolAnnotations(
                title=f"Ask {mixture.name}", read_only_hint=True, open_world_hint=True
            ),
        )
    _add_reports(server, runs)
    return server


def name_tools(mixtures: Iterable[MoAConfig]) -> dict[str, MoAConfig]:
    """Return the tool name of each mixture: `ask_` and its own name, in valid characters.

    Raises:
        ValueError: If two have the same name.
    """
    named = dict[str, MoAConfig]()
    for mixture in mixtures:
        name = f"ask_{re.sub('[^a-zA-Z0-9_-]+', '_', mixture.name)}"[:MAX_TOOL_NAME_CHARS]
        if name in named:
            raise ValueError(
                f"the mixtures {named[name].name!r} and {mixture.name!r} would both be the tool "
                f"{name!r}; give one of them another `name`"
            )
        named[name] = mixture
    return named


class MixtureTool:
    """A mixture as a tool."""

    def __init__(
        self, service: MixtureService, mixture: MoAConfig, runs: KeptRuns, timeout: float
    ) -> None:
        self._service, self._mixture, self._runs, self._timeout = service, mixture, runs, timeout
        self._builder = mixture.graph(lazy=False)
        self._graph = self._builder.compile(name=mixture.name)

    async def ask(
        self, ctx: Context[Any, Any], question: Question, context: ContextText = ""
    ) -> Annotated[CallToolResult, MixtureAnswer]:
        """Ask a question and report progress; cancelling the call cancels the run."""
        note_model(self._mixture.name)
        try:
            values = await self._follow_run(format_question(question, context), ctx)
        except Exception as error:  # noqa: BLE001  # the client receives every error
            message = redacted_message(error)
            logger.warning("%s: %s", self._mixture.name, message)
            return CallToolResult(content=[TextContent(type="text", text=message)], is_error=True)
        return self._build_result(values)

    async def _follow_run(self, text: str, ctx: Context[Any, Any]) -> Mapping[str, Any]:
        """Run in a separate task: cancelling a call would disturb the cleanup of a graph.

        Raises:
            ApiError: If there are too many runs, the run takes too long, or the server stops.
            Exception: Any error of the run.
        """
        events: RunEvents = asyncio.Queue()
        run = self._service.start_run(self._run(text, events))
        run.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while note := await events.get():
                await ctx.report_progress(*note)
            if run.cancelled():
                raise server_stopping_error()
            return run.result()
        finally:
            run.cancel()

    async def _run(self, text: str, events: RunEvents) -> Mapping[str, Any]:
        timer = asyncio.timeout(self._timeout)
        try:
            async with timer:
                return await self._stream(text, events)
        except TimeoutError:
            if not timer.expired():
                raise
            message = f"no answer within the limit of {self._timeout:g} s"
            raise ApiError(504, message, code="timeout") from None

    async def _stream(self, text: str, events: RunEvents) -> Mapping[str, Any]:
        progress, values = LayerProgress(self._mixture.layer_widths()), dict[str, Any]()
        events.put_nowait(progress.begin())
        question: Any = {"messages": [HumanMessage(text)]}
        run = self._graph.astream(question, stream_mode=["updates", "values"])
        async with aclosing(cast("AsyncGenerator[Any]", run)) as parts:
            async for mode, part in parts:
                if mode == "values":
                    values = part
                else:
                    events.put_nowait([progress.take_node(*each) for each in part.items()][-1])
        return values

    def _build_result(self, values: Mapping[str, Any]) -> CallToolResult:
        message: AIMessage = values["messages"][-1]
        run = self._runs.keep(KeptRun(values, self._builder, self._mixture.prices))
        answer = MixtureAnswer(
            answer=str(message.text),
            summary=read_run_summary(message),
            report=REPORT_URI.format(run=run),
        )
        return CallToolResult(
            content=[TextContent(type="text", text=answer["answer"])],
            structured_content=dict(answer),
        )


def _add_reports(server: MCPServer[Any], runs: KeptRuns) -> None:
    @server.resource(
        REPORT_URI,
        name="report",
        title="Report of a run",
        description="How an answer came about: an HTML page. The result of a tool names it as "
        f"`report`; the last {MAX_KEPT_RUNS} are kept.",
        mime_type="text/html",
    )
    async def read_report(run: str) -> str:
        if not (kept := runs.find(run)):
            raise ResourceNotFoundError(
                f"no run {run!r}; the last {MAX_KEPT_RUNS} are kept, until the server stops"
            )
        return await asyncio.to_thread(kept.write_report)


def _describe_tool(mixture: MoAConfig) -> str:
    """Return the description of a tool for models, with its models."""
    labels = dict.fromkeys(agent.label for layer in mixture.layers for agent in layer.values())
    named = ", ".join([*labels][:MAX_NAMED_MODELS])
    more = len(labels) - MAX_NAMED_MODELS
    others = f" and {more} more" if more > 0 else ""
    return f"{TOOL_DESCRIPTION} The panel: {named}{others}; {mixture.aggregator.label} writes."
