"""The final answer, written to a terminal while it comes."""

import sys

from langchain_core.messages import BaseMessage

from moa_graph.cli.terminal.text import strip_control_characters
from moa_graph.cli.terminal.wrapping import LineWrapper, terminal_width


class StreamedAnswer:
    """Takes the pieces of an answer, or of several: a fallback's follows a broken one."""

    def __init__(self) -> None:
        self._message_id: str | None = None
        self._start_wrapper()

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
        self._wrapper.write(strip_control_characters(chunk.text))
        sys.stdout.flush()

    def close(self) -> None:
        """Write what was held back."""
        self._wrapper.flush()
        sys.stdout.flush()

    def _start_wrapper(self) -> None:
        self._wrapper = LineWrapper(sys.stdout.write, lambda: terminal_width(sys.stdout))
