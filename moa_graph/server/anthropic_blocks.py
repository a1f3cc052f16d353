"""Order the blocks of a streamed answer as Anthropic does."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic_core import from_json

from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_answers import CallPiece


@dataclass
class _Block:
    """A content block, and the part that has not been sent yet."""

    content: JsonObject
    """The block at its start."""
    is_call: bool
    written: list[str] = field(default_factory=list)
    sent: int = 0
    """Number of sent pieces."""

    def pop_unsent(self) -> str:
        """Return the unsent part, and mark it as sent."""
        unsent, self.sent = "".join(self.written[self.sent :]), len(self.written)
        return unsent

    def is_whole(self) -> bool:
        """Return whether the block is complete: text before a call, or finished JSON of a call."""
        if not self.is_call:
            return True
        try:
            return isinstance(from_json("".join(self.written)), dict)
        except ValueError:
            return False


class BlockStream:
    """Converts texts and pieces of tool calls to events of blocks; one block is open at a time.

    If a model writes several calls in parallel, those after the first wait until the answer ends.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._calls: list[_Block] = []
        self._open = 0
        """Index of the block that is streamed."""
        self._is_begun = self._is_interleaved = False

    @property
    def has_calls(self) -> bool:
        """Whether a call has started."""
        return bool(self._calls)

    def add_text(self, text: str) -> Iterator[JsonObject]:
        """Add a piece of text, and return the events to send."""
        if not text:
            return
        if not self._blocks or self._blocks[-1].is_call:
            self._blocks.append(_Block({"type": "text", "text": ""}, is_call=False))
        self._blocks[-1].written.append(text)
        yield from self._send_ready_blocks()

    def add_call(self, piece: CallPiece) -> Iterator[JsonObject]:
        """Add a piece of a call, and return the events to send."""
        if piece.number == len(self._calls):
            content: JsonObject = {
                "type": "tool_use",
                "id": piece.id,
                "name": piece.name,
                "input": {},
            }
            self._calls.append(_Block(content, is_call=True))
            self._blocks.append(self._calls[-1])
        self._calls[piece.number].written.append(piece.arguments)
        yield from self._send_ready_blocks()

    def finish(self) -> Iterator[JsonObject]:
        """Return all remaining events."""
        while self._open < len(self._blocks):
            yield from self._send_open()
            yield self._close()

    def _send_ready_blocks(self) -> Iterator[JsonObject]:
        """Send the unsent part of the open block, and go to the next one if it is complete."""
        yield from self._send_open()
        while self._open + 1 < len(self._blocks) and not self._is_interleaved:
            if not self._blocks[self._open].is_whole():
                self._is_interleaved = True  # called once, because it parses the whole block
                return
            yield self._close()
            yield from self._send_open()

    def _send_open(self) -> Iterator[JsonObject]:
        block, index = self._blocks[self._open], self._open
        if not self._is_begun:
            self._is_begun = True
            yield {"type": "content_block_start", "index": index, "content_block": block.content}
        if unsent := block.pop_unsent():
            kind, name = (
                ("input_json_delta", "partial_json") if block.is_call else ("text_delta", "text")
            )
            delta = {"type": kind, name: unsent}
            yield {"type": "content_block_delta", "index": index, "delta": delta}

    def _close(self) -> JsonObject:
        index = self._open
        self._open, self._is_begun = index + 1, False
        return {"type": "content_block_stop", "index": index}
