"""Print a run that is over: its calls, its answer, a proposal and what became of it."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.text import Text

from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.diff import Diff
from moa_graph.cli.terminal.tables import console, print_calls
from moa_graph.cli.terminal.text import (
    outcome,
    plain,
    print_answer,
    print_json,
    print_run,
)
from moa_graph.cli.thread_loading import look_at
from moa_graph.runs.record import Run, read_run
from moa_graph.runs.store import Thread, readable, resume_command

TOO_LONG = (
    "They are too long, or say the same words too often, to be compared to their ends: more may "
    "be kept than is shown."
)


def show_thread(
    name: str, proposal: str | None, db: str | None, *, full: bool, as_json: bool
) -> None:
    """Print a run, or one proposal of it.

    Raises:
        CommandError: If there is no such proposal.
        StoreError: If there is no such thread.
    """
    read = look_at(name, db)
    thread, values = read.thread, read.values
    if as_json:
        _print_json(thread, values, proposal)
    elif proposal:
        print_proposal(values, proposal)
    else:
        _print_thread(thread, values, full=full)
        if not thread.finished:
            waiting = f", waiting for {', '.join(read.waiting)}" if read.waiting else ""
            command = resume_command(name, db)
            typer.echo(f"unfinished{waiting}; if no process is at it, continue with: {command}")


def print_proposal(values: Mapping[str, Any], name: str) -> None:
    """Print a proposal, and what the answer kept of it, left out and added.

    Raises:
        CommandError: If there is no such proposal.
    """
    node, proposal = find_proposal(values, name)
    out = console()
    out.soft_wrap = True
    out.print(Text(f"── {node}  {plain(proposal['model'])}", "dim"))
    if proposal["error"]:
        out.print(Text(outcome(plain(proposal["error"])), "red"))
        return
    out.print(Text(plain(proposal["content"])), end="\n\n")
    last = values["messages"][-1]
    if last.type == "ai":
        diff = Diff(plain(proposal["content"]), plain(last.text))
        share = f"{diff.kept_share:.0%} of the answer's words stand in it, in this order"
        out.print(Text(f"── from it to the answer: {share}", "dim"))
        if not diff.complete:
            out.print(Text(f"   {TOO_LONG}", "yellow"))
        out.print(Text("   [-left out-] {+added+}", "dim"))
        out.print(diff.text)


def find_proposal(values: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    """Find a proposal by its node, or by its agent: then that of the last layer.

    Raises:
        CommandError: If there is none.
    """
    proposals = values["proposals"]
    if name in proposals:
        return name, proposals[name]
    found = [(node, p) for node, p in proposals.items() if p["agent"] == name]
    if not found:
        known = ", ".join(proposals) or "none"
        raise CommandError(f"no proposal {name!r}; expected one of: {known}")
    return found[-1]


def _print_thread(thread: Thread, values: Mapping[str, Any], *, full: bool) -> None:
    typer.echo(f"{plain(thread.question)}\n")
    run = _run(thread, values)
    print_calls(run)
    typer.echo()
    if full:
        print_run(values)
    elif run.answer:
        print_answer(run.answer.text)


def _print_json(thread: Thread, values: Mapping[str, Any], name: str | None) -> None:
    run = _run(thread, values)
    if not name:
        cost = {"cost": run.cost, "cost_complete": run.complete}
        print_json(thread.id, values, {"state": thread.state, "seconds": run.seconds, **cost})
        return
    node, proposal = find_proposal(values, name)
    answer = str(run.answer.text) if run.answer else None
    diff = Diff(proposal["content"], answer) if answer and proposal["content"] else None
    kept = {"kept": diff.kept_share, "kept_complete": diff.complete} if diff else {"kept": None}
    whole = {"node": node, **proposal, "answer": answer, **kept}
    typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))


def _run(thread: Thread, values: Mapping[str, Any]) -> Run:
    return read_run(values, prices=readable(thread).prices, order=values["proposals"])
