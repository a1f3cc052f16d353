"""Tables of calls and threads, with relative times."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from moa_graph.cli.terminal.console import make_console, print_table
from moa_graph.cli.terminal.plain_text import fit_to_stream, to_single_line
from moa_graph.cli.terminal.stacked_rows import COLUMN_GAP, build_text_table, stack_rows
from moa_graph.cli.terminal.text import describe_failure
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.formatting import (
    format_cost,
    format_hedged,
    format_refused_prompt,
    format_run_depth,
    format_seconds,
)
from moa_graph.runs.record import RunRecord

STATUS_MARKS = {"answered": ("✓", "green"), "failed": ("✗", "red"), "cut off": ("✂", "yellow")}
MINUTE, HOUR, DAY = 60, 3600, 86_400
_NAME_COLUMNS = ("mark", "call")
MIN_MODEL_WIDTH = 24  # minimum columns for the name of a model
SHARED_PROMPT_NOTE = "shared: samples of one request; the first has the tokens of the prompt"
CRITICAL_HEADINGS = ("← waited for", "←")
COLUMN_LAYOUTS = (  # headings; the first that fits is used
    ("mark", "call", "model", "seconds", "read", "written", "cost", CRITICAL_HEADINGS[0]),
    ("mark", "call", "model", "seconds", "written", "cost", CRITICAL_HEADINGS[0]),
    ("mark", "call", "model", "seconds", "written", "cost", CRITICAL_HEADINGS[1]),
    ("mark", "call", "seconds", "read", "written", "cost", CRITICAL_HEADINGS[0]),
    ("mark", "call", "seconds", "written", "cost", CRITICAL_HEADINGS[0]),
    ("mark", "call", "sec", "written", "cost", CRITICAL_HEADINGS[1]),
)


def print_calls(run: RunRecord) -> None:
    """Print a table of the calls of a run, its totals, and the causes of failures."""
    print_table(lambda width: build_calls_table(run, width))
    out = make_console()
    for call in (*run.failed_writers, *run.calls):
        if call.refused_prompt:
            note = f"{call.node} {format_refused_prompt(call.refused_prompt)}"
            out.print(Text(fit_to_stream(note, sys.stdout), "yellow"), soft_wrap=True)
        if call.hedged:
            note = f"{call.node} {format_hedged()}"
            out.print(Text(fit_to_stream(note, sys.stdout), "yellow"), soft_wrap=True)
        if call.ending_note:
            note = f"{call.node} {to_single_line(call.ending_note)}"
            out.print(Text(fit_to_stream(note, sys.stdout), "yellow"), soft_wrap=True)
        if call.error:
            failure = f"{call.node} {describe_failure(to_single_line(call.error), call.status)}"
            out.print(
                Text(fit_to_stream(failure, sys.stdout), STATUS_MARKS[call.status][1]),
                soft_wrap=True,
            )
    if any(map(_is_prompt_shared, run.calls)):
        out.print(Text(SHARED_PROMPT_NOTE, "dim"), soft_wrap=True)
    if depth := format_run_depth(run):
        note = to_single_line(depth)
        out.print(Text(fit_to_stream(note, sys.stdout), "dim"), soft_wrap=True)
    out.print(Text(fit_to_stream(format_run_totals(run), sys.stdout), "dim"), soft_wrap=True)


def build_calls_table(run: RunRecord, width: int) -> RenderableType:
    """Create the table; calls on the critical path are marked."""
    fitting = (layout for layout in COLUMN_LAYOUTS if _table_width(run, layout) <= width)
    layout = next(fitting, None)
    return _build_columns(run, layout, width) if layout else _stack_calls(run)


def _stack_calls(run: RunRecord) -> RenderableType:
    """Put the figures of each call below its name."""

    def build_cells(call: AgentCall) -> list[Text]:
        mark, name = (Text(_format_cell(run, call, h), _cell_style(call, h)) for h in _NAME_COLUMNS)
        cells = {heading: _format_cell(run, call, heading) for heading in COLUMN_LAYOUTS[-1]}
        written = f"{cells['written']} written" if cells["written"] else ""
        numbers = (f"{cells['sec']} s", written, cells["cost"], cells[CRITICAL_HEADINGS[1]])
        return [Text.assemble(mark, " ", name), Text(" · ".join(filter(None, numbers)))]

    return stack_rows(map(build_cells, run.calls))


def _build_columns(run: RunRecord, layout: Sequence[str], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in layout:
        longest = _column_width(run, heading)
        match heading:
            case "call":
                table.add_column(heading, overflow="fold", min_width=min(width // 3, longest))
            case "model":
                model_width = width - _table_width(run, layout) + min(MIN_MODEL_WIDTH, longest)
                table.add_column(
                    heading, width=min(longest, model_width), no_wrap=True, overflow="ellipsis"
                )
            case _:
                title = "" if heading in {"mark", *CRITICAL_HEADINGS} else heading
                table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for call in run.calls:
        table.add_row(
            *(Text(_format_cell(run, call, each), _cell_style(call, each)) for each in layout)
        )
    return table


def _table_width(run: RunRecord, layout: Sequence[str]) -> int:
    """Return the columns of a table; names of models may be truncated."""
    widths = {heading: _column_width(run, heading) for heading in layout}
    if "model" in widths:
        widths["model"] = min(MIN_MODEL_WIDTH, widths["model"])
    return sum(widths.values()) + COLUMN_GAP * (len(widths) - 1)


def _column_width(run: RunRecord, heading: str) -> int:
    title = "" if heading in {"mark", *CRITICAL_HEADINGS} else heading
    return max(
        cell_len(text) for text in [title, *(_format_cell(run, c, heading) for c in run.calls)]
    )


def _format_cell(run: RunRecord, call: AgentCall, heading: str) -> str:
    """Return the cell below a heading."""
    if call.cached and heading in {"read", "written"}:
        return "cached" if heading == "written" else ""
    on_critical_path = call.node in run.critical_path and len(run.calls) > 1
    seconds = f"{call.seconds:.1f}" if call.is_timed else "?"
    cells = {
        "mark": STATUS_MARKS[call.status][0],
        "call": to_single_line(call.node),
        "model": to_single_line(call.model),
        "seconds": seconds,
        "sec": seconds,
        "read": _format_token_count(call, "input_tokens"),
        "written": _format_token_count(call, "output_tokens"),
        "cost": format_cost(call.cost),
    }
    return cells.get(heading, heading if on_critical_path else "")


def _cell_style(call: AgentCall, heading: str) -> str:
    if heading in CRITICAL_HEADINGS:
        return "yellow"
    if heading == "call":
        return "" if call.text else STATUS_MARKS[call.status][1]
    return {"mark": STATUS_MARKS[call.status][1], "model": "dim"}.get(heading, "")


def format_run_totals(run: RunRecord) -> str:
    """Format the totals of a run in one line; unknown figures do not count as 0."""
    proposals = run.proposals
    answered_proposals = sum(call.error is None for call in proposals)
    facts = [f"{answered_proposals} of {run.planned_proposals} proposals answered"]
    facts += [f"{len(run.dropped_nodes)} dropped by a person"] if run.dropped_nodes else []
    facts += [f"{to_single_line(run.selected.node)} selected"] if run.selected else []
    facts.append(format_seconds(run.seconds))
    if run.usage_is_complete:
        facts.append(f"{run.tokens:,} tokens in all")
    else:
        facts.append(f"{run.tokens:,} tokens at least" if run.tokens else "tokens: ?")
    facts += (
        [f"{run.cached_prompt_tokens:,} of them from prompt caches"]
        if run.cached_prompt_tokens
        else []
    )
    facts += [f"{len(run.cached_calls)} answers from the node cache"] if run.cached_calls else []
    lower_bound = "" if run.cost_is_complete or run.cost is None else "at least "
    return "; ".join([*facts, f"cost: {lower_bound}{format_cost(run.cost)}"])


def format_age(when: datetime, now: datetime | None = None) -> str:
    """Format the age of a time; beyond a month, the date."""
    seconds = ((now or datetime.now(UTC)) - when).total_seconds()
    if seconds < MINUTE:
        return "just now"
    for unit, name, limit in ((MINUTE, "min", HOUR), (HOUR, "h", DAY), (DAY, "day", 30 * DAY)):
        if seconds < limit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if name == 'day' and count > 1 else ''} ago"
    return when.astimezone().strftime("%Y-%m-%d")


def build_models_table(rows: Sequence[tuple[str, str, str]], width: int) -> RenderableType:
    """Create a table of agents: layer, name, model."""
    cells = [tuple(map(to_single_line, row)) for row in rows]
    return build_text_table(("layer", "name", "model"), cells, width, header_style="dim")


def _is_prompt_shared(call: AgentCall) -> bool:
    """Return whether another sample of the same request has the tokens of the prompt."""
    return call.joint_samples > 1 and bool(call.usage) and not (call.usage or {})["input_tokens"]


def _format_token_count(call: AgentCall, kind: str) -> str:
    if kind == "input_tokens" and not call.cached and _is_prompt_shared(call):
        return "shared"
    if call.usage:
        return f"{call.usage[kind]:,}"
    return "" if call.error else "?"
