"""Stream the final answer to a terminal."""

import sys
from typing import Self

from langchain_core.messages import BaseMessage

from moa_graph.cli.terminal.plain_text import strip_control_characters
from moa_graph.cli.terminal.wrapping import LineWrapper, terminal_width


class StreamedAnswer:
    """Prints the chunks of a streamed answer; a fallback's answer may follow a broken one."""

    def __init__(self) -> None:
        self._message_id: str | None = None
        self._is_line_open = False
        self._start_wrapper()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_line()

    @property
    def is_started(self) -> bool:
        """Whether any text was printed."""
        return self._message_id is not None

    def write(self, chunk: BaseMessage) -> None:
        """Print a chunk."""
        if self.is_started and chunk.id != self._message_id:
            self.close()
            sys.stdout.write("\n(broken off; a fallback answers)\n")
            self._start_wrapper()
        self._message_id = chunk.id or ""
        self._is_line_open = True
        self._wrapper.write(strip_control_characters(chunk.text))
        sys.stdout.flush()

    def close(self) -> None:
        """Print text that was held back."""
        self._wrapper.flush()
        sys.stdout.flush()

    def end_line(self) -> None:
        """Print text that was held back, and end the line."""
        self.close()
        if self._is_line_open:
            self._is_line_open = False
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _start_wrapper(self) -> None:
        self._wrapper = LineWrapper(sys.stdout.write, lambda: terminal_width(sys.stdout))
