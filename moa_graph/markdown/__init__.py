"""Convert Markdown from models to safe HTML, for the page and for reports."""

from moa_graph.markdown.document import (
    HEADING_TAG,
    MAX_LAID_OUT_CHARS,
    Mark,
    MarkdownDocument,
    render_blocks,
    render_claim,
    render_markdown,
)
from moa_graph.markdown.streaming import StreamedMarkdown

__all__ = [
    "HEADING_TAG",
    "MAX_LAID_OUT_CHARS",
    "Mark",
    "MarkdownDocument",
    "StreamedMarkdown",
    "render_blocks",
    "render_claim",
    "render_markdown",
]
