"""Mixtures as tools of the Model Context Protocol: one tool for each, and the report of a run."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from importlib.metadata import version
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage, HumanMessage
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # Python 3.11's own has no JSON schema

from moa_graph.config.model import MoAConfig
from moa_graph.graph.run_summary import RunSummary, read_run_summary
from moa_graph.graph.tool import TOOL_DESCRIPTION, ToolInput, format_question
from moa_graph.redaction import redacted_message
from moa_graph.server.errors import ApiError, server_stopping_error
from moa_graph.server.kept_runs import MAX_KEPT_RUNS, KeptRun, KeptRuns
from moa_graph.server.layer_progress import LayerProgress, ProgressNote
from moa_graph.server.service import MixtureService

logger = logging.getLogger("moa_graph.server")

MAX_TOOL_NAME_CHARS = 64  # what the APIs of models take
MAX_NAMED_MODELS = 8  # models that the description of a tool names
REPORT_URI = "moa://runs/{run}/report"
_INSTRUCTIONS = (
    "Each tool asks another panel of language models, and gives the answer that one of them writes "
    "from what all said. A question has to be complete in itself."
)
_INPUT = ToolInput.model_fields
Question = Annotated[str, Field(min_length=1, description=_INPUT["question"].description)]
ContextText = Annotated[str, Field(description=_INPUT["context"].description)]
RunEvents = asyncio.Queue[ProgressNote | None]


class MixtureAnswer(TypedDict):
    """What a tool gives programs; some hosts show it to their models in place of the text."""

    answer: str
    """The answer, as in the text."""
    summary: RunSummary | None
    """How it came about."""
    report: str
    """The resource that is the report of the run: an HTML page."""


def create_mcp_server(service: MixtureService, *, timeout: float) -> MCPServer[Any]:
    """Create a server that has a tool for each mixture of a service.

    Args:
        service: The mixtures, and how many runs there may be at the same time.
        timeout: Seconds after which a run is given up.

    Raises:
        ValueError: If two mixtures had tools of the same name.
    """
    server = MCPServer[Any](
        "moa_graph",
        title="Mixture-of-Agents",
        instructions=_INSTRUCTIONS,
        version=version("moa_graph"),
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
    """Name the tool of each mixture: `ask_` and its own name, as models can call it.

    Raises:
        ValueError: If two have the same.
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
    """A mixture that is called as a tool."""

    def __init__(
        self, service: MixtureService, mixture: MoAConfig, runs: KeptRuns, timeout: float
    ) -> None:
        self._service, self._mixture, self._runs, self._timeout = service, mixture, runs, timeout

    async def ask(
        self, ctx: Context[Any, Any], question: Question, context: ContextText = ""
    ) -> Annotated[CallToolResult, MixtureAnswer]:
        """Ask, and tell how far the run is; cancelling the call cancels the run."""
        try:
            values = await self._follow_run(format_question(question, context), ctx)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
            message = redacted_message(error)
            logger.warning("%s: %s", self._mixture.name, message)
            return CallToolResult(content=[TextContent(type="text", text=message)], is_error=True)
        return self._build_result(values)

    async def _follow_run(self, text: str, ctx: Context[Any, Any]) -> Mapping[str, Any]:
        """Run in a task of its own: what cancels a call would disturb a graph that cleans up.

        Raises:
            ApiError: If there are too many runs, it takes too long, or the server stops.
            Exception: Whatever ends the run.
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
            message = f"no answer within {self._timeout:g} s, which is the most"
            raise ApiError(504, message, code="timeout") from None

    async def _stream(self, text: str, events: RunEvents) -> Mapping[str, Any]:
        progress, values = LayerProgress(self._mixture.layer_widths()), dict[str, Any]()
        events.put_nowait(progress.begin())
        graph = self._service.get_graph(self._mixture.name)
        question: Any = {"messages": [HumanMessage(text)]}
        run = graph.astream(question, stream_mode=["updates", "values"])
        async with aclosing(cast("AsyncGenerator[Any]", run)) as parts:
            async for mode, part in parts:
                if mode == "values":
                    values = part
                else:
                    events.put_nowait([progress.take_node(node) for node in part][-1])
        return values

    def _build_result(self, values: Mapping[str, Any]) -> CallToolResult:
        message: AIMessage = values["messages"][-1]
        builder = self._service.builders[self._mixture.name]
        run = self._runs.keep(KeptRun(values, builder, self._mixture.prices))
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
    """Tell models what a tool is for, and whom it asks."""
    labels = dict.fromkeys(agent.label for layer in mixture.layers for agent in layer.values())
    named = ", ".join([*labels][:MAX_NAMED_MODELS])
    more = len(labels) - MAX_NAMED_MODELS
    others = f" and {more} more" if more > 0 else ""
    return f"{TOOL_DESCRIPTION} The panel: {named}{others}; {mixture.aggregator.label} writes."
