"""Tables for people: the calls of a run, and how times and costs are written."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moa_graph.cli.terminal.text import fitted, line_of, outcome
from moa_graph.runs.record import Call, Run

MARKS = {"answered": ("✓", "green"), "failed": ("✗", "red"), "cut off": ("✂", "yellow")}
PIPE_WIDTH = 160  # columns of a table that goes into a pipe
MINUTE, HOUR, DAY = 60, 3600, 86_400
GAP = 2  # columns between two columns of a table
MODEL = 24  # columns of the name of a model that are worth being shown
WAITED = ("← waited for", "←")
LAYOUTS = (  # headings; the first that fits is taken
    ("mark", "call", "model", "seconds", "read", "written", "cost", WAITED[0]),
    ("mark", "call", "model", "seconds", "written", "cost", WAITED[0]),
    ("mark", "call", "model", "seconds", "written", "cost", WAITED[1]),
    ("mark", "call", "seconds", "read", "written", "cost", WAITED[0]),
    ("mark", "call", "seconds", "written", "cost", WAITED[0]),
    ("mark", "call", "sec", "written", "cost", WAITED[1]),
)


def console() -> Console:
    """Make a console on standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_calls(run: Run) -> None:
    """Print a table of the calls of a run, its sums, and why some gave no answer."""
    out = console()
    out.print(calls_table(run, out.width))
    for call in run.calls:
        if call.error:
            why = f"{call.node} {outcome(line_of(call.error))}"
            out.print(Text(fitted(why, sys.stdout), MARKS[call.status][1]), soft_wrap=True)
    out.print(Text(sums(run), "dim"), soft_wrap=True)


def calls_table(run: Run, width: int) -> Table:
    """Make the table; the calls that the run waited for are marked."""
    fitting = (layout for layout in LAYOUTS if _needed(run, layout) <= width)
    layout = next(fitting, LAYOUTS[-1])
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in layout:
        longest = _longest(run, heading)
        match heading:
            case "call":
                table.add_column(heading, overflow="fold", min_width=min(width // 3, longest))
            case "model":
                room = width - _needed(run, layout) + min(MODEL, longest)
                table.add_column(
                    heading, width=min(longest, room), no_wrap=True, overflow="ellipsis"
                )
            case _:
                title = "" if heading in {"mark", *WAITED} else heading
                table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for call in run.calls:
        table.add_row(*(Text(_cell(run, call, each), _style(call, each)) for each in layout))
    return table


def _needed(run: Run, layout: Sequence[str]) -> int:
    """Count the columns that a table takes; a name of a model may be cut."""
    widths = {heading: _longest(run, heading) for heading in layout}
    if "model" in widths:
        widths["model"] = min(MODEL, widths["model"])
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _longest(run: Run, heading: str) -> int:
    title = "" if heading in {"mark", *WAITED} else heading
    return max(cell_len(text) for text in [title, *(_cell(run, c, heading) for c in run.calls)])


def _cell(run: Run, call: Call, heading: str) -> str:
    """Give what stands below a heading."""
    if call.cached and heading in {"read", "written"}:
        return "cached" if heading == "written" else ""
    waited = call.node in run.critical and len(run.calls) > 1
    seconds = f"{call.seconds:.1f}"
    cells = {
        "mark": MARKS[call.status][0],
        "call": line_of(call.node),
        "model": line_of(call.model),
        "seconds": seconds,
        "sec": seconds,
        "read": _tokens(call, "input_tokens"),
        "written": _tokens(call, "output_tokens"),
        "cost": money(call.cost),
    }
    return cells.get(heading, heading if waited else "")


def _style(call: Call, heading: str) -> str:
    if heading in WAITED:
        return "yellow"
    if heading == "call":
        return "" if call.text else MARKS[call.status][1]
    return {"mark": MARKS[call.status][1], "model": "dim"}.get(heading, "")


def sums(run: Run) -> str:
    """Sum up a run in a line: what is not known is not counted as nothing."""
    proposals = run.proposals
    received = sum(call.error is None for call in proposals)
    answered = [call for call in run.calls if call.error is None]
    facts = [f"{received} of {len(proposals)} proposals received"]
    facts += [f"{line_of(run.selected.node)} selected"] if run.selected else []
    facts.append(f"{run.seconds:.1f} s")
    if all(call.usage for call in answered):
        facts.append(f"{run.tokens:,} tokens in all")
    else:
        facts.append(f"{run.tokens:,} tokens at least" if run.tokens else "tokens: ?")
    facts += [f"{run.prompt_cached:,} of them from prompt caches"] if run.prompt_cached else []
    facts += [f"{len(run.cached)} answers from the node cache"] if run.cached else []
    least = "" if run.complete or run.cost is None else "at least "
    return "; ".join([*facts, f"cost: {least}{money(run.cost)}"])


def money(dollars: float | None) -> str:
    """Write an estimate of a cost; `?` if it is not known."""
    if dollars is None:
        return "?"
    return f"~${dollars:.2g}" if 0 < dollars < 1 else f"~${dollars:,.2f}" if dollars else "$0"


def ago(when: datetime, now: datetime | None = None) -> str:
    """Say how long ago something was; beyond a month, the day."""
    seconds = ((now or datetime.now(UTC)) - when).total_seconds()
    if seconds < MINUTE:
        return "just now"
    for unit, name, most in ((MINUTE, "min", HOUR), (HOUR, "h", DAY), (DAY, "day", 30 * DAY)):
        if seconds < most:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if name == 'day' and count > 1 else ''} ago"
    return when.astimezone().strftime("%Y-%m-%d")


def models_table(rows: Sequence[tuple[str, str, str]]) -> Table:
    """Make a table of who sits where: layer, name, model."""
    table = Table("layer", "name", "model", box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(Text(line_of(cell)) for cell in row))
    return table


def _tokens(call: Call, kind: str) -> str:
    if call.usage:
        return f"{call.usage[kind]:,}"
    return "" if call.error else "?"
