"""Print a finished run: its calls, its answer, and a comparison with a proposal."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.text import Text

from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.console import make_console
from moa_graph.cli.terminal.diff import WordDiff
from moa_graph.cli.terminal.plain_text import print_notice, strip_control_characters
from moa_graph.cli.terminal.tables import print_calls
from moa_graph.cli.terminal.text import (
    describe_failed_call,
    print_answer,
    print_json,
    print_run,
    read_content,
)
from moa_graph.cli.thread_loading import LoadedThread, load_thread
from moa_graph.graph.node_names import ANALYSIS
from moa_graph.graph.state import Proposal
from moa_graph.prompting.finish_reasons import describe_ending
from moa_graph.runs.record import AGGREGATOR_FAILURE, RunRecord, read_run
from moa_graph.runs.store import format_resume_command

INCOMPLETE_DIFF_NOTICE = (
    "The texts are too long, or repeat the same words too often, to be compared completely: more "
    "may be kept than is shown."
)


def show_thread(
    name: str | None, proposal: str | None, db: str | None, *, full: bool, as_json: bool
) -> None:
    """Print a run, or one proposal of it.

    Raises:
        CommandError: If there is no such proposal.
        StoreError: If there is no such thread.
    """
    loaded_thread = load_thread(name, db)
    thread, values = loaded_thread.thread, loaded_thread.values
    if as_json:
        _print_json(loaded_thread, proposal)
    elif proposal:
        print_proposal(values, proposal)
    else:
        _print_thread(loaded_thread, full=full)
        if not thread.is_finished:
            waiting = (
                f", waiting for {', '.join(loaded_thread.pending_nodes)}"
                if loaded_thread.pending_nodes
                else ""
            )
            command = format_resume_command(thread.id, db)
            if thread.stop_cause == "failed":
                print_notice(f"failed{waiting}; continue with: {command}")
            else:
                print_notice(
                    f"unfinished{waiting}; if no process is running it, continue with: {command}"
                )


def print_proposal(values: Mapping[str, Any], name: str) -> None:
    """Print a proposal, and its word diff to the answer.

    Raises:
        CommandError: If there is no such proposal.
    """
    node, proposal = find_proposal(values, name)
    out = make_console()
    out.soft_wrap = True
    out.print(Text(f"── {node}  {strip_control_characters(proposal['model'])}", "dim"))
    if proposal["error"]:
        out.print(Text(strip_control_characters(describe_failed_call(proposal)), "red"))
        if partial := proposal.get("partial_content"):
            out.print(Text("── partial answer", "dim"))
            out.print(Text(strip_control_characters(partial)))
        return
    if note := describe_ending(proposal["finish_reason"]):
        out.print(Text(strip_control_characters(note), "yellow"))
    out.print(Text(strip_control_characters(read_content(node, values))), end="\n\n")
    last = values["messages"][-1]
    if last.type == "ai" and node != ANALYSIS:
        diff = WordDiff(
            strip_control_characters(proposal["content"]), strip_control_characters(last.text)
        )
        share = f"{diff.kept_share:.0%} of the words of the answer are in it, in the same order"
        out.print(Text(f"── proposal compared with the answer: {share}", "dim"))
        if not diff.is_complete:
            out.print(Text(f"   {INCOMPLETE_DIFF_NOTICE}", "yellow"))
        out.print(Text("   [-only in the proposal-] {+only in the answer+}", "dim"))
        out.print(diff.text)


def find_proposal(values: Mapping[str, Any], name: str) -> tuple[str, Proposal]:
    """Return a proposal by its node, or the last one of an agent by the agent's name.

    Raises:
        CommandError: If there is none.
    """
    proposals = values["proposals"]
    if name in proposals:
        return name, proposals[name]
    matches = [(node, p) for node, p in proposals.items() if p["agent"] == name]
    if not matches:
        names = ", ".join(proposals) or "none"
        raise CommandError(f"no proposal {name!r}; expected one of: {names}")
    return matches[-1]


def _print_thread(loaded: LoadedThread, *, full: bool) -> None:
    print_answer(f"{strip_control_characters(loaded.thread.question)}\n")
    run = _read_run_record(loaded)
    print_calls(run)
    typer.echo()
    if full:
        print_run(loaded.values)
    elif run.answer:
        print_answer(run.answer.text)


def _print_json(loaded: LoadedThread, name: str | None) -> None:
    thread, values, run = loaded.thread, loaded.values, _read_run_record(loaded)
    if not name:
        cost = {"cost": run.cost, "cost_complete": run.cost_is_complete}
        failure = values.get(AGGREGATOR_FAILURE)
        failed = {"failed_calls": list(failure["failed_calls"])} if failure else {}
        fields = {"state": thread.status_text, "seconds": run.seconds, **cost, **failed}
        print_json(thread.id, values, fields)
        return
    node, proposal = find_proposal(values, name)
    answer = str(run.answer.text) if run.answer else None
    diff = WordDiff(proposal["content"], answer) if answer and proposal["content"] else None
    diff_fields = (
        {"kept": diff.kept_share, "kept_complete": diff.is_complete} if diff else {"kept": None}
    )
    document = {"node": node, **proposal, "answer": answer, **diff_fields}
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def _read_run_record(loaded: LoadedThread) -> RunRecord:
    return read_run(loaded.values, prices=loaded.mixture.prices, order=loaded.graph.nodes)
