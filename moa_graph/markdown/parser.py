"""Parse Markdown from models: CommonMark with tables, task lists, strike-through, mathematics.

HTML and link reference definitions remain text. Therefore no block depends on another block, and a
finished block does not change when more text arrives.
"""

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock

from moa_graph.markdown.elements import adapt_elements
from moa_graph.markdown.math import parse_math_block, parse_math_inline
from moa_graph.markdown.rendering import SafeRenderer
from moa_graph.markdown.tables import parse_bounded_table

DEEPEST_LEVEL = 16
"""Maximum nesting of blocks, equal to eight nested lists; deeper blocks remain text."""
MAX_ADDRESS_CHARS = 2000
"""Maximum length of a link's address; a link with a longer address remains text."""

_SAFE_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s/]", re.IGNORECASE)


class _SafeMarkdown(MarkdownIt):
    """A parser that allows only links to the web and to mailboxes."""

    def validateLink(self, url: str) -> bool:  # noqa: N802  # markdown-it's name
        """Return whether an address may become a link; otherwise its Markdown remains text."""
        return len(url) <= MAX_ADDRESS_CHARS and bool(_SAFE_ADDRESS.match(url))


@cache
def markdown_parser() -> MarkdownIt:
    """Return the parser, which is stateless."""
    options = {
        "html": False,
        "breaks": True,
        "xhtmlOut": False,
        "tasklists": True,
        "maxNesting": DEEPEST_LEVEL + 4,
    }
    parser = _SafeMarkdown("commonmark", options, renderer_cls=SafeRenderer)
    parser.enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline", "reference"])
    blocks, inline = parser.block.ruler, parser.inline.ruler
    blocks.at("table", parse_bounded_table, {"alt": ["paragraph"]})
    blocks.before("table", "math", parse_math_block, {"alt": ["paragraph", "blockquote", "list"]})
    blocks.before("math", "deep", _parse_deep_block)
    inline.before("escape", "math", parse_math_inline)
    parser.core.ruler.push("elements", adapt_elements)
    return parser


def _parse_deep_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001  # markdown-it's signature
    """Convert blocks beyond the maximum nesting to a paragraph; markdown-it would drop them."""
    if silent or state.level < DEEPEST_LEVEL:
        return False
    end = _find_end(state, start, end)
    state.push("paragraph_open", "p", 1).map = [start, end]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, end, state.blkIndent, keepLastLF=False).strip()
    inline.map, inline.children = [start, end], []
    state.push("paragraph_close", "p", -1)
    state.line = end
    return True


def _find_end(state: StateBlock, start: int, end: int) -> int:
    """Return the line after the last line of the same depth; `end` may be the end of the text."""
    line, behind = start, start
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
        if not state.isEmpty(line - 1):
            behind = line
    return behind
