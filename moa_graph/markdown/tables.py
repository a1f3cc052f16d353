"""Tables in Markdown, with a limit on missing cells."""

from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import table

MAX_MISSING_CELLS = 2000
"""Maximum number of missing cells in a text. markdown-it adds missing cells: a table of two
kilobytes could have 65,000 cells."""
_MISSING = "missing_cells"


def parse_bounded_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001  # markdown-it's signature
    """Parse a table up to the row at which too many cells are missing."""
    if not table(state, start, end, True):  # noqa: FBT003  # likewise
        return False
    return silent or table(state, start, _find_end(state, start, end), False)  # noqa: FBT003  # likewise


def _find_end(state: StateBlock, start: int, end: int) -> int:
    """Return the line after the last row whose cells may be missing."""
    columns, missing = _count_bars(state, start), state.env.get(_MISSING, 0)
    terminators = state.md.block.ruler.getRules("blockquote")
    line = start + 2
    while line < end and not state.isEmpty(line) and missing <= MAX_MISSING_CELLS:
        if any(rule(state, line, end, True) for rule in terminators):  # noqa: FBT003  # likewise
            break
        missing += max(0, columns - _count_bars(state, line) - 1)
        line += 1
    state.env[_MISSING] = missing
    return end if missing <= MAX_MISSING_CELLS else line


def _count_bars(state: StateBlock, line: int) -> int:
    return state.src.count("|", state.bMarks[line], state.eMarks[line])
