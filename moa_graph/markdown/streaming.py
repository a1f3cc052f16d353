"""Render the Markdown of a growing text, without rendering finished blocks again."""

from moa_graph.markdown.document import (
    MAX_LAID_OUT_CHARS,
    MarkdownDocument,
    render_plain,
)

DEFAULT_PATIENCE = 16


class StreamedMarkdown:
    """The blocks of a growing text.

    For a text of n characters, about `patience` times n are rendered in total, for any chunk sizes:
    the unfinished part is rendered again when it has grown by its own length divided by `patience`.

    Args:
        patience: See above; a higher value renders more often and takes longer.
    """

    def __init__(self, patience: int = DEFAULT_PATIENCE) -> None:
        self.blocks = list[str]()
        """HTML of the blocks, each one element."""
        self.finished = 0
        """Number of leading blocks that are final."""
        self.rendered_chars = 0
        """Total number of rendered characters."""
        self._patience = patience
        self._start = self._end = 0  # unfinished part, as last rendered
        self._is_provisional = False  # the last formula is unclosed

    def update(self, text: str, *, is_over: bool = False) -> bool:
        """Set the text, which begins with the previous one; return whether the blocks have changed.

        Args:
            text: The complete text so far.
            is_over: Whether the text is complete, so that all of it is rendered.
        """
        grown, unfinished = len(text) - self._end, len(text) - self._start
        if not grown and not (is_over and self._is_provisional):
            return False
        if not is_over and grown * self._patience < unfinished:
            return False
        self._end = len(text)
        self.rendered_chars += unfinished
        if self._start < MAX_LAID_OUT_CHARS:
            tail = text[self._start : MAX_LAID_OUT_CHARS]
            self._lay_out(tail, is_cut=len(text) > MAX_LAID_OUT_CHARS, is_over=is_over)
        if len(text) > MAX_LAID_OUT_CHARS:
            self.blocks[self.finished :] = [render_plain(text[MAX_LAID_OUT_CHARS:])]
        return True

    def _lay_out(self, tail: str, *, is_cut: bool, is_over: bool) -> None:
        """Render the unfinished part, and find its finished blocks.

        A block is finished when another block begins after an empty line with a complete line: a
        line that begins with `1` may still become an item of the list before.
        """
        document = MarkdownDocument(tail, is_growing=not is_over and not is_cut)
        self._is_provisional = document.is_unfinished
        self.blocks[self.finished :] = document.render()
        if is_cut:
            self.finished, self._start = len(self.blocks), MAX_LAID_OUT_CHARS
            return
        lines = tail.split("\n")
        for index in range(len(document.blocks) - 1, 0, -1):
            line = document.blocks[index].line
            if line < len(lines) - 1 and not lines[line - 1].strip(" \t"):
                self.finished += index
                self._start += sum(len(each) + 1 for each in lines[:line])
                return
