"""A compiled mixture as a LangChain tool with the answer as its content."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Annotated, Any, Literal

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, patch_config
from langchain_core.tools import ArgsSchema, BaseTool, ToolException
from langgraph.constants import TAG_NOSTREAM
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, BeforeValidator, Field
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.errors import MoAError
from moa_graph.graph.run_summary import RunSummary, read_run_summary
from moa_graph.graph.state import Proposal
from moa_graph.prompting.attachments import enclose_context

TOOL_DESCRIPTION = (
    "Ask a panel of language models: they answer side by side, and one of them writes the answer "
    "from what all said. It takes longer and costs more than to answer yourself: use it for a "
    "question that is hard, or where a mistake is expensive."
)
_TOOL_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")

OptionalText = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""A text; `None` is an empty one, because many models send null for what they leave out."""


class ToolInput(BaseModel):
    """Arguments of a mixture's tool."""

    question: str = Field(
        min_length=1,
        description="The question, complete in itself: whoever answers it sees nothing of this "
        "conversation.",
    )
    context: OptionalText = Field(
        default="",
        description="What the answer depends on, word for word: a document, a listing, findings "
        "so far.",
    )


class ToolArtifact(TypedDict):
    """Artifact of a mixture's tool, for programs; models do not see it."""

    summary: RunSummary | None
    """Run summary of the answer; `None` for a graph that is not a mixture."""
    proposals: dict[str, Proposal]
    """The proposals, keyed by node."""


class MoATool(BaseTool):
    """A tool whose content is the answer of a graph, and whose artifact is a `ToolArtifact`."""

    args_schema: ArgsSchema = ToolInput
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    graph: CompiledStateGraph[Any, Any, Any, Any] = Field(exclude=True, repr=False)
    """The graph; its run is a child of the tool's run."""

    def _run(self, question: str, context: str = "") -> tuple[str, ToolArtifact]:
        text = format_question(question, context)
        with _as_tool_exceptions():
            state = self.graph.invoke(_to_input(text), self._config_for(text))
        return _read_result(state)

    async def _arun(self, question: str, context: str = "") -> tuple[str, ToolArtifact]:
        text = format_question(question, context)
        with _as_tool_exceptions():
            state = await self.graph.ainvoke(_to_input(text), self._config_for(text))
        return _read_result(state)

    def _config_for(self, text: str) -> RunnableConfig:
        """Return the config for the run of a question, as a child of the run that calls the tool.

        The calls of one task share a checkpoint namespace, and LangGraph numbers them in the order
        of their start. After a kill, a call could continue from the checkpoints of another one.
        Therefore each question has its own namespace.
        """
        config = ensure_config()
        config = patch_config(config, configurable=_own_namespace(config, self.name, text))
        return {**config, "tags": [*(config.get("tags") or ()), TAG_NOSTREAM]}


def format_question(question: str, context: str = "") -> str:
    """Combine a question and its context in one message."""
    if not context.strip():
        return question
    return f"{question}\n\n{enclose_context(context)}"


def tool_of_graph(
    graph: CompiledStateGraph[Any, Any, Any, Any], name: str, description: str | None = None
) -> MoATool:
    """Create a tool from a compiled graph.

    Raises:
        ValueError: If the name is not a valid tool name.
    """
    if not _TOOL_NAME.fullmatch(name):
        raise ValueError(
            f"`name`={name!r}: expected 1 to 64 letters, digits, `_` and `-`, as in names of tools"
        )
    if (
        graph.checkpointer is not False
    ):  # each call is a separate conversation within the caller's thread
        graph = graph.copy(update={"checkpointer": None})
    return MoATool(name=name, description=description or TOOL_DESCRIPTION, graph=graph)


def _to_input(text: str) -> dict[str, list[AnyMessage]]:
    return {"messages": [HumanMessage(text)]}


def _own_namespace(config: RunnableConfig, name: str, text: str) -> dict[str, str]:
    """Return the checkpoint namespace of a question, if a host has checkpoints."""
    if not (namespace := config.get("configurable", {}).get("checkpoint_ns")):
        return {}
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return {"checkpoint_ns": f"{namespace}|{name}:{digest}"}


@contextmanager
def _as_tool_exceptions() -> Iterator[None]:
    """Convert failures of a run to exceptions that `handle_tool_error` handles; other errors pass.

    Raises:
        ToolException: If the mixture has no answer.
    """
    try:
        yield
    except MoAError as error:
        raise ToolException(str(error)) from error


def _read_result(state: Mapping[str, Any]) -> tuple[str, ToolArtifact]:
    answer = state["messages"][-1]
    artifact = ToolArtifact(
        summary=read_run_summary(answer), proposals=dict(state.get("proposals") or {})
    )
    return answer.text, artifact
