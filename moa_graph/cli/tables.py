"""Tables for people: the calls of a run, and how times and costs are written."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moa_graph.cli.picture import line_of
from moa_graph.runs import Call, Run

MARKS = {"answered": ("✓", "green"), "failed": ("✗", "red"), "cut off": ("✂", "yellow")}
PIPE_WIDTH = 160  # columns of a table that goes into a pipe
MINUTE, HOUR, DAY = 60, 3600, 86_400
MODEL_FITS = 76  # columns that a table needs to show models too


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
            out.print(
                Text(f"{call.node} {call.status}: {line_of(call.error)}", "red"), soft_wrap=True
            )
    out.print(Text(sums(run), "dim"), soft_wrap=True)


def calls_table(run: Run, width: int) -> Table:
    """Make the table; the calls that the run waited for are marked."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("call", overflow="fold", min_width=min(width // 3, _longest(run)))
    if wide := width >= MODEL_FITS:
        table.add_column("model", style="dim", overflow="ellipsis", no_wrap=True)
    for heading in ("seconds", "tokens", "cost") if wide else ("sec", "tok", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for call in run.calls:
        mark, style = MARKS[call.status]
        row = [Text(mark, style), Text(line_of(call.node), style="" if call.text else "red")]
        row += [Text(line_of(call.model))] if wide else []
        row += [Text(f"{call.seconds:.1f}"), Text(_tokens(call)), Text(money(call.cost))]
        waited = call.node in run.critical and len(run.calls) > 1
        table.add_row(*row, Text(("← waited for" if wide else "←") if waited else "", "yellow"))
    return table


def _longest(run: Run) -> int:
    return max((cell_len(line_of(call.node)) for call in run.calls), default=0)


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


def _tokens(call: Call) -> str:
    if call.usage:
        return f"{call.usage['output_tokens']:,}"
    return "" if call.error else "?"
