"""Tables with stacked rows, for narrow terminals."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

COLUMN_GAP = 2  # columns between two columns of a table
_INDENT = (0, 0, 0, 2)


def stack_rows(rows: Iterable[Sequence[Text]]) -> Group:
    """Put the cells of each row on their own lines, below the first; nothing is truncated."""
    parts = list[RenderableType]()
    for first, *others in rows:
        parts += [first, *(Padding(each, _INDENT, expand=False) for each in others if each)]
    return Group(*parts)


def build_text_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, header_style: str
) -> RenderableType:
    """Create a table of texts; if it is too wide, its cells are stacked."""
    columns = list(zip(headings, *rows, strict=True))
    longest_words = (
        max(cell_len(word) for cell in column for word in (cell.split() or [""]))
        for column in columns
    )
    if sum(longest_words) + COLUMN_GAP * (len(columns) - 1) > width:
        return stack_rows(
            [Text(row[0]), *(Text(f"{h}: {c}") for h, c in zip(headings[1:], row[1:], strict=True))]
            for row in rows
        )
    table = Table(*headings, box=None, pad_edge=False, header_style=header_style)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def stack_if_narrow(table: Table, width: int) -> RenderableType:
    """Return a table, or its stacked rows if it is too wide, between its title and its caption."""
    title, caption = (Text(str(each)) for each in (table.title or "", table.caption or ""))
    title.stylize("italic")
    table.title = table.caption = None  # rich would wrap them to the width of the table
    body = table if _fits_width(table, width) else _stack_table(table)
    return Group(*(part for part in (title, body, caption) if part))


def _fits_width(table: Table, width: int) -> bool:
    """Return whether no word of a table must be broken."""
    least = (
        max(cell_len(part) for text in texts for part in ([text] if is_whole else text.split()))
        for is_whole, texts in (
            (column.no_wrap, [str(column.header), *map(str, column.cells), "-"])
            for column in table.columns
        )
    )
    return sum(least) + COLUMN_GAP * (len(table.columns) - 1) <= width


def _stack_table(table: Table) -> Group:
    headings = [str(column.header) for column in table.columns]
    cells = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    named = [list(zip(headings, row, strict=True)) for row in cells]
    return stack_rows(_label_cells([each for each in row if each[1]]) for row in named)


def _label_cells(cells: Sequence[tuple[str, str]]) -> list[Text]:
    (_, first), *others = cells
    return [Text(first, "bold"), *(Text(f"{heading}: {cell}") for heading, cell in others)]
