"""The final answer, written to a terminal while it comes."""

import sys
from typing import Self

from langchain_core.messages import BaseMessage

from moa_graph.cli.terminal.plain_text import strip_control_characters
from moa_graph.cli.terminal.wrapping import LineWrapper, terminal_width


class StreamedAnswer:
    """Takes the pieces of an answer, or of several: a fallback's follows a broken one."""

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
        """Whether any of it was written."""
        return self._message_id is not None

    def write(self, chunk: BaseMessage) -> None:
        """Write a piece."""
        if self.is_started and chunk.id != self._message_id:
            self.close()
            sys.stdout.write("\n(broken off; a fallback answers)\n")
            self._start_wrapper()
        self._message_id = chunk.id or ""
        self._is_line_open = True
        self._wrapper.write(strip_control_characters(chunk.text))
        sys.stdout.flush()

    def close(self) -> None:
        """Write what was held back."""
        self._wrapper.flush()
        sys.stdout.flush()

    def end_line(self) -> None:
        """Write what was held back, and let what follows begin a line of its own."""
        self.close()
        if self._is_line_open:
            self._is_line_open = False
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _start_wrapper(self) -> None:
        self._wrapper = LineWrapper(sys.stdout.write, lambda: terminal_width(sys.stdout))
