"""Parsed Markdown: its blocks as HTML, its visible text, and marks in that text."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from moa_graph.markdown.math import GROWING, UNFINISHED
from moa_graph.markdown.parser import markdown_parser
from moa_graph.markdown.rendering import MARKED, frame_formula, write_formula
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.runs.formatting import strip_hidden_characters

MAX_LAID_OUT_CHARS = 200_000
"""Maximum number of rendered characters of a text; the rest is shown unformatted."""

HEADING_TAG = re.compile(r"<(/?)h([1-6])(?=[ >])")
"""A tag of a heading in rendered HTML: its slash, if it is an end tag, and its level."""

_SHOWN = {"text", "code_inline", "math", "fence", "code_block", "math_block"}
_FORMULAS = {"math", "math_block"}
_BREAKS = {"softbreak", "hardbreak"}


class Mark(NamedTuple):
    """A marked range of `MarkdownDocument.text`."""

    start: int
    end: int
    tag: Literal["mark", "ins", "del"] = "mark"
    who: str = ""
    """Space-separated names for the attribute `data-who`."""
    insertion: str = ""
    """Text to insert at an empty range."""
    note: str = ""
    """Value of the attribute `data-note` at the end of the range, for a style sheet to show."""
    is_formula: bool = False
    """Whether the inserted text is a formula."""


class Block(NamedTuple):
    """A top-level block."""

    line: int
    """First line, counted from 0."""
    tokens: Sequence[Token]


@dataclass(frozen=True)
class _Piece:
    start: int
    token: Token
    is_prose: bool

    @property
    def end(self) -> int:
        return self.start + len(self.token.content)


class MarkdownDocument:
    """A parsed Markdown text.

    Args:
        text: The text. Hidden characters, such as direction overrides, are removed.
        is_growing: Whether more text will follow, so that an unclosed formula remains a formula.
    """

    def __init__(self, text: str, *, is_growing: bool = False) -> None:
        source = strip_hidden_characters(replace_surrogates(text))
        env = {GROWING: is_growing}
        self.blocks = list(_split_blocks(markdown_parser().parse(source, env)))
        self.is_unfinished = UNFINISHED in env
        """Whether the last formula is unclosed."""

    @cached_property
    def text(self) -> str:
        """The visible text, without Markdown syntax and link addresses."""
        parts, position = list[str](), 0
        for piece in self._pieces:
            parts += ["\n" * (piece.start - position), piece.token.content]
            position = piece.end
        return "".join(parts)

    @property
    def formulas(self) -> list[tuple[int, int]]:
        """Start and end of each formula in `text`, in order."""
        return [(each.start, each.end) for each in self._pieces if each.token.type in _FORMULAS]

    @cached_property
    def prose(self) -> Sequence[tuple[int, int]]:
        """Start and end of each range of prose in `text`: no code, formulas or tables."""
        return [(piece.start, piece.end) for piece in self._pieces if piece.is_prose]

    def render(self, marks: Sequence[Mark] = ()) -> list[str]:
        """Render each block as one HTML element.

        Args:
            marks: Marks in order, without overlaps.
        """
        parser = markdown_parser()
        env = {MARKED: _write_marked(self._pieces, marks)} if marks else {}
        rendered = (
            parser.renderer.render(each.tokens, parser.options, env) for each in self.blocks
        )
        return [str(html).rstrip("\n") for html in rendered]

    @cached_property
    def _pieces(self) -> Sequence[_Piece]:
        """The visible parts; one character separates two blocks."""
        pieces, position = list[_Piece](), 0
        for token, is_prose in _list_shown(block.tokens for block in self.blocks):
            if token is None:
                position += bool(pieces)
                continue
            pieces.append(_Piece(position, token, is_prose))
            position += len(token.content)
        return pieces


def render_blocks(text: str) -> list[str]:
    """Render a text as HTML, each block as one element."""
    laid_out, rest = text[:MAX_LAID_OUT_CHARS], text[MAX_LAID_OUT_CHARS:]
    return [*MarkdownDocument(laid_out).render(), *([render_plain(rest)] if rest else [])]


def render_markdown(text: str) -> str:
    """Render a text as safe HTML: it runs no script and loads no resource."""
    return "\n".join(render_blocks(text))


def render_claim(text: str) -> str:
    """Render a short text, such as a cell of a table, which is no section of the page.

    Headings become paragraphs, and a single paragraph becomes a `<span>`.
    """
    blocks = [HEADING_TAG.sub(r"<\1p", block) for block in render_blocks(text)]
    first, *others = blocks or [""]
    if others or not first.startswith("<p "):
        return "\n".join([first, *others])
    return f"<span {first.removeprefix('<p ').removesuffix('</p>')}</span>"


def render_plain(text: str) -> str:
    """Render a text unformatted."""
    return (
        f'<pre tabindex="0">{escapeHtml(strip_hidden_characters(replace_surrogates(text)))}</pre>'
    )


def _split_blocks(tokens: Iterable[Token]) -> Iterator[Block]:
    block = list[Token]()
    for token in tokens:
        block.append(token)
        if not token.level and token.nesting <= 0:
            yield Block((block[0].map or [0])[0], block)
            block = []


def _list_shown(blocks: Iterable[Sequence[Token]]) -> Iterator[tuple[Token | None, bool]]:
    """List the tokens with visible text, `None` for each line break, and whether each is prose."""
    for tokens in blocks:
        in_table = False
        for token in tokens:
            if token.type in {"table_open", "table_close"}:
                in_table = token.nesting > 0
            elif token.type == "inline":
                yield None, False
                for child in token.children or ():
                    if child.type in _SHOWN:
                        yield child, not in_table
                    elif child.type in _BREAKS:
                        yield None, False
            elif token.type in _SHOWN:
                yield None, False
                yield token, False


def _write_marked(pieces: Sequence[_Piece], marks: Sequence[Mark]) -> dict[int, str]:
    """Render the pieces that contain marks, keyed by the `id` of their tokens."""
    replacements, first = dict[int, str](), 0
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        while first < len(marks) and _ends_before(marks[first], piece):
            first += 1
        last = first
        while last < len(marks) and _begins_in(marks[last], piece, is_last=is_last):
            last += 1
        if last > first:
            write = _write_marked_formula if piece.token.type in _FORMULAS else _write_piece
            replacements[id(piece.token)] = write(piece, marks[first:last])
            first = last - 1 if marks[last - 1].end > piece.end else last
    return replacements


def _ends_before(mark: Mark, piece: _Piece) -> bool:
    return mark.end <= piece.start and not mark.insertion


def _begins_in(mark: Mark, piece: _Piece, *, is_last: bool) -> bool:
    """Whether a mark begins before a piece ends; an insertion precedes the next piece."""
    return mark.start < piece.end or (is_last and bool(mark.insertion))


def _write_piece(piece: _Piece, marks: Sequence[Mark]) -> str:
    parts, position = list[str](), 0
    content = piece.token.content
    for mark in marks:
        start = max(mark.start - piece.start, position)
        end = max(start, min(mark.end - piece.start, len(content)))
        parts.append(escapeHtml(content[position:start]))
        note = mark.note if mark.end <= piece.end else ""
        parts.append(_write_mark(mark, mark.insertion or content[start:end], note))
        position = end
    parts.append(escapeHtml(content[position:]))
    return "".join(parts)


def _write_marked_formula(piece: _Piece, marks: Sequence[Mark]) -> str:
    """Mark a whole formula with the mark that covers most of it; insertions precede it."""
    before = [_write_mark(mark, mark.insertion, mark.note) for mark in marks if mark.insertion]
    over = [mark for mark in marks if not mark.insertion]
    if not over:
        return "".join([*before, write_formula(piece.token)])
    most = max(over, key=lambda mark: min(mark.end, piece.end) - max(mark.start, piece.start))
    note = " ".join(mark.note for mark in over if mark.note and mark.end <= piece.end)
    return "".join([*before, _enclose(most, write_formula(piece.token), note)])


def _write_mark(mark: Mark, text: str, note: str) -> str:
    if mark.is_formula:
        formula = Token("math", "span", 0, content=text, meta={"display": False})
        return f"{_enclose(mark, frame_formula(formula), note)} "
    return _enclose(mark, escapeHtml(text), note) if text.strip() else escapeHtml(text)


def _enclose(mark: Mark, html: str, note: str) -> str:
    who = f' data-who="{escapeHtml(mark.who)}"' if mark.who else ""
    noted = f' data-note="{escapeHtml(note)}"' if note else ""
    return f"<{mark.tag}{who}{noted}>{html}</{mark.tag}>"
