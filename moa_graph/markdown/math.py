r"""Parse mathematics in Markdown: inline `$…$` and `\(…\)`, blocks `$$…$$` and `\[…\]`."""

import re

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

MAX_INLINE_CHARS = 500
MAX_BLOCK_LINES = 60
MAX_INDENT = 40  # maximum number of characters checked before a formula
GROWING = "growing"
"""Environment key: more text will follow, so a formula may still be unclosed."""
UNFINISHED = "unfinished"
"""Key in the environment and in a token's `meta`: the text contains an unclosed formula."""

# As in Pandoc, no space precedes the closing dollar and no digit follows it: "$5 and $10" is money.
_DOLLAR_END = re.compile(r"(?<![\s\\$])\$(?![\w$])")
# "$5 or 6$" is money, and "$a", "b$" are strings; in TeX, a backslash precedes a word.
_PROSE = re.compile(r"[\d.,]+[^\\^_={}]*(?<![\w\\])[a-z]{2,}[.,;:]?\s|[^\\]*\"", re.IGNORECASE)
# Models write these without delimiters; in TeX, these environments are formulas.
_ENVIRONMENT = re.compile(r"\\begin\{((?:align|alignat|equation|gather|multline|eqnarray)\*?)\}")
_BLOCK_CLOSERS = {"$$": "$$", r"\[": r"\]"}
_CLOSERS = {**_BLOCK_CLOSERS, r"\(": r"\)"}


def parse_math_inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # markdown-it's signature
    """Parse an inline formula."""
    if state.src[state.pos] not in "$\\":
        return False
    opener = state.src[state.pos : state.pos + 2]
    formula = _find_pair(state, opener) if opener in _CLOSERS else _find_dollar(state)
    if not formula:
        return False
    start, end, width = formula
    if not state.src[start:end].strip():
        return False
    if not silent:
        token = state.push("math", "span", 0)
        token.content = " ".join(state.src[start:end].split())
        token.meta = {"display": opener in {"$$", r"\["}}
    state.pos = end + width
    return True


def _find_pair(state: StateInline, opener: str) -> tuple[int, int, int] | None:
    """Find the content between two-character delimiters."""
    if opener == r"\[" and not _begins_line(state):
        return None  # an escaped bracket in a sentence
    start = state.pos + 2
    end = state.src.find(_CLOSERS[opener], start, min(state.posMax, start + MAX_INLINE_CHARS))
    return None if end < 0 else (start, end, 2)


def _begins_line(state: StateInline) -> bool:
    """Whether at most some blanks precede it on the line."""
    before = state.src[max(0, state.pos - MAX_INDENT) : state.pos]
    is_near_start = state.pos <= MAX_INDENT or "\n" in before
    return is_near_start and not before.rpartition("\n")[2].strip()


def _find_dollar(state: StateInline) -> tuple[int, int, int] | None:
    """Find the content between two dollar signs that are not currency."""
    start = state.pos + 1
    before = state.src[state.pos - 1 : state.pos]
    if state.src[state.pos] != "$" or before == "$" or before.isalnum():
        return None
    if start >= state.posMax or state.src[start].isspace():
        return None
    limit = min(state.posMax, start + MAX_INLINE_CHARS)
    line_end = state.src.find("\n", start, limit)
    end = _DOLLAR_END.search(state.src, start + 1, limit if line_end < 0 else line_end)
    if not end or _PROSE.match(state.src, start, end.start()):
        return None
    return start, end.start(), 1


def parse_math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001  # likewise
    """Parse a formula block; a formula contains no empty line."""
    signs = _find_signs(_read_line(state, start))
    if not signs or state.is_code_block(start):
        return False
    opener, closer = signs
    lines = list[str]()
    last = min(end, start + MAX_BLOCK_LINES)
    for line in range(start, last):
        text = _read_line(state, line)[len(opener) if line == start else 0 :]
        if (line > start and not text) or state.sCount[line] < state.blkIndent:
            return False
        body, found, behind = text.partition(closer)
        lines.append(body)
        if found:
            if opener not in _BLOCK_CLOSERS:
                lines = [opener, *lines, closer]
            return not behind and _push_math(state, (start, line + 1), lines, silent=silent)
    if not state.env.get(GROWING) or last < len(state.bMarks) - 1:
        return False
    state.env[UNFINISHED] = True
    return _push_math(state, (start, last), lines, silent=silent, is_finished=False)


def _find_signs(line: str) -> tuple[str, str] | None:
    """Return the opening and the closing delimiter of a formula."""
    if closer := _BLOCK_CLOSERS.get(line[:2]):
        return line[:2], closer
    match = _ENVIRONMENT.match(line)
    return (match[0], rf"\end{{{match[1]}}}") if match else None


def _push_math(
    state: StateBlock,
    lines: tuple[int, int],
    texts: list[str],
    *,
    silent: bool,
    is_finished: bool = True,
) -> bool:
    content = "\n".join(each.strip() for each in texts).strip()
    if is_finished and not content:
        return False
    if not silent:
        token = state.push("math_block", "p", 0)
        token.content, token.map, token.block = content, [*lines], True
        token.meta = {"display": True, UNFINISHED: not is_finished}
        state.line = lines[1]
    return True


def _read_line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()
