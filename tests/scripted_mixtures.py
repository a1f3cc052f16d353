"""Mixtures of models that count how often they are asked, and a writer that calls tools."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from moa_graph import ChatMoA, MoAMiddleware


class Writer(FakeModel):
    """Writes what it was given to write, tool calls too."""

    name: str = "writer"

    def bind_tools(self, tools: Any, **_: Any) -> "Writer":
        return self

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        answer: Any = self._generate(messages).generations[0].message
        for word in re.findall(r"\S+\s*", answer.text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        for index, call in enumerate(answer.tool_calls):
            arguments = json.dumps(call["args"])
            piece = tool_call_chunk(name=call["name"], args=arguments, id=call["id"], index=index)
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[piece]))


def tool_call(tool: str = "look", tool_call_id: str | None = None, **args: Any) -> dict[str, Any]:
    return {"name": tool, "args": args, "id": tool_call_id or f"call_{uuid4().hex}"}


def calling(*calls: dict[str, Any], text: str = "") -> AIMessage:
    """An answer that calls tools; by default one of them."""
    return AIMessage(text, tool_calls=calls or [tool_call()])


def result_of(answer: AIMessage, text: str = "seen", **fields: Any) -> list[Any]:
    """An answer, and the results of its tool calls."""
    calls = answer.tool_calls
    results = [ToolMessage(text, tool_call_id=c["id"], name=c["name"], **fields) for c in calls]
    return [answer, *results]


class MixtureModels:
    """Rows of proposers and a writer, and how often they were asked."""

    def __init__(
        self,
        *answers: Any,
        layers: int = 1,
        width: int = 2,
        answers_of: Mapping[str, list[Any]] | None = None,
        until: Callable[[], object] | None = None,
        writes: Callable[[], object] | None = None,
    ) -> None:
        """Build it.

        Args:
            *answers: What the writer answers, call by call.
            layers: How many there are.
            width: How many proposers each has; the first is called `p11`.
            answers_of: What proposers answer, by name; by default a proposal.
            until: What must be so before the first proposer answers.
            writes: What must be so before the writer answers.
        """
        names = [[f"p{row}{n}" for n in range(1, width + 1)] for row in range(1, layers + 1)]
        given = {"p11": {"until": until}}
        self.proposers = {
            name: FakeModel(
                name=name,
                answers=(answers_of or {}).get(name, ["a proposal"]),
                **given.get(name, {}),
            )
            for row in names
            for name in row
        }
        self.writer = Writer(answers=list(answers), until=writes)
        self.rows: list[Any] = [{name: self.proposers[name] for name in row} for row in names]

    @property
    def proposer_calls(self) -> int:
        return sum(len(each.asked) for each in self.proposers.values())

    @property
    def asked(self) -> int:
        """How many panels were asked, each as a whole."""
        [count] = {len(each.asked) for each in self.proposers.values()}
        return count

    @property
    def written(self) -> int:
        return len(self.writer.asked)


class ChatMixture(MixtureModels):
    """A mixture as a chat model."""

    def __init__(self, *answers: Any, **options: Any) -> None:
        """Build it of what `MixtureModels` and `ChatMoA` take."""
        super().__init__(*answers, **_take(options))
        self.moa = ChatMoA(self.rows, self.writer, **options)


class AgentMixture(MixtureModels):
    """Layers in front of the model of an agent."""

    def __init__(self, *answers: Any, **options: Any) -> None:
        """Build it of what `MixtureModels` and `MoAMiddleware` take."""
        super().__init__(*answers, **_take(options))
        self.middleware = MoAMiddleware(self.rows, **options)

    def agent(
        self,
        *tools: Any,
        before: Sequence[Any] = (),
        after: Sequence[Any] = (),
        **options: Any,
    ) -> Any:
        """Make an agent, with other middleware before and after the layers."""
        middleware = [*before, self.middleware, *after]
        return create_agent(self.writer, tools, middleware=middleware, **options)


def _take(options: dict[str, Any]) -> dict[str, Any]:
    """Take what `MixtureModels` is built of out of other options."""
    names = ("layers", "width", "answers_of", "until", "writes")
    return {name: options.pop(name) for name in names if name in options}
