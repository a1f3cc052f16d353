"""A thread as JSON for the page: messages, agents, and the outcome of the turn."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_core.messages import BaseMessage

from moa_graph.graph.analysis import find_analysis
from moa_graph.graph.node_names import parse_node_name
from moa_graph.markdown import render_blocks, render_claim
from moa_graph.prompting.analyses import Analysis
from moa_graph.prompting.attachments import list_attached_files, remove_attachments
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.formatting import (
    format_changes,
    format_dissent,
    format_dropped_messages,
    format_run_depth,
)
from moa_graph.runs.live import RunProgress
from moa_graph.runs.record import RunRecord
from moa_graph.runs.remedies import describe_mixture_changes
from moa_graph.runs.stored_errors import list_stopped_nodes
from moa_graph.runs.stored_threads import StoredThread
from moa_graph.server.checkpoints import CheckpointHistory, CheckpointView
from moa_graph.server.json_types import JsonObject
from moa_graph.server.live_runs import LiveRun
from moa_graph.server.mixture_view import describe_mixture
from moa_graph.server.run_view import agents_to_json
from moa_graph.server.stopped_texts import StoppedRun
from moa_graph.server.turn_outcome import (
    describe_degradation,
    describe_failure,
    is_degraded,
    judge_turn,
)
from moa_graph.server.turn_remedies import find_larger_limit
from moa_graph.server.worked_time import WorkedTime

MAX_CACHED_TEXTS = 512
MAX_CACHED_CHARS = 20_000  # characters of a text whose HTML is cached


def describe_checkpoint(
    step: CheckpointView, history: CheckpointHistory, stopped: StoppedRun | None = None
) -> JsonObject:
    """Return a checkpoint: the conversation, and the state of each agent.

    Args:
        step: The checkpoint.
        history: The thread.
        stopped: Partial texts of the stopped run that led to the checkpoint.
    """
    progress = RunProgress.from_graph(step.graph, step.mixture.prices)
    run = progress.load_state(step.values, step.snapshot.next)
    if step.is_branch_end and run.answer is None:
        progress.mark_interrupted(list_stopped_nodes(step.snapshot))
        if stopped:
            stopped.show_in(progress)
    starts = history.list_starts(step)
    _mark_reused(progress, starts)
    return {
        "step": step.id,
        "messages": [_message_to_json(each) for each in step.values["messages"]],
        "notice": "; ".join(_list_notices(run, [*history.ancestors_of(step)])) or None,
        "layout": describe_mixture(step.mixture),
        "cells": agents_to_json(progress, starts),
        "error": step.error,
        "seconds": _count_seconds(progress, run, starts),
        "tokens": run.tokens,
        "cost": run.cost,
        "complete": run.cost_is_complete,
        "outcome": judge_turn(step, run),
        "agreement": _agreement_to_json(run, step.values),
        "depth": run.depth,
        "degraded": describe_degradation(run),
        "failure": describe_failure(step, run),
        "larger_limit": find_larger_limit(step.mixture, run),
    }


def describe_live_run(live: LiveRun, messages: Sequence[JsonObject] = ()) -> JsonObject:
    """Return a running run; its question may not be stored yet."""
    questions = [_question_to_json(live.question)] if live.question else []
    is_stored = [each["text"] for each in messages[-1:]] == [live.question]
    return {
        "question": remove_attachments(live.question or (messages[-1]["text"] if messages else "")),
        "messages": [*messages, *([] if is_stored else questions)],
        "layout": describe_mixture(live.mixture),
        "cells": agents_to_json(live.progress, live.starts),
        "error": None,
        "outcome": "running",
        "failure": None,
    }


def judge_thread(thread: StoredThread) -> str:
    """Return the outcome of a thread's last turn, as `judge_turn` does."""
    if thread.is_finished:
        is_worse = bool(thread.failed_nodes or any(map(is_degraded, thread.messages[-1:])))
        return "degraded" if is_worse else "answered"
    return "failed" if thread.stop_cause == "failed" or thread.is_damaged else "stopped"


def contains_words(thread: StoredThread, words: Sequence[str]) -> bool:
    """Return whether a thread's title or questions contain all words, given in lower case."""
    if not words:
        return True
    questions = (remove_attachments(each.text) for each in thread.messages if each.type == "human")
    text = "\n".join([thread.title, *questions]).casefold()
    return all(word in text for word in words)


async def with_html(view: JsonObject) -> JsonObject:
    """Render the texts of a thread, and yield to other requests meanwhile."""
    texts = [*view.get("messages", ()), *view.get("cells", ())]
    answers = [each for each in texts if each.get("role", "ai") == "ai" and "html" not in each]
    agreement = view.get("agreement")
    claims = [*_list_claims(agreement)] if agreement else []
    rendered = await asyncio.to_thread(lambda: [lay_out(each["text"]) for each in answers])
    for each, html in zip(answers, rendered, strict=True):
        each["html"] = html
    if agreement:
        agreement["html"] = await asyncio.to_thread(
            lambda: {text: render_claim(text) for text in claims}
        )
    return view


def _list_claims(agreement: JsonObject) -> Iterator[str]:
    """Yield the texts that models wrote."""
    for each in agreement["dissent"]:
        yield each["claim"]
    analysis: Analysis | None = agreement["analysis"]
    if not analysis:
        return
    yield from (*analysis["consensus"], *analysis["blind_spots"])
    yield from (each["point"] for each in analysis["unique"])
    for each in analysis["contradictions"]:
        yield each["issue"]
        yield from (position["stance"] for position in each["positions"])


def lay_out(text: str) -> list[str]:
    """Render a text as blocks of HTML; the last ones are cached."""
    return [*_lay_out_cached(text)] if len(text) <= MAX_CACHED_CHARS else render_blocks(text)


def forget_texts() -> None:
    """Clear the cached texts."""
    _lay_out_cached.cache_clear()


@lru_cache(MAX_CACHED_TEXTS)
def _lay_out_cached(text: str) -> tuple[str, ...]:
    return tuple(render_blocks(text))


def _message_to_json(message: BaseMessage) -> JsonObject:
    if message.type == "human":
        return _question_to_json(message.text)
    return {"role": message.type, "text": message.text}


def _question_to_json(text: str) -> JsonObject:
    return {
        "role": "human",
        "text": text,
        "question": remove_attachments(text),
        "attachments": list_attached_files(text),
    }


def _mark_reused(progress: RunProgress, starts: Sequence[float]) -> None:
    """Mark answers from before the turn was last resumed or continued."""
    began = max(starts, default=0.0)
    for agent in progress.agents.values():
        agent.is_reused = agent.called_at is not None and agent.called_at < began


def _count_seconds(progress: RunProgress, run: RunRecord, starts: Sequence[float]) -> float:
    """Return the worked seconds; for a single run, those of its critical path."""
    worked = WorkedTime.from_agents(progress.agents.values(), starts)
    return worked.total if worked.pauses or run.answer is None else round(run.seconds, 3)


def _list_notices(run: RunRecord, steps: Sequence[CheckpointView]) -> Iterator[str]:
    """Return the notices of a run with its checkpoints, newest first."""
    if run.dropped_messages:
        yield format_dropped_messages(run.dropped_messages)
    if changes := describe_mixture_changes([each.snapshot for each in steps]):
        yield changes
    if changes := format_changes(run):
        yield changes
    if run.depth and run.is_routed_past_layers:
        yield f"The router sent the question to a single model ({run.depth['why']})"
    elif depth := format_run_depth(run):
        yield depth
    if run.selected:
        yield _describe_selection(run.selected, run)
    if run.agreement and run.agreement["dissent"]:
        yield format_dissent(run.agreement)


def _describe_selection(selected: AgentCall, run: RunRecord) -> str:
    """Describe whose proposal is the answer, and why."""
    how = "won the vote" if run.is_voted else "was selected"
    points = run.vote["points"][selected.node] if run.vote else None
    score = "" if points is None else f" with {points:.2f} points of at most 1"
    return f"The proposal of {selected.agent} {how}{score}; it is the answer, word for word"


def _agreement_to_json(run: RunRecord, values: Mapping[str, Any]) -> JsonObject | None:
    """Return the agreement with the names of agents, which are all in one layer."""
    analysis = find_analysis(values) if values.get("proposals") else None
    if not run.agreement and not analysis:
        return None
    dissent = run.agreement["dissent"] if run.agreement else ()
    return {
        "figure": run.agreement["figure"] if run.agreement else None,
        "method": run.agreement["method"] if run.agreement else None,
        "dissent": [
            {
                "claim": each["claim"],
                "for": [*map(_agent_name, each["nodes"])],
                "against": [*map(_agent_name, each["against"])],
            }
            for each in dissent
        ],
        "analysis": analysis,
    }


def _agent_name(node: str) -> str:
    name = parse_node_name(node)
    return name.agent or node if name else node
