"""What the commands print."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO
from unicodedata import category

import typer

from moa_graph.cli.terminal.wrapping import columns, wrapped
from moa_graph.graph.state import Proposal
from moa_graph.runs.record import status_of

if TYPE_CHECKING:
    from rich.console import Console

_NOTHING: Mapping[str, Any] = {}
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # they reverse what stands beside them
)


def plain(text: str) -> str:
    """Drop what a model's text could steer a terminal with, or make it read in another order."""
    return _CONTROL.sub("", text)


def line_of(text: str) -> str:
    """Put a text on one line, without what could steer a terminal or reverse the line.

    What joins or varies characters goes too: terminals disagree about how wide the result is.
    """
    return "".join(each for each in " ".join(text.split()) if not _unseen(each))


def _unseen(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or category(character) in {"Cc", "Cf", "Cs"}


def fitted(text: str, stream: TextIO) -> str:
    """Make a text fit for a stream: as it is for a pipe, else plain and in lines of whole words."""
    return wrapped(plain(text), columns(stream)) if stream.isatty() else text


def print_answer(text: str) -> None:
    """Print a text to standard output: as it is into a pipe, as plain text on a terminal."""
    typer.echo(fitted(text, sys.stdout))


def print_json(thread: str, values: Mapping[str, Any], more: Mapping[str, Any] = _NOTHING) -> None:
    """Print a run as JSON, with `more` behind it."""
    messages = values["messages"]
    answer = messages[-1] if messages and messages[-1].type == "ai" else None
    whole = {
        "thread": thread,
        "answer": answer.text if answer else None,
        "moa": answer.response_metadata.get("moa") if answer else None,
        "usage": answer.usage_metadata if answer else None,
        "proposals": values.get("proposals", {}),
        "messages": [{"role": each.type, "content": each.content} for each in messages],
        **more,
    }
    typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))


def print_run(values: Mapping[str, Any]) -> None:
    """Print the proposals of a turn and its answer, each under a heading."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for node, proposal in values["proposals"].items():
        text = proposal["content"] or outcome(str(proposal["error"]))
        _print_part(console, f"{node}  {_account(proposal)}", text)
    last = values["messages"][-1]
    if last.type == "ai":
        account = last.response_metadata.get("moa") or {}
        tokens = _tokens(last.usage_metadata, account.get("aggregator_cached"))
        _print_part(console, f"answer  {tokens}".strip(), last.text)
        _print_summary(console, account)


def print_failures(values: Mapping[str, Any]) -> None:
    """Say on standard error who failed and why: a degraded answer never looks like a full one."""
    proposals = values["proposals"]
    errors = {node: p["error"] for node, p in proposals.items() if p["error"]}
    if not errors:
        return
    counts = Counter(map(status_of, errors.values()))
    said = [f"{counts[each]} {each}" for each in ("failed", "cut off") if counts[each]]
    number, _, how = said[0].partition(" ")
    said[0] = f"{number} of {len(proposals)} proposals {how}"
    causes = "; ".join(f"{node}: {plain(reason(cause))}" for node, cause in errors.items())
    warn(f"moa: {', '.join(said)}: {causes}")


def outcome(error: str) -> str:
    """Tell how a call ended that gave no answer, and why."""
    return error if error.startswith(status := status_of(error)) else f"{status}: {error}"


def reason(error: str) -> str:
    """Give the cause that an error tells, without the word for how the call ended."""
    return error.removeprefix(status_of(error)).removeprefix(":").strip()


def warn(text: str) -> None:
    """Say something on standard error: one line, which a terminal shows in several."""
    typer.echo(fitted(text, sys.stderr), err=True)


def _print_part(console: "Console", title: str, text: str) -> None:
    from rich.text import Text

    console.print(Text(f"── {title}", "dim"))
    console.print(Text(fitted(plain(text), sys.stdout)), end="\n\n")


def _print_summary(console: "Console", account: Mapping[str, Any]) -> None:
    from rich.text import Text

    if account:
        usage = account["usage"]
        total = f"; {usage['total_tokens']:,} tokens in all" if usage else ""
        cached = ((usage or {}).get("input_token_details") or {}).get("cache_read")
        read = f", {cached:,} of them from prompt caches" if cached else ""
        at_least = " at least" if total and account["usage_unknown"] else ""
        received = f"{account['received']} of {account['asked']} proposals received"
        selected = f"; {plain(node)} selected" if (node := account.get("selected")) else ""
        console.print(Text(f"{received}{selected}{total}{at_least}{read}", "dim"))


def _account(proposal: Proposal) -> str:
    """Tell model, seconds and tokens of a proposal."""
    seconds = f"{proposal['seconds']:.1f} s"
    tokens = _tokens(proposal["usage"], proposal.get("cached"))
    return "  ".join(filter(None, [proposal["model"], seconds, tokens]))


def _tokens(usage: Mapping[str, Any] | None, cached: Any) -> str:
    if cached:
        return "from the cache"
    return f"{usage['output_tokens']:,} tokens" if usage else ""
