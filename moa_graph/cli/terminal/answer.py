"""The final answer, written to a terminal while it comes."""

import sys

from langchain_core.messages import BaseMessage

from moa_graph.cli.terminal.text import plain
from moa_graph.cli.terminal.wrapping import Wrapper, columns


class Answer:
    """Takes the pieces of an answer, or of several: a fallback's follows a broken one."""

    def __init__(self) -> None:
        self._message: str | None = None
        self._begin()

    @property
    def begun(self) -> bool:
        """Whether any of it was written."""
        return self._message is not None

    def write(self, piece: BaseMessage) -> None:
        """Write a piece."""
        if self.begun and piece.id != self._message:
            self.close()
            sys.stdout.write("\n(broken off; a fallback answers)\n")
            self._begin()
        self._message = piece.id or ""
        self._wrapper.write(plain(piece.text))
        sys.stdout.flush()

    def close(self) -> None:
        """Write what was held back."""
        self._wrapper.end()
        sys.stdout.flush()

    def _begin(self) -> None:
        self._wrapper = Wrapper(sys.stdout.write, lambda: columns(sys.stdout))
