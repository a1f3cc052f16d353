"""Render markdown-it's tokens as HTML; only the elements in this module are allowed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from moa_graph.markdown.math import UNFINISHED
from moa_graph.markdown.mathml import tex_to_mathml

MARKED = "marked"
"""Environment key of the HTML of marked texts, keyed by the `id` of their tokens."""
MAX_LANGUAGE_CHARS = 40
NARROW_CHARS = 15
"""Maximum length of a formula that fits into any column; a longer formula can scroll."""
PRINTED_CHARS = (160, 80, 50, 30)
"""Lengths of a formula's longest line above which it is printed smaller, as paper does not scroll.

A class passes the exceeded length to the style sheet.
"""

_TAG = re.compile(r"<(mspace|/mtr)?[^>]*>")

_TASKS = {True: ("done", "\u2611"), False: ("to do", "\u2610")}

Environment = Mapping[str, Any]


class SafeRenderer(RendererHTML):
    """Renders elements that scroll or have accessible names; each method renders one token type."""

    def text(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render text."""
        return _write_content(tokens[idx], env)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render inline code."""
        return f"<code>{_write_content(tokens[idx], env)}</code>"

    def math(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render an inline formula."""
        return frame_formula(tokens[idx], _find_marked_html(tokens[idx], env))

    def math_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render a formula block."""
        framed = frame_formula(tokens[idx], _find_marked_html(tokens[idx], env), "div")
        return f"{framed}\n" if framed.startswith("<div") else f'<p dir="ltr">{framed}</p>\n'

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render a code block below its language."""
        language = (tokens[idx].info.split() or [""])[0][:MAX_LANGUAGE_CHARS]
        return (
            f'<div class="code" dir="ltr"><div><span>{escapeHtml(language)}</span></div>'
            f'<pre tabindex="0"><code>{_write_content(tokens[idx], env)}</code></pre></div>\n'
        )

    def code_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render an indented code block."""
        return self.fence(tokens, idx, options, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Open a scrollable table; it is no landmark, as a text may contain many tables."""
        opened = self.renderToken(tokens, idx, options, env)  # type: ignore[arg-type]
        return f'<div class="scroll" tabindex="0" role="group" aria-label="Table">{opened}'

    def table_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Close a table."""
        return f"{self.renderToken(tokens, idx, options, env)}</div>\n"  # type: ignore[arg-type]

    def list_item_open(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Environment
    ) -> str:
        """Open a list item, with a check mark for a task."""
        opened = self.renderToken(tokens, idx, options, env)  # type: ignore[arg-type]
        if "checked" not in tokens[idx].meta:
            return opened
        word, sign = _TASKS[bool(tokens[idx].meta["checked"])]
        return f'{opened}<span class="task" role="img" aria-label="{word}">{sign}</span> '

    def html_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Environment) -> str:
        """Render HTML as text; the parser disables HTML, so this is a second safeguard."""
        return _write_content(tokens[idx], env)

    html_inline = html_block


def write_formula(token: Token) -> str:
    """Render a formula as MathML, or as TeX if conversion fails."""
    return _to_mathml(token) or escapeHtml(token.content)


def frame_formula(token: Token, content: str | None = None, tag: str = "span") -> str:
    """Render a formula in an element; for a formula that remains TeX, the element is always `span`.

    Args:
        token: The formula.
        content: Its HTML; by default that of `write_formula`.
        tag: Name of the element.
    """
    content = content or write_formula(token)
    if not _to_mathml(token):
        return f'<span class="math" dir="ltr">{content}</span>'
    return f"<{tag} {_describe_formula(token)}>{content}</{tag}>"


def _to_mathml(token: Token) -> str | None:
    if token.meta.get(UNFINISHED):
        return None
    return tex_to_mathml(token.content, is_display=token.meta["display"])


def _describe_formula(token: Token) -> str:
    """Return the attributes of a formula's element; only a wide formula can be focused."""
    lines = _TAG.sub(_draw_tag, _to_mathml(token) or "").split("\n")
    classes = ["formula", *(["display"] if token.meta["display"] else [])]
    longest = max(map(len, lines))
    classes += [f"m-over-{chars}" for chars in PRINTED_CHARS if longest > chars][:1]
    focus = ' tabindex="0" role="group" aria-label="Formula"' if longest > NARROW_CHARS else ""
    return f'class="{" ".join(classes)}" dir="ltr"{focus}'


def _draw_tag(tag: re.Match[str]) -> str:
    """Replace a space with characters of about its width, and a row end with a line break."""
    return {"mspace": "--", "/mtr": "\n"}.get(tag[1], "")


def _write_content(token: Token, env: Environment) -> str:
    return _find_marked_html(token, env) or escapeHtml(token.content)


def _find_marked_html(token: Token, env: Environment) -> str | None:
    marked: Mapping[int, str] = env.get(MARKED, {})
    return marked.get(id(token))
