"""What the live view shows: a run drawn into so many columns and lines. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from moa_graph.cli.terminal.progress import Progress, Row
from moa_graph.cli.terminal.text import line_of

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
NARROWEST = 46  # columns of a layer beside others
GAP = 3  # columns between two layers
BAR, SECONDS, TOKENS = 10, 9, 12  # columns
STYLES = {"answered": "green", "failed": "red", "cut off": "yellow"}
ONE_LINE = 26  # columns of text that are worth being on the line of an agent


@dataclass(frozen=True)
class Frame:
    """How much room there is, and for what."""

    width: int
    name: int
    """Columns for names."""
    now: float
    """On the clock of `perf_counter`."""
    tall: bool
    """Whether an agent may take a second line, for its text."""

    @property
    def bar(self) -> int:
        """Columns for bars."""
        if self.width < NARROWEST:
            return 0
        return BAR + self.rest if self.two_lines else BAR

    @property
    def tokens(self) -> int:
        """Columns for tokens."""
        return TOKENS if self.width >= NARROWEST - 8 else 0

    @property
    def rest(self) -> int:
        """Columns that are left on the line of an agent."""
        bar = BAR + 1 if self.width >= NARROWEST else 0
        return max(0, self.width - 2 - self.name - bar - SECONDS - self.tokens - 2)

    @property
    def two_lines(self) -> bool:
        """Whether the text of an agent stands below it."""
        return self.tall and self.rest < ONE_LINE


def picture(progress: Progress, width: int, height: int, now: float) -> list[Text]:
    """Draw a run.

    Args:
        progress: The run.
        width: Columns of the terminal.
        height: The most lines that may be drawn.
        now: On the clock of `perf_counter`.

    Returns:
        Lines, none longer than the terminal is wide: layers side by side where there is room,
        else below each other; what is over, and then what has not begun, shrinks where there is
        little.
    """
    lines = list[Text]()
    for lines in _attempts(progress, width, now):  # the last one is cut below
        if len(lines) <= height:
            return lines
    hidden = len(lines) - height + 1
    more = Text(f"  … {hidden} more lines", "dim")
    return [*lines[: height - 1], _cut(more, width)][: max(height, 0)]


def summary(progress: Progress, width: int, now: float) -> list[Text]:
    """Draw a run that is over, or that an answer follows: a line for each layer that began."""
    frame = _frame(progress, width, now, tall=False)
    begun = [rows for rows in progress.layers if any(row.state != "waiting" for row in rows)]
    return [_folded(progress, rows, frame) for rows in begun]


def _attempts(progress: Progress, width: int, now: float) -> Iterator[list[Text]]:
    """Draw with ever less."""
    count = len(progress.layers)
    column = (width - GAP * (count - 1)) // count
    for tall in (True, False):
        if column >= NARROWEST:
            frame = _frame(progress, column, now, tall=tall)
            yield _beside([_block(progress, rows, frame) for rows in progress.layers], column)
        frame = _frame(progress, width, now, tall=tall)
        yield [line for rows in progress.layers for line in _block(progress, rows, frame)]
    for folded in ({"done"}, {"done", "waiting"}):
        lines = list[Text]()
        for rows in progress.layers:
            one = _phase(rows) in folded
            lines += [_folded(progress, rows, frame)] if one else _block(progress, rows, frame)
        yield lines


def _frame(progress: Progress, width: int, now: float, *, tall: bool) -> Frame:
    longest = max(cell_len(line_of(row.name)) for row in progress.nodes.values())
    name = max(9, min(longest, width // 4, 24))
    return Frame(width, name, now, tall=tall)


def _phase(rows: Sequence[Row]) -> str:
    if all(row.state == "waiting" for row in rows):
        return "waiting"
    return "done" if all(row.done for row in rows) else "running"


def _beside(blocks: Sequence[Sequence[Text]], column: int) -> list[Text]:
    """Put layers side by side."""
    lines = list[Text]()
    for index in range(max(map(len, blocks))):
        cells = [block[index] if index < len(block) else Text() for block in blocks]
        padded = [_cut(cell, column, pad=cell is not cells[-1]) for cell in cells]
        lines.append(Text(" " * GAP).join(padded))
    return lines


def _block(progress: Progress, rows: Sequence[Row], frame: Frame) -> list[Text]:
    """Draw a layer: a heading, and its agents."""
    slowest = max(row.elapsed(frame.now) for row in rows)
    lines = [_heading(progress, rows, frame)]
    for row in rows:
        lines += _agent(row, slowest, frame)
    return lines


def _heading(progress: Progress, rows: Sequence[Row], frame: Frame) -> Text:
    """Say what a layer is waiting for."""
    layer = rows[0].layer
    if layer == len(progress.layers):
        return _cut(Text("aggregator", "bold"), frame.width)
    title = Text.assemble((f"layer {layer}", "bold"))
    if (phase := _phase(rows)) == "waiting":
        return _cut(title, frame.width)
    answered, out = sum(row.state == "answered" for row in rows), [r for r in rows if not r.done]
    title.append(f"  {answered} of {len(rows)} answered", "dim")
    if phase == "running" and answered < (needed := progress.needed(layer)):
        title.append(f", {needed} needed", "dim")
    if phase == "running" and len(out) < len(rows):
        title.append(f"; waiting for {', '.join(line_of(row.name) for row in out)}", "dim")
    return _cut(title, frame.width)


def _agent(row: Row, slowest: float, frame: Frame) -> list[Text]:
    """Draw an agent: its mark, name, time and tokens, and what it says or why it does not."""
    text, style = _says(row)
    head = _mark(row, frame.now)
    dim = "dim" if row.state == "waiting" else ""
    head.append_text(_cut(Text(line_of(row.name), dim), frame.name, pad=True))
    if frame.bar:
        head.append(" ").append_text(_bar(row, slowest, frame))
    head.append(_seconds(row, frame.now).rjust(SECONDS), "" if row.done else "cyan")
    if frame.tokens:
        head.append(_tokens(row).rjust(frame.tokens), "dim")
    if not frame.two_lines:
        head.append("  ").append_text(_fit(text, style, row, frame.rest))
        return [_cut(head, frame.width)]
    below = Text("  ").append_text(_fit(text, style, row, frame.width - 2))
    return [_cut(head, frame.width), _cut(below, frame.width)]


def _folded(progress: Progress, rows: Sequence[Row], frame: Frame) -> Text:
    """Draw a layer in one line."""
    if len(rows) == 1 and rows[0].layer == len(progress.layers):
        row, title = rows[0], "aggregator"
        said = row.error or row.model
        mark, style = _mark(row, frame.now), "red" if row.error else "dim"
    else:
        answered = sum(row.state == "answered" for row in rows)
        title, style = f"layer {rows[0].layer}", "dim"
        phase = _phase(rows)
        said = f"{answered} of {len(rows)} answered" if phase != "waiting" else "not begun"
        fared = _fared(progress, rows, answered)
        mark = {"done": fared, "waiting": Text("  ")}.get(phase, Text("· ", "dim"))
    line = mark.append_text(_cut(Text(title, "bold"), 11, pad=True))
    facts = [line_of(said)]
    if seconds := max(row.elapsed(frame.now) for row in rows):
        facts.append(f"{seconds:.1f} s")
    if tokens := sum(row.tokens or 0 for row in rows):
        facts.append(f"{tokens:,} tok")
    return _cut(line.append("  ".join(facts), style), frame.width)


def _fared(progress: Progress, rows: Sequence[Row], answered: int) -> Text:
    """Mark a layer that is over: complete, degraded or failed."""
    if answered == len(rows):
        return Text("✓ ", "green")
    kept = answered >= progress.needed(rows[0].layer)
    return Text("! ", "yellow") if kept else Text("✗ ", "red")


def _mark(row: Row, now: float) -> Text:
    match row.state:
        case "waiting":
            return Text("  ")
        case "answered":
            return Text("✓ ", "green")
        case "failed":
            return Text("✗ ", "red")
        case "cut off":
            return Text("✂ ", "yellow")
    if row.handed_over:
        return Text("→ ", "green")
    return Text(f"{SPINNER[int(now * 10) % len(SPINNER)]} ", "cyan")


def _bar(row: Row, slowest: float, frame: Frame) -> Text:
    """Draw the time of an agent as a share of the slowest one's."""
    if row.state == "waiting":
        return Text(" " * frame.bar)
    length = round(frame.bar * row.elapsed(frame.now) / slowest) if slowest else 0
    style = STYLES.get(row.state, "cyan")
    return Text("━" * length, style).append("─" * (frame.bar - length), "dim")


def _seconds(row: Row, now: float) -> str:
    return "" if row.state == "waiting" else f"{row.elapsed(now):.1f} s"


def _tokens(row: Row) -> str:
    if row.tokens is not None:
        return f"{row.tokens:,} tok"
    return f"~{row.pieces:,} tok" if row.pieces else ""


def _says(row: Row) -> tuple[str, str]:
    """What stands beside an agent, and its style."""
    if row.error:
        return row.error, STYLES[row.state]
    return (row.tail, "") if row.tail and not row.done else (row.model, "dim")


def _fit(text: str, style: str, row: Row, width: int) -> Text:
    """Cut a text at its end; of what is being written the end is shown."""
    if row.tail and not row.done:
        return Text(end_of(line_of(text), width), style)
    return _cut(Text(line_of(text), style), width)


def _cut(text: Text, width: int, *, pad: bool = False) -> Text:
    text.truncate(max(width, 0), overflow="ellipsis", pad=pad)
    return text


def end_of(text: str, width: int) -> str:
    """Give as much of the end of a line as fits."""
    if cell_len(text) <= width:
        return text
    end, room = len(text), width - 1
    while end and (room := room - cell_len(text[end - 1])) >= 0:
        end -= 1
    return f"…{text[end:]}" if width > 0 else ""
