"""Render the live view into a number of columns and lines. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from moa_graph.cli.terminal.plain_text import to_single_line
from moa_graph.runs.formatting import format_seconds
from moa_graph.runs.live import AgentProgress, RunProgress

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MIN_COLUMN_WIDTH = 46  # minimum columns of a layer beside others
LAYER_GAP = 3  # columns between two layers
BAR_WIDTH, SECONDS_WIDTH, TOKENS_WIDTH = 10, 9, 12  # columns
STATE_STYLES = {"answered": "green", "failed": "red", "cut off": "yellow"}
MAX_RECENT_CHARS = 400  # more characters than a line of any terminal
MIN_INLINE_TEXT_WIDTH = 26  # minimum columns for the text of an agent on its line


@dataclass(frozen=True)
class FrameLayout:
    """Widths of the parts of a frame."""

    width: int
    name_width: int
    """Columns for names."""
    now: float
    """Time of the frame, on the clock of `perf_counter`."""
    allows_two_lines: bool
    """Whether the text of an agent may use a second line."""

    @property
    def bar_width(self) -> int:
        """Columns for bars."""
        if self.width < MIN_COLUMN_WIDTH:
            return 0
        return BAR_WIDTH + self.remaining_width if self.two_lines else BAR_WIDTH

    @property
    def tokens_width(self) -> int:
        """Columns for tokens."""
        return TOKENS_WIDTH if self.width >= MIN_COLUMN_WIDTH - 8 else 0

    @property
    def remaining_width(self) -> int:
        """Columns left on the line of an agent."""
        bar = BAR_WIDTH + 1 if self.width >= MIN_COLUMN_WIDTH else 0
        return max(
            0, self.width - 2 - self.name_width - bar - SECONDS_WIDTH - self.tokens_width - 2
        )

    @property
    def two_lines(self) -> bool:
        """Whether the text of an agent is below it."""
        return self.allows_two_lines and self.remaining_width < MIN_INLINE_TEXT_WIDTH


def draw_run(progress: RunProgress, width: int, height: int, now: float) -> list[Text]:
    """Draw a run.

    Args:
        progress: The run.
        width: Columns of the terminal.
        height: Maximum number of lines.
        now: Time on the clock of `perf_counter`.

    Returns:
        Lines within the width of the terminal. Layers are side by side if there is space,
        otherwise below each other. If lines are short, completed layers shrink first, and then
        those that have not started.
    """
    lines = list[Text]()
    for lines in _draw_alternatives(progress, width, now):  # truncated below
        if len(lines) <= height:
            return lines
    hidden = len(lines) - height + 1
    more = Text(f"  … {hidden} more lines", "dim")
    return [*lines[: height - 1], _truncate_text(more, width)][: max(height, 0)]


def draw_summary(progress: RunProgress, width: int, now: float) -> list[Text]:
    """Draw a completed run, or one before its answer: a line for each layer that started."""
    frame = _make_layout(progress, width, now, tall=False)
    started_layers = [rows for rows in progress.layers if any(row.has_started for row in rows)]
    return [_layer_summary(progress, rows, frame) for rows in started_layers]


def _draw_alternatives(progress: RunProgress, width: int, now: float) -> Iterator[list[Text]]:
    """Yield drawings of decreasing height."""
    count = len(progress.layers)
    column = (width - LAYER_GAP * (count - 1)) // count
    for tall in (True, False):
        if column >= MIN_COLUMN_WIDTH:
            frame = _make_layout(progress, column, now, tall=tall)
            yield _join_columns(
                [_draw_layer(progress, rows, frame) for rows in progress.layers], column
            )
        frame = _make_layout(progress, width, now, tall=tall)
        yield [line for rows in progress.layers for line in _draw_layer(progress, rows, frame)]
    for summarized_phases in ({"done"}, {"done", "waiting"}):
        lines = list[Text]()
        for rows in progress.layers:
            is_summarized = _layer_phase(rows) in summarized_phases
            lines += (
                [_layer_summary(progress, rows, frame)]
                if is_summarized
                else _draw_layer(progress, rows, frame)
            )
        yield lines


def _make_layout(progress: RunProgress, width: int, now: float, *, tall: bool) -> FrameLayout:
    longest = max(cell_len(to_single_line(row.agent)) for row in progress.agents.values())
    name = max(9, min(longest, width // 4, 24))
    return FrameLayout(width, name, now, allows_two_lines=tall)


def _layer_phase(rows: Sequence[AgentProgress]) -> str:
    if all(not row.has_started for row in rows):
        return "waiting"
    return "done" if all(row.is_over for row in rows) else "running"


def _join_columns(blocks: Sequence[Sequence[Text]], column: int) -> list[Text]:
    """Join layers side by side."""
    lines = list[Text]()
    for index in range(max(map(len, blocks))):
        cells = [block[index] if index < len(block) else Text() for block in blocks]
        padded = [_truncate_text(cell, column, pad=cell is not cells[-1]) for cell in cells]
        lines.append(Text(" " * LAYER_GAP).join(padded))
    return lines


def _draw_layer(
    progress: RunProgress, rows: Sequence[AgentProgress], frame: FrameLayout
) -> list[Text]:
    """Draw a layer: its heading and its agents."""
    slowest = max(row.elapsed(frame.now) for row in rows)
    lines = [_draw_heading(progress, rows, frame)]
    for row in rows:
        lines += _draw_agent(row, slowest, frame)
    return lines


def _draw_heading(progress: RunProgress, rows: Sequence[AgentProgress], frame: FrameLayout) -> Text:
    """Draw the state of a layer."""
    layer = rows[0].layer
    silent = [row for row in rows if row.is_silent(frame.now)]
    if layer == len(progress.layers):
        title = Text.assemble(("aggregator", "bold"))
        title.append("  still waiting for an answer" if silent else "", "dim")
        return _truncate_text(title, frame.width)
    title = Text.assemble((f"layer {layer}", "bold"))
    if (phase := _layer_phase(rows)) == "waiting":
        return _truncate_text(title, frame.width)
    answered = _count_answered(rows)
    title.append(f"  {answered} of {len(rows)} answered", "dim")
    if phase == "running":
        required = progress.required_answers(layer)
        title.append(f", {required} needed" if answered < required else "", "dim")
        title.append(_describe_waiting(rows, silent), "dim")
    return _truncate_text(title, frame.width)


def _describe_waiting(rows: Sequence[AgentProgress], silent: Sequence[AgentProgress]) -> str:
    """Name the agents that are waited for: the silent ones, or else all running ones."""
    unfinished = [row for row in rows if not row.is_over]
    if not silent and len(unfinished) == len(rows):
        return ""
    names = ", ".join(to_single_line(row.agent) for row in silent or unfinished)
    return f"; {'still ' if silent else ''}waiting for {names}"


def _count_answered(rows: Sequence[AgentProgress]) -> int:
    return sum(row.status == "answered" for row in rows)


def _draw_agent(row: AgentProgress, slowest: float, frame: FrameLayout) -> list[Text]:
    """Draw an agent: its mark, name, time, tokens, and text or error."""
    text, style = _agent_text(row)
    head = _agent_mark(row, frame.now)
    dim = "dim" if not row.has_started else ""
    head.append_text(
        _truncate_text(Text(to_single_line(row.agent), dim), frame.name_width, pad=True)
    )
    if frame.bar_width:
        head.append(" ").append_text(_draw_bar(row, slowest, frame))
    head.append(_format_elapsed(row, frame.now).rjust(SECONDS_WIDTH), "" if row.done else "cyan")
    if frame.tokens_width:
        head.append(_format_new_tokens(row).rjust(frame.tokens_width), "dim")
    if not frame.two_lines:
        head.append("  ").append_text(_fit_text(text, style, row, frame.remaining_width))
        return [_truncate_text(head, frame.width)]
    below = Text("  ").append_text(_fit_text(text, style, row, frame.width - 2))
    return [_truncate_text(head, frame.width), _truncate_text(below, frame.width)]


def _layer_summary(
    progress: RunProgress, rows: Sequence[AgentProgress], frame: FrameLayout
) -> Text:
    """Draw a layer in one line."""
    if len(rows) == 1 and rows[0].layer == len(progress.layers):
        row, title = rows[0], "aggregator"
        detail = row.error or row.ending_note or row.model
        mark, style = _agent_mark(row, frame.now), "red" if row.error else "dim"
    else:
        title, style = f"layer {rows[0].layer}", "dim"
        mark, detail = _layer_state(progress, rows)
    line = mark.append_text(_truncate_text(Text(title, "bold"), 11, pad=True))
    facts = [to_single_line(detail)]
    if seconds := max(row.elapsed(frame.now) for row in rows):
        facts.append(format_seconds(seconds))
    if tokens := sum(row.new_tokens or 0 for row in rows):
        facts.append(f"{tokens:,} tok")
    return _truncate_text(line.append("  ".join(facts), style), frame.width)


def _layer_state(progress: RunProgress, rows: Sequence[AgentProgress]) -> tuple[Text, str]:
    """Return the mark and progress of a layer."""
    answered = _count_answered(rows)
    match _layer_phase(rows):
        case "waiting":
            return Text("  "), "not begun"
        case "done":
            mark = _layer_mark(progress, rows, answered)
        case _:
            mark = Text("· ", "dim")
    return mark, f"{answered} of {len(rows)} answered"


def _layer_mark(progress: RunProgress, rows: Sequence[AgentProgress], answered: int) -> Text:
    """Return the mark of a completed layer: complete, degraded or failed."""
    if answered == len(rows):
        return Text("✓ ", "green")
    has_quorum = answered >= progress.required_answers(rows[0].layer)
    return Text("! ", "yellow") if has_quorum else Text("✗ ", "red")


def _agent_mark(row: AgentProgress, now: float) -> Text:
    match row.status:
        case "waiting" | "dropped" | "skipped":
            return Text("  ")
        case "answered":
            return Text("✓ ", "green")
        case "failed":
            return Text("✗ ", "red")
        case "cut off":
            return Text("✂ ", "yellow")
    if row.is_shown_elsewhere:
        return Text("→ ", "green")
    return Text(f"{SPINNER[int(now * 10) % len(SPINNER)]} ", "cyan")


def _draw_bar(row: AgentProgress, slowest: float, frame: FrameLayout) -> Text:
    """Draw the time of an agent as a share of the slowest one."""
    if not row.has_started:
        return Text(" " * frame.bar_width)
    length = round(frame.bar_width * row.elapsed(frame.now) / slowest) if slowest else 0
    style = STATE_STYLES.get(row.status, "cyan")
    return Text("━" * length, style).append("─" * (frame.bar_width - length), "dim")


def _format_elapsed(row: AgentProgress, now: float) -> str:
    """Format the seconds of a column: with one decimal, so that rows are comparable."""
    return "" if not row.has_started else f"{row.elapsed(now):.1f} s"


def _format_new_tokens(row: AgentProgress) -> str:
    if row.new_tokens is not None:
        return f"{row.new_tokens:,} tok"
    return f"~{row.chunk_count:,} tok" if row.chunk_count else ""


def _agent_text(row: AgentProgress) -> tuple[str, str]:
    """Return the text beside an agent, and its style."""
    if row.error:
        return row.error, STATE_STYLES[row.status]
    if row.ending_note:
        return row.ending_note, "yellow"
    recent_text = _recent_text(row)
    return (recent_text, "") if recent_text else (row.model, "dim")


def _recent_text(row: AgentProgress) -> str:
    """Return the end of the text that an agent is writing."""
    return "" if row.done else row.recent_text(MAX_RECENT_CHARS)


def _fit_text(text: str, style: str, row: AgentProgress, width: int) -> Text:
    """Truncate a text; of a running answer, the end is kept."""
    if _recent_text(row):
        return Text(truncate_start(to_single_line(text), width), style)
    return _truncate_text(Text(to_single_line(text), style), width)


def _truncate_text(text: Text, width: int, *, pad: bool = False) -> Text:
    text.truncate(max(width, 0), overflow="ellipsis", pad=pad)
    return text


def truncate_start(text: str, width: int) -> str:
    """Return as much of the end of a line as fits."""
    if cell_len(text) <= width:
        return text
    end, room = len(text), width - 1
    while end and (room := room - cell_len(text[end - 1])) >= 0:
        end -= 1
    return f"…{text[end:]}" if width > 0 else ""
