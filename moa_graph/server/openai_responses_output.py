"""Output items of OpenAI's Responses API, and their stream events.

An event consists of its type and fields, without its sequence number.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage

from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_answers import CallPiece, openai_logprobs, openai_tool_calls
from moa_graph.server.openai_responses_tools import CallableTool, read_text_arguments

Event = tuple[str, JsonObject]


class OutputMessage:
    """A message with one part."""

    def __init__(self) -> None:
        self.id, self.is_open = f"msg_{uuid4().hex}", True
        self._pieces, self._logprobs = list[str](), list[JsonObject]()

    def begin(self) -> Iterator[Event]:
        """Return the events of its start."""
        item = {**self.to_item("in_progress"), "content": []}
        yield "response.output_item.added", {"item": item}
        yield "response.content_part.added", {**self._place, "part": self._part}

    def add_text(self, text: str, logprobs: Sequence[JsonObject]) -> Iterator[Event]:
        """Append to its text."""
        self._pieces.append(text)
        self._logprobs += logprobs
        yield "response.output_text.delta", {**self._place, "delta": text, "logprobs": logprobs}

    def end(self, status: str) -> Iterator[Event]:
        """Return the events of its end."""
        self.is_open = False
        fields = {"text": self._part["text"], "logprobs": self._logprobs}
        yield "response.output_text.done", {**self._place, **fields}
        yield "response.content_part.done", {**self._place, "part": self._part}
        yield "response.output_item.done", {"item": self.to_item(status)}

    def to_item(self, status: str) -> JsonObject:
        """Return the complete item."""
        head = {"id": self.id, "type": "message", "role": "assistant", "status": status}
        return {**head, "content": [self._part]}

    @property
    def _place(self) -> JsonObject:
        return {"item_id": self.id, "content_index": 0}

    @property
    def _part(self) -> JsonObject:
        text = "".join(self._pieces)
        part = {"type": "output_text", "text": text, "annotations": []}
        return {**part, "logprobs": [*self._logprobs]}


class OutputCall:
    """A function call."""

    def __init__(self, call_id: str, name: str, tool: CallableTool | None) -> None:
        self.id, self.is_open = f"fc_{uuid4().hex}", True
        self._head = {"call_id": call_id, "name": tool.tool.name if tool else name}
        if tool and tool.namespace:
            self._head["namespace"] = tool.namespace
        self._takes_text, self._pieces = bool(tool and tool.takes_text), list[str]()

    def begin(self) -> Iterator[Event]:
        """Return the events of its start."""
        yield "response.output_item.added", {"item": self.to_item("in_progress")}

    def add_arguments(self, arguments: str) -> Iterator[Event]:
        """Append to its arguments."""
        self._pieces.append(arguments)
        if arguments and not self._takes_text:
            delta = {"item_id": self.id, "delta": arguments}
            yield "response.function_call_arguments.delta", delta

    def end(self, status: str) -> Iterator[Event]:
        """Return the events of its end."""
        self.is_open = False
        item = self.to_item(status)
        if self._takes_text:  # until then it is encoded in JSON
            place = {"item_id": self.id}
            yield "response.custom_tool_call_input.delta", {**place, "delta": item["input"]}
            yield "response.custom_tool_call_input.done", {**place, "input": item["input"]}
        else:
            fields = {"item_id": self.id, "name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", fields
        yield "response.output_item.done", {"item": item}

    def to_item(self, status: str) -> JsonObject:
        """Return the complete item."""
        head = {"id": self.id, "status": status, **self._head}
        arguments = "".join(self._pieces)
        if self._takes_text:
            text = read_text_arguments(arguments)
            return {**head, "type": "custom_tool_call", "input": text}
        arguments = arguments or ("" if self.is_open else "{}")
        return {**head, "type": "function_call", "arguments": arguments}


class OutputItems:
    """The items of an output, in the order of their start.

    A message ends before a call starts. Calls stay open until the end, because some providers write
    several of them alternately.
    """

    def __init__(self, tools: Iterable[CallableTool] = ()) -> None:
        self._tools = {each.chat_name: each for each in tools}
        self._items = list[OutputMessage | OutputCall]()
        self._calls = list[int]()  # their indexes among the items

    def add_text(self, text: str, logprobs: Sequence[JsonObject] = ()) -> Iterator[Event]:
        """Append to the open message, or start one."""
        last = self._items[-1] if self._items else None
        if isinstance(last, OutputMessage) and last.is_open:
            message = last
        else:
            message = OutputMessage()
            yield from self._begin_item(message)
        events = message.add_text(text, [*logprobs])
        yield from self._number(len(self._items) - 1, events)

    def add_call_piece(self, piece: CallPiece) -> Iterator[Event]:
        """Append to a call, or start it."""
        if piece.id is not None:
            yield from self._end_message()
            self._calls.append(len(self._items))
            yield from self._begin_item(
                OutputCall(piece.id, piece.name, self._tools.get(piece.name))
            )
        index = self._calls[piece.number]
        call = self._items[index]
        if isinstance(call, OutputCall):
            yield from self._number(index, call.add_arguments(piece.arguments))

    def end(self, status: str) -> Iterator[Event]:
        """Close all open items; an empty answer is an empty message."""
        if not self._items:
            yield from self.add_text("")
        for index, item in enumerate(self._items):
            if item.is_open:
                yield from self._number(index, item.end(status))

    def to_output(self, status: str) -> list[JsonObject]:
        """Return all items; the last one has the status of the answer."""
        statuses = ["completed"] * (len(self._items) - 1) + [status]
        return [item.to_item(each) for item, each in zip(self._items, statuses, strict=True)]

    def _end_message(self) -> Iterator[Event]:
        last = len(self._items) - 1
        if self._items and isinstance(self._items[last], OutputMessage):
            yield from self._number(last, self._items[last].end("completed"))

    def _begin_item(self, item: OutputMessage | OutputCall) -> Iterator[Event]:
        self._items.append(item)
        return self._number(len(self._items) - 1, item.begin())

    def _number(self, index: int, events: Iterable[Event]) -> Iterator[Event]:
        for kind, fields in events:
            yield kind, {"output_index": index, **fields}


def to_output_items(answer: AIMessage, tools: Iterable[CallableTool]) -> OutputItems:
    """Return the items of a complete answer.

    Args:
        answer: The answer.
        tools: The callable tools.
    """
    items, calls = OutputItems(tools), openai_tool_calls(answer)
    output_items = (
        [items.add_text(answer.text, read_logprobs(answer))] if answer.text or not calls else []
    )
    for index, call in enumerate(calls):
        function = call["function"]
        piece = CallPiece(index, call["id"], function["name"], function["arguments"])
        output_items.append(items.add_call_piece(piece))
    for _ in chain.from_iterable(output_items):  # their events are not needed
        pass
    return items


def read_logprobs(answer: AIMessage) -> list[JsonObject]:
    """Return the log-probabilities of an answer's tokens; Responses require `bytes`."""
    logprobs: dict[str, Any] = openai_logprobs(answer) or {}
    return [
        _with_bytes(token) | {"top_logprobs": [*map(_with_bytes, token["top_logprobs"])]}
        for token in logprobs.get("content") or ()
    ]


def _with_bytes(token: JsonObject) -> JsonObject:
    return {**token, "bytes": token.get("bytes") or []}
