"""What the commands print."""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from moa_graph.state import Proposal

_NOTHING: Mapping[str, Any] = {}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Drop control characters, with which a model's text could steer a terminal."""
    return _CONTROL.sub("", text)


def print_answer(text: str) -> None:
    """Print a text to standard output: as it is into a pipe, as plain text on a terminal."""
    typer.echo(plain(text) if sys.stdout.isatty() else text)


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
    console = Console(highlight=False, soft_wrap=True)
    for node, proposal in values["proposals"].items():
        text = proposal["content"] or f"failed: {proposal['error']}"
        _print_part(console, f"{node}  {_account(proposal)}", text)
    last = values["messages"][-1]
    if last.type == "ai":
        tokens = _tokens(last.usage_metadata)
        _print_part(console, f"answer  {tokens}".strip(), last.text)
        _print_summary(console, last.response_metadata.get("moa") or {})


def print_failures(values: Mapping[str, Any]) -> None:
    """Say on standard error who failed and why: a degraded answer never looks like a full one."""
    proposals = values["proposals"]
    failed = {node: p["error"] for node, p in proposals.items() if p["error"]}
    if failed:
        causes = "; ".join(f"{node}: {plain(cause)}" for node, cause in failed.items())
        typer.echo(f"moa: {len(failed)} of {len(proposals)} proposals failed: {causes}", err=True)


def _print_part(console: Console, title: str, text: str) -> None:
    console.print(Text(f"── {title}", "dim"))
    console.print(Text(plain(text)), end="\n\n")


def _print_summary(console: Console, account: Mapping[str, Any]) -> None:
    if account:
        usage = account["usage"]
        total = f"; {usage['total_tokens']:,} tokens in all" if usage else ""
        at_least = " at least" if total and account["usage_unknown"] else ""
        received = f"{account['received']} of {account['asked']} proposals received"
        selected = f"; {plain(node)} selected" if (node := account.get("selected")) else ""
        console.print(Text(f"{received}{selected}{total}{at_least}", "dim"))


def _account(proposal: Proposal) -> str:
    """Tell model, seconds and tokens of a proposal."""
    seconds = f"{proposal['seconds']:.1f} s"
    return "  ".join(filter(None, [proposal["model"], seconds, _tokens(proposal["usage"])]))


def _tokens(usage: Mapping[str, Any] | None) -> str:
    return f"{usage['output_tokens']:,} tokens" if usage else ""
