"""Notes above an answer: failed agents, and agents that were not called."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moa_graph.graph.node_names import AGGREGATOR, FULL
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.run_report.wording import count_words, join_words
from moa_graph.runs import formatting
from moa_graph.runs.record import RunRecord
from moa_graph.runs.remedies import describe_mixture_changes

NoteKind = Literal["bad", "warn", "info"]

FAILED, DEGRADED, CUT = "Failed", "Degraded", "Not whole"


@dataclass(frozen=True)
class RunNote:
    """A note about a run."""

    kind: NoteKind
    """Severity; also the name of its icon."""
    title: str
    text: str


def list_notes(
    run: RunRecord, edited: Sequence[str], snapshots: Sequence[Any] = ()
) -> list[RunNote]:
    """Return the notes about a run, most severe first.

    Args:
        run: The run.
        edited: Nodes of proposals that a person edited.
        snapshots: The checkpoints up to its end, newest first.
    """
    notes = [
        *_note_lost_calls(run),
        *_note_answer(run),
        *_note_depth(run),
        *_note_stored_answers(run),
        *_note_requests(run, edited),
        *_note_mixture_changes(snapshots),
    ]
    return sorted(notes, key=lambda note: ("bad", "warn", "info").index(note.kind))


def find_edited(run: RunRecord, snapshots: Sequence[Any], state: Mapping[str, Any]) -> list[str]:
    """Return the proposals whose text differs from that of their model."""
    proposals = state.get("proposals") or {}
    answered = [call for call in run.proposals if not call.error and call.node in proposals]
    return [
        call.node
        for call in answered
        if call.is_edited or _was_edited(call.node, proposals[call.node], snapshots)
    ]


def _was_edited(node: str, proposal: Mapping[str, Any], snapshots: Sequence[Any]) -> bool:
    """Return whether an earlier checkpoint has another text of the same attempt."""
    for snapshot in snapshots:
        before: Mapping[str, Any] = (snapshot.values.get("proposals") or {}).get(node) or {}
        is_same = before.get("attempt_id") == proposal.get("attempt_id")
        if is_same and not before.get("error") and before["content"] != proposal["content"]:
            return True
    return False


def _note_lost_calls(run: RunRecord) -> Iterator[RunNote]:
    for layer in run.layers:
        lost = [call for call in layer if call.error and call.node != AGGREGATOR]
        if lost:
            cut = [call.agent for call in lost if call.status == "cut off"]
            failed = [call.agent for call in lost if call.status != "cut off"]
            verb = "was" if len(cut) == 1 else "were"
            fates = [
                *([f"{join_words(failed)} failed"] if failed else []),
                *([f"{join_words(cut)} {verb} cut off"] if cut else []),
            ]
            where = f"in layer {layer[0].layer}" if lost[0].is_proposal else "behind the layers"
            yield RunNote("warn", DEGRADED, f"{join_words(fates)} {where}.")
    yield from _note_writers(run)
    for call in run.proposals:
        if call.ending_note:
            yield RunNote("warn", CUT, f"{call.agent} in layer {call.layer}: {call.ending_note}.")


def _note_writers(run: RunRecord) -> Iterator[RunNote]:
    """Return notes about unused calls of aggregators: replaced, or slower than another one."""
    summary: Mapping[str, Any] = read_run_summary(run.answer) or {}
    for call in run.failed_writers:
        title = DEGRADED if summary.get("degraded", True) else "Not used"
        used = f"; {run.calls[-1].model} wrote the answer" if run.answer else ""
        text = f"the aggregator {call.model} {call.status}{used}."
        yield RunNote("warn" if title == DEGRADED else "info", title, text)


def _note_answer(run: RunRecord) -> Iterator[RunNote]:
    for call in run.calls:
        if call.node == AGGREGATOR and call.ending_note:
            yield RunNote("warn", CUT, f"the answer is {call.ending_note}.")
    if run.dropped_messages:
        text = formatting.format_dropped_messages(run.dropped_messages)
        yield RunNote("info", "Shortened", f"{text}.")
    if run.calls and not run.has_language_model:
        yield RunNote("info", "Quotes", "no language model was called; the answer is quoted.")


def _note_depth(run: RunRecord) -> Iterator[RunNote]:
    if not run.depth:
        return
    is_short = run.depth["layers"] < run.depth["of"]
    is_routed = run.depth.get("route", FULL) != FULL
    title = "Routed" if is_routed else "Stopped early" if is_short else "All layers"
    route = f"answered by “{run.depth.get('route')}”; " if is_routed else ""
    yield RunNote("info", title, f"{route}{formatting.format_run_depth(run)}.")


def _note_stored_answers(run: RunRecord) -> Iterator[RunNote]:
    if not run.cached_calls:
        return
    count, total = len(run.cached_calls), len(run.calls)
    saved = sum(call.saved_cost or 0 for call in run.cached_calls)
    money = f"; that saved {formatting.format_cost(saved)}" if saved else ""
    summary: Mapping[str, Any] = read_run_summary(run.answer) or {}
    if summary.get("reused_proposals"):
        yield RunNote("info", "Reused", f"the proposals are those of an earlier call{money}.")
    else:
        yield RunNote("info", "Cached", f"{count} of {total} answers are from the cache{money}.")


def _note_requests(run: RunRecord, edited: Sequence[str]) -> Iterator[RunNote]:
    names = {call.node: f"{call.agent} in layer {call.layer}" for call in run.proposals}
    names[AGGREGATOR] = "the aggregator"
    if edited:
        yield RunNote("info", "Edited", f"a person changed the text of {_name(edited, names)}.")
    if hedged := [call.node for call in run.calls if call.hedged]:
        text = f"nothing had come in time of {_name(hedged, names)}: a second request was sent."
        yield RunNote("info", "Hedged", text)
    if refused := [call.node for call in run.calls if call.refused_prompt]:
        text = f"the first prompt of {_name(refused, names)} was too long; it was shortened."
        yield RunNote("info", "Asked again", text)
    for call in run.calls:
        if call.dropped_reference_chars:
            text = (
                f"{names.get(call.node, call.node)} was not shown {call.dropped_reference_chars:,}"
            )
            yield RunNote("info", "Shortened", f"{text} characters of references.")
    if dropped := run.dropped_nodes:
        words = f"{count_words(len(dropped), 'proposal')} dropped by a person"
        places = join_words([*map(formatting.format_node, dropped)])
        yield RunNote("info", "Dropped", f"{words}: {places}.")


def _note_mixture_changes(snapshots: Sequence[Any]) -> Iterator[RunNote]:
    if changes := describe_mixture_changes(snapshots):
        yield RunNote("info", "Changed", f"{changes}.")


def _name(nodes: Sequence[str], names: Mapping[str, str]) -> str:
    return join_words([names.get(node, node) for node in nodes])
