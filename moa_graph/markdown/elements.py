"""Adapt markdown-it's elements before they are rendered."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

HEADING_SHIFT = 2
"""Number of levels by which headings are lowered, to rank below those of the page."""
DEEPEST_HEADING = 6
DEEPEST_EMPHASIS = 8
"""Maximum nesting of emphasis; deeper emphasis is text."""

_EMPHASIS = {"em", "strong", "s"}
# Brackets, quotes and full-width punctuation end an address in running text.
_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9])https?://[^\s<>\[\]\"`{}|\\^\u3000-\u303f\uff00-\uffef]+", re.IGNORECASE
)


def adapt_elements(state: StateCore) -> None:
    """Adapt the tokens of a text: a core rule of markdown-it after all others."""
    for token in state.tokens:
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(DEEPEST_HEADING, int(token.tag[1:]) + HEADING_SHIFT)}"
        elif token.type in {"th_open", "td_open"} and (style := token.attrs.pop("style", None)):
            token.attrSet("class", str(style).rpartition(":")[2])
        elif token.type == "inline":
            token.children = list(_adapt_inline(state.md, token.children or ()))


def _adapt_inline(parser: MarkdownIt, tokens: Sequence[Token]) -> Iterator[Token]:
    """Convert images and bare addresses to links; remove nested links and too deep emphasis.

    Images are not loaded, because that would reveal the reader to their server.
    """
    links = emphasis = 0
    for token in tokens:
        if token.tag in _EMPHASIS:
            emphasis += token.nesting
            if emphasis + (token.nesting < 0) <= DEEPEST_EMPHASIS:
                yield token
        elif token.tag == "a":
            links += token.nesting
            if links + (token.nesting < 0) == 1:
                yield _open_link(token) if token.nesting > 0 else token
        elif token.type == "image":
            yield from _show_image(token, is_linked=bool(links))
        elif token.type == "text" and not links:
            yield from _link_addresses(parser, token)
        else:
            yield token


def _open_link(token: Token) -> Token:
    """Add a title with the address to a link, and prevent a referrer."""
    href = str(token.attrs["href"])
    token.attrs = {
        "href": href,
        "rel": "noopener noreferrer",
        "target": "_blank",
        "title": href,
    }
    return token


def _show_image(token: Token, *, is_linked: bool) -> Iterator[Token]:
    address = str(token.attrs["src"])
    text = Token("text", "", 0, content=token.content or address)
    yield from [text] if is_linked else _make_link(address, text)


def _make_link(address: str, text: Token) -> list[Token]:
    opened = _open_link(Token("link_open", "a", 1, {"href": address}))
    return [opened, text, Token("link_close", "a", -1)]


def _link_addresses(parser: MarkdownIt, token: Token) -> Iterator[Token]:
    """Split a text at addresses; linkify-it would also link `README.md`."""
    position = 0
    for match in _ADDRESS.finditer(token.content):
        address = _trim_address(match[0])
        href = parser.normalizeLink(address)
        if not parser.validateLink(href):
            continue
        if before := token.content[position : match.start()]:
            yield Token("text", "", 0, content=before)
        yield from _make_link(href, Token("text", "", 0, content=address))
        position = match.start() + len(address)
    if not position:
        yield token
    elif rest := token.content[position:]:
        yield Token("text", "", 0, content=rest)


def _trim_address(address: str) -> str:
    """Remove trailing punctuation and brackets that belong to the sentence."""
    address = address.rstrip(".,:;!?*_~'")
    surplus = address.count(")") - address.count("(")
    closing = len(address) - len(address.rstrip(")"))
    return address[: len(address) - max(0, min(surplus, closing))]
