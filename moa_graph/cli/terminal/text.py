"""Texts that the commands print."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from moa_graph.cli.terminal.plain_text import (
    fit_to_stream,
    print_warning,
    strip_control_characters,
)
from moa_graph.deprecated import with_old_keys
from moa_graph.graph.analysis import find_analysis
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, ANALYSIS, parse_helper_role
from moa_graph.graph.run_summary import RunSummary, read_run_summary
from moa_graph.graph.state import Proposal
from moa_graph.prompting.analyses import format_analysis
from moa_graph.prompting.finish_reasons import describe_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.runs.agent_call import read_call_status
from moa_graph.runs.formatting import format_depth, format_refused_prompt, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

_NO_FIELDS: Mapping[str, Any] = {}


def print_answer(text: str) -> None:
    """Print a text to standard output: unchanged in a pipe, as plain text on a terminal."""
    typer.echo(fit_to_stream(text, sys.stdout))


def print_json(
    thread: str, values: Mapping[str, Any], extra_fields: Mapping[str, Any] = _NO_FIELDS
) -> None:
    """Print a run as JSON, followed by `extra_fields`."""
    messages = values["messages"]
    answer = messages[-1] if messages and messages[-1].type == "ai" else None
    summary = read_run_summary(answer)
    document = {
        "thread": thread,
        "answer": answer.text if answer else None,
        "moa": with_old_keys(summary) if summary else None,
        "finish_reason": read_finish_reason(answer) if answer else None,
        "usage": answer.usage_metadata if answer else None,
        "proposals": values.get("proposals", {}),
        **({"analysis": find_analysis(values)} if ANALYSIS in values.get("proposals", {}) else {}),
        "messages": [{"role": each.type, "content": each.content} for each in messages],
        **extra_fields,
    }
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_run(values: Mapping[str, Any]) -> None:
    """Print the proposals of a turn and its answer, each under a heading."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for node, proposal in values["proposals"].items():
        text = read_content(node, values) or describe_failed_call(proposal)
        if partial := proposal.get("partial_content"):
            text = f"{text}\n\n[partial answer]\n{partial}"
        _print_section(console, f"{node}  {_format_proposal_stats(proposal)}", text)
    last = values["messages"][-1]
    if last.type == "ai":
        summary: Mapping[str, Any] = read_run_summary(last) or {}
        tokens = _format_written_tokens(last.usage_metadata, summary.get("aggregator_cached"))
        ending = describe_ending(read_finish_reason(last)) or ""
        title = "  ".join(filter(None, ["answer", tokens, strip_control_characters(ending)]))
        _print_section(console, title, last.text)
        _print_run_summary(console, summary)


def read_content(node: str, values: Mapping[str, Any]) -> str:
    """Return the readable output of a node; for an analysis the present text, not JSON."""
    proposals = values["proposals"]
    if node == ANALYSIS and (analysis := find_analysis(values)):
        return format_analysis(analysis, {name: name for name in proposals})
    return str(proposals[node]["content"])


def print_failures(values: Mapping[str, Any]) -> None:
    """Print failures on standard error, so that a degraded answer is recognizable."""
    proposals = values["proposals"]
    for note in _read_notes(values):
        print_warning(f"moa: {note}")
    proposals = {node: p for node, p in proposals.items() if not parse_helper_role(node)}
    failed = {node: p for node, p in proposals.items() if p["error"]}
    if not failed:
        return
    counts = Counter(map(read_call_status, failed.values()))
    count_texts = [f"{counts[each]} {each}" for each in ("failed", "cut off") if counts[each]]
    number, _, status = count_texts[0].partition(" ")
    count_texts[0] = f"{number} of {len(proposals)} proposals {status}"
    causes = "; ".join(
        f"{node}: {strip_control_characters(failure_reason(p['error'], read_call_status(p)))}"
        for node, p in failed.items()
    )
    print_warning(f"moa: {', '.join(count_texts)}: {causes}")


def _read_notes(values: Mapping[str, Any]) -> list[str]:
    """Return notes about incomplete answers, and about agents that a fallback replaced."""
    notes = list[str]()
    last = values["messages"][-1] if values.get("messages") else None
    if last and last.type == "ai":
        summary = read_run_summary(last)
        notes += _describe_failed_writers(summary) if summary else ()
        notes += _describe_failed_helpers(summary) if summary else ()
        if note := describe_ending(read_finish_reason(last)):
            notes.append(f"the answer is incomplete: {strip_control_characters(note)}")
    cut = [
        f"{node}: {strip_control_characters(note)}"
        for node, proposal in values["proposals"].items()
        if not proposal["error"] and (note := describe_ending(proposal.get("finish_reason")))
    ]
    number = f"{len(cut)} of {len(values['proposals'])} proposals"
    return [*notes, *([f"{number} incomplete: {'; '.join(cut)}"] if cut else [])]


def _describe_failed_writers(summary: RunSummary) -> Iterator[str]:
    failed_calls = summary.get("failed_calls", ())
    was_replaced = any(failed["node"] == AGGREGATOR for failed in failed_calls)
    for failed in failed_calls:
        error = strip_control_characters(describe_failed_call(failed))
        is_of_this_try = summary["errors"].get(failed["node"]) == failed["error"]
        after = (
            "; a fallback answered" * was_replaced if is_of_this_try else "; all were called again"
        )
        yield f"{failed['node']} {error}{after}"


def _describe_failed_helpers(summary: RunSummary) -> Iterator[str]:
    """Describe failures between the proposals and the answer."""
    for node, error in summary["errors"].items():
        role = parse_helper_role(node)
        cause = strip_control_characters(error)
        if role == ANALYSIS:
            yield f"the analysis is left out: {cause}"
        elif role:
            yield f"{node} is missing: {cause}"


def describe_failed_call(call: Proposal | FailedCall) -> str:
    """Return how a failed call ended, and why."""
    return describe_failure(str(call["error"]), read_call_status(call))


def describe_failure(error: str, status: str) -> str:
    """Return the status and the cause of a failed call, unless the cause begins with the status."""
    return error if error.startswith(status) else f"{status}: {error}"


def failure_reason(error: str, status: str) -> str:
    """Return the cause in an error, without the status."""
    return error.removeprefix(status).removeprefix(":").strip()


def _print_section(console: "Console", title: str, text: str) -> None:
    from rich.text import Text

    console.print(Text(fit_to_stream(f"── {title}", sys.stdout), "dim"))
    console.print(Text(fit_to_stream(strip_control_characters(text), sys.stdout)), end="\n\n")


def _print_run_summary(console: "Console", summary: Mapping[str, Any]) -> None:
    from rich.text import Text

    if summary:
        usage = summary["usage"]
        total = f"; {usage['total_tokens']:,} tokens in all" if usage else ""
        cached = ((usage or {}).get("input_token_details") or {}).get("cache_read")
        cache_note = f", {cached:,} of them from prompt caches" if cached else ""
        at_least = " at least" if total and summary["usage_unknown"] else ""
        answered = f"{summary['answered']} of {summary['asked']} proposals answered"
        if dropped := summary.get("dropped"):
            answered += f"; {len(dropped)} dropped by a person"
        selected = (
            f"; {strip_control_characters(node)} selected"
            if (node := summary.get("selected"))
            else ""
        )
        if depth := summary.get("depth"):
            note = strip_control_characters(format_depth(depth))
            console.print(Text(fit_to_stream(note, sys.stdout), "dim"))
        for line in _describe_dissent(summary):
            console.print(Text(fit_to_stream(line, sys.stdout), "dim"))
        selected += _describe_vote(summary.get("vote"))
        totals = f"{answered}{selected}{total}{at_least}{cache_note}"
        console.print(Text(fit_to_stream(totals, sys.stdout), "dim"))


def _describe_dissent(summary: Mapping[str, Any]) -> Iterator[str]:
    """Describe the agreement of the proposals, and the different answers."""
    if agreement := summary.get("agreement"):
        yield f"agreement {agreement['figure']:.2f} (by {agreement['method']})"
        for dissent in agreement["dissent"]:
            claim = strip_control_characters(dissent["claim"])
            yield f"  {claim}: {', '.join(dissent['nodes'])}"


def _describe_vote(vote: Mapping[str, Any] | None) -> str:
    if not vote:
        return ""
    tie = f", a tie of {len(vote['tied'])}" if vote["tied"] else ""
    return f"; {vote['ballots']} ballot{'s' if vote['ballots'] != 1 else ''}{tie}"


def _format_proposal_stats(proposal: Proposal) -> str:
    """Format model, seconds and tokens of a proposal."""
    seconds = format_seconds(proposal["seconds"])
    tokens = _format_written_tokens(proposal["usage"], proposal.get("cached"))
    refused = proposal.get("refused_prompt")
    note = format_refused_prompt(refused) if refused else ""
    hedged = "hedged" if proposal.get("hedged") else ""
    ending = None if proposal["error"] else describe_ending(proposal["finish_reason"])
    ending = strip_control_characters(ending or "")
    return "  ".join(filter(None, [proposal["model"], seconds, tokens, hedged, note, ending]))


def _format_written_tokens(usage: Mapping[str, Any] | None, cached: Any) -> str:
    if cached:
        return "from the cache"
    return f"{usage['output_tokens']:,} tokens" if usage else ""
